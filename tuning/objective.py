"""What one batch of lessons asks of a model, as a sum of named parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hooks.batch import Batch, run
from hooks.capture import Stop, capture, features
from hooks.load import Mllm
from tuning.lessons import Lesson
from tuning.losses import align_infonce, answer_nll, keep_content

CONSTRAINTS: Mapping[str, tuple[str, ...]] = {"align": ("align",), "keep": ("keep",), "align+keep": ("align", "keep")}
"""Constraint by name → the parts it adds."""
WEIGHTS: Mapping[str, float] = {"align": 0.3, "keep": 1.5}
"""Of the parts a constraint adds, before ``constraint_weight``; ours, chosen on the embedded models."""


@dataclass(frozen=True)
class Objective:
    """The parts of the loss: ``answer``, ``replay`` and those of the constraint (0 where absent)."""

    untouched: Mllm
    """The model before tuning."""
    student: Any
    """What is run and trained: the tuned copy, or the copy with its adapters."""
    words: torch.Tensor
    """(k, d) embedding of each class's wording."""
    replay: float
    constraint: str | None
    constraint_weight: float

    def __call__(self, batch: Sequence[Lesson]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of a batch, and its parts."""
        images = [lesson.stimulus.image for lesson in batch]
        inputs = self.untouched.inputs(images, [lesson.prompt for lesson in batch], [lesson.answer for lesson in batch])
        with _outputs_of(self._projector()) as seen:
            parts = self._answers(inputs, torch.tensor([lesson.target for lesson in batch]))
        added = CONSTRAINTS[self.constraint] if self.constraint else ()
        tokens = inputs.layout.rows("projector", seen)
        parts |= {name: parts["answer"].new_zeros(()) for name in WEIGHTS}
        asked = [lesson.target for lesson in batch if lesson.target >= 0]
        if "align" in added and asked:
            mean = torch.stack([row.mean(0) for row, lesson in zip(tokens, batch, strict=True) if lesson.target >= 0])
            parts["align"] = align_infonce(mean, self.words, torch.tensor(asked, device=mean.device))
        if "keep" in added:
            parts["keep"] = keep_content(torch.cat(tokens), torch.cat(self._untouched_tokens(inputs)), self.words)
        weights = {"answer": 1 - self.replay, "replay": self.replay}
        weights |= {name: self.constraint_weight * weight for name, weight in WEIGHTS.items()}
        return torch.stack([weights[name] * part for name, part in parts.items()]).sum(), parts

    def _answers(self, inputs: Batch, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """Likelihood of the distortion answers and of the replays."""
        assert inputs.labels is not None
        first = int(inputs.layout.last_prompt.min())
        keep = inputs.labels.shape[1] - first
        logits = run(self.student, inputs.tensors, keep).logits[:, -keep:]
        labels, asked = inputs.labels[:, first:].to(logits.device), (targets >= 0).to(logits.device)
        return {
            name: answer_nll(logits[own], labels[own]) if own.any() else logits.new_zeros(())
            for name, own in (("answer", asked), ("replay", ~asked))
        }

    def _untouched_tokens(self, inputs: Batch) -> list[torch.Tensor]:
        """What the untouched model's projector gives for the same images; nothing behind it runs."""
        model, stages = self.untouched.model, self.untouched.stages
        with torch.no_grad(), capture(model, "projector", stages, stop=True) as seen:
            try:
                run(model, inputs.tensors)
            except Stop:
                pass
            return inputs.layout.rows("projector", seen.all("projector"))

    def _projector(self) -> nn.Module:
        name = self.untouched.stages.sites["projector"]
        model = self.student.get_base_model() if hasattr(self.student, "get_base_model") else self.student
        found: nn.Module = model.get_submodule(name)
        return found


@contextmanager
def _outputs_of(module: nn.Module) -> Iterator[list[torch.Tensor]]:
    """The module's outputs with their graph (``hooks.capture`` detaches)."""
    seen: list[torch.Tensor] = []

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        seen.append(features(output, "projector"))

    handle = module.register_forward_hook(hook)
    try:
        yield seen
    finally:
        handle.remove()
