"""Edits act before every recorder and are undone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import checkpoints
from hooks.batch import run
from hooks.capture import capture
from hooks.edit import ablate, edit, in_front, replace, steer
from hooks.load import Mllm, load
from hooks.reuse import images_once
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


# ---- image features that are remembered ------------------------------------------------------------------------------


def check_reuse(mllm: Mllm, images: Sequence[np.ndarray], plan: Sequence[tuple[str, int]], towers: Sequence[str]) -> None:
    """Edits in a row, with how often the tower's first block may fire at each: the same answers as without any memory."""
    tensors = mllm.inputs(images, ["What?"] * len(images)).tensors

    def answer(site: str) -> tuple[torch.Tensor, int]:
        with (
            torch.inference_mode(),
            capture(mllm, "vision.embed") as seen,
            edit(mllm, {site: lambda own: 1.5 * own.roll(1, 0)}),
        ):
            return run(mllm.model, tensors).logits, len(seen.all("vision.embed"))

    before = [set(vars(module)) for module in mllm.model.modules()]
    plain = {site: answer(site) for site, _ in plan}
    with images_once(mllm.model, towers):
        for site, fired in plan:
            logits, times = answer(site)
            assert torch.equal(logits, plain[site][0]), site
            assert times == fired * plain[site][1], site
    assert [set(vars(module)) for module in mllm.model.modules()] == before


PLAN = (("llm.0", 1), ("llm.1", 0), ("vision.1", 1), ("vision.1", 1), ("llm.embed", 1), ("projector", 1), ("llm.1", 1))


@pytest.mark.parametrize("family", ["llava", "qwen"])
def test_features_are_computed_anew_only_where_an_edit_lies_on_their_way(
    family: str, six: StimulusSet, request: pytest.FixtureRequest
) -> None:
    check_reuse(request.getfixturevalue(family), [s.image for s in six[:2]], PLAN, ())


@pytest.mark.parametrize("family", ["llava", "qwen"])
def test_a_tower_in_front_of_an_edited_projector_runs_once(
    family: str, six: StimulusSet, request: pytest.FixtureRequest
) -> None:
    """A merger inside the tower is a part of it, and nothing stands in front of it whole."""
    mllm, inside = request.getfixturevalue(family), int(family == "qwen")
    plan = [
        ("projector", 1),
        ("projector", inside),
        ("llm.0", inside),
        ("vision.0", 1),
        ("projector", 1),
        ("projector", inside),
    ]
    towers = mllm.stages.components["vision"]
    check_reuse(mllm, [s.image for s in six[:2]], plan, towers)
    assert in_front(mllm.stages, ["llm.0", "projector"]) == (() if inside else towers) and not in_front(mllm.stages, ["llm.0"])


def test_what_an_inner_memory_took_from_an_outer_one_is_known_to_have_passed_the_tower(llava: Mllm, six: StimulusSet) -> None:
    with edit(llava, {"vision.1": ablate()}):
        edited = logits(llava, six)
    plain = logits(llava, six)
    with images_once(llava.model) as outer:
        assert torch.equal(logits(llava, six), plain)
        with images_once(llava.model) as inner:
            assert torch.equal(logits(llava, six), plain) and (inner.computed, outer.reused) == (1, 1)
            with edit(llava, {"llm.0": ablate()}), edit(llava, {"vision.1": ablate()}):
                assert not torch.equal(logits(llava, six), edited)
            with edit(llava, {"vision.1": ablate()}):
                assert torch.equal(logits(llava, six), edited)
            assert torch.equal(logits(llava, six), plain)


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.parametrize("family", checkpoints.FAMILIES)
def test_no_family_is_given_features_that_an_edit_would_change(family: str, tmp_path: Path) -> None:
    checkpoints.save(family, tmp_path)
    mllm = load(tmp_path, device="cpu")
    rng = np.random.default_rng(0)
    tensors = mllm.inputs([rng.integers(0, 256, (56, 112, 3), np.uint8) for _ in range(2)], ["What?"] * 2).tensors
    last = [site for site in mllm.stages.sites if site.startswith("llm.")][-1]
    plan = [
        site
        for site in ("llm.0", last, "vision.embed", last, "projector", "projector", "llm.embed")
        if site in mllm.stages.sites
    ]

    def answer(site: str) -> torch.Tensor:
        with torch.inference_mode(), edit(mllm, {site: lambda own: 1.5 * own}):
            found: torch.Tensor = run(mllm.model, tensors).logits
        return found

    plain = {site: answer(site) for site in plan}
    with images_once(mllm.model, mllm.stages.components["vision"]):
        for site in plan:
            assert torch.equal(answer(site), plain[site]), site
