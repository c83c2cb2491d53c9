"""How well predicted numbers agree with true ones, for many weightings of the references at once.

Resampling references only changes how often each row counts, so ranks and areas need one sort for all resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

BLOCK = 2 * 10**6
"""Rows times resamples that are in memory at a time."""
Statistic = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""From predicted (n,), true (n,), group numbers (n,) and weights (resamples, groups) to a value per resample."""


def spearman(x: np.ndarray, y: np.ndarray, number: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rank correlation (Spearman 1904), ties at their mean rank, as if every row stood there as often as its group was drawn.

    Args:
        x: (n,).
        y: (n,).
        number: int (n,), group numbers.
        weights: (resamples, groups), how often each group counts.

    Returns:
        float (resamples,), -1 to 1; NaN where x or y has one value alone.
    """
    of_x, of_y = _Sorted(x), _Sorted(y)
    return np.concatenate([_correlation(of_x.ranks(c), of_y.ranks(c), c) for c in _counts(number, weights)])


def pearson(x: np.ndarray, y: np.ndarray, number: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Linear correlation; arguments and result as of ``spearman``."""
    a, b = (np.asarray(v, float)[None] - np.mean(v) for v in (x, y))
    return np.concatenate([_correlation(a, b, c) for c in _counts(number, weights)])


def rmse(x: np.ndarray, y: np.ndarray, number: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Root mean squared difference, in the unit of y; arguments as of ``spearman``."""
    squares = (np.asarray(x, float) - np.asarray(y, float)) ** 2
    return np.concatenate([np.sqrt(c @ squares / c.sum(1)) for c in _counts(number, weights)])


def r2(x: np.ndarray, y: np.ndarray, number: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share of y's variance that x explains as it is, without a further fit: 1 − Σ(y − x)² / Σ(y − ȳ)², at most 1.

    Below 0 the mean of y would have been the better prediction. Arguments as of ``spearman``; NaN where y has one value alone.
    """
    truth, found = np.asarray(y, float), []
    squares = (np.asarray(x, float) - truth) ** 2
    for c in _counts(number, weights):
        mean = (c @ truth / c.sum(1))[:, None]
        total = (c * (truth - mean) ** 2).sum(1)
        found.append(1 - np.divide(c @ squares, total, out=np.full(len(c), np.nan), where=total > 0))
    return np.concatenate(found)


def auc(scores: np.ndarray, positive: np.ndarray, number: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve (Hanley and McNeil 1982): how often a positive row scores higher than another, ties half.

    Args:
        scores: (n,).
        positive: bool (n,).
        number: int (n,), group numbers.
        weights: (resamples, groups).

    Returns:
        float (resamples,), 0 to 1, chance 0.5; NaN where a resample has no positive row, or no other.
    """
    order, found = _Sorted(scores), []
    for c in _counts(number, weights):
        up, down = order.totals(c * positive), order.totals(c * ~positive)
        pairs = up.sum(1) * down.sum(1)
        right = (up * (np.cumsum(down, 1) - down / 2)).sum(1)
        found.append(np.divide(right, pairs, out=np.full(len(c), np.nan), where=pairs > 0))
    return np.concatenate(found)


class _Sorted:
    """The order of a vector, found once."""

    def __init__(self, values: np.ndarray) -> None:
        _, self._place = np.unique(values, return_inverse=True)
        self._order = np.argsort(self._place, kind="stable")
        self._starts = np.flatnonzero(np.diff(self._place[self._order], prepend=-1))

    def totals(self, counts: np.ndarray) -> np.ndarray:
        """Counts per distinct value, in rising order: (resamples, n) to (resamples, values)."""
        return np.asarray(np.add.reduceat(counts[:, self._order], self._starts, axis=1))

    def ranks(self, counts: np.ndarray) -> np.ndarray:
        """Mean rank of every row among rows that stand there so many times, (resamples, n)."""
        total = self.totals(counts)
        return np.asarray((np.cumsum(total, 1) - (total - 1) / 2)[:, self._place])


def _counts(number: np.ndarray, weights: np.ndarray) -> Iterator[np.ndarray]:
    """How often every row counts, (some resamples, n) at a time."""
    step = max(1, BLOCK // max(1, len(number)))
    for start in range(0, len(weights), step):
        yield weights[start : start + step][:, number]


def _correlation(a: np.ndarray, b: np.ndarray, counts: np.ndarray) -> np.ndarray:
    total = counts.sum(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample without rows
        a, b = (v - (counts * v).sum(1, keepdims=True) / total for v in (a, b))
    both, of_a, of_b = ((counts * p).sum(1) for p in (a * b, a * a, b * b))
    scale = np.sqrt(of_a * of_b)
    usable = scale > 1e-12 * np.maximum(counts.sum(1), 1)
    return np.divide(both, scale, out=np.full(len(scale), np.nan), where=usable)
