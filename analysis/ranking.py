"""Scores without a threshold: how often the distorted image gets the higher one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

from probes.intervals import group_counts, interval, resamples
from stimuli.tables import Table


def areas(
    scores: Mapping[str, Sequence[float]],
    labels: Sequence[str],
    groups: np.ndarray,
    n_boot: int = 1000,
    seed: int = 0,
) -> Table:
    """Area under the ROC curve of each class's score against all other images (Hanley and McNeil 1982), by reference.

    Args:
        scores: class → (n,), higher for more of it.
        labels: (n,) true classes.
        groups: (n,) references.
        n_boot: resamples of references.
        seed: of the resamples.

    Returns:
        Rows with ``class``, ``n`` (images that have it), ``auc``, ``low``, ``high`` (0.5 is chance), then one row ``mean`` over the classes.
        A class that no image has, or every one, is left out.
    """
    label = np.asarray(labels)
    number, count = group_counts(groups)
    weights = np.vstack([np.ones((1, count)), resamples(count, n_boot, seed)])
    drawn = {name: _areas(np.asarray(own, float), label == name, number, weights) for name, own in scores.items()
             if 0 < int((label == name).sum()) < len(label)}  # fmt: skip
    if len(drawn) > 1:
        drawn["mean"] = np.mean(list(drawn.values()), 0)
    return [
        {"class": name, "n": int((label == name).sum()) if name != "mean" else len(label), "auc": float(values[0]),
         "low": (own := interval(float(values[0]), values[1:])).low, "high": own.high}
        for name, values in drawn.items()
    ]  # fmt: skip


def _areas(scores: np.ndarray, positive: np.ndarray, number: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The area in every resample: the weighted share of pairs (positive, other) in the right order, ties half."""
    ranks = rankdata(scores, "dense").astype(int) - 1
    order = np.argsort(ranks, kind="stable")
    bounds = np.flatnonzero(np.r_[True, np.diff(ranks[order]) > 0])
    found = []
    for own in weights:  # a resample's rows count as often as their reference was drawn
        count = own[number[order]]
        up = np.add.reduceat(count * positive[order], bounds)
        down = np.add.reduceat(count * ~positive[order], bounds)
        below = np.cumsum(down) - down
        pairs = up.sum() * down.sum()
        found.append(float((up * (below + down / 2)).sum() / pairs) if pairs else np.nan)
    return np.array(found)
