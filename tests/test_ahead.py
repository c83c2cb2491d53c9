"""Workers ahead of the model: in order, bounded, and bad images told one by one."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from hooks.ahead import DEPTH, Inputs, Maker, Ready, ahead, default_workers
from hooks.batch import Batch
from stimuli.sets import exam_set
from stimuli.types import Stimulus


def stimulus(i: int, pixels: Any = None) -> Stimulus:
    return Stimulus(f"s{i}", f"s{i}", None, None, pixels=pixels or (lambda: np.full((4, 4, 3), i, np.uint8)))


def build(images: Sequence[np.ndarray]) -> Inputs:
    """A processor that takes no image with a dark corner."""
    if any(image[0, 0, 0] == 0 for image in images):
        raise ValueError("too dark")
    return Inputs([Batch({"first": [int(image[0, 0, 0]) for image in images]}, None, None)])  # type: ignore[arg-type]


def first(ready: Ready) -> list[int]:
    assert ready.inputs is not None
    return ready.inputs.batches[0].tensors["first"]


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_batches_come_in_order_and_not_all_at_once(workers: int) -> None:
    begun = threading.Semaphore(0)
    counts = []

    def blocks() -> Iterator[list[Stimulus]]:
        for b in range(20):
            begun.release()
            yield [stimulus(1 + 2 * b), stimulus(2 + 2 * b)]

    seen = []
    for n, ready in enumerate(ahead(blocks(), Maker(build), workers)):
        seen += first(ready)
        while begun.acquire(blocking=False):
            counts.append(n)
    assert seen == list(range(1, 41))
    assert all(counts.count(n) <= DEPTH for n in range(20)) and len(counts) == 20


def test_images_that_cannot_be_read_or_shown_are_told_apart(tmp_path: Path) -> None:
    block = [stimulus(1), stimulus(0), stimulus(2, tmp_path / "none.png"), stimulus(3)]
    (ready,) = ahead([block], Maker(build), 2)
    assert [s.id for s in ready.stimuli] == ["s1", "s3"] and first(ready) == [1, 3]
    told = {id: str(error) for id, error in ready.refused}
    assert "none.png cannot be read" in told["s2"]
    assert "rejects this image of shape 4 x 4 x 3 (ValueError: too dark)" in told["s0"]


def test_a_processor_that_cannot_batch_is_noticed() -> None:
    def single(images: Sequence[np.ndarray]) -> Inputs:
        if len(images) > 1:
            raise ValueError("sizes differ")
        return build(images)

    (ready,) = ahead([[stimulus(1), stimulus(2)]], Maker(single), 1)
    assert ready.inputs is None and len(ready.stimuli) == 2 and not ready.refused


def test_an_error_that_is_no_refusal_comes_through_and_ends_the_workers() -> None:
    def broken() -> np.ndarray:
        raise ZeroDivisionError

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        list(ahead([[stimulus(1, broken)]] * 5, Maker(build), 2))
    assert threading.active_count() == before


def alive() -> int:
    return len([child for child in psutil.Process().children(recursive=True) if "popen_loky" in " ".join(child.cmdline())])


def test_beside_a_gpu_processes_read_and_end_with_the_last(tmp_path: Path) -> None:
    shown = exam_set(4, levels=(3, 5), measure=False, in_memory=False)
    blocks = [list(shown)[i : i + 4] for i in range(0, len(shown), 4)]

    def whole(images: Sequence[np.ndarray]) -> Inputs:
        return Inputs([Batch({"images": list(images)}, None, None)])  # type: ignore[arg-type]

    found = []
    for ready in ahead(blocks, Maker(whole), 2, gpu=True):
        assert ready.inputs is not None
        found += ready.inputs.batches[0].tensors["images"]
        while alive() < 2:  # the first are read by threads, the others by processes
            time.sleep(0.1)
    assert all(np.array_equal(image, stimulus.image) for image, stimulus in zip(found, shown, strict=True))
    assert alive() == 0
    bad = [stimulus(1, tmp_path / "none.png"), *blocks[0]]
    (ready,) = ahead([bad], Maker(whole), 1, gpu=True)  # an error comes back from a process as from a thread
    assert "none.png cannot be read" in str(ready.refused[0][1])


def test_stimuli_that_cannot_be_sent_to_processes_are_read_by_threads() -> None:
    (ready,) = ahead([[stimulus(1), stimulus(2)]], Maker(build), 2, gpu=True)
    assert first(ready) == [1, 2] and alive() == 0


def test_the_processors_are_shared_by_the_processes_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert (default_workers(True), default_workers(False)) == (16, 8)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert (default_workers(True), default_workers(False)) == (7, 4)


@pytest.mark.slow
def test_workers_end_with_a_process_that_was_killed() -> None:
    code = (
        "import sys; from hooks.ahead import *; from stimuli.sets import exam_set\n"
        "class M(Maker):\n    def inputs(self, images): return Inputs([])\n"
        "shown = list(exam_set(64, measure=False, in_memory=False))\n"
        "for ready in ahead([shown[i:i + 4] for i in range(0, 512, 4)], M(None), 2, gpu=True): print(len(ready.stimuli), flush=True)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent)
    assert run.stdout is not None and run.stdout.readline() == b"4\n"
    while (
        len(workers := [c for c in psutil.Process(run.pid).children(recursive=True) if "popen_loky" in " ".join(c.cmdline())])
        < 2
    ):
        time.sleep(0.1)
    run.kill()
    run.communicate()
    _, there = psutil.wait_procs(workers, timeout=20)
    assert not there
