"""Multiple-choice questions put to a model that answers by rule: what it says, what it finds likeliest, and what is right."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from analysis.mcq import McqAnswers, ask_mcq
from hooks.load import Mllm
from probes.intervals import group_bootstrap
from stimuli.mcq import McqSet, read_mcq
from tests.speakers import Rule
from tests.test_quality import QUIET, answering, painted, seen

ANSWERS = ("B", "C. Noise", "It is the blur.", "I cannot say", "A or B", "D")
"""Of each of six images."""
QUESTION = "Which flaw is worst?"
CHOICES = ("Blur", "Noise", "Colour")


def asked(folder: Path, rows: Sequence[Mapping[str, Any]]) -> McqSet:
    """Questions about the six painted images ``0.png`` … ``5.png``, in Q-Bench's own form."""
    for i, stimulus in enumerate(painted(6, ())):
        Image.fromarray(stimulus.image).save(folder / f"{i}.png")
    (folder / "questions.json").write_text(json.dumps(rows))
    return read_mcq(folder / "questions.json")


def row(
    image: int, correct: str | None = "Noise", question: str = QUESTION, choices: Sequence[str] = CHOICES, **more: Any
) -> Any:
    return {"img_path": f"{image}.png", "question": question, "candidates": choices, "correct_ans": correct, **more}


def answered(llava: Mllm, rule: Rule, questions: McqSet, **options: Any) -> McqAnswers:
    return ask_mcq(answering(llava, rule), questions, **{**QUIET, **options})


def test_what_is_said_is_read_and_never_guessed(llava: Mllm, tmp_path: Path) -> None:
    prompts = set()

    def rule(prompt: str, pixels: Any, before: int) -> str:
        prompts.add(prompt)
        return ANSWERS[seen(pixels)[0]]

    found = answered(llava, rule, asked(tmp_path, [row(i) for i in range(6)]))
    assert [own["raw"] for own in found.table] == list(ANSWERS)
    assert [own["said"] for own in found.table] == ["Noise", None, "Blur", None, None, None], (
        "a letter against its own words, too"
    )
    assert [own["right"] for own in found.table] == [True, False, False, False, False, False]
    assert found.by_group[0]["accuracy"] == pytest.approx(1 / 6) and found.by_group[0]["unparsed"] == pytest.approx(4 / 6)
    (text,) = prompts
    lettered = "A. Blur\nB. Noise\nC. Colour\nAnswer with the option's letter from the given choices directly."
    assert f"{QUESTION}\n{lettered}" in text
    shown = {key: found.table[0][key] for key in ("id", "image", "question", "choices", "correct", "type", "concern")}
    assert shown == {"id": "0", "image": "0.png", "question": QUESTION, "choices": list(CHOICES), "correct": "Noise", "type": None,
                     "concern": None}  # fmt: skip


def test_the_likeliest_letter_is_told_beside_what_is_said(llava: Mllm, tmp_path: Path) -> None:
    rule = {"I cannot say": 0.4, "B": 0.3, "A": 0.15, "C": 0.05, "D": 0.09}
    two = row(1, "Yes", "Is it sharp?", ["Yes", "No"])
    four = row(2, "Other", QUESTION, [*CHOICES, "Other"])
    found = answered(llava, lambda *given: rule, asked(tmp_path, [row(0), two, four]))
    assert [own["said"] for own in found.table] == [None] * 3 and found.by_group[0]["accuracy"] == 0
    assert [own["likeliest"] for own in found.table] == ["Noise", "No", "Noise"]
    assert [own["likeliest_right"] for own in found.table] == [True, False, False]
    shares = [0.3 / 0.5, 0.3 / 0.45, 0.3 / 0.59]
    assert [own["p"] for own in found.table] == pytest.approx(shares, abs=1e-4), "letters without a choice have no share"
    assert found.by_group[0]["likeliest"] == pytest.approx(1 / 3)
    assert found.by_group[0]["chance"] == pytest.approx((1 / 3 + 1 / 2 + 1 / 4) / 3)
    assert all(0 < own["confidence"] < 1 for own in found.table)


