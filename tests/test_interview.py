"""Everything is asked once, every part is there, and of a model that answers by rule every number is the rule's."""

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from analysis.interview import Interview, interview
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.tables import write_csv, write_json
from stimuli.taxonomy import taxonomy
from stimuli.types import Stimulus
from tests.test_preference import one_at_a_time
from tests.test_quality import QUIET, WORDS, answering, painted, seen

CLASSES = {0: "clean", 1: "compression", 2: "blur"}
"""By the green of a painted image."""
EVEN = {name: 0.1 for name in taxonomy("paper8").classes}
SEVERITIES = ("slight", "moderate", "obvious", "serious", "catastrophic")
SMALL: dict[str, Any] = {**QUIET, "n_boot": 10, "repeats": 2, "orders": 2, "max_new_tokens": 60}


def shown(references: int = 3, **known: Any) -> list[Stimulus]:
    return painted(references, ("jpeg", "gaussian_blur"), (1, 3), **known)


def expert(prompt: str, pixels: torch.Tensor | None, before: int) -> str | Mapping[str, float]:
    """Knows everything about painted images, and says anything where there is none."""
    if pixels is not None and pixels.ndim == 4:
        first, second = (seen(one)[2] for one in pixels)
        return "Image A" if first < second else "Image B"
    reference, kind, level = seen(pixels)
    name, level = CLASSES.get(kind, ""), min(max(level, 0), 4)
    if found := re.search(r'have the distortion "(\w+)"', prompt):
        return {"yes": 0.9, "no": 0.1} if found[1] == name else {"yes": 0.1, "no": 0.9}
    if found := re.search(rf"([A-Z])\. {name or 'blur'}\n", prompt):
        return str(found[1])
    if "distortion_class" in prompt:
        return json.dumps({"distortion_class": None if name == "clean" else name, "severity": SEVERITIES[max(level, 1) - 1]})
    if "float between 1 and 5" in prompt:
        return str(5 - level)
    if "Describe the quality" in prompt:
        return "It is sharp." if level < 2 else "It is blurry."
    if "What does this image show?" in prompt:
        return f"A picture of {reference}."
    if "distortion" in prompt:
        told = name.capitalize() if "single word" in prompt else name
        return {**dict.fromkeys(EVEN, 0.01), told: 0.9} if told else EVEN
    likely = {"good": 0.3 - 0.05 * level, "poor": 0.05 + 0.05 * level}
    return {**likely, WORDS[level]: likely.get(WORDS[level], 0) + 0.5}


@dataclass(frozen=True)
class Held:
    """An interview, and where its answers are."""

    found: Interview
    out: Path
    passes: int


def interviewed(llava: Mllm, stimuli: list[Stimulus], out: Path | None = None, rule: Any = expert, **options: Any) -> Held:
    mine = answering(llava, rule)
    count = [0]
    mine.model.register_forward_pre_hook(lambda *given: count.__setitem__(0, count[0] + 1))
    found = interview(mine, stimuli, out=out, **{**SMALL, **options})
    return Held(found, out or Path(), count[0])


@pytest.fixture(scope="module")
def whole(llava: Mllm, tmp_path_factory: pytest.TempPathFactory) -> Held:
    return interviewed(llava, shown(), tmp_path_factory.mktemp("interview") / "answers", few=2)


@pytest.fixture(scope="module")
def brief(llava: Mllm, whole: Held, tmp_path_factory: pytest.TempPathFactory) -> Held:
    """The same in brief, from the same answers and a few more."""
    out = tmp_path_factory.mktemp("brief") / "answers"
    shutil.copytree(whole.out, out)
    return interviewed(llava, shown(), out, few=2, thorough=False, scores=("q-align", "q-bench"), prior={"blur": 2, "clean": 1})


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in out.glob("answers-*.jsonl") for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_an_expert_is_right_in_every_protocol(whole: Held) -> None:
    found = whole.found.answers
    assert list(found) == ["forced-choice", "forced-choice, sum", "forced-choice, calibrated", "multiple-choice", "yes-no", "open",
                           "short-answer", "json"]  # fmt: skip
    assert all(own.accuracy == 1 and own.unparsed == 0 for own in found.values())
    assert [len(own.table) for own in found.values()] == [15, 15, 15, 10, 10, 10, 10, 10], (
        "the longer ones about two references"
    )
    assert found["json"].extra["severity"] == {"n": 8, "value": 1, "low": 1, "high": 1}
    assert [row["auc"] for row in found["yes-no"].extra["auc"]] == [1, 1, 1] and found["short-answer"].extra["exact"][
        "value"
    ] == 1
    assert whole.found.few == 2 and whole.found.notes == ()


