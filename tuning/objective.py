"""What one pass over lessons asks of a model, as a sum of named parts that add up over the passes of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from hooks.batch import Batch, bare, run
from hooks.capture import features
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.questions import question
from stimuli.types import Stimulus
from tuning.constraints import WEIGHTS, Seen, constrained, needs_before, needs_content, rows_of
from tuning.lessons import Lesson
from tuning.losses import answer_nll
from tuning.untouched import Untouched, key_of

CONSTRAINTS = tuple(WEIGHTS)
"""The names of the constraints."""
ANSWERS = ("answer", "quality", "replay")
"""Parts that are likelihoods of answers, by the kind of the lesson."""
SCALE_IMAGES = 64
"""How many training images tell the variance of the untouched model's tokens."""
SCALE_BATCH = 16


def weights_of(replay: float, quality: float, constraint: Mapping[str, float]) -> dict[str, float]:
    """The weights of all parts: distortion answers get what replays and quality words leave; parts without a share are left out.

    Args:
        replay: share of replays, 0 to 1.
        quality: share of quality lessons, 0 to 1.
        constraint: as ``tuning.constraints.parse_constraint`` gives it.

    Raises:
        InputError: shares below 0 or above 1 together.
    """
    if not (replay >= 0 and quality >= 0 and replay + quality <= 1):
        raise InputError(
            f"Got replay={replay} and quality={quality}. Expected shares of a batch, each at least 0, together at most 1."
        )
    shares = {"answer": 1 - replay - quality, "quality": quality, "replay": replay}
    return {name: share for name, share in shares.items() if share > 0} | dict(constraint)


def totals(lessons: Sequence[Lesson], weights: Mapping[str, float]) -> dict[str, int]:
    """How many rows each part is about: lessons, or pairs of them (``order``).

    Args:
        lessons: of a whole step, over all passes and processes.
        weights: the parts.
    """
    return {name: len(rows_of(name, lessons)) for name in weights}


