"""Answers: parsing without guessing, numbers from arrays, paired comparison."""

import numpy as np
import pytest

from analysis.perception import UNPARSED, ask, blind, compare_answers, parse, score_answers
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.questions import question
from stimuli.types import Stimulus, StimulusSet

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
    assert parse(text, ASKED) == answer


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


def test_intervals_are_over_references() -> None:
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random(10) < 0.5, 4)  # all four images of a reference stand or fall together
    answers = ["a" if hit else "b" for hit in right]
    found = score_answers(stimuli(40), ["a"] * 40, answers, ("a", "b"), "open", answers)
    assert found.high - found.low > 0.4, "40 independent images would give about 0.3"


def test_comparisons_are_paired_and_need_the_same_stimuli() -> None:
    labels = ["a", "b"] * 20
    bad = score_answers(stimuli(40), labels, ["a"] * 40, ("a", "b"), "x", labels)
    good = score_answers(stimuli(40), labels, labels, ("a", "b"), "x", labels)
    gain = compare_answers(bad, good)
    assert gain.value == 0.5 and gain.p < 0.01
    assert compare_answers(good, good).value == 0 and compare_answers(good, good).p == 1
    with pytest.raises(InputError, match="about different stimuli"):
        compare_answers(bad, score_answers(stimuli(36), labels[:36], labels[:36], ("a", "b"), "x", labels))


def test_a_model_is_asked_and_the_blind_control_does_not_see(llava: Mllm, six: StimulusSet) -> None:
    answers = ask(llava, six, progress=False)
    row = answers.table[0]
    assert sum(row[f"p_{name}"] for name in answers.classes) == pytest.approx(1)
    assert row["answer"] == max(answers.classes, key=lambda name: row[f"p_{name}"])
    unseen = blind(llava, six, progress=False)
    assert len({row["answer"] for row in unseen.table}) == 1 and unseen.protocol.endswith("blank image")
    opened = ask(llava, six, "open", progress=False)
    assert opened.unparsed == np.mean([row["answer"] == UNPARSED for row in opened.table])


def test_refusals_are_in_words(llava: Mllm) -> None:
    with pytest.raises(InputError, match="Unknown protocol 'shout'. Expected forced-choice or open"):
        ask(llava, stimuli(2), "shout")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="None of the 1 stimuli has a class in 'paper8'"):
        ask(llava, [Stimulus("a", "a", "color_block", 1)])
