"""Controls: what a probe finds where there is nothing to find, and whether the site holds the content."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from probes.scale import scaled
from probes.targets import Labels, Readable, Target, target_of
from stimuli.errors import InputError

CONTENT_FOLDS = 4


def classes_of(store: Readable, target: str, taxonomy: str | Path, labels: Labels | None) -> Target:
    """The target of a control or comparison that is made for classes; see ``probes.targets.target_of``.

    Raises:
        InputError: a target of numbers, or what ``target_of`` refuses.
    """
    wanted = target_of(store, target, taxonomy, labels)
    if wanted.kind != "classes":
        raise InputError(
            f"The target '{target}' is of numbers; this comparison is made for classes. Use 'level', or give labels in a few classes."
        )
    return wanted


def shuffled_labels(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Labels permuted within each reference, so that the design stays and the meaning goes.

    A reference with one stimulus, or all of one label, would keep its labels; then labels are permuted over all rows.
    """
    rng = np.random.default_rng([seed, 33])
    labels, result = np.asarray(labels), np.asarray(labels).copy()
    mixed = all(len(np.unique(labels[groups == group])) > 1 for group in np.unique(groups))
    for rows in [np.flatnonzero(groups == g) for g in np.unique(groups)] if mixed else [np.arange(len(labels))]:
        result[rows] = labels[rng.permutation(rows)]
    return result


def content_accuracy(values: np.ndarray, references: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Can the site tell the references apart? Accuracy and chance of naming the reference of a held-out version.

    The versions of every reference are dealt over folds; each held-out row goes to the nearest reference mean of the other
    folds, in standardised features (a nearest-centroid classifier: closed form, no penalty to choose).

    Args:
        values: (n, d).
        references: (n,).
        seed: of the dealing.

    Returns:
        (accuracy, chance), both in [0, 1]; references shown once are left out, and accuracy is NaN if all are.
    """
    names, number, shown = np.unique(references, return_inverse=True, return_counts=True)
    again = shown[number] > 1
    if not again.any():
        return float("nan"), 1 / len(names)
    if not again.all():
        return content_accuracy(values[again], np.asarray(references)[again], seed)
    rng = np.random.default_rng([seed, 44])
    fold = np.empty(len(values), int)
    for reference in range(len(names)):
        rows = rng.permutation(np.flatnonzero(number == reference))
        fold[rows] = np.arange(len(rows)) % CONTENT_FOLDS
    values = scaled(values)
    x = (values - values.mean(0)) / np.maximum(values.std(0), 1e-9)
    hits = []
    for held in range(CONTENT_FOLDS):
        train, test = fold != held, fold == held
        known = np.unique(number[train])
        centroids = np.stack([x[train & (number == reference)].mean(0) for reference in known])
        distance = (centroids**2).sum(1) - 2 * x[test] @ centroids.T
        hits += list(known[distance.argmin(1)] == number[test])
    return float(np.mean(hits)), 1 / len(names)
