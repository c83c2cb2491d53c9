"""The loss of a batch is the weighted sum of its parts, and each part is there when it should be."""

from typing import Any

import pytest
import torch

from hooks.load import Mllm
from hooks.words import word_embeddings
from stimuli.types import StimulusSet
from tuning.lessons import Lesson
from tuning.objective import CONSTRAINTS, WEIGHTS, Objective

WORDS = ("blur", "clean")


def objective(llava: Mllm, constraint: str | None, weight: float = 1.0) -> Objective:
    return Objective(llava, llava.model, word_embeddings(llava, WORDS), 0.25, constraint, weight)


@pytest.fixture
def batch(six: StimulusSet) -> list[Lesson]:
    """Two distortion lessons and a replay."""
    asked = [Lesson(six[i], "What is wrong?", WORDS[i], i) for i in (0, 1)]
    return [*asked, Lesson(six[2], "What do you see?", "a red square on stripes", -1)]


@pytest.mark.parametrize("constraint", [None, *CONSTRAINTS])
def test_the_loss_is_the_weighted_sum_of_its_parts(llava: Mllm, batch: list[Lesson], constraint: str | None) -> None:
    loss, parts = objective(llava, constraint, 2.0)(batch)
    weights = {"answer": 0.75, "replay": 0.25, **{name: 2.0 * weight for name, weight in WEIGHTS.items()}}
    assert loss.item() == pytest.approx(sum(weights[name] * part.item() for name, part in parts.items()), rel=1e-5)
    assert parts["answer"] > 0 and parts["replay"] > 0
    assert (parts["align"] > 0) == (constraint in ("align", "align+keep"))
    assert parts["keep"].item() == pytest.approx(0, abs=1e-9), "an untouched model has not moved"


def test_a_lesson_s_answer_loss_does_not_depend_on_its_neighbours(llava: Mllm, batch: list[Lesson]) -> None:
    together = objective(llava, None)(batch)[1]
    alone = [objective(llava, None)([lesson])[1] for lesson in batch]
    assert together["answer"].item() == pytest.approx((alone[0]["answer"] + alone[1]["answer"]).item() / 2, rel=1e-4)
    assert together["replay"].item() == pytest.approx(alone[2]["replay"].item(), rel=1e-4)
    assert alone[2]["answer"] == 0 and alone[0]["replay"] == 0


def test_keep_is_paid_for_what_moves(llava: Mllm, batch: list[Lesson]) -> None:
    import copy

    student: Any = copy.deepcopy(llava.model)
    with torch.no_grad():
        for parameter in student.model.multi_modal_projector.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    moved = Objective(llava, student, word_embeddings(llava, WORDS), 0.25, "keep", 1.0)
    assert moved(batch)[1]["keep"] > 1e-4