def test_groups_are_types_and_concerns_and_intervals_are_over_images(llava: Mllm, tmp_path: Path) -> None:
    rows = [row(i, question=f"{QUESTION} ({k})", type=k, concern=i % 2) for i in range(4) for k in (0, 2)]
    right = [True, True, True, False, False, False, True, False]

    def rule(prompt: str, pixels: Any, before: int) -> str:
        return "B" if right[2 * seen(pixels)[0] + ("(2)" in prompt)] else "A"

    found = answered(llava, rule, asked(tmp_path, rows))
    groups = {own["group"]: own for own in found.by_group}
    assert list(groups) == ["overall", "yes-or-no", "how", "distortion", "others"]
    assert [(own["n"], own["images"]) for own in found.by_group] == [(8, 4), (4, 4), (4, 4), (4, 2), (4, 2)]
    assert [own["accuracy"] for own in found.by_group] == [0.5, 0.75, 0.25, 0.5, 0.5]
    assert all(own["likeliest"] == own["accuracy"] for own in found.by_group), "certain of what it says"
    expected = group_bootstrap(np.array(right, float), np.repeat(np.arange(4), 2), QUIET["n_boot"])
    assert (groups["overall"]["low"], groups["overall"]["high"]) == (expected.low, expected.high)
    assert (groups["overall"]["likeliest_low"], groups["overall"]["likeliest_high"]) == (expected.low, expected.high)
    assert found.sentence.startswith(
        "8 questions about 4 images: 50.0% right, 0.0% unparsed; by likelihood 50.0% (chance 33.3%)"
    )
    assert json.loads(json.dumps(found.as_dict())) == {"n": 8, "hidden": 0, "by_group": found.by_group}


def test_one_image_has_no_interval_and_images_of_one_name_are_two(llava: Mllm, tmp_path: Path) -> None:
    questions = asked(tmp_path, [row(0, question=f"{QUESTION} ({k})") for k in range(2)])
    (only,) = answered(llava, lambda *given: "B", questions).by_group
    assert (only["images"], only["accuracy"], only["low"], only["likeliest_high"]) == (1, 1, None, None)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes((tmp_path / "0.png").read_bytes())
    apart = asked(tmp_path, [{**row(0), "img_path": f"{name}/0.png"} for name in ("a", "b")])
    (both,) = answered(llava, lambda *given: "B", apart).by_group
    assert both["images"] == 2 and both["low"] == 1


def test_hidden_answers_are_given_but_not_scored(llava: Mllm, tmp_path: Path) -> None:
    some = answered(llava, lambda *given: "B", asked(tmp_path, [row(0), row(1, None), row(2, "Blur")]))
    assert some.hidden == 1 and some.by_group[0]["n"] == 2 and some.by_group[0]["accuracy"] == 0.5
    assert (some.table[1]["said"], some.table[1]["right"], some.table[1]["likeliest_right"]) == ("Noise", None, None)
    none = answered(llava, lambda *given: "B", asked(tmp_path, [row(0, None), row(1, None)]))
    assert none.by_group == [] and none.sentence == "2 questions answered; none has its right answer in the file."


def test_missing_images_are_skipped_and_nothing_is_asked_twice(llava: Mllm, tmp_path: Path) -> None:
    questions = asked(tmp_path, [row(0), row(9), row(2)])
    found = answered(llava, lambda *given: "B", questions, out=tmp_path / "answers")
    assert [own["id"] for own in found.table] == ["0", "2"] and found.by_group[0]["n"] == 2

    def silent(prompt: str, pixels: Any, before: int) -> str:
        raise AssertionError("asked again")

    assert answered(llava, silent, questions, out=tmp_path / "answers").as_dict() == found.as_dict()
