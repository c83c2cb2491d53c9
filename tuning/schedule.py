"""How long a run lasts, how fast it learns at each step, and how a step is cut into passes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
WARMUP = 0.1
"""Share of the run."""
LAST = 0.02
"""Of the peak rate, at the end."""


@dataclass(frozen=True)
class Plan:
    """The course of a run."""

    steps: int | None
    seconds: float | None
    """Wall time of the steps; the run ends at whichever comes first."""
    batch_size: int
    """Lessons per step, over all passes and processes."""
    micro_batch: int | None
    """Lessons per forward pass at most; None for as many as there are per process."""
    lr: float
    replay: float
    quality: float
    pairs: bool
    """Whether lessons come in pairs of severities."""
    seed: int
    patience: int | None
    """Evaluations without a better one after which the run stops; None for no early stopping."""
    evaluate_every: int
    checkpoint_every: int

    def done(self, step: int, elapsed: float) -> float:
        """How much of the run is over, 0 to 1 and beyond."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = elapsed / self.seconds if self.seconds else 0.0
        return max(by_steps, by_time)

    def rate(self, step: int, elapsed: float) -> float:
        """Learning rate: linear warm-up, then a cosine to ``LAST`` of the peak (Loshchilov and Hutter 2017)."""
        done = self.done(step, elapsed)
        if done < WARMUP:
            ahead = 1 / self.steps if self.steps else 1 / (step + 1) * 0.1 * WARMUP
            return self.lr * min(1.0, (done + ahead) / WARMUP)
        left = min(1.0, (done - WARMUP) / (1 - WARMUP))
        return self.lr * (LAST + (1 - LAST) / 2 * (1 + math.cos(math.pi * left)))


def passes(batch: Sequence[T], size: int | None, world: int, unit: int = 1) -> list[Sequence[T]]:
    """A batch cut into passes of nearly equal size, as many for each process.

    Args:
        batch: lessons.
        size: of a pass at most; None for one pass per process.
        world: processes.
        unit: so many neighbours stay together.

    Returns:
        Passes; process r of w takes r, r + w, …. None is empty unless there are fewer units than processes; for that, and for units,
        a pass may be larger than ``size``.
    """
    units = math.ceil(len(batch) / unit)
    wanted = math.ceil(len(batch) / size) if size else world
    count = world * max(1, min(math.ceil(wanted / world), units // world))
    edges = [unit * round(units * i / count) for i in range(count + 1)]
    return [batch[start:end] for start, end in zip(edges[:-1], edges[1:], strict=True)]