@dataclass(frozen=True)
class Objective:
    """The parts of the loss: likelihoods of answers and constraints on the visual tokens, those in ``weights`` alone."""

    untouched: Mllm
    """The model before tuning."""
    student: Any
    """What is run and trained: the tuned copy, with its adapters and whatever several processes wrap around it."""
    words: torch.Tensor
    """(k, d) embedding of each class's wording."""
    weights: Mapping[str, float]
    """Of all parts (``weights_of``)."""
    scale: float
    """Variance of the untouched model's tokens (``token_scale``)."""
    tokens_before: Callable[[Batch, Sequence[Lesson]], list[torch.Tensor]] | None = None
    """Gives the untouched model's visual tokens for some lessons and their inputs; default runs it up to the projector."""
    content: dict[tuple[str, str], torch.Tensor] = field(default_factory=dict, repr=False)
    """Mean untouched tokens of the images that show the content, by ``tuning.untouched.key_of``; filled when first needed."""

    def __call__(
        self, lessons: Sequence[Lesson], totals: Mapping[str, int] | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of one pass, and its parts.

        Each part is the sum over its rows in this pass over their number in the whole step, so that losses and gradients of
        the passes add up to those of one pass over all lessons. ``order`` needs its pairs in one pass; ``decorrelate`` is an
        average over passes that each look at their own images.

        Args:
            lessons: of this pass; none at all give a loss of 0.
            totals: rows of each part in the whole step (``totals``); those of this pass by default.

        Raises:
            InputError: a constraint, and the model has no projector.
        """
        if not lessons:
            return (zero := self._nothing()), {name: zero for name in self.weights}
        rows = {name: len(rows_of(name, lessons)) for name in self.weights}
        constraints = [name for name in self.weights if name not in ANSWERS]
        inputs = self._inputs(lessons)
        with _outputs_of(self._projector() if constraints else None) as outputs:
            logits, labels = self._answers(inputs)
        means = {}
        for name in (name for name in self.weights if name in ANSWERS and rows[name]):
            own = torch.tensor(rows_of(name, lessons), device=logits.device)
            means[name] = answer_nll(logits[own], labels[own]).mean()
        if any(rows[name] for name in constraints):
            seen = self._seen(inputs, lessons, outputs, constraints)
            means |= {name: constrained(name, seen)[0].to(logits.device) for name in constraints if rows[name]}
        whole, zero = rows if totals is None else totals, logits[:0].float().sum()
        parts = {name: means[name] * (rows[name] / whole[name]) if name in means else zero for name in self.weights}
        return torch.stack([self.weights[name] * part for name, part in parts.items()]).sum(), parts

    def _nothing(self) -> torch.Tensor:
        """0 with a gradient of zeros for all that is trained."""
        empty = [value.reshape(-1)[:0].float().sum() for value in self.student.parameters() if value.requires_grad]
        return torch.stack([value.to(empty[0].device) for value in empty]).sum() if empty else torch.zeros(())

    def _inputs(self, lessons: Sequence[Lesson]) -> Batch:
        """Inputs whose answers end together, so that few positions need logits however much the prompts differ in length."""
        images, prompts = [lesson.stimulus.image for lesson in lessons], [lesson.prompt for lesson in lessons]
        return self.untouched.inputs(images, prompts, [lesson.answer for lesson in lessons], pad_left=True)

    def _answers(self, inputs: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and labels from the last prompt position on."""
        assert inputs.labels is not None
        first = int(inputs.layout.last_prompt.min())
        keep = inputs.labels.shape[1] - first
        logits = run(self.student, inputs.tensors, keep).logits[:, -keep:]
        return logits, inputs.labels[:, first:].to(logits.device)

    def _seen(
        self, inputs: Batch, lessons: Sequence[Lesson], outputs: Sequence[torch.Tensor], constraints: Sequence[str]
    ) -> Seen:
        """What the constraints look at, where the projector is; the untouched model runs only for those that need it."""
        tokens = inputs.layout.rows("projector", outputs)
        device = tokens[0].device
        rows = needs_before(constraints, lessons)
        own = [lessons[row] for row in rows]
        found = self._before(inputs if len(rows) == len(lessons) else None, own) if rows else []
        before = {row: value.to(device) for row, value in zip(rows, found, strict=True)}
        content = self._content(inputs, lessons, needs_content(constraints, lessons), device)
        return Seen(lessons, tokens, before, content, self.words.to(device), self.scale)

    def _before(self, inputs: Batch | None, lessons: Sequence[Lesson]) -> list[torch.Tensor]:
        ask = self.tokens_before or Untouched(self.untouched, 0)
        return ask(inputs or self._inputs(lessons), lessons)

    def _content(
        self, inputs: Batch, lessons: Sequence[Lesson], rows: Sequence[int], device: torch.device
    ) -> dict[int, torch.Tensor]:
        """Mean untouched token of the clean image of each lesson's reference, computed once; of its own image without one."""
        shown = {row: replace(lessons[row], stimulus=lessons[row].clean or lessons[row].stimulus) for row in rows}
        keys = {row: key_of(one, inputs) for row, one in shown.items()}
        new = {keys[row]: one for row, one in shown.items() if keys[row] not in self.content}
        if new:
            means = [value.float().mean(0).cpu() for value in self._before(None, list(new.values()))]
            self.content.update(zip(new, means, strict=True))
        return {row: self.content[key].to(device) for row, key in keys.items()}

    def _projector(self) -> nn.Module:
        name = self.untouched.stages.sites.get("projector")
        if name is None:
            raise InputError(
                f"{type(self.untouched.model).__name__} has no projector, whose tokens a constraint shapes. Expected a model with the "
                "site 'projector'; leave the constraint out."
            )
        found: nn.Module = bare(self.student).get_submodule(name)
        return found


def token_scale(mllm: Mllm, stimuli: Sequence[Stimulus], seed: int = 0, count: int = SCALE_IMAGES) -> float:
    """Variance of a model's visual tokens over images, tokens and coordinates.

    Args:
        mllm: the model before tuning.
        stimuli: the training stimuli.
        seed: of the choice of images.
        count: how many of them, at random, are looked at.

    Raises:
        InputError: all tokens are the same.
    """
    chosen = np.random.default_rng([seed, 17]).permutation(len(stimuli))[:count]
    before, prompt = Untouched(mllm, 0), question("distortion").prompt
    numbers, sums = 0, torch.zeros(2, dtype=torch.float64)
    for start in range(0, len(chosen), SCALE_BATCH):
        lessons = [Lesson(stimuli[i], prompt, "", -1) for i in chosen[start : start + SCALE_BATCH]]
        inputs = mllm.inputs([lesson.stimulus.image for lesson in lessons], [lesson.prompt for lesson in lessons])
        for tokens in before(inputs, lessons):
            values = tokens.cpu().double()
            numbers += values.numel()
            sums += torch.stack([values.sum(), values.square().sum()])
    variance = float(sums[1] / numbers - (sums[0] / numbers) ** 2)
    if not variance > 0:
        raise InputError(
            f"The visual tokens of {len(chosen)} training images vary by {variance:g}. Expected a finite number above 0; check that the "
            "model's projector gives different tokens for different images."
        )
    return variance


@contextmanager
def _outputs_of(module: nn.Module | None) -> Iterator[list[torch.Tensor]]:
    """The module's outputs with their graph (``hooks.capture`` detaches); none without a module."""
    seen: list[torch.Tensor] = []

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        seen.append(features(output, "projector"))

    handle = module.register_forward_hook(hook) if module is not None else None
    try:
        yield seen
    finally:
        if handle is not None:
            handle.remove()
