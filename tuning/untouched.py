"""What the untouched model makes of the training images, computed once per image (and prompt, where that enters it)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hooks.batch import Batch, run
from hooks.capture import Stop, capture
from hooks.load import Mllm
from tuning.lessons import Lesson

READS_PROMPT = "qformer_input_ids"
"""The input by which the prompt enters the visual tokens (InstructBLIP's Q-Former)."""
LIMIT = 1 << 30
"""Bytes of visual tokens that are kept, in main memory and in their own dtype."""


def key_of(lesson: Lesson, inputs: Batch) -> tuple[str, str]:
    """By what a lesson's tokens are kept: its image, and its prompt where that enters them.

    Args:
        lesson: any.
        inputs: of any pass of the model, which tell whether prompts enter its tokens.
    """
    return lesson.stimulus.id, lesson.prompt if READS_PROMPT in inputs.tensors else ""


class Untouched:
    """The visual tokens of the untouched model: its projector's output, nothing behind it runs."""

    def __init__(self, mllm: Mllm, limit: int = LIMIT) -> None:
        self.mllm, self.limit = mllm, limit
        self.kept: dict[tuple[str, str], torch.Tensor] = {}
        self.bytes = 0
        self.device = torch.device("cpu")
        """Where tokens are computed."""

    def __call__(self, inputs: Batch, lessons: Sequence[Lesson]) -> list[torch.Tensor]:
        """Tokens of each lesson's image, (tokens, d) each, as the model was before tuning.

        Args:
            inputs: of these lessons; used if none of the images was seen before.
            lessons: of one pass.
        """
        keys = [key_of(lesson, inputs) for lesson in lessons]
        new = {key: lesson for key, lesson in zip(keys, lessons, strict=True) if key not in self.kept}
        if len(new) == len(lessons):
            found = dict(zip(keys, self._computed(inputs), strict=True))
        elif new:
            shown = list(new.values())
            asked = self.mllm.inputs([lesson.stimulus.image for lesson in shown], [lesson.prompt for lesson in shown])
            found = dict(zip(new, self._computed(asked), strict=True))
        else:
            found = {}
        if found:
            self.device = next(iter(found.values())).device
        rows = [found[key] if key in found else self.kept[key].to(self.device) for key in keys]
        for key, row in found.items():
            if self.bytes + row.nbytes <= self.limit:
                self.kept[key] = row.to("cpu", copy=True)
                self.bytes += row.nbytes
        return rows

    def _computed(self, inputs: Batch) -> list[torch.Tensor]:
        model, stages = self.mllm.model, self.mllm.stages
        with torch.no_grad(), capture(model, "projector", stages, stop=True) as seen:
            try:
                run(model, inputs.tensors)
            except Stop:
                pass
            return inputs.layout.rows("projector", seen.all("projector"))
