"""Folds by reference: all versions of one source image stay on one side."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from stimuli.errors import InputError

Fold = tuple[np.ndarray, np.ndarray]


def grouped_folds(
    labels: Sequence[str] | np.ndarray,
    groups: Sequence[str] | np.ndarray,
    folds: int = 5,
    seed: int = 0,
    *,
    strict: bool = True,
) -> list[Fold]:
    """Stratified folds by group: (train, test) row numbers each; not ``strict`` allows classes in a single group.

    Raises:
        InputError: fewer groups than folds, no class with a stimulus per fold, or a class in fewer than two groups.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    labels, groups = np.asarray(labels), np.asarray(groups)
    n_groups = len(np.unique(groups))
    if n_groups < folds:
        raise InputError(
            f"{folds} folds by reference need at least {folds} references, got {n_groups}. Show more or set folds lower."
        )
    largest = int(np.unique(labels, return_counts=True)[1].max())
    if largest < folds:
        raise InputError(
            f"{folds} folds need a class of at least {folds} stimuli, got {largest} in the largest. "
            "Show more or set folds lower."
        )
    for label in np.unique(labels) if strict else ():
        if len(np.unique(groups[labels == label])) < 2:
            raise InputError(
                f"The class '{label}' stands in fewer than two references, so it cannot be both trained and tested. "
                "Show it on more references or leave it out."
            )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class rarer than the folds is handled above
        found = [(train, test) for train, test in splitter.split(np.zeros(len(labels)), labels, groups)]
    for train, test in found:
        assert_no_leak(groups, train, test)
    return found


def assert_no_leak(groups: np.ndarray, train: np.ndarray, test: np.ndarray) -> None:
    """Refuse a split that shows a reference on both sides.

    Raises:
        InputError: it does; the references are named.
    """
    both = sorted(set(np.asarray(groups)[train]) & set(np.asarray(groups)[test]))
    if both:
        raise InputError(
            f"The split leaks: {len(both)} references stand in both training and test ({', '.join(map(str, both[:3]))}). "
            "Split by reference, as probes.splits.grouped_folds does."
        )
