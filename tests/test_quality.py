"""Quality scores of a model that answers by rule: they follow the truth as far as the rule says, and change as often as it says."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, pearsonr, spearmanr

from analysis.quality import Quality, known_truth, quality, score_consistency, scores_by, severity_of, truth_of
from analysis.quality_methods import method
from hooks.load import Mllm
from snellen.embedded import architecture
from stimuli.errors import InputError
from stimuli.prompts import paraphrases
from stimuli.types import Stimulus
from tests.speakers import Rule, speaking

WORDS = ("excellent", "good", "fair", "poor", "bad")
TYPES = ("jpeg", "gaussian_blur", "white_noise")
QUIET: dict[str, Any] = {"progress": False, "workers": 0, "n_boot": 20}


def painted(
    references: int = 3,
    types: Sequence[str] = TYPES[:2],
    levels: Sequence[int] = (1, 2, 3, 4),
    clean: bool = True,
    **known: Any,
) -> list[Stimulus]:
    """Images of one colour that tells everything: red the reference, green the type, blue the level (0, 0 of a clean one).

    PSNR is 45 − 5 level, SSIM 1 − level / 10; ``known`` is kept of every one.
    """
    kinds: list[tuple[str | None, int | None]] = [(None, None)] * clean
    kinds += [(kind, level) for kind in types for level in levels]
    return [
        Stimulus(f"r{r}-{kind}-{level}", f"r{r}", kind, level,
                 **{"psnr": 45.0 - 5 * level if level else 100.0, "ssim": 1 - (level or 0) / 10, **known},
                 pixels=np.full((128, 128, 3), (50 + 10 * r, 50 + 10 * place, 50 + 10 * (level or 0)), np.uint8))
        for r in range(references)
        for kind, level in kinds
        for place in [types.index(kind) + 1 if kind else 0]
    ]  # fmt: skip


def seen(pixels: torch.Tensor | None) -> tuple[int, int, int]:
    """Reference, type (from 1) and level of a painted image, whatever a grey level more or less; (−5, …) where there is none."""
    values = [0.0] * 3 if pixels is None else ((pixels.mean((1, 2)) * 0.25 + 0.5) * 255).tolist()
    red, green, blue = (round((value - 50) / 10) for value in values)
    return red, green, blue


def shift(pixels: torch.Tensor) -> int:
    """By how many grey levels a painted image was changed."""
    return round(float((pixels[0].mean() * 0.25 + 0.5) * 255)) - 50 - 10 * seen(pixels)[0]


@cache
def small() -> Any:
    """A model as the fixture's in everything but its width and depth, which a rule does without."""
    narrow = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 1}
    with patch.dict(architecture.VISION, narrow), patch.dict(architecture.LANGUAGE, {**narrow, "num_hidden_layers": 1}):
        return architecture.model(0).eval()


def answering(llava: Mllm, rule: Rule) -> Mllm:
    """A small model that answers by rule."""
    return speaking(llava.with_model(small()), rule)


def by_level(prompt: str, pixels: Any, before: int) -> str:
    """Says of every image the word that its level deserves."""
    return WORDS[seen(pixels)[2]]


def rated(llava: Mllm, rule: Rule, stimuli: Sequence[Stimulus], methods: Any = "q-align", **options: Any) -> Quality:
    (own,) = quality(answering(llava, rule), stimuli, methods, **{**QUIET, **options}).values()
    return own


