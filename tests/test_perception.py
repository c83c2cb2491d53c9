"""Answers: numbers from arrays, paired comparison, and models whose answers are known asked through the real passes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, recall_score

from analysis.parsing import UNPARSED, named
from analysis.perception import (
    Answers,
    ask,
    ask_all,
    blind,
    compare_answers,
    readings,
    score_answers,
    score_reading,
    with_labels,
)
from analysis.protocols import Reading, protocol
from hooks.capture import capture
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.questions import question
from stimuli.types import Stimulus, StimulusSet
from tests.speakers import Rule
from tests.test_protocols import CLASSES, five, looks, mouth, qinsight5, shown

ASKED = question("distortion")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("blur", "blur"), ("Blur.", "blur"), ("The image is blurry", "blur"), ("It is unblurred", UNPARSED),
        ("noise and blur", UNPARSED), ("", UNPARSED), ("I cannot say", UNPARSED), ("JPEG artifacts!", "compression"),
        ("a denoised picture", UNPARSED), ("no distortion", "clean"), ("grainy", "noise"), ("contrast", "contrast"),
    ],
)  # fmt: skip
def test_answers_are_parsed_by_whole_words_and_never_guessed(text: str, answer: str) -> None:
    assert named(text, ASKED) == answer


# ---- numbers from arrays ---------------------------------------------------------------------------------------------


def stimuli(n: int) -> list[Stimulus]:
    return [Stimulus(f"s{i}", f"r{i // 4}", "jpeg", 1 + i % 2) for i in range(n)]


def test_numbers_come_from_the_rows() -> None:
    labels = ["a", "a", "a", "b"] * 5
    answers = ["a", "b", UNPARSED, "b"] * 5
    found = score_answers(stimuli(20), labels, answers, ("a", "b"), "open", answers)
    assert found.accuracy == 0.5 and found.balanced_accuracy == pytest.approx((1 / 3 + 1) / 2)
    assert found.majority == 0.75 and found.chance == 0.5 and found.unparsed == 0.25
    assert found.confusion.tolist() == [[5, 5, 5], [0, 5, 0]]
    assert found.response_distribution == {"a": 0.25, "b": 0.5, UNPARSED: 0.25}
    assert found.low == found.high == 0.5, "every reference has the same rows, so nothing varies over references"
    assert [row["level"] for row in found.by_level] == [1, 2] and found.by_level[0]["n"] == 10
    assert [(row["type"], row["n"]) for row in found.by_type] == [("jpeg", 20)] and found.by_severity == []
    assert found.macro_f1 == pytest.approx((2 / 4 + 2 / 3) / 2), (
        "a: one right of one said and three shown; b: one of two and one"
    )
    assert found.profile["top"] == "b" and found.profile["if_image_ignored"] == pytest.approx(0.25 * 0.75 + 0.5 * 0.25)
    assert found.calibration is None and found.extra == {} and "p_a" not in found.table[0]
    assert [row["correct"] for row in found.table[:4]] == [True, False, False, True]


def test_shares_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    labels, answers = (rng.choice(list(said), 80) for said in ("abc", ["a", "b", "c", UNPARSED]))
    found = score_answers(stimuli(80), list(labels), list(answers), ("a", "b", "c"), "open", list(answers), n_boot=100)
    assert found.balanced_accuracy == pytest.approx(recall_score(labels, answers, labels=["a", "b", "c"], average="macro"))
    assert found.macro_f1 == pytest.approx(f1_score(labels, answers, labels=["a", "b", "c"], average="macro"))
    for own in ("", "balanced_", "macro_"):
        value = getattr(found, {"": "accuracy", "balanced_": "balanced_accuracy", "macro_": "macro_f1"}[own])
        assert getattr(found, f"{own}low") < value < getattr(found, f"{own}high")


def test_intervals_are_over_references() -> None:
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random(10) < 0.5, 4)  # all four images of a reference stand or fall together
    answers = ["a" if hit else "b" for hit in right]
    found = score_answers(stimuli(40), ["a"] * 40, answers, ("a", "b"), "open", answers)
    assert found.high - found.low > 0.4, "40 independent images would give about 0.3"


def test_what_a_protocol_tells_stands_in_the_rows_and_confidence_is_calibrated() -> None:
    labels, sure = ["a", "b"] * 4, [0.8, np.nan] * 4
    chances = np.array([[0.8, 0.2], [0.6, 0.4]] * 4)
    found = score_answers(stimuli(8), labels, ["a"] * 8, ("a", "b"), "x", list("stuvwxyz"), chances, confidence=sure,
                          columns={"order_0": list("abababab")})  # fmt: skip
    row = found.table[1]
    assert (row["raw"], row["confidence"], row["p_a"], row["p_b"], row["order_0"]) == ("t", None, 0.6, 0.4, "b")
    assert found.calibration is not None and found.calibration["n"] == 4 and found.calibration["left_out"] == 4
    assert found.calibration["ece"] == pytest.approx(0.2), "four answers of confidence 0.8 are all right"
    unsure = score_answers(stimuli(8), labels, labels, ("a", "b"), "x", labels, confidence=[np.nan] * 8)
    assert unsure.calibration is None
    entry = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert (entry["n"], entry["references"], entry["classes"]) == (8, 2, ["a", "b"])
    assert entry["confusion"] == [[4, 0, 0], [4, 0, 0]] and "table" not in entry


def reading(answers: list[str], **columns: Sequence[Any]) -> Reading:
    return Reading(tuple(answers), tuple(answers), np.full(len(answers), 0.5), None, columns)


def test_exact_match_is_scored_beside_the_answers() -> None:
    labels, rows = ["noise", "blur"] * 4, stimuli(8)
    said = reading(labels, exact=["noise", UNPARSED] * 4)
    found = score_reading(rows, labels, said, qinsight5("short-answer"))
    assert found.accuracy == 1 and found.extra["exact"]["value"] == 0.5 and found.protocol == "short-answer"


def test_severity_is_scored_of_distorted_images_whose_class_is_right() -> None:
    rows = [replace(s, level=level) for s, level in zip(stimuli(8), (1, 2, 3, None, 1, 2, 3, None), strict=True)]
    labels = ["noise", "noise", "blur", "clean"] * 2
    said = reading(["noise", "noise", "noise", "clean"] * 2, severity=[1, 3, 3, None, 1, 2, 3, None])
    found = score_reading(rows, labels, said, qinsight5("json")).extra["severity"]
    assert (found["n"], found["value"]) == (4, 0.75), "blur was taken for noise, so its severity does not count"
    assert found["low"] == 0.5 and found["high"] == 1, "one reference has both right, the other one of two"
    unknown = [replace(s, level=None) if s.id == "s0" else s for s in rows]
    rest = score_reading(unknown, labels, said, qinsight5("json")).extra["severity"]
    assert (rest["n"], rest["value"]) == (3, pytest.approx(2 / 3)), "what has no published level has no right severity"
    one = reading([*["noise"] * 2, *[UNPARSED] * 6], severity=[1, 3, *[None] * 6])
    alone = score_reading(rows, labels, one, qinsight5("json")).extra["severity"]
    assert alone == {"n": 2, "value": 0.5, "low": None, "high": None}, "one reference has no interval"
    wrong = score_reading(rows, labels, reading(["blur"] * 8, severity=[1] * 8), qinsight5("json")).extra["severity"]
    assert wrong == {"n": 2, "value": 0.0, "low": 0.0, "high": 0.0}
    never = score_reading(rows, labels, reading([UNPARSED] * 8, severity=[None] * 8), qinsight5("json")).extra["severity"]
    assert never == {"n": 0, "value": None, "low": None, "high": None}


def test_odds_are_scored_without_a_threshold() -> None:
    labels = ["noise", "clean"] * 4
    odds = {"odds_noise": [-1.0, -2.0, -1.0, -2.0, -3.0, -2.0, -1.0, -2.0], "odds_blur": [0.0] * 8}
    found = score_reading(stimuli(8), labels, reading(["clean"] * 8, **odds), qinsight5("yes-no")).extra["auc"]
    assert [(row["class"], row["n"], row["auc"]) for row in found] == [("noise", 4, 0.75)], "no image has blur"


def test_comparisons_are_paired_and_need_the_same_stimuli() -> None:
    labels = ["a", "b"] * 20
    bad = score_answers(stimuli(40), labels, ["a"] * 40, ("a", "b"), "x", labels)
    good = score_answers(stimuli(40), labels, labels, ("a", "b"), "x", labels)
    gain = compare_answers(bad, good)
    assert gain.value == 0.5 and gain.p < 0.01
    assert compare_answers(good, good).value == 0 and compare_answers(good, good).p == 1
    with pytest.raises(InputError, match="about different stimuli"):
        compare_answers(bad, score_answers(stimuli(36), labels[:36], labels[:36], ("a", "b"), "x", labels))


# ---- models that are asked -------------------------------------------------------------------------------------------


PLAIN: dict[str, Any] = {"taxonomy": "qinsight5", "workers": 0, "progress": False, "n_boot": 50}


def asked(mllm: Mllm, rule: Rule, kind: str = "forced-choice", **options: Any) -> Answers:
    return ask(mouth(mllm, rule), five(), kind, **{**PLAIN, **options})


def test_a_model_that_looks_is_right_and_blind_it_says_one_thing(llava: Mllm) -> None:
    found = asked(llava, looks)
    assert (found.accuracy, found.balanced_accuracy, found.macro_f1, found.unparsed) == (1, 1, 1, 0)
    assert [row["answer"] for row in found.table] == [row["label"] for row in found.table] == list(CLASSES * 2)
    assert found.table[7]["id"] == "blur1" and found.table[7]["p_blur"] == pytest.approx(1)
    unseen = blind(mouth(llava, looks), five(), **PLAIN)
    assert unseen.protocol == "forced-choice, grey" and unseen.response_distribution["noise"] == 1
    assert unseen.accuracy == unseen.chance == 0.2


def test_a_model_that_always_says_a_is_at_chance_and_its_letters_show_why(llava: Mllm) -> None:
    found = asked(llava, lambda *_: "A", "multiple-choice", orders=5)
    assert found.accuracy == found.balanced_accuracy == 0.2
    assert {found.table[0][f"order_{i}"] for i in range(5)} == set(CLASSES), "each class stands at A once"
    assert all(row[f"letter_{i}"] == "A" for row in found.table for i in range(5))
    assert all(row[f"p_{label}"] == pytest.approx(0.2) for row in found.table for label in CLASSES)


def test_unparsed_answers_are_counted_and_wrong(llava: Mllm) -> None:
    def rule(prompt: str, pixels: torch.Tensor | None, drawn: int) -> str:
        seen = shown(pixels)
        return "noise or blur" if seen and seen[0] == "blur" else looks(prompt, pixels, drawn)

    found = asked(llava, rule, "open")
    assert found.accuracy == 0.8 and found.unparsed == 0.2 and found.extra["exact"]["value"] == 0
    assert found.confusion[CLASSES.index("blur")].tolist() == [0, 0, 0, 0, 0, 2]


def test_settings_arrive(llava: Mllm) -> None:
    def rule(prompt: str, pixels: torch.Tensor | None, drawn: int) -> str | Mapping[str, float]:
        return (
            "noise"
            if "What ails" in prompt and pixels is not None and shown(pixels) is None
            else f"{'darken blur'[: 6 * drawn]}"
        )

    found = asked(llava, rule, "open", prompt="What ails it?", view="blank", repeats=2, temperature=0.5, max_new_tokens=7)
    assert found.protocol == "open, blank" and found.table[0]["repeat_0"] == found.table[0]["repeat_1"] == "noise"
    cut = asked(llava, rule, "open", repeats=2, temperature=0.5, max_new_tokens=3, seed=3)
    assert [cut.table[0][f"repeat_{i}"] for i in range(2)] == [UNPARSED] * 2, "darken has four tokens"
    assert asked(llava, looks, length_normalised=False, calibrated=True).protocol == "forced-choice, sum, calibrated"


def test_everything_about_an_image_is_asked_at_once(llava: Mllm, tmp_path: Path) -> None:
    calls = []

    def rule(prompt: str, pixels: torch.Tensor | None, drawn: int) -> str:
        calls.append(prompt)
        return looks(prompt, pixels, drawn)

    ways = [
        qinsight5("forced-choice", calibrated=True),
        qinsight5("multiple-choice", orders=2),
        qinsight5("yes-no"),
        qinsight5("open"),
    ]
    mllm, how = mouth(llava, rule), {**PLAIN, "batch_size": 4}
    with capture(mllm.model, "vision.embed", mllm.stages) as seen:
        found = ask_all(mllm, five(), ways, tmp_path / "a", **how)
    assert len(seen.all("vision.embed")) == 6, "three batches, each as it is and grey"
    assert list(found) == ["forced-choice, calibrated", "multiple-choice", "yes-no", "open"]
    assert all([row["id"] for row in own.table] == [s.id for s in five()] and own.accuracy == 1 for own in found.values())
    assert [row["class"] for row in found["yes-no"].extra["auc"]] == [*CLASSES[:-1], "mean"]
    assert all(row["auc"] == 1 for row in found["yes-no"].extra["auc"])
    calls.clear()
    again = ask_all(mllm, five(), ways, tmp_path / "a", **how)
    assert calls == [] and {name: own.table for name, own in again.items()} == {name: own.table for name, own in found.items()}
    ask_all(mllm, five(), [*ways, qinsight5("open", prompt="What ails it?", name="ails")], tmp_path / "a", **how)
    assert calls and all("What ails it?" in prompt for prompt in calls), "only what is new is asked"


@pytest.mark.slow
def test_a_model_that_looks_has_the_severities_of_its_json_right(llava: Mllm) -> None:
    found = asked(llava, looks, "json")
    assert found.accuracy == 1 and found.extra["severity"] == {"n": 8, "value": 1, "low": 1, "high": 1}
    assert [row["severity"] for row in found.table if row["label"] == "blur"] == [1, 2]


def test_skipped_images_and_those_without_a_class_leave_the_rows_consistent(llava: Mllm, tmp_path: Path) -> None:
    broken = [replace(s, pixels=tmp_path / "none.png") if s.id in ("compression0", "clean1") else s for s in five()]
    other = Stimulus("other", "r0", "color_block", 3, pixels=np.zeros((8, 8, 3), np.uint8))
    shown_set = StimulusSet([*broken[:3], other, *broken[3:]], "broken")
    found = ask_all(mouth(llava, looks), shown_set, [qinsight5("forced-choice"), qinsight5("open")], **PLAIN)
    left = [s.id for s in five() if s.id not in ("compression0", "clean1")]
    for own in found.values():
        assert [row["id"] for row in own.table] == left and own.accuracy == 1
        assert all(row["id"] == row["label"] + row["reference"][1:] for row in own.table)
    rows, labels = with_labels(shown_set, "qinsight5")
    assert "other" not in {s.id for s in rows} and labels == list(CLASSES * 2)
    told = readings(mouth(llava, looks), rows, [qinsight5("forced-choice")], workers=0, progress=False)
    assert told.ids == tuple(left) and set(told.skipped) == {"compression0", "clean1"}
    assert "none.png" in told.skipped["clean1"]


def test_refusals_are_in_words(llava: Mllm) -> None:
    with pytest.raises(InputError, match="Unknown protocol 'shout'. Expected one of forced-choice, multiple-choice"):
        ask(llava, stimuli(2), "shout")
    with pytest.raises(InputError, match="Unknown view 'sideways'"):
        ask(llava, stimuli(2), view="sideways")
    with pytest.raises(InputError, match="None of the 1 stimuli has a class in 'paper8'"):
        ask(llava, [Stimulus("a", "a", "color_block", 1)])
    with pytest.raises(InputError, match="two are called 'open'"):
        ask_all(llava, five(), [protocol("open"), protocol("open", prompt="What?")])
