"""Stimuli made ready ahead of the model: images read and distorted by a bounded pool of workers, then turned into inputs.

Threads, not processes: what takes time (decoding, filtering, resizing) runs outside Python's lock, and any stimulus will do.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from hooks.batch import Batch
from stimuli.errors import InputError, SnellenError
from stimuli.types import Stimulus

DEPTH = 3
"""Batches under way at a time: what bounds the memory."""


@dataclass
class Ready:
    """Some stimuli with their inputs, and those that gave none."""

    stimuli: list[Stimulus] = field(default_factory=list)
    images: list[np.ndarray] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    """One per prompt, in the processor's memory."""
    refused: list[tuple[str, Exception]] = field(default_factory=list)
    """Stimulus id and why it cannot be shown."""
    alone: bool = False
    """Whether the processor takes these images one by one only."""


Build = Callable[[Sequence[np.ndarray]], list[Batch]]


class Maker:
    """Turns images into inputs; one thread at a time, because tokenizers are not safe for more."""

    def __init__(self, build: Build) -> None:
        self._build, self._lock = build, threading.Lock()

    def inputs(self, images: Sequence[np.ndarray]) -> list[Batch]:
        """One batch per prompt."""
        with self._lock:
            return [_pinned(batch) for batch in self._build(images)]

    def ready(self, stimuli: Sequence[Stimulus], images: Sequence[np.ndarray | Exception]) -> Ready:
        """Inputs of those stimuli whose images can be read and that the processor takes."""
        ready = Ready()
        for stimulus, image in zip(stimuli, images, strict=True):
            if isinstance(image, Exception):
                ready.refused.append((stimulus.id, image))
            else:
                ready.stimuli.append(stimulus)
                ready.images.append(image)
        if ready.images:
            try:
                ready.batches = self.inputs(ready.images)
            except Exception:  # whatever a processor raises; one by one tells whose fault it is
                self._sift(ready)
        return ready

    def _sift(self, ready: Ready) -> None:
        shown = list(zip(ready.stimuli, ready.images, strict=True))
        good = []
        for stimulus, image in shown:
            try:
                self.inputs([image])
                good.append((stimulus, image))
            except Exception as own:
                ready.refused.append((stimulus.id, _told(own, image)))
        ready.stimuli, ready.images = [s for s, _ in good], [i for _, i in good]
        ready.alone = len(good) == len(shown)  # together they fail, alone none does
        ready.batches = self.inputs(ready.images) if good and not ready.alone else []


def ahead(blocks: Iterable[Sequence[Stimulus]], maker: Maker, workers: int | None = None) -> Iterator[Ready]:
    """Blocks of stimuli made ready in order, a few ahead of whoever asks.

    Args:
        blocks: the stimuli of each batch.
        maker: makes inputs of images.
        workers: threads that read and distort images; one per two processors by default, 0 does everything on the spot.
    """
    if workers == 0:
        for block in blocks:
            yield maker.ready(block, [_read(stimulus) for stimulus in block])
        return
    with ThreadPoolExecutor(workers or default_workers()) as readers, ThreadPoolExecutor(1) as builder:
        under_way: deque[Future[Ready]] = deque()
        try:
            for block in blocks:
                images = [readers.submit(_read, stimulus) for stimulus in block]
                under_way.append(builder.submit(_when_read, maker, block, images))
                if len(under_way) == DEPTH:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            readers.shutdown(wait=False, cancel_futures=True)
            builder.shutdown(wait=False, cancel_futures=True)


def default_workers() -> int:
    """Threads that read and distort, left to themselves: one per two processors, at most eight."""
    return max(1, min(8, (os.cpu_count() or 2) // 2))


def _when_read(maker: Maker, block: Sequence[Stimulus], images: Sequence[Future[np.ndarray | Exception]]) -> Ready:
    return maker.ready(block, [image.result() for image in images])


def _read(stimulus: Stimulus) -> np.ndarray | Exception:
    try:
        return stimulus.image
    except SnellenError as error:
        return error


def _told(error: Exception, image: np.ndarray) -> InputError:
    shape = " x ".join(str(side) for side in image.shape)
    return InputError(
        f"The model's processor rejects this image of shape {shape} ({type(error).__name__}: {error}). Expected an image that it "
        "takes: resize or remove it; without --strict it is skipped."
    )


def _pinned(batch: Batch) -> Batch:
    """In memory that a GPU reads without waiting for the processor."""
    if not torch.cuda.is_available():
        return batch
    tensors = {name: value.pin_memory() if isinstance(value, torch.Tensor) else value for name, value in batch.tensors.items()}
    return Batch(tensors, batch.layout, batch.labels)


def placed(batch: Batch, device: torch.device) -> dict[str, Any]:
    """The inputs on the model's device."""
    return {name: v.to(device, non_blocking=True) if hasattr(v, "to") else v for name, v in batch.tensors.items()}