def test_the_correlations_are_those_of_the_scores_with_the_truth(llava: Mllm) -> None:
    def rule(prompt: str, pixels: Any, before: int) -> Mapping[str, float]:
        reference, kind, level = seen(pixels)
        good = 0.9 - 0.13 * level - 0.02 * kind * level + 0.03 * reference
        return {"excellent": good, "bad": 1 - good}

    stimuli = painted()
    found = rated(llava, rule, stimuli, n_boot=100)
    places = [(int(s.reference[1:]), TYPES.index(s.type) + 1 if s.type else 0, s.level or 0) for s in stimuli]
    scores = np.array([0.9 - 0.13 * level - 0.02 * kind * level + 0.03 * r for r, kind, level in places])
    ssim = [1 - level / 10 for _, _, level in places]
    assert found.truth == "ssim" and found.scores == pytest.approx(scores, abs=1e-4)
    own = found.correlations
    assert own.srcc and own.krcc and own.plcc
    assert own.srcc.value == pytest.approx(spearmanr(scores, ssim)[0]) and own.krcc.value == pytest.approx(
        kendalltau(scores, ssim)[0]
    )
    assert own.plcc.value == pytest.approx(pearsonr(scores, ssim)[0], abs=1e-4) and own.srcc.low <= own.srcc.value < 1
    assert own.references == 3 and own.n == 27
    row = found.table[1]
    assert row["score"] == pytest.approx(0.75, abs=1e-4) and row["quality_level"] == 5 and row["raw"] == "excellent"
    assert row["undecided"] == pytest.approx(np.sqrt(0.75 * 0.25), abs=1e-4)
    shown = {key: row[key] for key in ("id", "reference", "type", "level", "psnr", "ssim", "mos")}
    assert shown == {"id": "r0-jpeg-1", "reference": "r0", "type": "jpeg", "level": 1, "psnr": 40.0, "ssim": 0.9, "mos": None}
    assert found.monotonicity and found.monotonicity.overall["tau"] == -1


def test_scores_that_rise_with_severity_are_told_apart(llava: Mllm) -> None:
    found = rated(llava, lambda prompt, pixels, before: WORDS[4 - seen(pixels)[2]], painted(clean=False))
    assert found.monotonicity and [row["tau"] for row in found.monotonicity.table] == [1, 1]
    assert found.correlations.srcc and found.correlations.srcc.value == pytest.approx(-1)
    assert json.loads(json.dumps(found.as_dict()))["monotonicity"]["overall"]["violations"] == 1


def test_the_truth_is_opinion_then_ssim_then_psnr() -> None:
    both, plain = painted(mos=3.0), painted(ssim=None)
    assert known_truth(both) == "mos" and known_truth(painted()) == "ssim" and known_truth(plain) == "psnr"
    assert known_truth([*both[:-1], painted()[-1]]) == "ssim", "one without an opinion is enough"
    values = truth_of(plain[:3], "psnr")
    assert np.isnan(values[0]) and values[1:].tolist() == [40, 35], "an identical image has no PSNR to compare"
    with pytest.raises(InputError, match="these 2 stimuli have nothing to be compared with: not all have mos, ssim or psnr"):
        known_truth(painted(2, (), psnr=None, ssim=None))
    with pytest.raises(InputError, match="nothing to be compared with"):
        known_truth(painted(2, (), ssim=None))  # identical images alone
    with pytest.raises(InputError, match="Unknown truth 'vmaf'. Expected one of mos, ssim, psnr"):
        truth_of(plain, "vmaf")


def test_severity_is_measured_on_the_distorted_images() -> None:
    stimuli = painted(1, ("jpeg",), (1, 4))
    assert severity_of(stimuli)[0] == pytest.approx([0, 0.1, 0.4]) and severity_of(stimuli)[1] == "1 − SSIM"
    unmeasured = [Stimulus("clean", "r0", None, None), *stimuli[1:]]
    values, name = severity_of(unmeasured)
    assert np.isnan(values[0]) and values[1:] == pytest.approx([0.1, 0.4]) and name == "1 − SSIM"
    values, name = severity_of([stimuli[1], *painted(1, ("jpeg",), (4,), False, ssim=None)])
    assert values.tolist() == [-40, -25] and name == "−PSNR"


def test_images_without_a_truth_are_scored_but_not_compared(llava: Mllm) -> None:
    known = [replace(s, ssim=None, mos=1.0 + i % 3 if i < 10 else None) for i, s in enumerate(painted(3, ("jpeg",)))]
    mine = answering(llava, by_level)
    opinions = quality(mine, known, truth="mos", **QUIET)["q-align"]
    assert (len(opinions.table), opinions.correlations.n, opinions.correlations.references) == (15, 10, 2)
    identical = quality(mine, known, **QUIET)["q-align"]
    assert (identical.truth, identical.correlations.n) == ("psnr", 12), "three clean images are identical to their reference"


