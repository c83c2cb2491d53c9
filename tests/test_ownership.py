"""A stimulus's rows depend on its own image alone, or the cut is refused."""

import pytest
import torch
from transformers import CONFIG_MAPPING

from benchmarks import tiny
from hooks import ownership
from hooks.resolve import find_stages
from stimuli.errors import InputError


def extra(family: str) -> int:
    model = tiny.model(family)
    return find_stages(model).verify(model, tiny.inputs(family, model)).extra


@pytest.mark.skipif("inkling2" not in CONFIG_MAPPING, reason="this transformers does not know the family")
def test_class_and_register_tokens_of_packed_towers_are_counted() -> None:
    assert (extra("inkling2"), extra("nemotron_h_omni"), extra("qwen2_vl")) == (1, 10, 0)


def test_rows_of_mixed_stimuli_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model("nemotron_h_omni")
    inputs = tiny.inputs("nemotron_h_omni", model)
    stages = find_stages(model)
    monkeypatch.setattr(ownership, "MOST_EXTRA", 3)
    with pytest.raises(InputError, match="rows of one stimulus at 'vision.0' depend on the image of another"):
        stages.verify(model, inputs)


def test_towers_that_end_in_a_norm_or_pass_no_gradient_are_no_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain sum of normalised features is constant, so its gradient says nothing about whose rows they are."""
    model = tiny.model("qwen2_vl")
    inputs = tiny.inputs("qwen2_vl", model)
    stages = find_stages(model)
    block = model.model.visual.blocks[0]
    forward = block.forward
    for change in (lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:]), lambda x: x * 0):
        monkeypatch.setattr(block, "forward", lambda *given, change=change, **named: change(forward(*given, **named)))
        assert stages.verify(model, inputs).extra == 0
