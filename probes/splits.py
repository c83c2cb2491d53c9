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


def repeated_folds(
    labels: Sequence[str] | np.ndarray,
    groups: Sequence[str] | np.ndarray,
    folds: int = 5,
    repeats: int = 5,
    seed: int = 0,
    *,
    strict: bool = True,
) -> list[list[Fold]]:
    """``grouped_folds`` again and again, each with a seed of its own; the first with ``seed`` itself.

    Raises:
        InputError: fewer than one repeat, or what ``grouped_folds`` refuses.
    """
    if repeats < 1:
        raise InputError(f"Got {repeats} repeats of the folds. Expected at least 1. Set repeats higher.")
    seeds = [seed, *(int(np.random.default_rng([seed, 17, again]).integers(2**31)) for again in range(1, repeats))]
    return [grouped_folds(labels, groups, folds, own, strict=strict) for own in seeds]


def checked_folds(
    folds: Sequence[tuple[Sequence[int] | np.ndarray, Sequence[int] | np.ndarray]], groups: np.ndarray
) -> list[Fold]:
    """A user's own folds as arrays of row numbers, proved sound.

    Args:
        folds: (train, test) row numbers each; rows that no fold tests are allowed.
        groups: (n,) references.

    Raises:
        InputError: no fold, row numbers that are not whole or not of these rows, an empty side, a row tested twice, or a leak.
    """
    if not len(folds):
        raise InputError("Got no folds. Expected a list of (train, test) row numbers. Use probes.splits.grouped_folds.")
    found = [(_row_numbers(train, len(groups)), _row_numbers(test, len(groups))) for train, test in folds]
    for number, (train, test) in enumerate(found):
        if not len(train) or not len(test):
            side = "test" if len(train) else "training"
            raise InputError(f"Fold {number} has no {side} rows. Expected some on both sides. Leave the fold out, or mend it.")
        assert_no_leak(groups, train, test)
    tested = np.bincount(np.concatenate([test for _, test in found]), minlength=len(groups))
    if tested.max() > 1:
        raise InputError(
            f"{int((tested > 1).sum())} rows are tested more than once (first: row {int(np.argmax(tested > 1))}). Expected one "
            "prediction per row. Give repeats as folds of their own, as probes.splits.repeated_folds does."
        )
    return found


def _row_numbers(rows: Sequence[int] | np.ndarray, n: int) -> np.ndarray:
    found = np.asarray(rows)
    if not found.size:
        return np.zeros(0, int)
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
        raise InputError(
            f"Got folds of type {found.dtype} and shape {found.shape}. Expected whole row numbers in one dimension. "
            "Turn a mask into rows with numpy.flatnonzero."
        )
    if found.min() < 0 or found.max() >= n:
        raise InputError(
            f"The folds name rows {found.min()} to {found.max()}, and there are {n}. Expected 0 to {n - 1}. "
            "Make the folds on the same stimuli."
        )
    return found
