"""Repeated cross-validation: intervals and paired tests that allow for training sets that overlap.

Scores of folds are not independent, since their probes share most of their training rows. Nadeau and Bengio (2003) correct the
variance of their mean from σ²/J to σ²·(1/J + n_test/n_train), with J - 1 degrees of freedom; Bouckaert and Frank (2004) use the
same for r times k folds, J = r·k.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from probes.intervals import Difference, Interval
from probes.linear import PENALTIES, fit_predict
from probes.splits import Fold
from stimuli.errors import InputError


def repeated_scores(
    values: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    repeats: Sequence[Sequence[Fold]],
    *,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> np.ndarray:
    """Balanced accuracy of a probe in every fold of every repeat, float (repeats, folds).

    Args:
        values: (n, d).
        labels: (n,) class names.
        groups: (n,) references.
        repeats: of ``probes.splits.repeated_folds``; all with the same number of folds.
        penalties: candidates for the probe's penalty.
        seed: of the inner folds.

    Raises:
        InputError: repeats with different numbers of folds, or values that are not finite.
    """
    counts = sorted({len(folds) for folds in repeats})
    if len(counts) != 1:
        raise InputError(f"Got repeats of {counts or 'no'} folds. Expected the same number in each. Use repeated_folds.")
    scores = []
    for folds in repeats:
        predicted = fit_predict(values, labels, groups, folds, penalties=penalties, seed=seed).predicted
        scores.append([_balanced(labels[test], predicted[test] == labels[test]) for _, test in folds])
    return np.array(scores)


def split_sizes(repeats: Sequence[Sequence[Fold]], groups: np.ndarray) -> tuple[float, float]:
    """Mean number of references in a training and in a test set: the sizes that ``corrected_interval`` asks for."""
    own = [[len(np.unique(groups[rows])) for rows in fold] for folds in repeats for fold in folds]
    train, test = np.mean(own, axis=0)
    return float(train), float(test)


def corrected_interval(scores: Sequence[float] | np.ndarray, train: float, test: float, level: float = 0.95) -> Interval:
    """Mean score over folds with the corrected t interval.

    Args:
        scores: one per fold, or (repeats, folds); J in all.
        train: size of a training set, in references.
        test: size of a test set, in the same unit.
        level: of the interval, within (0, 1).

    Returns:
        The mean, and mean ± t(J - 1)·√(s²·(1/J + test/train)); not cut at 0 or 1.

    Raises:
        InputError: fewer than 2 scores, scores that are not finite, sizes that are not positive, or a level out of range.
    """
    from scipy.special import stdtrit

    own = _checked(scores, train, test)
    if not 0 < level < 1:
        raise InputError(f"Got the level {level}. Expected a share between 0 and 1. Give 0.95 for a 95 % interval.")
    half = float(stdtrit(own.size - 1, (1 + level) / 2)) * _spread(own, train, test)
    return Interval(float(own.mean()), float(own.mean() - half), float(own.mean() + half))


def corrected_difference(
    before: Sequence[float] | np.ndarray, after: Sequence[float] | np.ndarray, train: float, test: float
) -> Difference:
    """Mean change after − before over the same folds, with the corrected 95 % interval and two-sided p of the paired t-test.

    Args:
        before: one score per fold, or (repeats, folds).
        after: on the same folds, of the same shape.
        train: size of a training set, in references.
        test: size of a test set, in the same unit.

    Raises:
        InputError: other shapes, or what ``corrected_interval`` refuses.
    """
    from scipy.special import stdtr

    if np.shape(before) != np.shape(after):
        raise InputError(
            f"Got scores of shapes {np.shape(before)} and {np.shape(after)}. Expected the same folds for both. Score both on them."
        )
    change = _checked(np.asarray(after, float) - np.asarray(before, float), train, test)
    found, spread = corrected_interval(change, train, test), _spread(change, train, test)
    if spread == 0:
        return Difference(found.value, found.low, found.high, 1.0 if found.value == 0 else 0.0)
    return Difference(found.value, found.low, found.high, float(2 * stdtr(change.size - 1, -abs(found.value) / spread)))


def _checked(scores: Sequence[float] | np.ndarray, train: float, test: float) -> np.ndarray:
    own = np.asarray(scores, float)
    if own.size < 2 or not np.isfinite(own).all():
        raise InputError(
            f"Got {own.size} scores of folds, {int(np.isfinite(own).sum())} of them finite. Expected at least 2, all finite. "
            "Use more folds or repeats, or look at the folds without a score."
        )
    if not (train > 0 and test > 0):
        raise InputError(f"Got the sizes {train} (training) and {test} (test). Expected positive ones. Use split_sizes.")
    return own


def _spread(scores: np.ndarray, train: float, test: float) -> float:
    """Corrected standard error of the mean."""
    return float(np.sqrt(scores.var(ddof=1) * (1 / scores.size + test / train)))


def _balanced(labels: np.ndarray, hits: np.ndarray) -> float:
    """Mean recall over the classes present."""
    return float(np.mean([hits[labels == label].mean() for label in np.unique(labels)]))
