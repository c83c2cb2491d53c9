"""The loss of a step is the weighted sum of its parts, whatever the passes, and only the parts asked for are computed."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from hooks.batch import Batch, run
from hooks.load import Mllm
from hooks.words import word_embeddings
from stimuli.errors import InputError
from stimuli.types import Stimulus, StimulusSet
from tuning.constraints import WEIGHTS
from tuning.lessons import Lesson
from tuning.losses import answer_nll
from tuning.objective import Objective, token_scale, totals, weights_of
from tuning.untouched import READS_PROMPT, Untouched

WORDS = ("blur", "clean")
ALL = weights_of(0.2, 0.1, WEIGHTS)


class Wrapped(nn.Module):
    """As a distributed wrapper holds a model."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, **inputs: Any) -> Any:
        return self.module(**inputs)


@pytest.fixture(scope="module")
def student(llava: Mllm) -> Any:
    """A model that has moved."""
    torch.manual_seed(0)
    moved: Any = copy.deepcopy(llava.model).requires_grad_(False)
    for parameter in moved.model.multi_modal_projector.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
        parameter.requires_grad_(True)
    return moved


@pytest.fixture(scope="module")
def lessons(six: StimulusSet) -> list[Lesson]:
    """Two pairs, two clean images, a quality lesson and a replay."""
    shown = [
        Stimulus(f"j{level}-{i}", f"r{i}", "jpeg", level, pixels=six[2 * i + level // 4].image)
        for i in (0, 1)
        for level in (1, 5)
    ]
    asked = [Lesson(s, "What is wrong?", "blur", 0, "answer", six[2 * (i // 2)]) for i, s in enumerate(shown)]
    asked += [Lesson(six[i], "What is wrong?", "clean", 1, "answer", six[i]) for i in (0, 4)]
    return [*asked, Lesson(shown[1], "How good?", "bad", -1, "quality"), Lesson(six[2], "What?", "a red square", -1, "replay")]


def objective(llava: Mllm, student: Any, weights: Mapping[str, float], **more: Any) -> Objective:
    return Objective(llava, student, word_embeddings(llava, WORDS), weights, 0.5, **more)


def test_the_loss_is_the_weighted_sum_of_the_parts_asked_for(llava: Mllm, student: Any, lessons: list[Lesson]) -> None:
    loss, parts = objective(llava, student, ALL)(lessons)
    assert list(parts) == list(ALL) and all(part > 0 for part in parts.values())
    assert loss.item() == pytest.approx(sum(ALL[name] * part.item() for name, part in parts.items()), rel=1e-5)
    few, only = objective(llava, student, {"answer": 0.5, "keep": 2.0})(lessons)
    assert set(only) == {"answer", "keep"} and all(
        only[name].item() == pytest.approx(parts[name].item(), rel=1e-5) for name in only
    )
    assert few.item() == pytest.approx(0.5 * only["answer"].item() + 2 * only["keep"].item(), rel=1e-5)


def test_an_untouched_model_has_not_moved(llava: Mllm, lessons: list[Lesson]) -> None:
    parts = objective(llava, llava.model, {"answer": 1.0, "keep": 1.0, "distill": 1.0})(lessons)[1]
    assert parts["keep"].item() == pytest.approx(0, abs=1e-9) and parts["distill"].item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("edges", [(0, 4, 8), (0, 2, 2, 6, 8)])
def test_passes_add_up_to_one_big_pass_in_losses_and_gradients(
    llava: Mllm, student: Any, lessons: list[Lesson], edges: Sequence[int]
) -> None:
    weights = {name: weight for name, weight in ALL.items() if name != "decorrelate"}
    parameters = [p for p in student.parameters() if p.requires_grad]
    ask, counts = objective(llava, student, weights), totals(lessons, weights)
    loss, whole = ask(lessons)
    gradient = torch.autograd.grad(loss, parameters)
    summed, gradients = dict.fromkeys(weights, 0.0), [torch.zeros_like(p) for p in parameters]
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        loss, parts = ask(lessons[start:end], counts)
        summed = {name: summed[name] + part.item() for name, part in parts.items()}
        for total, own in zip(gradients, torch.autograd.grad(loss, parameters), strict=True):
            total += own
    assert summed == pytest.approx({name: part.item() for name, part in whole.items()}, rel=1e-5)
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(gradient, gradients, strict=True))


def test_a_part_that_couples_images_is_an_average_over_passes(llava: Mllm, student: Any, lessons: list[Lesson]) -> None:
    weights = {"answer": 1.0, "decorrelate": 1.0}
    ask, counts = objective(llava, student, weights), totals(lessons, weights)
    halves = [ask(own, counts)[1]["decorrelate"] for own in (lessons[:3], lessons[3:])]
    alone = [ask(own)[1]["decorrelate"] for own in (lessons[:3], lessons[3:])]
    assert [a.item() for a in halves] == pytest.approx([b.item() / 2 for b in alone], rel=1e-4)


def test_totals_are_counted_from_the_lessons_alone(lessons: list[Lesson]) -> None:
    assert totals(lessons, ALL) == {
        "answer": 6, "quality": 1, "replay": 1, "align": 6, "align-cosine": 6, "keep": 8, "distill": 3, "order": 2, "decorrelate": 6,
    }  # fmt: skip


def test_a_lesson_s_answer_loss_does_not_depend_on_its_neighbours(llava: Mllm, student: Any, lessons: list[Lesson]) -> None:
    ask = objective(llava, student, {"answer": 1.0, "replay": 1.0})
    together, alone = ask([lessons[0], lessons[-1]])[1], [ask([lessons[i]])[1] for i in (0, -1)]
    assert together["answer"].item() == pytest.approx(alone[0]["answer"].item(), rel=1e-4)
    assert together["replay"].item() == pytest.approx(alone[1]["replay"].item(), rel=1e-4)
    assert alone[1]["answer"] == 0 and alone[0]["replay"] == 0


def test_the_untouched_model_is_asked_for_what_is_needed_and_nothing_else(
    llava: Mllm, student: Any, lessons: list[Lesson]
) -> None:
    asked: list[list[str]] = []

    def before(inputs: Batch, about: Sequence[Lesson]) -> list[torch.Tensor]:
        asked.append([lesson.stimulus.id for lesson in about])
        return Untouched(llava, 0)(inputs, about)

    hooks = len(student.model.multi_modal_projector._forward_hooks)
    for name in ("align", "align-cosine", "order"):
        objective(llava, student, {"answer": 1.0, name: 1.0}, tokens_before=before)(lessons)
    assert asked == []
    objective(llava, student, {"answer": 1.0, "distill": 1.0}, tokens_before=before)(lessons)
    assert asked == [["s0", "s4", "s2"]], "clean images alone"
    asked.clear()
    both = objective(llava, student, {"answer": 1.0, "keep": 1.0, "decorrelate": 1.0}, tokens_before=before)
    first = both(lessons)[1]
    assert asked == [[lesson.stimulus.id for lesson in lessons], ["s0", "s2", "s4"]], "each reference's clean image once"
    again = replace(both, weights={"decorrelate": 1.0})(lessons)[1]
    assert len(asked) == 2 and again["decorrelate"].item() == pytest.approx(first["decorrelate"].item(), rel=1e-5)
    assert len(student.model.multi_modal_projector._forward_hooks) == hooks


@pytest.mark.parametrize("name", ["llava", "qwen"])
def test_prompts_of_any_length_cost_no_logits_and_change_no_loss(name: str, six: StimulusSet, request: Any) -> None:
    mllm: Mllm = request.getfixturevalue(name)
    prompts = ("What?", "What is wrong with this image? Say one of these: blur, noise, jpeg, clean.", "Which?")
    answers = ("a red square", "blur", "bad")
    shown = [replace(six[i], pixels=six[i].image[: 128 - 56 * i]) for i in range(3)]
    lessons = [Lesson(*row, -1, "replay") for row in zip(shown, prompts, answers, strict=True)]
    student = copy.deepcopy(mllm.model).requires_grad_(True)
    widths: list[int] = []
    student.lm_head.register_forward_hook(lambda module, args, output: widths.append(output.shape[1]))
    right = mllm.inputs([s.image for s in shown], prompts, answers)
    assert right.labels is not None
    expected = answer_nll(run(student, right.tensors).logits, right.labels).mean()
    loss, parts = Objective(mllm, student, torch.eye(2), {"replay": 1.0, "align": 1.0}, 1.0)(lessons)
    assert parts["replay"].item() == pytest.approx(expected.item(), abs=1e-5)
    longest = int((right.labels >= 0).sum(1).max())
    assert widths[1] == longest + 1 < right.labels.shape[1] - int(right.layout.last_prompt.min()) < widths[0]
    parameters = list(student.parameters())
    pairs = [torch.autograd.grad(of, parameters, materialize_grads=True) for of in (expected, loss)]
    assert sum(bool(a.any()) for a in pairs[0]) > 20
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(*pairs, strict=True))
    now = mllm.inputs([s.image for s in shown], prompts, answers, pad_left=True)
    for one, other in zip(*(Untouched(mllm, 0)(own, lessons) for own in (right, now)), strict=True):
        assert one.shape == other.shape and torch.allclose(one, other, atol=1e-5), "each image's own tokens"


def test_where_the_prompt_enters_the_tokens_so_it_does_the_content(llava: Mllm, student: Any, lessons: list[Lesson]) -> None:
    asked: list[list[str]] = []

    def before(inputs: Batch, about: Sequence[Lesson]) -> list[torch.Tensor]:
        asked.append([lesson.prompt for lesson in about])
        return Untouched(llava, 0)(inputs, about)

    both = [lessons[0], replace(lessons[0], prompt="Which?")]
    for reads, expected in ((True, [["What is wrong?", "Which?"]]), (False, [["Which?"]])):
        inputs = llava.inputs([one.stimulus.image for one in both], [one.prompt for one in both])
        inputs.tensors.update({READS_PROMPT: None} if reads else {})
        ask = objective(llava, student, {"decorrelate": 1.0}, tokens_before=before)
        for _ in range(2):
            assert set(ask._content(inputs, both, [0, 1], torch.device("cpu"))) == {0, 1}
        assert asked == expected and len(ask.content) == 1 + reads, "computed once each"
        asked.clear()


def test_a_model_may_be_wrapped(llava: Mllm, student: Any, lessons: list[Lesson]) -> None:
    weights = {"answer": 1.0, "align": 1.0}
    plain, wrapped = objective(llava, student, weights)(lessons), objective(llava, Wrapped(student), weights)(lessons)
    assert {name: part.item() for name, part in plain[1].items()} == {name: part.item() for name, part in wrapped[1].items()}


def test_no_lessons_and_no_rows_cost_nothing_and_can_be_differentiated(
    llava: Mllm, student: Any, lessons: list[Lesson]
) -> None:
    parameters = [p for p in student.parameters() if p.requires_grad]
    loss, parts = objective(llava, student, ALL)([], totals(lessons, ALL))
    assert loss == 0 and set(parts) == set(ALL)
    assert all((own == 0).all() for own in torch.autograd.grad(loss, parameters))
    loss, parts = objective(llava, student, {"answer": 1.0, "align": 1.0})(lessons[-2:], {"answer": 6, "align": 6})
    assert loss == 0 and parts["align"] == 0
    assert all((own == 0).all() for own in torch.autograd.grad(loss, parameters))


def test_losses_stay_in_float32_under_autocast(llava: Mllm, student: Any, lessons: list[Lesson]) -> None:
    exact = objective(llava, student, ALL)(lessons)[1]
    with torch.autocast("cpu", torch.bfloat16):
        loss, parts = objective(llava, student, ALL)(lessons)
    assert {part.dtype for part in (loss, *parts.values())} == {torch.float32}
    assert {name: part.item() for name, part in parts.items()} == pytest.approx(
        {n: p.item() for n, p in exact.items()}, rel=0.1
    )


def test_the_scale_is_the_variance_of_the_untouched_tokens(llava: Mllm, six: StimulusSet) -> None:
    inputs = llava.inputs([s.image for s in six], ["?"] * 6)
    tokens = torch.cat(Untouched(llava, 0)(inputs, [Lesson(s, "?", "", -1) for s in six]))
    assert token_scale(llava, six) == pytest.approx(float(tokens.double().var(correction=0)), rel=1e-5)
    assert token_scale(llava, six, 1, 2) == token_scale(llava, six, 1, 2) != token_scale(llava, six, 2, 2)


def test_weights_are_shares_and_shares_must_fit() -> None:
    assert weights_of(0.45, 0.0, {"align": 0.3}) == pytest.approx({"answer": 0.55, "replay": 0.45, "align": 0.3})
    assert weights_of(0.0, 0.25, {}) == {"answer": 0.75, "quality": 0.25}
    for replay, quality in ((0.7, 0.4), (-0.1, 0.2), (0.2, -0.1), (float("nan"), 0.0)):
        with pytest.raises(InputError, match=f"Got replay={replay} and quality={quality}. Expected shares of a batch"):
            weights_of(replay, quality, {})


def test_a_model_without_a_projector_takes_no_constraint(llava: Mllm, student: Any, lessons: list[Lesson]) -> None:
    sites = {site: name for site, name in llava.stages.sites.items() if site != "projector"}
    bare = replace(llava, stages=replace(llava.stages, sites=sites))
    assert objective(bare, student, {"answer": 1.0})(lessons)[0] > 0
    with pytest.raises(InputError, match="LlavaForConditionalGeneration has no projector, whose tokens a constraint shapes"):
        objective(bare, student, {"answer": 1.0, "align": 1.0})(lessons)
