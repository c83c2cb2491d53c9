"""Evidence of template bias from hand-made answers, scores and descriptions: each number is the one that was put in."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.agreement import agreement
from analysis.bias import Bias, bias
from analysis.consistency import Consistency
from analysis.parsing import UNPARSED
from analysis.perception import Answers, score_answers
from analysis.quality import Quality
from analysis.quality_scores import correlations
from stimuli.types import Stimulus
from tests.test_quality import painted

CLASSES = ("blur", "compression", "noise", "clean")
LABELS = {"gaussian_blur": "blur", "jpeg": "compression", "white_noise": "noise", None: "clean"}


def shown(types: Sequence[str] = ("jpeg", "gaussian_blur"), references: int = 4, **known: Any) -> list[Stimulus]:
    return painted(references, types, (1, 2, 3), **known)


def labels(stimuli: Sequence[Stimulus]) -> list[str]:
    return [LABELS[s.type] for s in stimuli]


def answered(stimuli: Sequence[Stimulus], said: Sequence[str]) -> Answers:
    return score_answers(stimuli, labels(stimuli), said, CLASSES, "forced-choice", said, n_boot=20)


def again(kind: str, stimuli: Sequence[Stimulus], answers: np.ndarray) -> Consistency:
    ids, groups = tuple(s.id for s in stimuli), np.array([s.reference for s in stimuli])
    names = tuple(f"{kind} {i}" for i in range(answers.shape[1]))
    return Consistency(kind, names, ids, groups, tuple(labels(stimuli)), answers, agreement(answers, groups, n_boot=20), None)


def scored(stimuli: Sequence[Stimulus], scores: Sequence[float], levels: Sequence[float] | None = None) -> Quality:
    values, groups = np.array(scores, float), np.array([s.reference for s in stimuli])
    found = correlations(values, np.arange(len(values), dtype=float), groups, 5)
    own = np.array(levels if levels is not None else values)
    return Quality("levels", "ssim", tuple(s.id for s in stimuli), values, own, [], found, None)


def told(
    stimuli: Sequence[Stimulus],
    said: Sequence[str] | None = None,
    twice: Mapping[str, Consistency] | None = None,
    rated: Quality | None = None,
    described: Mapping[str, Mapping[str, str]] | None = None,
    **options: Any,
) -> Bias:
    return bias(answered(stimuli, said or labels(stimuli)), twice or {}, rated, described or {}, stimuli, n_boot=20, **options)


def test_answers_that_follow_the_prompt_tell_of_the_prompt_alone() -> None:
    stimuli = shown(("jpeg", "gaussian_blur", "white_noise"))
    prompts = np.tile(CLASSES, (len(stimuli), 1))  # one class per wording, whatever is shown
    images = np.repeat(np.array(labels(stimuli))[:, None], 4, axis=1)  # and the other way round
    by_prompt = told(stimuli, twice={"paraphrases": again("paraphrases", stimuli, prompts)}).information["paraphrases"]
    assert by_prompt.row("prompt")["corrected"] == pytest.approx(by_prompt.entropy.value) == pytest.approx(2)
    assert by_prompt.row("image")["corrected"] == pytest.approx(0, abs=1e-9)
    assert by_prompt.image_over_prompt and by_prompt.image_over_prompt.high < 0
    by_image = told(stimuli, twice={"orders": again("orders", stimuli, images)}).information["orders"]
    assert by_image.row("image")["corrected"] == pytest.approx(by_image.entropy.value) and by_image.entropy.value > 1.5
    assert by_image.row("prompt")["corrected"] == pytest.approx(0, abs=1e-9)
    assert by_image.image_over_prompt and by_image.image_over_prompt.low > 0


def test_repeats_and_invisible_changes_have_no_wording_to_tell_of() -> None:
    stimuli = shown()
    same = np.repeat(np.array(labels(stimuli))[:, None], 2, axis=1)
    found = told(stimuli, twice={kind: again(kind, stimuli, same) for kind in ("repeats", "pixels", "orders")})
    assert set(found.information) == {"orders"}


def test_plain_answers_tell_all_of_the_class_or_nothing() -> None:
    stimuli = shown(("jpeg", "gaussian_blur", "white_noise"))
    right, blind = told(stimuli), told(stimuli, ["blur"] * len(stimuli))
    assert right.about_class.row("class")["corrected"] == pytest.approx(right.about_class.entropy.value)
    assert blind.about_class.entropy.value == blind.about_class.row("class")["corrected"] == 0


def test_answers_are_held_against_truth_uniform_and_the_training_templates() -> None:
    stimuli = shown()  # of seven images each three are compressed, three blurred and one is clean
    said = ["blur"] * (len(stimuli) - 1) + [UNPARSED]
    found = told(stimuli, said, prior={"blur": 3, "noise": 1}).divergence
    row = {own["answer"]: own for own in found.distribution}["blur"]
    assert row["share"] == pytest.approx(27 / 28) and (row["uniform"], row["prior"]) == (0.25, 0.75)
    assert row["truth"] == pytest.approx(3 / 7) and found.top == "blur"
    assert (found.n, found.references, told(stimuli, said).about_class.references) == (28, 4, 4)
    apart = {own["against"]: own["total_variation"] for own in found.against}
    assert apart == pytest.approx({"uniform": 0.75, "prior": 0.25, "truth": 4 / 7})
    assert [own["against"] for own in told(stimuli, said).divergence.against] == ["uniform", "truth"]


def test_a_type_that_scores_better_at_equal_severity_has_a_positive_residual() -> None:
    stimuli = shown()
    scores = [5 - (s.level or 0) + 0.5 * (s.type == "jpeg") for s in stimuli]
    found = told(stimuli, rated=scored(stimuli, scores))
    assert found.severity == "1 − SSIM" and not found.notes and found.residuals
    assert {row["type"]: row["residual"] for row in found.residuals} == pytest.approx({"jpeg": 0.5, "gaussian_blur": -0.5})
    assert all(row["n"] == 12 and row["unparsed"] == 0 and row["low"] == row["high"] for row in found.residuals)
    decibels = [replace(s, ssim=None) for s in stimuli]
    assert told(decibels, rated=scored(decibels, scores)).severity == "−PSNR"


def test_unparsed_scores_are_counted_and_stimuli_without_a_score_are_no_matter() -> None:
    stimuli = shown()
    scores = [float("nan") if s.reference == "r0" and s.type == "jpeg" else 5.0 - (s.level or 0) for s in stimuli]
    found = told(stimuli, rated=scored(stimuli, scores)).residuals
    assert found and [(row["type"], row["n"], row["unparsed"]) for row in found] == [
        ("jpeg", 9, 0.25),
        ("gaussian_blur", 12, 0),
    ]
    few = told(stimuli, rated=scored(stimuli[:14], [5.0 - (s.level or 0) for s in stimuli[:14]])).residuals
    assert few and [row["references"] for row in few] == [2, 2]


@pytest.mark.parametrize(
    "has_score",
    [lambda s: s.type == "jpeg", lambda s: s.reference == "r0", lambda s: False, lambda s: s.type is None],
    ids=["one type", "one reference", "none", "clean ones"],
)
def test_without_two_types_or_references_there_are_no_residuals_but_a_note(has_score: Any) -> None:
    stimuli = shown()
    found = told(stimuli, rated=scored(stimuli, [float(i) if has_score(s) else float("nan") for i, s in enumerate(stimuli)]))
    assert found.residuals is None
    assert found.notes == ("fewer than two distortion types, or two references, have scores and a measured severity",)


def test_without_severity_or_scores_the_note_says_so() -> None:
    stimuli = shown(psnr=None, ssim=None)
    found = told(stimuli, rated=scored(stimuli, list(range(len(stimuli)))))
    assert found.residuals is None and "a measured severity" in found.notes[0]
    bare = told(stimuli)
    assert (
        bare.residuals is None
        and bare.notes == ("no scores to compare",)
        and bare.contradictions is None
        and not bare.templates
    )


def test_descriptions_that_praise_what_is_scored_low_contradict_it() -> None:
    stimuli = shown()
    clear = {s.id: "The image is sharp and clear." if s.level in (None, 1) else "It is blurry." for s in stimuli[:21]}
    nan = float("nan")
    levels = [nan if s.level == 3 else 2 if s.level == 2 else 3 if s.level == 1 else 1 for s in stimuli]
    found = told(stimuli, rated=scored(stimuli, levels), described={"quality": clear}).contradictions
    assert found and found.n == 21
    counts = {row["outcome"]: row["n"] for row in found.outcomes}
    assert counts == {"consistent": 6, "praised": 3, "blamed": 0, "fair": 6, "mixed": 0, "silent": 0, UNPARSED: 6}
    row = {"id": "r0-jpeg-2", "reference": "r0", "description": "It is blurry.", "level": "poor", "outcome": "consistent"}
    assert {key: found.table[2][key] for key in row} == row
    assert found.rate.value == pytest.approx(3 / 9), "the clean image of each of three references is praised and scored 1"


def test_a_single_described_reference_is_too_few_for_contradictions() -> None:
    stimuli = shown()
    rated = scored(stimuli[7:], list(range(1, 6)) * 4 + [1])
    found = told(stimuli, rated=rated, described={"quality": {s.id: "sharp" for s in stimuli[:14]}})
    assert found.contradictions is None and found.templates["quality"].n == 14
    assert told(stimuli, rated=rated, described={"content": {s.id: "a dog" for s in stimuli}}).contradictions is None


def test_templates_are_counted_without_the_words_that_fill_them() -> None:
    stimuli = [replace(s, attributes={"shape": ("circle", "square")[i % 2]}) for i, s in enumerate(shown())]
    content = {s.id: f"This is a {s.attributes['shape']}." for s in stimuli}
    quality = {s.id: f"{LABELS[s.type].capitalize()}, so it is poor." for s in stimuli}
    found = told(stimuli, described={"content": content, "quality": quality})
    assert {name: (own.masked.distinct, own.unmasked.distinct) for name, own in found.templates.items()} == {
        "content": (1, 2),
        "quality": (1, 3),
    }
    assert found.templates["content"].templates[0]["template"] == "this is a ‹content›"
    assert found.templates["quality"].templates[0]["template"] == "‹class› so it is ‹quality›"
    plain = told(shown(), described={"content": content})
    assert plain.templates["content"].masked.distinct == 2, "where the content is not known it is not masked"
    other = told(stimuli, described={"quality": {s.id: "Color quantization." for s in stimuli}}, taxonomy="depictqa12")
    assert other.templates["quality"].templates[0]["template"] == "‹class›"


def test_everything_is_json_and_has_its_rows() -> None:
    stimuli = shown()
    answers = np.tile(["blur", "noise"], (len(stimuli), 1))
    scores = [5.0 - (s.level or 0) for s in stimuli]
    texts = {s.id: f"A blurry picture {i % 3}." for i, s in enumerate(stimuli)}
    found = told(stimuli, twice={"paraphrases": again("paraphrases", stimuli, answers)}, rated=scored(stimuli, scores),
                 described={"quality": texts, "content": texts})  # fmt: skip
    entry = json.loads(json.dumps(found.as_dict()))
    assert set(entry) == {
        "divergence",
        "information",
        "about_class",
        "residuals",
        "severity",
        "templates",
        "contradictions",
        "notes",
    }
    assert entry["contradictions"]["n"] == 28 and entry["information"]["paraphrases"]["prompts"] == 2
    tables = found.tables()
    assert tables["score_residuals"] == found.residuals and len(tables["descriptions"]) == 28
    assert [row["described"] for row in tables["templates"]] == ["quality", "content"]
    empty = told(stimuli)
    assert empty.tables() == {"score_residuals": [], "descriptions": [], "templates": []}
    assert json.loads(json.dumps(empty.as_dict()))["contradictions"] is None
