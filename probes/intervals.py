"""Intervals and tests by resampling references: images of one reference are not independent of each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stimuli.errors import InputError


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % percentile bootstrap interval over groups."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Interval):
    """A paired difference with its interval and two-sided bootstrap p-value."""

    p: float


def group_counts(groups: Sequence[str] | np.ndarray) -> tuple[np.ndarray, int]:
    """Group number of every row, int (n,), and how many groups there are."""
    names, number = np.unique(np.asarray(groups), return_inverse=True)
    return number, len(names)


def resamples(n_groups: int, n_boot: int, seed: int) -> np.ndarray:
    """How often each group is drawn in each resample: float (n_boot, groups)."""
    if n_groups < 2:
        raise InputError(f"An interval over references needs at least 2 of them, got {n_groups}. Show more references.")
    rng = np.random.default_rng([seed, 95])
    return rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), n_boot).astype(float)


def balanced_accuracies(hits: np.ndarray, labels: np.ndarray, groups: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Balanced accuracy (mean recall over the classes present) under group weights.

    Args:
        hits: bool (n,), whether each answer is right.
        labels: (n,) true classes.
        groups: (n,).
        weights: (resamples, groups), how often each group counts.

    Returns:
        float (resamples,), each in [0, 1].
    """
    number, n_groups = group_counts(groups)
    _, label = np.unique(labels, return_inverse=True)
    k = int(label.max()) + 1
    right, total = np.zeros((n_groups, k)), np.zeros((n_groups, k))
    np.add.at(right, (number, label), np.asarray(hits, float))
    np.add.at(total, (number, label), 1.0)
    shown = weights @ total
    recall = np.divide(weights @ right, shown, out=np.full_like(shown, np.nan), where=shown > 0)
    return np.asarray(np.nanmean(recall, axis=1))


def balanced_interval(hits: np.ndarray, labels: np.ndarray, groups: np.ndarray, n_boot: int = 1000, seed: int = 0) -> Interval:
    """Balanced accuracy with its interval over groups."""
    _, n_groups = group_counts(groups)
    draws = balanced_accuracies(hits, labels, groups, resamples(n_groups, n_boot, seed))
    value = balanced_accuracies(hits, labels, groups, np.ones((1, n_groups)))[0]
    return _interval(float(value), draws)


def balanced_difference(
    before: np.ndarray, after: np.ndarray, labels: np.ndarray, groups: np.ndarray, n_boot: int = 1000, seed: int = 0
) -> Difference:
    """Paired change in balanced accuracy (after − before) on the same stimuli, over groups."""
    _, n_groups = group_counts(groups)
    weights = np.vstack([np.ones((1, n_groups)), resamples(n_groups, n_boot, seed)])
    change = balanced_accuracies(after, labels, groups, weights) - balanced_accuracies(before, labels, groups, weights)
    return difference(float(change[0]), change[1:])


def group_bootstrap(values: np.ndarray, groups: Sequence[str] | np.ndarray, n_boot: int = 1000, seed: int = 0) -> Interval:
    """Mean of ``values`` (n,) with its interval over groups; NaN rows are left out."""
    value, draws = _means(np.asarray(values, float), np.asarray(groups), n_boot, seed)
    return _interval(value, draws)


def paired_difference(
    before: np.ndarray, after: np.ndarray, groups: Sequence[str] | np.ndarray, n_boot: int = 1000, seed: int = 0
) -> Difference:
    """Mean of after − before, (n,) each, with interval and p over groups."""
    change = np.asarray(after, float) - np.asarray(before, float)
    value, draws = _means(change, np.asarray(groups), n_boot, seed)
    return difference(value, draws)


def resampled_rows(groups: Sequence[str] | np.ndarray, n_boot: int = 1000, seed: int = 0) -> Iterator[np.ndarray]:
    """Row numbers of each resample of groups, with repetition: for statistics that are no means; the draws are ``resamples``'s."""
    number, n_groups = group_counts(groups)
    rows = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number, minlength=n_groups))[:-1])
    for weights in resamples(n_groups, n_boot, seed).astype(int):
        yield np.concatenate([row for own, count in zip(rows, weights, strict=True) for row in [own] * count])


def interval(value: float, draws: Sequence[float] | np.ndarray) -> Interval:
    """A value with the 95 % percentile interval of its resampled values; those that are NaN are left out."""
    return _interval(float(value), np.asarray(draws, float))


def difference(value: float, draws: Sequence[float] | np.ndarray) -> Difference:
    """A difference with the interval of its resampled values and their two-sided p, never 0 (Davison and Hinkley 1997, 4.2)."""
    found, own = _interval(float(value), np.asarray(draws, float)), np.asarray(draws, float)
    rarer = min(float(np.sum(~(own > 0))), float(np.sum(~(own < 0))))  # NaN counts on both sides
    return Difference(found.value, found.low, found.high, min(1.0, 2 * (rarer + 1) / (len(own) + 1)))


def holm(pvalues: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (Holm 1979): adjusted p-values in the given order."""
    p = np.asarray(pvalues, float)
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1)
    return [float(value) for value in adjusted]


def _means(values: np.ndarray, groups: np.ndarray, n_boot: int, seed: int) -> tuple[float, np.ndarray]:
    keep = np.isfinite(values)
    if not keep.any():
        return float("nan"), np.full(n_boot, np.nan)
    number, n_groups = group_counts(groups[keep])
    total = np.bincount(number, values[keep], n_groups)
    count = np.bincount(number, minlength=n_groups).astype(float)
    weights = resamples(n_groups, n_boot, seed)
    return float(values[keep].mean()), (weights @ total) / (weights @ count)


def _interval(value: float, draws: np.ndarray) -> Interval:
    low, high = np.nanquantile(draws, [0.025, 0.975]) if np.isfinite(draws).any() else (np.nan, np.nan)
    return Interval(value, float(low), float(high))
