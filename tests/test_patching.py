"""Exchanges between pairs: a model whose way to the answer is known, agreement with its own raw numbers, and refusals."""

import copy
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysis import patching_runs
from analysis.choice import choice
from analysis.patching import Patching, patch
from analysis.patching_runs import _refuse_tokens, strangers
from hooks.checksum import weights_checksum
from hooks.load import Mllm, load
from snellen.embedded import architecture, data, healthy
from stimuli.errors import InputError
from stimuli.pairs import Pair, pairs
from stimuli.sets import exam_set
from stimuli.types import Stimulus, StimulusSet

KEPT = Path(__file__).parent.parent / "benchmarks" / "healthy-1.safetensors"
QUIET: dict[str, Any] = {"progress": False, "n_boot": 50}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Mllm:
    """The healthy base that is kept in the repository: it says the distortions that it sees."""
    model = healthy.healthy(healthy.BASES[0], tmp_path_factory.mktemp("base"), kept=KEPT)
    return load(model, architecture.processor(architecture.tokenizer(data.sentences())), verify=False)


@pytest.fixture(scope="module")
def strong() -> StimulusSet:
    """Three references, clean and strongly distorted in two ways."""
    shown = exam_set(3, "paper8", (5,), 3, design="crossed", measure=False)
    return shown.select(lambda s: s.type in (None, "gaussian_blur", "jpeg"))


@pytest.fixture(scope="module")
def found(base: Mllm, strong: StimulusSet) -> Patching:
    return patch(base, pairs(strong), sites=["projector", "llm.embed", "llm.3"], sets=("image", "question", "last"), **QUIET)


def test_a_healthy_models_answer_goes_from_the_image_to_the_last_position(found: Patching) -> None:
    for direction in ("forward", "reverse"):
        whole = found.row("projector", "image", direction)
        assert whole["high"] > 0.9 and whole["low"] < 0.1 and whole["tokens"] == 64 and whole["n"] == 6
        assert whole["recovery"] == pytest.approx(1, abs=1e-6) and abs(whole["recovery_control"]) < 0.1
        assert (whole["beyond"] > 0.8) if direction == "forward" else (whole["beyond"] < -0.8)
        assert found.row("llm.embed", "image", direction)["recovery"] == pytest.approx(1, abs=1e-6)
        assert found.row("llm.embed", "question", direction)["recovery"] == 0
        assert found.row("llm.3", "image", direction)["recovery"] == pytest.approx(0, abs=1e-6)
        assert found.row("llm.3", "last", direction)["recovery"] == pytest.approx(1, abs=1e-6)
        assert found.row("llm.3", "last", direction)["contrast_recovery"] == pytest.approx(1, abs=1e-4)
    assert [(row["site"], row["set"]) for row in found.table[::2]] == [
        ("projector", "image"), *((site, name) for site in ("llm.embed", "llm.3") for name in ("image", "question", "last"))
    ]  # fmt: skip


def test_the_rows_are_the_means_of_what_was_measured_and_strangers_are_strange(found: Patching, strong: StimulusSet) -> None:
    of = {stimulus.id: stimulus for stimulus in strong}
    low, high = (np.array([row[side] for row in found.pairs]) for side in ("low", "high"))
    for row in found.table:
        now = found.patched[row["site"], row["set"], row["direction"]][:, 0]
        own, given = (low, high) if row["direction"] == "forward" else (high, low)
        assert row["patched"] == pytest.approx(now.mean())
        assert row["recovery"] == pytest.approx((now - own).mean() / (given - own).mean(), abs=1e-12)
    for pair in found.pairs:
        forward, reverse = of[pair["control_forward"]], of[pair["control_reverse"]]
        assert pair["reference"] not in (forward.reference, reverse.reference)
        assert forward.type != of[pair["after"]].type == reverse.type


