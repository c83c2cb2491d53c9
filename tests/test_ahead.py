"""Workers ahead of the model: in order, bounded, and bad images told one by one."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hooks.ahead import DEPTH, Maker, ahead
from hooks.batch import Batch
from stimuli.types import Stimulus


def stimulus(i: int, pixels: Any = None) -> Stimulus:
    return Stimulus(f"s{i}", f"s{i}", None, None, pixels=pixels or (lambda: np.full((4, 4, 3), i, np.uint8)))


def build(images: Sequence[np.ndarray]) -> list[Batch]:
    """A processor that takes no image with a dark corner."""
    if any(image[0, 0, 0] == 0 for image in images):
        raise ValueError("too dark")
    return [Batch({"first": [int(image[0, 0, 0]) for image in images]}, None, None)]  # type: ignore[arg-type]


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
        seen += ready.batches[0].tensors["first"]
        while begun.acquire(blocking=False):
            counts.append(n)
    assert seen == list(range(1, 41))
    assert all(counts.count(n) <= DEPTH for n in range(20)) and len(counts) == 20


def test_images_that_cannot_be_read_or_shown_are_told_apart(tmp_path: Path) -> None:
    block = [stimulus(1), stimulus(0), stimulus(2, tmp_path / "none.png"), stimulus(3)]
    (ready,) = ahead([block], Maker(build), 2)
    assert [s.id for s in ready.stimuli] == ["s1", "s3"] and ready.batches[0].tensors["first"] == [1, 3]
    told = {id: str(error) for id, error in ready.refused}
    assert "none.png cannot be read" in told["s2"]
    assert "rejects this image of shape 4 x 4 x 3 (ValueError: too dark)" in told["s0"]


def test_a_processor_that_cannot_batch_is_noticed() -> None:
    def single(images: Sequence[np.ndarray]) -> list[Batch]:
        if len(images) > 1:
            raise ValueError("sizes differ")
        return build(images)

    (ready,) = ahead([[stimulus(1), stimulus(2)]], Maker(single), 1)
    assert ready.alone and not ready.batches and len(ready.stimuli) == 2 and not ready.refused


def test_an_error_that_is_no_refusal_comes_through_and_ends_the_workers() -> None:
    def broken() -> np.ndarray:
        raise ZeroDivisionError

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        list(ahead([[stimulus(1, broken)]] * 5, Maker(build), 2))
    assert threading.active_count() == before
