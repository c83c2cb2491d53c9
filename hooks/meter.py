"""Where the time of an extraction goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Meter:
    """Adds up seconds by what they were spent on; on a GPU the model's are the GPU's own."""

    def __init__(self, device: torch.device) -> None:
        self._start = time.perf_counter()
        self.started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._cuda = device.type == "cuda"
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._model = 0.0
        self.hooks = 0.0
        """Seconds in hooks: pooling (on a GPU, setting it going)."""
        self.waiting = {"stimuli": 0.0, "disk": 0.0}
        """Seconds the model stood still for want of stimuli, and of the disk."""
        self.images = 0
        self.bytes = 0
        self.skipped = 0

    @contextmanager
    def model(self) -> Iterator[None]:
        """Time a forward pass."""
        if self._cuda:
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            yield
            end.record()
            self._events.append((begin, end))
            return
        start = time.perf_counter()
        yield
        self._model += time.perf_counter() - start

    @contextmanager
    def wait(self, what: str) -> Iterator[None]:
        """Time what keeps the model from working: ``stimuli`` or ``disk``."""
        start = time.perf_counter()
        yield
        self.waiting[what] += time.perf_counter() - start

    def settle(self) -> None:
        """Read the clocks of passes that are over."""
        for begin, end in self._events:
            end.synchronize()
            self._model += begin.elapsed_time(end) / 1000
        self._events.clear()

    def summary(self) -> dict[str, Any]:
        """What the run measured: counts, bytes per stimulus, images per second, and where the time went.

        ``overhead`` is all of the time over the model's own, ``model_share`` its inverse; on a CPU the time in hooks is not
        counted as the model's.
        """
        self.settle()
        seconds = time.perf_counter() - self._start
        model = self._model - (0 if self._cuda else self.hooks)
        there = max(self.images, 1)
        return {
            "started": self.started,
            "images": self.images,
            "skipped": self.skipped,
            "seconds": round(seconds, 3),
            "images_per_second": round(self.images / seconds, 3),
            "bytes": self.bytes,
            "bytes_per_stimulus": round(self.bytes / there),
            "model_seconds": round(model, 3),
            "hook_seconds": round(self.hooks, 3),
            "waiting_for_stimuli": round(self.waiting["stimuli"], 3),
            "waiting_for_disk": round(self.waiting["disk"], 3),
            "model_share": round(model / seconds, 4),
            "overhead": round(seconds / model, 4) if model > 0 else None,
        }


def sentence(run: dict[str, Any]) -> str:
    """A run's summary for people."""
    return (
        f"{run['images']} stimuli in {run['seconds']:.1f} s: {run['images_per_second']:.1f} per second, "
        f"{run['bytes_per_stimulus'] / 1000:.1f} kB each; {run['model_share']:.0%} of the time in the model, "
        f"{run['overhead'] or float('nan'):.2f} times the model alone"
    )