def hooks(model: Any) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_batches_parts_and_a_donor_that_is_the_same_model_change_nothing(base: Mllm, strong: StimulusSet) -> None:
    shown = pairs(strong)[1:5]
    how: dict[str, Any] = {"sites": ["vision.3", "llm.1"], "sets": ["image", "last"], "directions": ["forward"], **QUIET}
    before = weights_checksum(base.model), hooks(base.model)
    one = patch(base, shown, parts=("block", "mlp"), controls=False, **how)
    twin = base.with_model(copy.deepcopy(base.model))
    other = patch(base, shown, parts=("mlp", "block"), controls=False, batch_size=3, donor=twin, **how)
    assert one.patched.keys() == other.patched.keys() and len(one.table) == 6
    for key, values in one.patched.items():
        assert np.allclose(values, other.patched[key], atol=1e-5), key
    assert {(row["site"], row["part"]) for row in one.table} == {
        (s, p) for s in ("vision.3", "llm.1") for p in ("block", "mlp")
    }
    assert (weights_checksum(base.model), hooks(base.model)) == before


def test_a_tuned_donor_gives_what_its_tuning_changed(llava: Mllm, six: StimulusSet) -> None:
    """The same images on both sides: what differs is the model, here in its projector alone."""
    changed = copy.deepcopy(llava.model)
    with torch.no_grad():
        for parameter in llava.stages.parameters(changed, "projector").values():
            parameter.mul_(3.0)
    same = [Pair(stimulus, stimulus) for stimulus in six]
    how: dict[str, Any] = {"sets": ["all"], "controls": False, "directions": ["forward"], **QUIET}
    found = patch(llava, same, sites=["vision.5", "projector"], donor=llava.with_model(changed), **how)
    assert np.allclose(found.patched["vision.5", "all", "forward"][:, 0], [row["low"] for row in found.pairs], atol=1e-7)
    asked = choice()
    theirs = asked.probabilities(llava.with_model(changed), asked.prepared(llava, [s.image for s in six]))
    right = [asked.place(row["label"]) for row in found.pairs]
    assert np.allclose(found.patched["projector", "all", "forward"][:, 0], theirs[np.arange(6), right], atol=1e-7)
    assert found.row("projector", "all")["high"] == pytest.approx(theirs[np.arange(6), right].mean(), abs=1e-7)


def local(masked: int = 4, **more: Any) -> list[Pair]:
    """Pairs whose images differ in their upper left quarter; so many have a mask."""
    rng, area = np.random.default_rng(0), np.zeros((128, 128), np.uint8)
    area[:64, :64] = 255
    made = []
    for i in range(4):
        clean = rng.integers(0, 255, (128, 128, 3), np.uint8)
        changed = np.where(area[..., None] > 0, 255 - clean, clean)
        after = Stimulus(
            f"d{i}", f"r{i // 2}", ("jpeg", "gaussian_blur")[i % 2], 3, area=area if i < masked else None, pixels=changed
        )
        made.append(Pair(Stimulus(f"c{i}", f"r{i // 2}", None, None, pixels=clean), after))
    return made


def test_the_region_is_exchanged_alone_and_is_all_that_differs_at_the_input(llava: Mllm) -> None:
    found = patch(llava, local(3), sites=["vision.embed"], sets=["region", "outside", "image"], controls=False, grid=2, **QUIET)
    tokens = {row["set"]: row["tokens"] for row in found.table}
    assert tokens == {"region": 16, "outside": 48, "image": 64} and not found.notes
    low, high = (np.array([row[side] for row in found.pairs]) for side in ("low", "high"))
    region = found.patched["vision.embed", "region", "forward"][:, 0]
    assert np.allclose(region[:3], high[:3], atol=1e-6) and np.isnan(region[3]) and np.abs(high - low).max() > 1e-6
    assert np.allclose(found.patched["vision.embed", "outside", "forward"][:3, 0], low[:3], atol=1e-6)
    assert found.row("vision.embed", "region")["n"] == 3 and found.row("vision.embed", "image")["n"] == 4
    without = patch(llava, local(0), sites=["vision.embed"], sets=["region", "image"], controls=False, **QUIET)
    assert {row["set"] for row in without.table} == {"image"}


