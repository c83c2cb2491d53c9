"""Steering towards a word makes the model say it, dose by dose; nothing else changes, and nothing is left behind."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysis import steering_runs
from analysis.choice import choice, images_of
from analysis.steering import Steering, dose_response, steering_directions
from analysis.steering_runs import Arm, Runs
from analysis.steering_table import ALL, Bootstrap, Series, dose_rows, slope_row, together
from benchmarks import checkpoints
from hooks.batch import Batch
from hooks.capture import capture
from hooks.checksum import weights_checksum
from hooks.load import Mllm, load
from hooks.steering import Meter, Places, steered
from probes.directions import Directions, directions, given_directions, tagged
from snellen.embedded import architecture, data, healthy
from stimuli.errors import InputError
from stimuli.sets import exam_set
from stimuli.types import Stimulus, StimulusSet

KEPT = Path(__file__).parent.parent / "benchmarks" / "healthy-1.safetensors"
QUIET: dict[str, Any] = {"progress": False, "n_boot": 40}
LAST = {"llava": "llm.3", "qwen": "llm.1"}


def towards(mllm: Mllm, site: str, label: str = "blur", size: float = 3.0) -> Directions:
    """The step from the word for clean to a class's in the unembedding."""
    wordings, weight = choice().question.options, mllm.model.get_output_embeddings().weight.detach()
    one, other = (
        mllm.processor.tokenizer(f" {wordings[name]}", add_special_tokens=False)["input_ids"] for name in (label, "clean")
    )
    step = (weight[one[0]] - weight[other[0]]).double().numpy()
    return given_directions({label: size * step / np.linalg.norm(step)}, site=site)


def hooks_of(mllm: Mllm) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in mllm.model.modules())


@pytest.mark.parametrize("name", ["llava", "qwen"])
def test_along_the_unembedding_a_word_becomes_likelier_dose_by_dose(
    name: str, six: StimulusSet, request: pytest.FixtureRequest
) -> None:
    mllm: Mllm = request.getfixturevalue(name)
    asked = choice()
    prepared = asked.prepared(mllm, images_of([s for s in six if s.type is None]))
    plain = asked.probabilities(mllm, prepared)
    before, handles = weights_checksum(mllm.model), hooks_of(mllm)
    doses = (-4.0, -1.0, 1.0, 4.0)
    found = dose_response(
        mllm, six, towards(mllm, LAST[name]), site=LAST[name], tokens="last", shown="clean", doses=doses, content=(), **QUIET
    )
    rows = found.rows("blur", "given")
    said = [row["probability"] for row in rows]
    assert [row["dose"] for row in rows] == [-4, -1, 0, 1, 4] and said[2:] == sorted(said[2:]) and said[-1] - said[2] > 0.01
    odds = [row["contrast"] for row in rows]
    assert odds == sorted(odds), "along v, the normalised features' share of v only grows"
    assert said[2] == plain[:, asked.place("blur")].mean(), "dose 0 is the model as it is, to the last bit"
    logs = np.log(plain)
    assert odds[2] == pytest.approx((logs[:, asked.place("blur")] - logs[:, asked.place("clean")]).mean())
    slope = found.slope("blur", "given")
    assert slope["monotone"] > 0.8 and slope["rising"] > 0.7 and slope["slope"] > 0
    assert abs(slope["random_slope"]) < slope["slope"] and slope["beyond_random_low"] > 0
    assert weights_checksum(mllm.model) == before and hooks_of(mllm) == handles


def pushed(
    mllm: Mllm, batch: Batch, site: str, tokens: str, vectors: torch.Tensor | None
) -> tuple[Any, Any, torch.Tensor, Meter]:
    """What a site gives without and with steering, the logits with, and the meter."""
    meter, seen = Meter(batch.layout.n, (-np.inf, np.inf)), []
    places = Places.of(mllm, batch, site, tokens)
    with torch.no_grad(), capture(mllm, [site]) as plain:
        mllm.model(**batch.tensors)
    with torch.no_grad(), capture(mllm, [site]) as own, steered(mllm, site, places, vectors, meter):
        seen.append(mllm.model(**batch.tensors).logits)
    return plain.all(site), own.all(site), seen[0], meter


