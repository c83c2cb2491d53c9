"""Scores with their resamples in one row, so that mixtures and differences of scores keep their pairing.

A row is the score on all groups followed by the score in each resample of groups, the same resamples for the same groups and seed.
Rows of out-of-fold scores are averaged and subtracted first; their interval is widened last, as ``probes.intervals.widening`` says.
"""

from __future__ import annotations

import numpy as np

from probes.intervals import Difference, Interval, balanced_accuracies, difference, group_counts, interval, resamples, widening


def accuracy_draws(hits: np.ndarray, labels: np.ndarray, groups: np.ndarray, n_boot: int, seed: int) -> np.ndarray:
    """Balanced accuracy on all groups and in every resample, (1 + n_boot,); see ``probes.intervals.balanced_accuracies``."""
    return balanced_accuracies(hits, labels, groups, _weights(groups, n_boot, seed))


def mean_draws(values: np.ndarray, groups: np.ndarray, n_boot: int, seed: int) -> np.ndarray:
    """Mean of ``values`` (n,) over all stimuli and in every resample of groups, (1 + n_boot,)."""
    number, _ = group_counts(groups)
    weights = _weights(groups, n_boot, seed)
    return np.asarray((weights @ np.bincount(number, values)) / (weights @ np.bincount(number)))


def score_interval(draws: np.ndarray, folds: int, low: float = 0, high: float = 1) -> Interval:
    """The interval of an out-of-fold score from its row of draws, kept between ``low`` and ``high``."""
    return interval(float(draws[0]), np.clip(_widened(draws, folds), low, high))


def score_change(draws: np.ndarray, folds: int, groups: np.ndarray) -> Difference:
    """The interval and p of a paired change in an out-of-fold score over ``groups`` (n,) from its row of draws."""
    return difference(float(draws[0]), _widened(draws, folds), len(np.unique(groups)))


def _widened(draws: np.ndarray, folds: int) -> np.ndarray:
    return np.asarray(draws[0] + widening(folds) * (draws[1:] - draws[0]))


def _weights(groups: np.ndarray, n_boot: int, seed: int) -> np.ndarray:
    _, n_groups = group_counts(groups)
    return np.vstack([np.ones((1, n_groups)), resamples(n_groups, n_boot, seed)])
