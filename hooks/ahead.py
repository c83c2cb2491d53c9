"""Stimuli made ready ahead of the model: images read and distorted by a bounded pool of workers, then turned into inputs."""

from __future__ import annotations

import os
import pickle
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from hooks.batch import Batch
from stimuli.errors import InputError
from stimuli.types import Stimulus
from stimuli.worker import end_with, image_or_error

DEPTH = 3
"""Batches under way at a time: what bounds the memory."""


@dataclass(frozen=True)
class Inputs:
    """What the model is given for some images."""

    batches: list[Batch]
    """One per prompt."""
    rows: dict[str, torch.Tensor] = field(default_factory=dict)
    """The input sites, which need no model: (images, d) each."""


@dataclass
class Ready:
    """Some stimuli with their inputs, and those that gave none."""

    stimuli: list[Stimulus] = field(default_factory=list)
    images: list[np.ndarray] = field(default_factory=list)
    inputs: Inputs | None = None
    """Of all of them together; None if there are none, or if the processor takes these images one by one only."""
    refused: list[tuple[str, Exception]] = field(default_factory=list)
    """Stimulus id and why it cannot be shown."""
    rejected: int = 0
    """How many of these could be read, but not shown to this model."""


class Maker:
    """Turns images into inputs; one thread at a time, because tokenizers are not safe for more."""

    def __init__(self, build: Callable[[Sequence[np.ndarray]], Inputs]) -> None:
        self._build, self._lock = build, threading.Lock()

    def inputs(self, images: Sequence[np.ndarray]) -> Inputs:
        """What the model is given for some images, in memory that a GPU reads without waiting for the processor."""
        with self._lock:
            made = self._build(images)
        return Inputs([pinned(batch) for batch in made.batches], made.rows)

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
                ready.inputs = self.inputs(ready.images)
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
                ready.refused.append((stimulus.id, told(own, image)))
                ready.rejected += 1
        ready.stimuli, ready.images = [s for s, _ in good], [i for _, i in good]
        if 0 < len(good) < len(shown):  # if all are good alone, it is together that they fail
            ready.inputs = self.inputs(ready.images)


def ahead(blocks: Iterable[Sequence[Stimulus]], maker: Maker, workers: int | None, gpu: bool = False) -> Iterator[Ready]:
    """Blocks of stimuli made ready in order, a few ahead of whoever asks.

    Beside a GPU the workers are processes, if the stimuli can be sent to them: threads would compete with the one that keeps the
    GPU busy for Python's lock. Beside a model on the processor they are threads, which cost no memory.

    Args:
        blocks: the stimuli of each batch.
        maker: makes inputs of images.
        workers: how many read and distort images; by default what ``default_workers`` says, 0 does everything on the spot.
        gpu: whether the model computes on one.
    """
    if workers == 0:
        for block in blocks:
            yield maker.ready(block, [image_or_error(stimulus) for stimulus in block])
        return
    readers = Readers(default_workers(gpu) if workers is None else workers, gpu)
    builder = ThreadPoolExecutor(1)
    under_way: deque[Future[Ready]] = deque()
    try:
        for block in blocks:
            images = [_image(readers, stimulus) for stimulus in block]
            under_way.append(builder.submit(_when_read, maker, block, images))
            if len(under_way) == DEPTH:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        readers.shutdown()
        builder.shutdown(cancel_futures=True)


def default_workers(gpu: bool) -> int:
    """Workers, left to themselves: beside a GPU this process's share of the processors but one, at most 16; else half, at most 8."""
    mine = (os.cpu_count() or 2) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(16, mine - 1) if gpu else min(8, mine // 2))


def _image(readers: Readers, stimulus: Stimulus) -> Future[np.ndarray | Exception]:
    if isinstance(stimulus.pixels, np.ndarray):  # there is nothing to do
        future: Future[np.ndarray | Exception] = Future()
        future.set_result(stimulus.pixels)
        return future
    return readers.submit(image_or_error, stimulus)


class Readers:
    """Reads images elsewhere: in threads, or in processes as soon as these have started, which takes seconds."""

    def __init__(self, count: int, processes: bool) -> None:
        self._count, self._wanted = count, processes
        self._threads = ThreadPoolExecutor(count)
        self._processes: Any = None
        self._started: Future[Any] | None = None

    def submit(self, read: Callable[[Any], Any], what: Any) -> Future[Any]:
        """Read something; if processes are wanted, all that is given must be fit to be sent to one, or nothing is sent."""
        if self._wanted and self._started is None and _travels(what):
            self._processes = _processes(self._count)
            self._started = self._processes.submit(read, what)
        ready = self._started is not None and self._started.done()
        return (self._processes if ready else self._threads).submit(read, what)

    def shutdown(self) -> None:
        """Stop; what has not begun is not read."""
        self._threads.shutdown(cancel_futures=True)
        if self._processes is not None:
            self._processes.shutdown(wait=True, kill_workers=True)


def _processes(count: int) -> Any:
    """Worker processes that are no copies of this one: started afresh, so that neither CUDA nor the user's script is in them."""
    from joblib.externals.loky import ProcessPoolExecutor

    threads = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    return ProcessPoolExecutor(count, timeout=60, env=threads, initializer=end_with, initargs=(os.getpid(),))


def _travels(what: Any) -> bool:
    try:
        pickle.dumps(what)
    except Exception:  # whatever an object of the user's raises
        return False
    return True


def _when_read(maker: Maker, block: Sequence[Stimulus], images: Sequence[Future[np.ndarray | Exception]]) -> Ready:
    return maker.ready(block, [image.result() for image in images])


def told(error: Exception, image: np.ndarray) -> InputError:
    """That the processor rejects an image, and why."""
    shape = " x ".join(str(side) for side in image.shape)
    return InputError(
        f"The model's processor rejects this image of shape {shape} ({type(error).__name__}: {error}). Expected an image that it "
        "takes: resize or remove it; without --strict it is skipped."
    )


Pinned = dict[int, tuple[torch.Tensor, torch.Tensor]]
"""Tensors by their identity, with their copies; they are held, so that no other takes their identity."""


def pinned(batch: Batch, done: Pinned | None = None) -> Batch:
    """A batch in memory that a GPU reads without waiting for the processor, where there is one.

    Args:
        batch: the batch.
        done: what other batches with tensors in common had copied; added to.
    """
    if not torch.cuda.is_available():
        return batch
    held = {} if done is None else done

    def copied(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in held:
            held[id(tensor)] = tensor, tensor.pin_memory()
        return held[id(tensor)][1]

    tensors = {name: copied(value) if isinstance(value, torch.Tensor) else value for name, value in batch.tensors.items()}
    return Batch(tensors, batch.layout, batch.labels)


def placed(batch: Batch, device: torch.device) -> dict[str, Any]:
    """The inputs on the model's device."""
    return {name: v.to(device, non_blocking=True) if hasattr(v, "to") else v for name, v in batch.tensors.items()}