@pytest.mark.parametrize(("name", "saved"), [("llava", 3), ("qwen", 2)])
def test_what_lies_in_front_of_a_site_is_computed_once_and_changes_nothing(
    name: str, saved: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tower runs for the exchange inside it and for the next site; where the projector is a part of it, once more."""
    mllm: Mllm = request.getfixturevalue(name)
    sites = ["vision.1", "projector", "llm.embed", "llm.0", "llm.1"]
    how: dict[str, Any] = {"sites": sites, "sets": ["image"], "controls": False, "directions": ["forward"], **QUIET}
    fired: list[int] = []
    handle = mllm.model.get_submodule(mllm.stages.sites["vision.0"]).register_forward_hook(lambda *_: fired.append(1))
    try:
        once = patch(mllm, local(), **how)
        seldom = len(fired)
        monkeypatch.setattr(patching_runs, "images_once", lambda *_: nullcontext())
        often = patch(mllm, local(), **how)
    finally:
        handle.remove()
    assert len(fired) - 2 * seldom == saved
    for key, values in once.patched.items():
        assert np.array_equal(values, often.patched[key], equal_nan=True), key


def test_strangers_are_taken_once_each_where_possible() -> None:
    made = [Pair(Stimulus(f"c{i}", f"r{i // 4}", None, None), Stimulus(f"d{i}", f"r{i // 4}", "jpeg", i)) for i in range(12)]
    labels, sizes = [f"l{i % 4}" for i in range(12)], [(64, 64)] * 12
    for same in (False, True):
        chosen = strangers(made, labels, sizes, same, 0)
        assert sorted(own for own in chosen if own is not None) == list(range(12))
        for i, j in enumerate(chosen):
            assert j is not None and made[i].reference != made[j].reference and (labels[i] == labels[j]) is same
        assert chosen == strangers(made, labels, sizes, same, 0)
    assert strangers(made, labels, sizes, False, 0) != strangers(made, labels, sizes, False, 1)
    assert strangers(made, labels, [(i, 1) for i in range(12)], False, 0) == [None] * 12
    lone = strangers(made, ["a"] + ["b"] * 11, sizes, False, 0)
    assert lone[0] is not None and lone[5] == 0 and lone[1] is None


def test_images_of_other_sizes_and_token_counts_are_refused(qwen: Mllm) -> None:
    shown = local()
    odd = Stimulus("odd", "r1", "jpeg", 3, pixels=np.zeros((56, 112, 3), np.uint8))
    with pytest.raises(InputError, match="pair 'c3' and 'odd' has images of 128 x 128 px and 56 x 112 px"):
        patch(qwen, [*shown[:3], Pair(shown[3].before, odd)], sites=["llm.0"], sets=["image"], controls=False, **QUIET)
    asked = choice()
    ready = [asked.prepared(qwen, [shown[0].before.image, own.image]) for own in (shown[1].before, odd)]
    with pytest.raises(
        InputError, match=r"'c1' and 'odd' are shown to the model as 25 and 8 image tokens, in prompts of \d+ and \d+"
    ):
        _refuse_tokens([shown[0].before, shown[1].before], [shown[0].before, odd], *ready)


def test_what_cannot_be_asked_is_refused(llava: Mllm) -> None:
    shown = local()
    with pytest.raises(InputError, match=r"token sets \('pixels',\). Expected a list of some of all, image, region"):
        patch(llava, shown, sets=("pixels",), **QUIET)
    with pytest.raises(InputError, match="parts 'mlp'. Expected a list"):
        patch(llava, shown, parts="mlp", **QUIET)
    with pytest.raises(InputError, match="2 pairs of 1 references. Expected at least 2"):
        patch(llava, shown[:2], **QUIET)
    with pytest.raises(InputError, match="None of the sites projector has the parts mlp"):
        patch(llava, shown, sites="projector", parts=("mlp",), **QUIET)
    with pytest.raises(InputError, match=r"'x' \(fog, level 3\) has no class in 'paper8'"):
        patch(llava, [*shown, Pair(shown[0].before, Stimulus("x", "r0", "fog", 3))], **QUIET)
    with pytest.raises(InputError, match="Unknown site 'projektor'"):
        patch(llava, shown, sites=["projektor"], **QUIET)
    stages = llava.stages
    bare = Mllm(llava.model, llava.processor, type(stages)({"projector": stages.sites["projector"]}, {}, {}, ""), "bare", {})
    with pytest.raises(InputError, match=r"donor 'bare' has no site llm\.0"):
        patch(llava, shown, sites=["llm.0"], donor=bare.with_model(copy.copy(llava.model)), **QUIET)
