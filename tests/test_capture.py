"""Capture sees what the model computed and leaves no trace."""

import pytest
import torch
from torch import nn

from hooks.capture import Stop, capture, features
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.types import StimulusSet


def count(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_values_are_the_models_own_hidden_states(llava: Mllm, six: StimulusSet) -> None:
    batch = llava.inputs([six[0].image], ["What?"])
    with torch.no_grad(), capture(llava.model, "all", llava.stages) as seen:
        out = llava.model(**batch.tensors, output_hidden_states=True)
    assert torch.equal(seen["llm.embed"], out.hidden_states[0])
    assert torch.equal(seen["llm.2"], out.hidden_states[3])
    assert torch.equal(llava.model.model.language_model.norm(seen["llm.3"]), out.hidden_states[4])
    assert torch.equal(seen["projector"][0], out.image_hidden_states[0])
    image = batch.layout.image[0]
    assert torch.allclose(seen["llm.embed"][0, image], seen["projector"][0])
    assert not seen["projector"].requires_grad


def test_hooks_are_undone_also_after_an_exception(llava: Mllm, six: StimulusSet) -> None:
    batch = llava.inputs([six[0].image], ["What?"])
    with torch.no_grad():
        llava.model(**batch.tensors)  # transformers leaves recorders of its own behind at the first pass
    before = count(llava.model)
    with capture(llava.model, ["vision.1", "llm.embed"], llava.stages):
        assert count(llava.model) == before + 2
    assert count(llava.model) == before
    with pytest.raises(RuntimeError, match="boom"), capture(llava.model, "all", llava.stages):
        raise RuntimeError("boom")
    assert count(llava.model) == before


def test_stop_ends_the_pass_after_the_last_site(llava: Mllm, six: StimulusSet) -> None:
    batch = llava.inputs([six[0].image], ["What?"])
    reached = []
    handle = llava.model.model.language_model.register_forward_hook(lambda *_: reached.append(1))
    with capture(llava.model, ["vision.0", "projector"], llava.stages, stop=True) as seen, pytest.raises(Stop):
        llava.model(**batch.tensors)
    handle.remove()
    assert seen["projector"].shape[1] == 64 and not reached


def test_every_firing_is_kept(llava: Mllm, six: StimulusSet) -> None:
    with torch.no_grad(), capture(llava.model, ["projector"], llava.stages) as seen:
        for stimulus in six[:2]:
            llava.model(**llava.inputs([stimulus.image], ["What?"]).tensors)
    assert len(seen.all("projector")) == 2 and torch.equal(seen["projector"], seen.all("projector")[1])


def test_unknown_and_silent_sites_are_said(llava: Mllm) -> None:
    with pytest.raises(InputError, match="Unknown site 'projektor'.*nearest sites of this model are projector"):
        with capture(llava.model, ["projektor"], llava.stages):
            pass
    with capture(llava.model, ["projector"], llava.stages) as seen:
        with pytest.raises(InputError, match="has not fired: no forward pass went through it"):
            seen["projector"]
    with pytest.raises(InputError, match="gave a dict, not a tensor"):
        features({}, "x")
