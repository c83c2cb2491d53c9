"""How many answers a run gave, and how fast."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from hooks.asks import Ask


class Tally:
    """Counts answers, generated tokens and the seconds they took; what is timed ends with values on the processor."""

    def __init__(self, device: torch.device) -> None:
        self._device = str(device)
        self._start = time.perf_counter()
        self.started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.free = self.scored = self.tokens = 0
        """Answers in the model's own words, lists of options scored, and tokens generated."""
        self.seconds = {"free": 0.0, "scored": 0.0}

    @contextmanager
    def answers(self, ask: Ask, count: int) -> Iterator[None]:
        """Time some answers to one question; they do not count if they fail."""
        start = time.perf_counter()
        yield
        kind = "scored" if ask.options else "free"
        self.seconds[kind] += time.perf_counter() - start
        setattr(self, kind, getattr(self, kind) + count)

    def summary(self) -> dict[str, Any]:
        """What the run measured, JSON-able; ``model_share`` is the share of the time spent answering."""
        seconds = time.perf_counter() - self._start
        generating = self.seconds["free"]
        return {
            "started": self.started,
            "device": self._device,
            "seconds": round(seconds, 3),
            "free_answers": self.free,
            "scored_answers": self.scored,
            "generated_tokens": self.tokens,
            "seconds_generating": round(generating, 3),
            "seconds_scoring": round(self.seconds["scored"], 3),
            "tokens_per_second": round(self.tokens / generating, 2) if generating else None,
            "answers_per_second": round((self.free + self.scored) / seconds, 2),
            "model_share": round(sum(self.seconds.values()) / seconds, 4),
        }

    def sentence(self) -> str:
        """The summary for people."""
        run = self.summary()
        speed = f", {run['tokens_per_second']:.1f} tokens per second" if run["tokens_per_second"] else ""
        return (
            f"{self.free + self.scored} answers in {run['seconds']:.1f} s: {run['answers_per_second']:.1f} per second{speed}; "
            f"{run['model_share']:.0%} of the time in the model"
        )
