"""Does a probe carry over to distortion types, datasets or severities that it was not trained on?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probes.intervals import Difference, balanced_difference, balanced_interval, holm
from probes.linear import PENALTIES, fit_predict
from probes.splits import Fold, assert_no_leak, grouped_folds
from stimuli.errors import InputError
from stimuli.tables import Row, Table
from stimuli.taxonomy import CLEAN

COMMON = (CLEAN, "none", "")
"""Values of a column that are no kind of their own: rows with one of them are trained on in every part."""


@dataclass(frozen=True)
class NamedFold:
    """One part of a split whose tests need not cover everything: neither its test references nor its kind are trained on."""

    name: str
    """What is held out."""
    train: np.ndarray
    """Row numbers."""
    test: np.ndarray
    """Rows of the held-out kind, of references that are not trained on."""
    common: np.ndarray
    """Rows of the same references that belong to no kind (clean ones); they may be tested beside, to score detection."""


@dataclass(frozen=True)
class Transfer:
    """A split that asks whether a probe carries over to what it has not seen."""

    parts: tuple[NamedFold, ...]
    """One per held-out kind and fold of references."""
    reference_folds: tuple[Fold, ...]
    """The folds underneath: their training sets hold all kinds, so their probes are the comparison in distribution."""
    left_out: Table
    """``held_out``, ``class``, ``stimuli`` and ``why``: what cannot be tested."""

    @property
    def names(self) -> tuple[str, ...]:
        """What is held out, in order."""
        return tuple(dict.fromkeys(part.name for part in self.parts))


def leave_one_out(
    labels: Sequence[str] | np.ndarray,
    groups: Sequence[str] | np.ndarray,
    by: Sequence[str | None] | np.ndarray,
    folds: int = 5,
    seed: int = 0,
    *,
    common: Sequence[str] = COMMON,
) -> Transfer:
    """Each kind in turn is held out of training and tested, crossed with folds by reference.

    A part is trained on the other kinds of the other references and tested on its kind, so neither the kind nor the reference
    is known. Rows of no kind (clean ones) are trained on in every part.

    Args:
        labels: (n,) class names.
        groups: (n,) references.
        by: (n,) kinds: the fine distortion type, the source dataset, or any column.
        folds: by reference.
        seed: of the folds.
        common: values of ``by`` that are no kind; None counts as one of them.

    Raises:
        InputError: columns of other lengths, fewer than two kinds, nothing that can be tested, or what ``grouped_folds`` refuses.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    kinds = np.array(["none" if kind is None else str(kind) for kind in by])
    _same_length(labels, groups, kinds, "kinds")
    shared = np.isin(kinds, list(common))
    names = sorted(set(kinds[~shared].tolist()))
    if len(names) < 2:
        raise InputError(
            f"Leaving one out needs at least 2 kinds, got {', '.join(names) or 'none'}. Give a column that tells rows apart."
        )
    masks = [(name, ~shared & (kinds != name), kinds == name) for name in names]
    return _crossed(labels, groups, masks, shared, folds, seed)


def severity_shift(
    labels: Sequence[str] | np.ndarray,
    groups: Sequence[str] | np.ndarray,
    severity: Sequence[float] | np.ndarray,
    folds: int = 5,
    seed: int = 0,
    *,
    thresholds: tuple[float, float] | None = None,
    reverse: bool = False,
) -> Transfer:
    """Train on low severity and test on high, crossed with folds by reference.

    Args:
        labels: (n,) class names.
        groups: (n,) references.
        severity: (n,), higher is worse (a level, or -SSIM); NaN for clean rows, which are trained on in every part.
        folds: by reference.
        seed: of the folds.
        thresholds: low is at most the first, high at least the second, and what lies between is left out. By default low is at
            most the median of the row's own class and high is above it, since measured severities differ between classes.
        reverse: train on high and test on low.

    Raises:
        InputError: columns of other lengths, thresholds out of order, nothing that can be tested, or what ``grouped_folds`` refuses.
    """
    labels, groups, severity = np.asarray(labels), np.asarray(groups), np.asarray(severity, float)
    _same_length(labels, groups, severity, "severities")
    shared = ~np.isfinite(severity)
    if thresholds is None:
        middle = np.full(len(labels), np.nan)
        for label in np.unique(labels[~shared]):
            own = ~shared & (labels == label)
            middle[own] = np.median(severity[own])
        low, high = severity <= middle, severity > middle
    elif thresholds[0] >= thresholds[1]:
        raise InputError(f"Got the thresholds {thresholds}. Expected the low one to be below the high one. Turn them round.")
    else:
        low, high = severity <= thresholds[0], severity >= thresholds[1]
    mask = ("low from high", high, low) if reverse else ("high from low", low, high)
    return _crossed(labels, groups, [mask], shared, folds, seed)


def _crossed(
    labels: np.ndarray,
    groups: np.ndarray,
    masks: Sequence[tuple[str, np.ndarray, np.ndarray]],
    shared: np.ndarray,
    folds: int,
    seed: int,
) -> Transfer:
    """Cross what may be trained on and tested, (name, bool (n,), bool (n,)) each, with folds by reference."""
    base = grouped_folds(labels, groups, folds, seed)
    parts: list[NamedFold] = []
    left_out: Table = []
    for name, trainable, testable in masks:
        own = [_part(name, labels, fold, trainable | shared, testable, shared) for fold in base]
        own = [part for part in own if len(part.test)]
        tested = np.zeros(len(labels), bool)
        for part in own:
            assert_no_leak(groups, part.train, np.concatenate([part.test, part.common]))
            tested[part.test] = True
        few = bool(tested.any()) and len(np.unique(groups[tested])) < 2
        parts += [] if few else own
        missed = testable & ~(tested & (not few))
        for label in np.unique(labels[missed]):
            why = "fewer than two references to test" if few else "no other training rows of this class, or of no other class"
            left_out.append(
                {"held_out": name, "class": str(label), "stimuli": int((missed & (labels == label)).sum()), "why": why}
            )
    if not parts:
        raise InputError(
            "Nothing can be tested: no held-out row has a class that is also in training, beside another class. Hold out "
            "something that shares its class with others, or use a coarser taxonomy."
        )
    return Transfer(tuple(parts), tuple(base), left_out)