@pytest.mark.parametrize(
    ("name", "site"), [("llava", "vision.1"), ("llava", "llm.0"), ("qwen", "vision.1"), ("qwen", "projector")]
)
def test_every_image_row_of_a_stimulus_moves_by_its_own_vector_and_no_other_row(
    name: str, site: str, six: StimulusSet, request: pytest.FixtureRequest
) -> None:
    mllm: Mllm = request.getfixturevalue(name)
    batch = mllm.inputs([six[0].image, six[1].image[:64]], ["What is it?", "And what is this?"])
    before = mllm.model(**batch.tensors).logits
    width = mllm.stages.widths[site] or 0
    vectors = torch.randn(2, width, generator=torch.Generator().manual_seed(0))
    plain, own, logits, meter = pushed(mllm, batch, site, "image", vectors)
    rows = zip(batch.layout.rows(site, plain), batch.layout.rows(site, own), vectors, strict=True)
    moved = 0
    for old, new, vector in rows:
        assert torch.allclose(new - old, vector.expand_as(old), atol=1e-4)
        moved += len(old)
    changed = sum(int((new - old).abs().reshape(-1, width).amax(1).gt(1e-3).sum()) for old, new in zip(plain, own, strict=True))
    assert changed == moved and not torch.equal(logits, before)
    norms = torch.cat([row.norm(dim=1) for row in batch.layout.rows(site, plain)])
    assert np.allclose(np.sort(meter.own), np.sort(norms.numpy()), atol=1e-4)
    assert torch.equal(pushed(mllm, batch, site, "image", None)[2], before)


def test_tokens_are_the_prompts_and_never_the_answers(llava: Mllm, six: StimulusSet) -> None:
    batch = llava.inputs([six[0].image] * 2, ["What is it?", "And what is this here?"], ["blur", "compression"])
    vectors, layout = torch.ones(2, llava.stages.widths["llm.1"] or 0), batch.layout
    prompt = ~layout.padding & ~layout.answer
    for tokens, want in (("all", prompt), ("image", layout.image), ("last", torch.zeros_like(prompt))):
        if tokens == "last":
            want[torch.arange(2), layout.last_prompt] = True
        (plain,), (own,), *_ = pushed(llava, batch, "llm.1", tokens, vectors)
        assert torch.equal((own - plain).abs().amax(2) > 1e-3, want), tokens


def versions(reference: int, rng: np.random.Generator) -> list[Stimulus]:
    base = rng.integers(60, 190, (32, 32, 3)).astype(float)
    images = {None: base, "gaussian_blur": np.full_like(base, base.mean()), "white_noise": base + rng.normal(0, 60, base.shape)}
    return [
        Stimulus(f"r{reference}-{name}", f"r{reference}", name, None if name is None else 3, attributes={"colour": "red"},
                 pixels=np.clip(image, 0, 255).astype(np.uint8)) for name, image in images.items()
    ]  # fmt: skip


def some(start: int, count: int) -> StimulusSet:
    rng = np.random.default_rng(start)
    return StimulusSet([s for reference in range(start, start + count) for s in versions(reference, rng)], "some")


@pytest.fixture(scope="module")
def found(llava: Mllm) -> Steering:
    return dose_response(llava, some(10, 3), some(0, 4), site="vision.3", doses=(2,), content=(), batch_size=8, **QUIET)


def test_each_class_kind_and_control_has_its_rows(found: Steering) -> None:
    ways = {(row["kind"], row["like"]) for row in found.table}
    assert ways == {(kind, like) for like in ("means", "probe") for kind in (like, "random", "shuffled")}
    assert {row["class"] for row in found.table} == {"blur", "noise", ALL} and len(found.table) == 3 * 6 * 2
    for row in found.table:
        assert row["n"] == (12 if row["class"] == ALL else 6) and row["references"] == 3 and row["site"] == "vision.3"
        assert (row["change"] is None) == (row["dose"] == 0) == (row["p"] is None)
        if row["p"] is not None:
            assert row["p"] >= 0.25 and row["p_holm"] >= row["p"], "three references cannot say more"
        if row["dose"] == 0:
            assert row["relative_norm"] == 1 and row["outside"] < 0.02 and row["norm"] == 0
    for like in ("means", "probe"):
        norms = {kind: [row["norm"] for row in found.rows("blur", kind, like)] for kind in (like, "random", "shuffled")}
        assert norms["random"] == norms[like] == norms["shuffled"]
        assert {"beyond_random", "beyond_shuffled", "beyond_random_p_holm"} <= set(found.slope("noise", like))