def test_a_number_that_is_not_there_is_unparsed_and_left_out(llava: Mllm) -> None:
    def rule(prompt: str, pixels: Any, before: int) -> str:
        reference, _, level = seen(pixels)
        return "no" if reference == 0 and level > 2 else str(5 - level)

    found = rated(llava, rule, painted(2, ("jpeg",)), "number")
    own = found.correlations
    assert own.n == 8 and own.unparsed and own.unparsed.value == 0.2
    assert own.srcc and own.srcc.value == pytest.approx(1)
    lost = [row for row in found.table if row["score"] is None]
    assert {row["id"] for row in lost} == {"r0-jpeg-3", "r0-jpeg-4"}
    assert all(row["quality_level"] is None and row["undecided"] is None and row["raw"] == "no" for row in lost)
    assert [row["quality_level"] for row in found.table[5:]] == [5, 4, 3, 2, 1]
    assert found.monotonicity and found.monotonicity.overall["unparsed"] == pytest.approx(2 / 6)


def test_a_model_without_numbers_has_no_correlation_but_a_reason(llava: Mllm) -> None:
    found = rated(llava, lambda prompt, pixels, before: "good", painted(2, ("jpeg",)), "number-100")
    assert found.correlations.srcc is None and found.correlations.note == "no image has a score"
    assert found.monotonicity and found.monotonicity.overall["tau"] is None and found.monotonicity.without_score == 10


def test_stimuli_that_cannot_be_shown_are_left_out_of_everything(llava: Mllm, tmp_path: Path) -> None:
    stimuli = painted(2, ("jpeg",))
    broken = Stimulus("broken", "r9", "jpeg", 1, psnr=30.0, ssim=0.9, pixels=tmp_path / "missing.png")
    whole = rated(llava, by_level, stimuli)
    left = rated(llava, by_level, [stimuli[0], broken, *stimuli[1:]])
    assert left.as_dict() == whole.as_dict() and left.ids == whole.ids and left.table == whole.table


@pytest.mark.parametrize(
    "stimuli",
    [painted(levels=(2,), clean=False), painted(types=(), ssim=0.5), painted(2, ("jpeg",), psnr=None, ssim=None)],
    ids=["one level", "photographs", "unmeasured"],
)
def test_without_two_severities_nothing_is_said_of_how_scores_fall(llava: Mllm, stimuli: list[Stimulus]) -> None:
    found = rated(llava, by_level, [replace(s, mos=float(i)) for i, s in enumerate(stimuli)])
    assert found.monotonicity is None and found.truth == "mos" and found.as_dict()["monotonicity"] is None


def test_several_methods_are_asked_together_and_none_twice(llava: Mllm, tmp_path: Path) -> None:
    stimuli = painted(2, ("jpeg",))
    mine = answering(llava, by_level)
    found = quality(mine, stimuli, ["q-align", "deqa", method("levels", name="ours")], out=tmp_path, **QUIET)
    assert list(found) == ["q-align", "deqa", "ours"]
    assert found["deqa"].scores == pytest.approx(1 + 4 * found["q-align"].scores, abs=1e-5)
    rows = scores_by(found)
    assert [row["method"] for row in rows] == [name for name in found for _ in range(10)] and rows[12]["id"] == stimuli[2].id

    def silent(prompt: str, pixels: Any, before: int) -> str:
        raise AssertionError("asked again")

    again = quality(answering(llava, silent), stimuli, ["deqa", "q-align"], out=tmp_path, **QUIET)
    assert again["q-align"].as_dict() == found["q-align"].as_dict()


def test_refusals_come_before_anything_is_asked(llava: Mllm) -> None:
    stimuli = painted(2)
    with pytest.raises(InputError, match="Unknown quality method 'stars'"):
        quality(llava, stimuli, "stars", **QUIET)
    with pytest.raises(InputError, match="nothing to be compared with: none has mos"):
        quality(llava, stimuli, truth="mos", **QUIET)
    with pytest.raises(InputError, match="Unknown truth 'vmaf'"):
        quality(llava, stimuli, truth="vmaf", **QUIET)  # type: ignore[arg-type]
    for over in ((), ("repeats", "orders")):
        with pytest.raises(InputError, match="Got the consistency of 'q-align' and 'number' over"):
            score_consistency(llava, stimuli, over, **QUIET)
    with pytest.raises(InputError, match="'deqa' over"):
        score_consistency(llava, stimuli, repeated="deqa", **QUIET)


