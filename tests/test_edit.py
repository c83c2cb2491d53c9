"""Edits act before every recorder and are undone."""

import numpy as np
import pytest
import torch

from hooks.capture import capture
from hooks.edit import ablate, edit, replace, steer
from hooks.load import Mllm
from probes.eraser import Eraser, projection
from stimuli.errors import InputError
from stimuli.types import StimulusSet


def logits(mllm: Mllm, six: StimulusSet) -> torch.Tensor:
    batch = mllm.inputs([six[0].image], ["What?"])
    with torch.no_grad():
        found: torch.Tensor = mllm.model(**batch.tensors).logits
    return found


@pytest.mark.parametrize("family", ["llava", "qwen"])
def test_editing_what_the_projector_reads_changes_the_answer(
    family: str, six: StimulusSet, request: pytest.FixtureRequest
) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    before = logits(mllm, six)
    for site in ("vision.embed", mllm.stages.read_layer, "projector", "llm.embed", "llm.0"):
        with edit(mllm.model, {site: ablate()}, mllm.stages):
            assert not torch.equal(logits(mllm, six), before), site
    assert torch.equal(logits(mllm, six), before)


def test_a_recorded_hidden_state_is_the_edited_one(six: StimulusSet) -> None:
    """LLaVA with vision_feature_layer -2 reads what a recorder of the library's kept; the last block is a dead end."""
    from benchmarks import tiny
    from hooks.resolve import find_stages

    model = tiny.model("llava")
    inputs = tiny.inputs("llava", model)
    stages = find_stages(model)
    with torch.no_grad():
        before = model(**inputs).logits
        for site, moves in ((stages.read_layer, True), ("vision.3", False)):
            with edit(model, {site: steer(torch.ones(stages.widths[site] or 0), 5.0)}, stages):
                assert torch.equal(model(**inputs).logits, before) is not moves, site


def test_capture_sees_the_edited_features_and_edits_are_what_they_say(llava: Mllm, six: StimulusSet) -> None:
    def seen(*edits: object) -> torch.Tensor:
        with edit(llava.model, dict(zip(["projector"], edits, strict=False)), llava.stages):  # type: ignore[arg-type]
            with capture(llava.model, "projector", llava.stages) as found:
                logits(llava, six)
        return found["projector"]

    own = seen()
    direction = torch.randn(own.shape[-1])
    assert torch.equal(seen(ablate()), torch.zeros_like(own))
    assert torch.equal(seen(ablate(direction)), direction.expand_as(own))
    assert torch.allclose(seen(steer(direction, 2.0)), own + 2 * direction)
    assert torch.equal(seen(replace(own.flip(1))), own.flip(1))
    assert torch.equal(seen(replace(direction)), direction.expand_as(own))


@pytest.mark.parametrize("family", ["llava", "qwen"])
def test_an_eraser_is_an_edit_of_every_token(family: str, six: StimulusSet, request: pytest.FixtureRequest) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    width = mllm.stages.widths["vision.1"] or 0
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(width, 3)))[0]
    eraser = projection("own", np.ones(width), basis, np.eye(width))

    def seen(*edits: Eraser) -> torch.Tensor:
        with edit(mllm, dict(zip(["vision.1"], edits, strict=False))), capture(mllm, "vision.1") as found:
            logits(mllm, six)
        return found["vision.1"]

    own = seen()
    assert torch.equal(seen(eraser), eraser(own))
    assert torch.allclose((seen(eraser) - 1) @ torch.tensor(basis, dtype=own.dtype), torch.zeros(3), atol=1e-5)
    narrow = projection("own", np.ones(5), np.eye(5), np.eye(5))
    with pytest.raises(InputError, match="Use it at the site that it was fitted at"):
        seen(narrow)


def test_bad_edits_are_refused_and_leave_no_trace(llava: Mllm, six: StimulusSet) -> None:
    before = logits(llava, six)
    with pytest.raises(InputError, match=r"edit at site 'projector' gave \(1, 64\); expected a tensor of shape \(1, 64, "):
        with edit(llava.model, {"projector": lambda own: own[..., 0]}, llava.stages):
            logits(llava, six)
    with pytest.raises(InputError, match="Unknown site 'projektor'"), edit(llava.model, {"projektor": ablate()}, llava.stages):
        pass
    with pytest.raises(KeyboardInterrupt), edit(llava.model, {"projector": ablate()}, llava.stages):
        raise KeyboardInterrupt
    assert torch.equal(logits(llava, six), before)