def test_dose_one_moves_the_mean_of_the_image_rows_by_the_class_difference(llava: Mllm, found: Steering) -> None:
    again = steering_directions(llava, some(0, 4), "vision.3", progress=False)
    assert np.allclose(again.steps["means"], found.directions.steps["means"]) and again.tokens == "image"
    shown = [s for s in some(0, 4)]
    batch = llava.inputs(images_of(shown), [choice().question.prompt] * len(shown))
    with torch.no_grad(), capture(llava, ["vision.3"]) as seen:
        llava.model(**batch.tensors)
    means = np.stack([row.mean(0).numpy() for row in batch.layout.rows("vision.3", seen.all("vision.3"))])
    want = directions(means, ["clean", "blur", "noise"] * 4, [s.reference for s in shown], kinds=["means"])
    assert np.allclose(want.steps["means"], found.directions.steps["means"], atol=1e-4)


def test_a_control_is_drawn_anew_for_each_reference_and_is_the_same_again(llava: Mllm, found: Steering) -> None:
    how: dict[str, Any] = {
        "site": "vision.3",
        "classes": ["blur"],
        "doses": (2,),
        "controls": ["random"],
        "content": (),
        **QUIET,
    }
    again = dose_response(llava, some(10, 3), found.directions, batch_size=4, **how)
    for kind in ("means", "random"):
        same = [one.slope("blur", kind, "means")["slope"] for one in (found, again)]
        assert same[0] == pytest.approx(same[1], abs=1e-6), "whatever the batches"
    fresh = dose_response(llava, some(10, 3), found.directions, seed=1, **how)
    assert fresh.slope("blur", "random", "means")["slope"] != found.slope("blur", "random", "means")["slope"]


def test_controls_are_as_long_as_what_they_stand_beside(llava: Mllm, found: Steering) -> None:
    own = found.directions
    runs = Runs(llava, choice(), "vision.3", "image", own, {}, {}, frozenset(), 0)
    shown = list(some(10, 2))
    for place, label in enumerate(own.classes):
        for like in own.steps:
            for kind in (like, "random", "shuffled"):
                vectors = runs._vectors(Arm(label, kind, like, -2.0), shown)
                assert vectors is not None and np.allclose(
                    vectors.norm(dim=1), 2 * np.linalg.norm(own.steps[like][place]), rtol=1e-4
                )
                assert torch.equal(vectors[0], vectors[2]) and (kind == like) == torch.equal(vectors[0], vectors[3])
    assert runs._vectors(Arm("blur", "base", "base", 0.0), shown) is None


def test_what_is_generated_is_not_steered(llava: Mllm, six: StimulusSet) -> None:
    batch = llava.inputs([six[0].image], ["What is it?"])
    places, vectors = Places.of(llava, batch, "llm.1", "all"), torch.ones(1, llava.stages.widths["llm.1"] or 0)
    with torch.no_grad():
        plain = llava.model(**batch.tensors).logits
        for once in (True, False):
            with steered(llava, "llm.1", places, vectors, once=once):
                first, second = (llava.model(**batch.tensors).logits for _ in range(2))
            assert not torch.equal(first, plain) and torch.equal(second, plain if once else first)


def test_a_dose_beyond_what_the_tokens_have_is_said(llava: Mllm) -> None:
    own = given_directions({"blur": np.full(llava.stages.widths["llm.0"] or 0, 50.0)})
    found = dose_response(llava, some(10, 2), own, site="llm.0", doses=(1,), shown="own", content=(), **QUIET)
    (row,) = [row for row in found.rows("blur", "given") if row["dose"] == 1]
    assert row["outside"] == 1 and row["relative_norm"] > 5 and row["n"] == 2
    assert any("most steered tokens have a norm" in note and "1 (100 %)" in note for note in found.notes)
    assert any("drawn evenly" in note for note in found.notes)