@pytest.mark.slow
def test_an_expert_needs_the_image_and_says_the_same_again(whole: Held) -> None:
    kept = {row["view"]: row["balanced_accuracy"] for row in whole.found.controls.table}
    assert [kept[name] for name in ("image", "shuffled", "other-same", "other-class")] == [1, 1, 1, 0]
    assert all(kept[name] == pytest.approx(1 / 3) for name in ("grey", "blank", "noise", "none")), "one of three classes"
    twice = whole.found.consistency
    assert {kind: own.agreement.times for kind, own in twice.items()} == {
        "paraphrases": 6,
        "pixels": 5,
        "repeats": 2,
        "orders": 2,
    }
    assert [own.agreement.images for own in twice.values()] == [15, 15, 10, 10]
    assert all(twice[kind].agreement.unanimous.value == 1 for kind in ("paraphrases", "pixels", "orders"))
    assert twice["repeats"].agreement.unanimous.value < 1, "a tenth of what is drawn is wrong"


@pytest.mark.slow
def test_an_expert_knows_quality(whole: Held) -> None:
    rated = whole.found.quality
    assert list(rated) == ["levels", "q-bench", "q-align"] and all(len(own.table) == 15 for own in rated.values())
    assert rated["levels"].correlations.srcc and rated["levels"].correlations.srcc.value == pytest.approx(1)
    assert rated["levels"].monotonicity and rated["levels"].monotonicity.overall["tau"] == -1
    pairs = whole.found.preference
    assert pairs and pairs.result.accuracy and pairs.result.accuracy.value == 1
    assert {row["reference"] for row in pairs.table} == {"r0", "r1"}
    again = whole.found.score_consistency
    assert [(kind, own["method"], own["times"]) for kind, own in again.items()] == [
        ("repeats", "number", 2), ("paraphrases", "levels", 10), ("pixels", "levels", 5)
    ]  # fmt: skip
    assert all(own["spread"]["within"]["value"] == pytest.approx(0, abs=1e-6) and own["parsed"] == 1 for own in again.values())
    assert all(own["flips"]["images"] == 10 for own in again.values())


@pytest.mark.slow
def test_the_evidence_of_bias_comes_from_the_same_answers(whole: Held) -> None:
    found = whole.found.bias
    assert found.divergence.n == 15 and found.about_class.row("class")["corrected"] == pytest.approx(
        found.about_class.entropy.value
    )
    assert set(found.information) == {"paraphrases", "orders"} and found.information["paraphrases"].prompts == 6
    assert found.residuals and [row["n"] for row in found.residuals] == [6, 6] and not found.notes
    assert {name: own.n for name, own in found.templates.items()} == {"content": 10, "quality": 10}
    assert found.contradictions and {row["outcome"]: row["n"] for row in found.contradictions.outcomes}["consistent"] == 10
    assert whole.found.thresholds and [row["type"] for row in whole.found.thresholds.table] == ["jpeg", "gaussian_blur"]


@pytest.mark.slow
def test_in_brief_only_the_forced_choice_is_about_all(brief: Held) -> None:
    found = brief.found
    assert list(found.answers) == [
        "forced-choice",
        "forced-choice, sum",
        "forced-choice, calibrated",
        "multiple-choice",
        "yes-no",
        "open",
    ]
    assert [len(own.table) for own in found.answers.values()] == [15, 15, 15, 10, 10, 10]
    assert {row["n"] for row in found.controls.table} == {10}
    assert [own.agreement.images for own in found.consistency.values()] == [10, 10, 10, 10]
    assert list(found.quality) == ["q-align", "q-bench"] and len(found.quality["q-align"].table) == 10
    assert {kind: own["method"] for kind, own in found.score_consistency.items()} == {
        "paraphrases": "q-align",
        "pixels": "q-align",
    }
    assert found.preference is None and found.notes == ()
    assert found.bias.divergence.against[1]["against"] == "prior" and found.bias.contradictions


@pytest.mark.slow
def test_nothing_is_asked_twice(llava: Mllm, whole: Held, brief: Held) -> None:
    assert sum("run" in row for row in lines(whole.out)) == 3, (
        "all, the few, and pairs: what is asked ahead is all that is asked"
    )
    for held in (whole, brief):
        keys = [row["key"] for row in lines(held.out) if "key" in row]
        assert len(set(keys)) == len(keys) and held.passes > 0

    def silent(prompt: str, pixels: Any, before: int) -> str:
        assert pixels is None and "Which?" in prompt, "asked again; but for whether it needs an image"
        return "this"

    again = interviewed(llava, shown(), whole.out, silent, few=2)
    assert again.passes == 1, "begun to see whether the model needs an image, and ended before it answers"
    assert json.dumps(again.found.as_dict()) == json.dumps(whole.found.as_dict())


