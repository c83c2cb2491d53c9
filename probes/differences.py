"""Which sites differ: every site against one, and which cannot be told from the best. All paired, over references.

Sites share stimuli, folds and, along a residual stream, most of their features, so that their scores rise and fall together. Holm
ignores this and is conservative; max-T (Westfall and Young 1993) takes the joint distribution of all differences from the resamples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from probes.intervals import difference, group_counts, holm, resamples, widening
from stimuli.errors import InputError
from stimuli.tables import Table

CHUNK = 1000
"""Resamples at a time."""


def site_scores(hits: np.ndarray, labels: np.ndarray, groups: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Balanced accuracies of all sites under group weights, in one matrix product.

    Args:
        hits: (n, sites), bool, or shares of repeats within [0, 1].
        labels: (n,) true classes.
        groups: (n,).
        weights: (resamples, groups), how often each group counts.

    Returns:
        float (resamples, sites), each in [0, 1].
    """
    number, n_groups = group_counts(groups)
    _, label = np.unique(labels, return_inverse=True)
    k, sites = int(label.max()) + 1, hits.shape[1]
    cell = number * k + label
    right = np.stack([np.bincount(cell, column, n_groups * k) for column in hits.T.astype(float)], axis=1)
    total = np.bincount(cell, minlength=n_groups * k).reshape(n_groups, k).astype(float)
    found = np.empty((len(weights), sites))
    for start in range(0, len(weights), CHUNK):
        own = weights[start : start + CHUNK]
        shown = (own @ total)[:, :, None]
        sums = (own @ right.reshape(n_groups, k * sites)).reshape(len(own), k, sites)
        found[start : start + CHUNK] = np.nanmean(
            np.divide(sums, shown, out=np.full(sums.shape, np.nan), where=shown > 0), axis=1
        )
    return found


def site_differences(
    hits: Mapping[str, np.ndarray],
    labels: np.ndarray,
    groups: np.ndarray,
    against: str = "best",
    *,
    folds: int | None = None,
    n_boot: int = 10_000,
    seed: int = 0,
) -> Table:
    """Every site against the best, the one before it, or a named one.

    Against the best, which was picked for its high score, a difference is a little too large; ``best_sites`` allows for that.

    Args:
        hits: (n,) per site, in order: bool, or shares of repeats within [0, 1].
        labels: (n,) true classes.
        groups: (n,) references.
        against: ``best``, ``previous`` or a site.
        folds: how many folds the hits come from, for ``probes.intervals.widening``; None for answers.
        n_boot: resamples; many, since the smallest p is 2/(n_boot + 1) (and that of ``least_p``) and Holm multiplies it by the number of sites.
        seed: of the resamples.

    Returns:
        A row per compared site: ``site``, ``against``, ``score``, ``change`` = score − that of ``against``, with ``low``, ``high``,
        ``p``, ``p_holm``, and ``p_max``: step-down max-T over the table's rows, which keeps the family-wise error as Holm does.

    Raises:
        InputError: fewer than two sites, hits of another length, or an unknown ``against``.
    """
    names, matrix = _matrix(hits, labels, groups)
    scores = _resampled(matrix, labels, groups, n_boot, seed)
    best = names[int(np.argmax(scores[0]))]
    if against not in ("best", "previous", *names):
        raise InputError(f"Unknown site '{against}' to compare with. Expected 'best', 'previous' or one of {', '.join(names)}.")
    own = best if against == "best" else against
    pairs = list(zip(range(1, len(names)), range(len(names)), strict=False))
    if against != "previous":
        pairs = [(site, names.index(own)) for site in range(len(names)) if names[site] != own]
    change = np.stack([scores[:, site] - scores[:, other] for site, other in pairs], axis=1)
    wide = widening(folds)
    adjusted = max_t(change[0], change[1:], wide)
    rows: Table = []
    for (site, other), column, p_max in zip(pairs, change.T, adjusted, strict=True):
        found = difference(float(column[0]), column[0] + wide * (column[1:] - column[0]), len(np.unique(groups)))
        row = {"site": names[site], "against": names[other], "score": float(scores[0, site]), "change": found.value}
        rows.append({**row, "low": found.low, "high": found.high, "p": found.p, "p_max": max(found.p, float(p_max))})
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
    return rows