def test_drawn_numbers_are_as_far_apart_as_they_were_drawn(llava: Mllm) -> None:
    def rule(prompt: str, pixels: Any, before: int) -> str:
        return str(seen(pixels)[2] + before % 2) if before < 3 else "no number"

    stimuli = painted(2, ("jpeg",), (1, 2, 3), False)
    (found,) = score_consistency(answering(llava, rule), stimuli, ("repeats",), repeats=4, **QUIET).values()
    assert (found["method"], found["times"], found["parsed"], found["note"]) == ("number", 4, 0.75, "")
    assert found["spread"]["within"]["value"] == pytest.approx(np.std([0, 1, 0], ddof=1))
    assert found["spread"]["between"]["value"] == pytest.approx(np.std([1, 2, 3] * 2, ddof=1))
    assert found["spread"]["unparsed"]["value"] == found["flips"]["unparsed"]["value"] == 0.25
    assert found["flips"]["unstable"]["value"] == 1 and found["flips"]["crossing"]["value"] == 0
    ladder = [[0] * 5, [0] * 5, [0] * 5, [0] * 5, [0] * 5]
    for level in (1, 2, 3):
        ladder[level - 1][level - 1], ladder[level - 1][level] = 2, 2  # later scores: one more, the same again; two references
    assert found["flips"]["transitions"] == ladder


def test_paraphrases_and_invisible_changes_turn_as_many_levels_as_the_rule_says(llava: Mllm) -> None:
    texts = paraphrases("quality")

    def rule(prompt: str, pixels: Any, before: int) -> str:
        if texts[0] in prompt:
            return "bad"  # one wording in ten
        return (
            "fair" if shift(pixels) == 1 and seen(pixels)[2] == 2 else "excellent"
        )  # one change in four, on half of the images

    stimuli = painted(2, ("jpeg",), (1, 2), False)
    found = score_consistency(answering(llava, rule), stimuli, ("paraphrases", "pixels"), **QUIET)
    words, pixels = found["paraphrases"], found["pixels"]
    assert (words["times"], words["parsed"], pixels["times"], pixels["parsed"]) == (10, 1, 5, 1)
    assert words["spread"]["within"]["value"] == pytest.approx(np.std([0, *[1] * 9], ddof=1), abs=1e-6)
    assert words["flips"]["unstable"]["value"] == words["flips"]["crossing"]["value"] == 1
    assert words["flips"]["differing_pairs"]["value"] == pytest.approx(9 / 45)
    assert pixels["spread"]["within"]["value"] == pytest.approx(np.std([0.5, *[1] * 4], ddof=1) / 2, abs=1e-6)
    assert pixels["flips"]["unstable"]["value"] == 0.5 and pixels["flips"]["crossing"]["value"] == 0
    json.dumps(found)


def test_who_says_the_same_again_has_no_spread_and_who_says_nothing_has_a_note(llava: Mllm) -> None:
    stimuli = painted(2, ("jpeg",), (1, 2), False)
    own = [method("number-100", name="a"), method("number-100", name="b")]
    assert own[0].ask.keys(stimuli[0], 0) == own[1].ask.keys(stimuli[0], 0), "the same question under two names"
    steady = score_consistency(answering(llava, by_level), stimuli, ("pixels",), "levels", **QUIET)["pixels"]
    assert steady["spread"]["within"]["value"] == 0 and steady["flips"]["unstable"]["value"] == 0
    silent = score_consistency(answering(llava, lambda *given: "?"), stimuli, ("repeats",), repeats=2, **QUIET)["repeats"]
    assert silent["parsed"] == 0 and silent["spread"] is silent["flips"] is None
    assert silent["note"] == "fewer than two references have an image with two scores"
    asked = score_consistency(
        answering(llava, lambda prompt, pixels, before: "excellent" if "Sharp?" in prompt else "good"), stimuli, ("paraphrases",), "levels",
        texts=["Sharp?", "Nice?"], **QUIET,
    )["paraphrases"]  # fmt: skip
    assert asked["spread"]["within"]["value"] == pytest.approx(0.25 / np.sqrt(2), abs=1e-6)