@pytest.mark.slow
def test_everything_is_json_and_has_its_rows(whole: Held, brief: Held, tmp_path: Path) -> None:
    entry = whole.found.as_dict()
    assert set(entry) == {"protocols", "controls", "consistency", "thresholds", "quality", "score_consistency", "preference", "bias",
                          "few_references", "notes"}  # fmt: skip
    json.dumps(entry, allow_nan=True)
    back = json.loads(write_json(entry, tmp_path / "entry.json").read_text())
    assert back["protocols"]["forced-choice"]["accuracy"] == 1 and back["few_references"] == 2
    given = {f"bias information {kind} table {name}" for kind in ("paraphrases", "orders")
             for name in ("corrected", "corrected_low", "corrected_high", "share", "share_low", "share_high")}  # fmt: skip
    assert set(unknown(entry)) == given, (
        "with one answer per wording nothing is known of the image given the wording; else all is known"
    )
    tables = whole.found.tables()
    assert set(tables) >= {"answers_forced-choice", "answers_forced-choice_sum", "answers_json", "blind_controls", "consistency",
                           "thresholds", "quality_scores", "preferences", "score_residuals", "descriptions", "templates"}  # fmt: skip
    assert all(rows for rows in tables.values()) and len(tables["consistency"]) == 15 * 6 + 15 * 5 + 10 * 2 + 10 * 2
    assert [row["method"] for row in tables["quality_scores"]] == [name for name in whole.found.quality for _ in range(15)]
    for name, rows in tables.items():
        write_csv(rows, tmp_path / f"{name}.csv")
    assert brief.found.as_dict()["preference"] is None and brief.found.tables()["preferences"] == []


@pytest.mark.slow
def test_a_processor_that_takes_one_image_alone_leaves_a_note(llava: Mllm, whole: Held, tmp_path: Path) -> None:
    record = tmp_path / "answers" / "model.json"
    record.parent.mkdir()
    record.write_bytes((whole.out / "model.json").read_bytes())
    there = [row for row in lines(whole.out) if not row.get("question", "").startswith("pair")]
    (record.parent / "answers-0.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in there))
    found = interview(one_at_a_time(llava), shown(), out=record.parent, few=2, **SMALL)
    assert found.preference is None and found.answers["json"].accuracy == 1
    (note,) = found.notes
    assert note.startswith("Pairs of images could not be compared (InputError: ") and "one image per question" in note


def test_without_any_truth_the_rest_is_asked_and_the_notes_say_why(
    llava: Mllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stimuli = painted(2, ("jpeg", "gaussian_blur"), (1,), psnr=None, ssim=None)
    found = interviewed(llava, stimuli, thorough=False).found
    assert not list(tmp_path.iterdir()), "answers of an interview without a folder are thrown away"
    assert found.answers["forced-choice"].accuracy == 1 and found.few == 2, "about all references by default"
    assert found.quality == {} and found.thresholds is None and found.preference is None and found.bias.residuals is None
    assert found.score_consistency["paraphrases"]["spread"] and found.bias.contradictions is None
    assert len(found.notes) == 2 and "nothing to be compared with" in found.notes[0] and "no thresholds" in found.notes[1]
    entry = json.loads(json.dumps(found.as_dict()))
    assert entry["quality"] == {} and entry["thresholds"] is None and found.tables()["thresholds"] == []


def test_what_cannot_be_asked_is_refused_before_anything_is(llava: Mllm) -> None:
    for stimuli, options in ((shown(), {"few": 1}), (shown(), {"few": 0}), (shown(1), {}), (shown(), {"scores": ()})):
        with pytest.raises(
            InputError, match="An interview is about at least two references and has at least one quality method"
        ):
            interview(llava, stimuli, **{**SMALL, **options})
    for wrong, words in (({"scores": ("stars",)}, "'stars'"), ({"scores": ("number",)}, "'number' states its scale"),
                         ({"repeats": 1}, "Got 1 repeats"), ({"taxonomy": "paper9"}, "Unknown taxonomy")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            interview(llava, shown(), **{**SMALL, **wrong})
    with pytest.raises(InputError, match="No stimulus has an image for 'other-class' among 9"):
        interview(llava, painted(3, ("jpeg",), (1, 2, 3), clean=False), **SMALL)


@pytest.mark.slow
def test_a_stimulus_that_cannot_be_shown_is_missing_everywhere(llava: Mllm, tmp_path: Path) -> None:
    stimuli = [*shown(), Stimulus("unlabelled", "r0", "color_block", 1, pixels=shown()[0].pixels)]
    stimuli[1] = replace(stimuli[1], pixels=tmp_path / "missing.png")
    found = interviewed(llava, stimuli).found
    assert {len(own.table) for own in found.answers.values()} == {14} and all(
        own.accuracy == 1 for own in found.answers.values()
    )
    assert {own.agreement.images for own in found.consistency.values()} == {14} and found.bias.divergence.n == 14
    assert all(len(own.table) == 14 for own in found.quality.values()) and found.bias.templates["quality"].n == 14
    assert found.preference and all(stimuli[1].id not in (row["first"], row["second"]) for row in found.preference.table)
    assert all(10 <= row["n"] < 14 for row in found.controls.table), "nor can it be shown in another's place"
    assert all(stimuli[1].id != row.get("id") for rows in found.tables().values() for row in rows)


def unknown(entry: Any, where: str = "") -> list[str]:
    """Where an entry holds a NaN."""
    if isinstance(entry, Mapping):
        return [one for key, item in entry.items() for one in unknown(item, f"{where} {key}")]
    if isinstance(entry, list):
        return [one for item in entry for one in unknown(item, where)]
    return [where.strip()] if isinstance(entry, float) and entry != entry else []
