"""What the untouched model makes of the training images, computed once per image."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hooks.batch import Batch, run
from hooks.capture import Stop, capture
from hooks.load import Mllm
from tuning.lessons import Lesson

LIMIT = 1 << 30
"""Bytes of visual tokens that are kept."""


class Untouched:
    """The visual tokens of the untouched model: its projector's output, nothing behind it runs."""

    def __init__(self, mllm: Mllm, limit: int = LIMIT) -> None:
        self.mllm, self.limit = mllm, limit
        self.kept: dict[str, torch.Tensor] = {}
        self.bytes = 0

    def __call__(self, inputs: Batch, lessons: Sequence[Lesson]) -> list[torch.Tensor]:
        """Tokens of each lesson's image, (tokens, d) each, as the model was before tuning.

        Args:
            inputs: of these lessons; used if none of the images was seen before.
            lessons: of one pass.
        """
        new = [lesson for lesson in lessons if lesson.stimulus.id not in self.kept]
        if len(new) == len(lessons):
            found = dict(zip((lesson.stimulus.id for lesson in lessons), self._computed(inputs), strict=True))
        elif new:
            asked = self.mllm.inputs([lesson.stimulus.image for lesson in new], [lesson.prompt for lesson in new])
            found = dict(zip((lesson.stimulus.id for lesson in new), self._computed(asked), strict=True))
        else:
            found = {}
        rows = [found.get(lesson.stimulus.id, self.kept.get(lesson.stimulus.id)) for lesson in lessons]
        for id, row in found.items():
            if self.bytes + row.nbytes <= self.limit:
                self.kept[id] = row.clone()
                self.bytes += row.nbytes
        return [row for row in rows if row is not None]

    def _computed(self, inputs: Batch) -> list[torch.Tensor]:
        model, stages = self.mllm.model, self.mllm.stages
        with torch.no_grad(), capture(model, "projector", stages, stop=True) as seen:
            try:
                run(model, inputs.tensors)
            except Stop:
                pass
            return inputs.layout.rows("projector", seen.all("projector"))