def max_t(values: np.ndarray, draws: np.ndarray, wide: float = 1.0) -> np.ndarray:
    """Two-sided p-values adjusted for all columns together: step-down max-T (Westfall and Young 1993, algorithm 4.1).

    Args:
        values: (columns,) differences.
        draws: (resamples, columns), the same differences resampled.
        wide: factor on the standard error, of ``probes.intervals.widening``.

    Returns:
        float (columns,), each in (0, 1]; a column that never varies has p 1 at 0, and else the smallest one.
    """
    t, null = _standardised(values, draws, wide)
    order = np.argsort(-np.abs(t), kind="stable")
    largest = np.maximum.accumulate(np.abs(null[:, order])[:, ::-1], axis=1)[:, ::-1]
    p = (1 + (largest >= np.abs(t[order])).sum(0)) / (1 + len(null))
    adjusted = np.empty(len(t))
    adjusted[order] = np.maximum.accumulate(p)
    return adjusted


def best_sites(
    hits: Mapping[str, np.ndarray],
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    level: float = 0.95,
    folds: int | None = None,
    n_boot: int = 10_000,
    seed: int = 0,
) -> Table:
    """Which sites cannot be told from the best.

    For each site: is it behind any other by more than resampling explains? The largest studentised lead of the others is compared
    with its distribution over resamples, centred, as if all sites were equal. The sites that are not rejected hold the truly best
    with probability ``level`` (multiple comparisons with the best: Hsu 1981; by the bootstrap of the largest difference:
    Westfall and Young 1993). Every site is held against all others, so that it does not matter which happens to lead here.

    Args:
        hits: (n,) per site: bool, or shares of repeats within [0, 1].
        labels: (n,) true classes.
        groups: (n,) references.
        level: of the set.
        folds: how many folds the hits come from, for ``probes.intervals.widening``; None for answers.
        n_boot: resamples.
        seed: of the resamples.

    Returns:
        A row per site: ``site``, ``score``, ``behind``: how far below the highest score, ``p``, and ``among_best``.

    Raises:
        InputError: fewer than two sites, hits of another length, or a level that is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise InputError(f"Got the level {level}. Expected a share between 0 and 1. Give 0.95 for a 95 % set.")
    names, matrix = _matrix(hits, labels, groups)
    scores, wide = _resampled(matrix, labels, groups, n_boot, seed), widening(folds)
    rows: Table = []
    for site, name in enumerate(names):
        others = np.delete(scores, site, axis=1) - scores[:, [site]]
        t, null = _standardised(others[0], others[1:], wide)
        p = float((1 + (null.max(1) >= t.max()).sum()) / (1 + len(null)))
        value = float(scores[0, site])
        rows.append(
            {"site": name, "score": value, "behind": float(scores[0].max()) - value, "p": p, "among_best": p > 1 - level}
        )
    return rows


def _standardised(values: np.ndarray, draws: np.ndarray, wide: float) -> tuple[np.ndarray, np.ndarray]:
    """Studentised values, (columns,), and their centred draws; a column that never varies gives 0, or ±infinity."""
    error = draws.std(0, ddof=1)
    error = np.where(error > 1e-12, error, 0.0)
    fixed = np.where(np.abs(values) > 1e-12, np.copysign(np.inf, values), 0.0)
    t = np.divide(values, wide * error, out=fixed, where=error > 0)
    return t, np.divide(draws - values, error, out=np.zeros_like(draws), where=error > 0)


def _resampled(hits: np.ndarray, labels: np.ndarray, groups: np.ndarray, n_boot: int, seed: int) -> np.ndarray:
    """Scores (1 + n_boot, sites): of the sample itself, then of each resample."""
    _, n_groups = group_counts(groups)
    return site_scores(hits, labels, groups, np.vstack([np.ones((1, n_groups)), resamples(n_groups, n_boot, seed)]))


def _matrix(hits: Mapping[str, np.ndarray], labels: np.ndarray, groups: np.ndarray) -> tuple[list[str], np.ndarray]:
    if len(hits) < 2:
        raise InputError(f"Got {len(hits)} sites. Expected at least 2 to compare. Probe more sites.")
    for name, own in hits.items():
        if not len(own) == len(labels) == len(groups):
            raise InputError(
                f"Site '{name}' has {len(own)} hits for {len(labels)} labels and {len(groups)} references. Expected one of each per "
                "stimulus. Score all sites on the same stimuli."
            )
    return list(hits), np.stack([np.asarray(own, float) for own in hits.values()], axis=1)
