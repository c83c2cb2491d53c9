"""Exact multi-level Otsu thresholds."""

from __future__ import annotations

import numpy as np

BINS = 256


def multi_otsu(values: np.ndarray, count: int) -> np.ndarray:
    """The ``count`` thresholds that maximise the variance between classes (Otsu 1979), exactly, over 256 bins.

    Maximising the variance between classes is minimising the squares within them, which dynamic programming over the
    histogram's cumulative sums does exactly (it is one-dimensional k-means: Wang and Song 2011). scikit-image's
    ``threshold_multiotsu`` tries every combination and cannot do twenty.

    Args:
        values: floats, of any shape, in [0, 1].
        count: how many thresholds.

    Returns:
        Ascending, (count,): the upper ends of the classes but the last, in [0, 1], between two bins. Empty where there are no
        more bins with values than classes, as nothing is to be cut then.
    """
    histogram = np.bincount(np.round(np.clip(values, 0, 1).ravel() * (BINS - 1)).astype(np.int64), minlength=BINS).astype(float)
    if np.count_nonzero(histogram) <= count + 1:
        return np.empty(0)
    level = np.arange(BINS) / (BINS - 1)
    sums = [np.concatenate([[0.0], np.cumsum(histogram * level**power)]) for power in (0, 1, 2)]
    cost = _within(*sums)
    best, cuts = cost[0], []
    for _ in range(count):
        candidates = best[:, None] + np.vstack([cost[1:], np.full(BINS, np.inf)])
        cuts.append(candidates.argmin(0))
        best = candidates.min(0)
    ends, end = [], BINS - 1
    for cut in reversed(cuts):
        end = int(cut[end])
        ends.append(end)
    return (np.array(ends[::-1]) + 0.5) / (BINS - 1)


def _within(mass: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Sum of squares about the mean of the bins i to j, (BINS, BINS); infinite for j < i."""
    n, s, q = (total[None, 1:] - total[:-1, None] for total in (mass, first, second))
    squares = np.maximum(q - s**2 / np.maximum(n, 1e-12), 0)
    return np.where(np.arange(BINS)[:, None] <= np.arange(BINS)[None], squares, np.inf)