@pytest.mark.parametrize(("site", "saves"), [("llm.0", True), ("projector", True), ("vision.1", False)])
def test_what_lies_in_front_of_the_site_is_computed_once_and_changes_nothing(
    site: str, saves: bool, llava: Mllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two doses, each asked and described; a tower that is steered runs every time."""
    own = given_directions({"blur": np.ones(llava.stages.widths[site] or 0)}, site=site)
    how: dict[str, Any] = {"site": site, "doses": (1,), "shown": "clean", "controls": [], "content": (1,), **QUIET}
    fired: list[int] = []
    handle = llava.model.get_submodule(llava.stages.sites["vision.0"]).register_forward_hook(lambda *_: fired.append(1))
    try:
        found = dose_response(llava, some(10, 2), own, **how)
        seldom = len(fired)
        monkeypatch.setattr(steering_runs, "images_once", lambda *_: nullcontext())
        plain = dose_response(llava, some(10, 2), own, **how)
    finally:
        handle.remove()
    assert found.table == plain.table and (len(fired) - 2 * seldom > 0) is saves


# ---- numbers -----------------------------------------------------------------------------------------------------------------


def series(slope: float, kind: str = "means", label: str = "blur", references: int = 12) -> Series:
    rng = np.random.default_rng(3)
    groups = np.repeat([f"r{i}" for i in range(references)], 2)
    doses = (-2.0, -1.0, 0.0, 1.0, 2.0)
    base = rng.uniform(0.3, 0.5, len(groups))
    own = np.array([base + slope * dose * (1 + 0.2 * rng.normal(size=len(groups))) for dose in doses])
    return Series(
        label, kind, "means", doses, 2.5, groups, {"probability": own, "contrast": 2 * own, "colour": np.full_like(own, np.nan)}
    )


def test_slopes_are_those_of_a_line_and_paired_with_the_control() -> None:
    own, control = series(0.05), series(0.01, "random")
    row = slope_row(own, [control], Bootstrap(400, 0))
    fits = [np.polyfit(own.doses, column, 1)[0] for column in own.measured["probability"].T]
    assert np.allclose(own.slopes(), fits) and row["slope"] == pytest.approx(np.mean(fits))
    assert row["low"] < 0.05 < row["high"] and row["contrast_slope"] == pytest.approx(2 * row["slope"])
    assert row["beyond_random"] == pytest.approx(row["slope"] - row["random_slope"]) and row["beyond_random_p"] < 0.01
    assert (row["monotone"], row["rising"]) == (pytest.approx(1), 1)
    flat = slope_row(series(0.0), [], Bootstrap(400, 0))
    assert flat["slope"] == 0 and flat["p"] == 1 and flat["monotone"] == 0
    assert slope_row(series(-0.05), [], Bootstrap(400, 0))["monotone"] == pytest.approx(-1)


def test_changes_are_from_dose_zero_and_all_is_every_pair() -> None:
    one, other = series(0.05), series(-0.05, label="noise")
    rows = dose_rows(one, Bootstrap(200, 0))
    for row, values in zip(rows, one.measured["probability"], strict=True):
        assert row["probability"] == pytest.approx(values.mean())
        if row["dose"]:
            assert row["change"] == pytest.approx((values - one.measured["probability"][2]).mean())
            assert row["low"] <= row["change"] <= row["high"] and row["contrast_change"] == pytest.approx(2 * row["change"])
        assert row["colour"] is None and row["colour_change"] is None and row["norm"] == 2.5 * abs(row["dose"])
    both = together([one, other])
    assert both.label == ALL and len(both.groups) == 48 and len(set(both.groups.tolist())) == 12
    assert both.slopes().mean() == pytest.approx((one.slopes().mean() + other.slopes().mean()) / 2)


# ---- refusals ----------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_steered_is_refused(llava: Mllm) -> None:
    shown, width = some(10, 2), llava.stages.widths["llm.0"] or 0
    own = given_directions({"blur": np.ones(width), "fog": np.ones(width)})
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("fitted to 1 of the 2 references to be steered .first: r10", {"by": some(10, 1)}),
        ("Got tokens='question'; expected one of image, all, last", {"tokens": "question"}),
        ("Got the doses .0,.; expected finite numbers", {"doses": (0,)}),
        ("content=.3.0,.; expected some of the doses .1.0,", {"doses": (1,), "content": (3,)}),
        ("Got shown='every'; expected one of others, clean, own", {"shown": "every"}),
        ("Got the class 'fog' to steer to; expected one of blur, which", {}),
        ("Got no class to steer to", {"classes": ()}),
        ("Got the controls .'mean'.. Expected a list of some of random, shuffled", {"classes": ("blur",), "controls": ["mean"]}),
        ("Unknown site 'llm.9'", {"site": "llm.9"}),
        ("directions are of 'llm.0', and 'llm.1' is to be steered", {"by": tagged(own, "llm.0", "image"), "site": "llm.1"}),
        ("There are 1 stimuli of 1 references to steer to 'blur'", {"stimuli": some(10, 1), "shown": "own", "classes": ["blur"]}),
        ("site 'vision.1' has no tokens 'last'.*Expected one of image", {"site": "vision.1", "tokens": "last", "classes": ["blur"]}),
        ("directions have 3 numbers, and the tokens at 'llm.0' 160", {"by": given_directions({"blur": np.ones(3)})}),
    ]  # fmt: skip
    for words, options in wrong:
        given: dict[str, Any] = {"stimuli": shown, "by": own, "site": "llm.0", "doses": (1,), "content": ()} | options
        with pytest.raises(InputError, match=words):
            dose_response(llava, given.pop("stimuli"), given.pop("by"), **given, **QUIET)


# ---- real answers, and other families ----------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.slow
def test_a_healthy_model_says_what_it_is_steered_to_and_still_sees_the_content(tmp_path: Path) -> None:
    model = healthy.healthy(healthy.BASES[0], tmp_path, kept=KEPT)
    base = load(model, architecture.processor(architecture.tokenizer(data.sentences())), verify=True)
    every = exam_set(16, "paper8", (5,), 11, measure=False)
    names = every.references
    fitted, shown = (every.select(lambda s, own=own: s.reference in own) for own in (names[:8], names[8:]))  # type: ignore[misc]
    found = dose_response(
        base, shown, fitted, site="vision.3", classes=["noise", "blur"], kinds=["means"], doses=(-1, 1), shown="clean", **QUIET
    )
    one, control = (found.rows(kind=kind, like="means")[-1] for kind in ("means", "random"))
    assert one["dose"] == 1 and one["probability"] > 0.9 and one["share"] > 0.9 and control["probability"] < 0.2
    assert found.rows()[1]["probability"] < 0.1 and found.rows()[0]["probability"] < found.rows()[1]["probability"]
    assert one["colour"] > 0.9 and one["agreement"] > 0.8 and one["relative_norm"] < 1.3 and not found.notes
    slope = found.slope()
    assert slope["beyond_random_low"] > 0.3 and slope["beyond_shuffled_low"] > 0.2 and slope["p_holm"] < 0.05
    gone = dose_response(
        base, shown, found.directions, site="vision.3", classes=["noise"], doses=(-1,), shown="own", content=(), **QUIET
    )
    taken = gone.rows("noise")
    assert taken[1]["probability"] > 0.9 > 0.5 > taken[0]["probability"], "and takes it back where it is"


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2_5_vl", "internvl", "idefics3"])
def test_families_are_steered_at_every_kind_of_site(family: str, tmp_path: Path) -> None:
    checkpoints.save(family, tmp_path)
    mllm = load(tmp_path, device="cpu")
    shown, before = some(10, 2), weights_checksum(mllm.model)
    asked, handles = choice(), hooks_of(mllm)
    for site in ("vision.0", "projector", "llm.0"):
        batch = mllm.inputs([s.image for s in shown][:3], ["What is it?", "And what is this?", "Why?"])
        with torch.no_grad():
            plain = mllm.model(**batch.tensors).logits
        width = batch_width(mllm, batch, site)
        vectors = torch.randn(3, width, generator=torch.Generator().manual_seed(1))
        old, new, logits, meter = pushed(mllm, batch, site, "image", vectors)
        rows = zip(batch.layout.rows(site, old), batch.layout.rows(site, new), vectors, strict=True)
        for was, now, vector in rows:
            assert len(was) and torch.allclose(now - was, vector.expand_as(was), atol=1e-4)
        assert not torch.equal(logits, plain) and torch.equal(pushed(mllm, batch, site, "image", None)[2], plain)
        own = given_directions({"blur": vectors[0].double().numpy()}, site=site)
        found = dose_response(mllm, shown, own, site=site, doses=(1,), shown="clean", **QUIET)
        zero, one = found.rows("blur", "given")
        clean = asked.probabilities(mllm, asked.prepared(mllm, images_of([s for s in shown if s.type is None])))
        assert zero["probability"] == clean[:, asked.place("blur")].mean() != one["probability"]
        assert one["relative_norm"] > 1 and one["colour"] is not None
    assert weights_checksum(mllm.model) == before and hooks_of(mllm) == handles


def batch_width(mllm: Mllm, batch: Batch, site: str) -> int:
    with torch.no_grad(), capture(mllm, [site]) as seen:
        mllm.model(**batch.tensors)
    return int(batch.layout.rows(site, seen.all(site))[0].shape[1])
