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


TRAINED = 0.25
"""Variance that out-of-fold scores have beyond a bootstrap of their hits, as a share of Nadeau and Bengio's correction.

The bootstrap takes each fold's probe as given, but references that are tested in one fold train the probes of the others.
Nadeau and Bengio (2003) add folds / (folds - 1) times the variance of independent folds for this. A quarter of it brings the
coverage of 95 % intervals to 95 % on average over the designs of ``benchmarks/coverage.py``; without it, it is 91 to 92 %.
"""
RESAMPLES = 80
"""For each test that Holm corrects together; 40 would do just so (``enough``)."""


def widening(folds: int | None) -> float:
    """Factor on the spread of resampled scores: 1 for answers that nothing was trained for (None), more for out-of-fold hits.

    Raises:
        InputError: fewer than 2 folds.
    """
    if folds is None:
        return 1.0
    if folds < 2:
        raise InputError(f"Got {folds} folds. Expected at least 2, or None if nothing was trained. Give the number of folds.")
    return float(np.sqrt(1 + TRAINED * folds / (folds - 1)))


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
        hits: (n,), whether each answer is right: bool, or shares of repeats within [0, 1].
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


def balanced_interval(
    hits: np.ndarray, labels: np.ndarray, groups: np.ndarray, n_boot: int = 1000, seed: int = 0, *, folds: int | None = None
) -> Interval:
    """Balanced accuracy with its interval over groups, within [0, 1].

    Args:
        hits: (n,), whether each answer is right: bool, or shares of repeats within [0, 1].
        labels: (n,) true classes.
        groups: (n,).
        n_boot: resamples of groups.
        seed: of the resamples.
        folds: how many folds the hits of a trained probe come from, for ``widening``; None for answers.
    """
    _, n_groups = group_counts(groups)
    draws = balanced_accuracies(hits, labels, groups, resamples(n_groups, n_boot, seed))
    value = float(balanced_accuracies(hits, labels, groups, np.ones((1, n_groups)))[0])
    return _interval(value, np.clip(_widened(value, draws, folds), 0, 1))


def balanced_difference(
    before: np.ndarray,
    after: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    n_boot: int = 1000,
    seed: int = 0,
    *,
    folds: int | None = None,
) -> Difference:
    """Paired change in balanced accuracy (after − before) on the same stimuli, over groups; ``folds`` as in ``balanced_interval``."""
    _, n_groups = group_counts(groups)
    weights = np.vstack([np.ones((1, n_groups)), resamples(n_groups, n_boot, seed)])
    change = balanced_accuracies(after, labels, groups, weights) - balanced_accuracies(before, labels, groups, weights)
    return difference(float(change[0]), _widened(float(change[0]), change[1:], folds), n_groups)


def group_bootstrap(
    values: np.ndarray, groups: Sequence[str] | np.ndarray, n_boot: int = 1000, seed: int = 0, *, folds: int | None = None
) -> Interval:
    """Mean of ``values`` (n,) with its interval over groups; NaN rows are left out; ``folds`` as in ``balanced_interval``."""
    value, draws = _means(np.asarray(values, float), np.asarray(groups), n_boot, seed)
    return _interval(value, value + widening(folds) * (draws - value))


def paired_difference(
    before: np.ndarray,
    after: np.ndarray,
    groups: Sequence[str] | np.ndarray,
    n_boot: int = 1000,
    seed: int = 0,
    *,
    folds: int | None = None,
) -> Difference:
    """Mean of after − before, (n,) each, with interval and p over groups; ``folds`` as in ``balanced_interval``."""
    change, groups = np.asarray(after, float) - np.asarray(before, float), np.asarray(groups)
    value, draws = _means(change, groups, n_boot, seed)
    return difference(value, value + widening(folds) * (draws - value), len(np.unique(groups[np.isfinite(change)])))


def resampled_rows(groups: Sequence[str] | np.ndarray, n_boot: int = 1000, seed: int = 0) -> Iterator[np.ndarray]:
    """Row numbers of each resample of groups, with repetition: for statistics that are no means; the draws are ``resamples``'s."""
    number, n_groups = group_counts(groups)
    rows = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number, minlength=n_groups))[:-1])
    for weights in resamples(n_groups, n_boot, seed).astype(int):
        yield np.concatenate([row for own, count in zip(rows, weights, strict=True) for row in [own] * count])


def interval(value: float, draws: Sequence[float] | np.ndarray) -> Interval:
    """A value with the 95 % percentile interval of its resampled values; those that are NaN are left out."""
    return _interval(float(value), np.asarray(draws, float))


def difference(value: float, draws: Sequence[float] | np.ndarray, groups: int | None = None) -> Difference:
    """A difference with the interval of its resampled values and their two-sided p, never 0 (Davison and Hinkley 1997, 4.2).

    The p is no smaller than so many ``groups`` can give (``least_p``), which a bootstrap does not know by itself.
    """
    found, own = _interval(float(value), np.asarray(draws, float)), np.asarray(draws, float)
    rarer = min(float(np.sum(~(own > 0))), float(np.sum(~(own < 0))))  # NaN counts on both sides
    least = 0.0 if groups is None else least_p(groups)
    return Difference(found.value, found.low, found.high, min(1.0, max(least, 2 * (rarer + 1) / (len(own) + 1))))


def least_p(groups: int) -> float:
    """The least two-sided p that so many groups can give: that of the exact sign test, all of them on one side.

    Of three references on the same side, which chance does in one of four cases, a bootstrap makes as small a p as there are resamples.
    """
    return float(min(1.0, 2.0 ** (1 - groups)))


def enough(n_boot: int, tests: int) -> int:
    """Resamples with which one of several tests can pass Holm's correction at 0.05, with room to spare: at least ``n_boot``.

    A p is at least 2 / (resamples + 1) (``difference``), and Holm multiplies the smallest by the number of tests.
    """
    return max(n_boot, RESAMPLES * tests)


def permutation_p(score: float, permuted: Sequence[float] | np.ndarray) -> float:
    """How rarely a score as high is found with permuted labels: one-sided and exact, never 0 (Phipson and Smyth 2010).

    Exact means that p ≤ α has probability at most α without an effect, if labels are permuted within references (as
    ``probes.controls.shuffled_labels`` does) and everything that was fitted to the labels is fitted again.

    Args:
        score: with the true labels.
        permuted: with permuted ones, one per permutation; at least 19 for a p of 0.05.

    Raises:
        InputError: no permutation, or scores that are not finite.
    """
    null = np.asarray(permuted, float)
    if not null.size or not np.isfinite([score, *null]).all():
        raise InputError(
            f"Got the score {score} and {null.size} permuted ones, {int(np.isfinite(null).sum())} of them finite. Expected "
            "finite scores and at least one permutation. Permute the labels, fit again and score."
        )
    return float((1 + np.sum(null >= score)) / (1 + len(null)))


def holm(pvalues: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (Holm 1979): adjusted p-values in the given order."""
    p = np.asarray(pvalues, float)
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1)
    return [float(value) for value in adjusted]


def _widened(value: float, draws: np.ndarray, folds: int | None) -> np.ndarray:
    """Draws moved away from the value by the widening; untouched where nothing was trained."""
    return draws if folds is None else value + widening(folds) * (draws - value)


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