def _part(
    name: str, labels: np.ndarray, fold: Fold, trainable: np.ndarray, testable: np.ndarray, shared: np.ndarray
) -> NamedFold:
    """A fold's rows that may be trained on, and those that may be tested and whose class was trained on beside another."""
    train, test = fold[0][trainable[fold[0]]], fold[1]
    known = np.unique(labels[train])
    told = np.isin(labels[test], known) & (len(known) > 1)
    return NamedFold(name, train, test[testable[test] & told], test[shared[test] & told])


def _same_length(labels: np.ndarray, groups: np.ndarray, column: np.ndarray, what: str) -> None:
    if not len(labels) == len(groups) == len(column):
        raise InputError(
            f"Got {len(labels)} labels, {len(groups)} references and {len(column)} {what}. Expected one of each per row. "
            "Give them in the same order."
        )


def transfer(
    values: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    by: Sequence[str | None] | np.ndarray,
    *,
    folds: int = 5,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
    n_boot: int = 1000,
) -> Table:
    """How a probe scores on kinds that it was not trained on: ``evaluate`` of ``leave_one_out``.

    Args:
        values: (n, d).
        labels: (n,) class names.
        groups: (n,) references.
        by: (n,) kinds: distortion types or source datasets; None, ``clean`` and ``none`` are no kind.
        folds: by reference.
        penalties: candidates for the probe's penalty.
        seed: of folds and resamples.
        n_boot: resamples of references.
    """
    split = leave_one_out(labels, groups, by, folds, seed)
    return evaluate(values, labels, groups, split, penalties=penalties, seed=seed, n_boot=n_boot)


def evaluate(
    values: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    split: Transfer,
    *,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
    n_boot: int = 1000,
) -> Table:
    """The score of what is held out, and of the same rows when their kind is trained on.

    Both probes are trained on the same references; the one in distribution sees more rows, those of the kind itself.

    Args:
        values: (n, d).
        labels: (n,) class names.
        groups: (n,) references.
        split: of ``leave_one_out`` or ``severity_shift``.
        penalties: candidates; chosen within each training set.
        seed: of inner folds and resamples.
        n_boot: resamples of references.

    Returns:
        A row per name: ``held_out``, ``n`` and ``references`` tested, mean training rows ``train`` and ``train_inside``; balanced
        accuracy ``score`` (of one class: its recall) and ``inside`` in distribution, each with ``_low`` and ``_high``; ``change`` =
        score - inside, paired, with interval, ``p`` and ``p_holm`` over the rows; ``detection``: balanced accuracy of calling
        the held-out rows distorted and clean ones clean (NaN without clean rows). Intervals are over references.

    Raises:
        InputError: values that are not finite.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    inside = fit_predict(values, labels, groups, split.reference_folds, penalties=penalties, seed=seed).predicted
    rows: Table = []
    for name in split.names:
        parts = [part for part in split.parts if part.name == name]
        folds = [(part.train, np.concatenate([part.test, part.common])) for part in parts]
        outside = fit_predict(values, labels, groups, folds, penalties=penalties, seed=seed).predicted
        row: Row = {"held_out": name, **_sizes(parts, split, groups)}
        rows.append(row | _scores(outside, inside, labels, groups, parts, len(split.reference_folds), n_boot, seed))
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
    return rows


def _sizes(parts: Sequence[NamedFold], split: Transfer, groups: np.ndarray) -> Row:
    tested = np.concatenate([part.test for part in parts])
    return {
        "n": len(tested),
        "references": len(np.unique(groups[tested])),
        "train": float(np.mean([len(part.train) for part in parts])),
        "train_inside": float(np.mean([len(train) for train, _ in split.reference_folds])),
    }


def _scores(
    outside: np.ndarray,
    inside: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    parts: Sequence[NamedFold],
    folds: int,
    n_boot: int,
    seed: int,
) -> Row:
    """Score, score in distribution, their paired difference, and detection."""
    tested = np.concatenate([part.test for part in parts])
    common = np.concatenate([part.common for part in parts])
    right, known = outside == labels, inside == labels
    own, where = labels[tested], groups[tested]
    score = balanced_interval(right[tested], own, where, n_boot, seed, folds=folds)
    twin = balanced_interval(known[tested], own, where, n_boot, seed, folds=folds)
    change: Difference = balanced_difference(known[tested], right[tested], own, where, n_boot, seed, folds=folds)
    row = {"score": score.value, "low": score.low, "high": score.high}
    row |= {"inside": twin.value, "inside_low": twin.low, "inside_high": twin.high}
    row |= {"change": change.value, "change_low": change.low, "change_high": change.high, "p": change.p}
    both = np.concatenate([tested, common])
    clean = np.isin(labels, np.unique(labels[common]))
    if not clean[both].any() or clean[both].all():
        return row | dict.fromkeys(("detection", "detection_low", "detection_high"), float("nan"))
    called = np.isin(outside, np.unique(labels[common]))
    found = balanced_interval((called == clean)[both], clean[both], groups[both], n_boot, seed, folds=folds)
    return row | {"detection": found.value, "detection_low": found.low, "detection_high": found.high}
