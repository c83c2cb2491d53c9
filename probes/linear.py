"""A linear probe: standardise, multinomial logistic regression, penalty by nested grouped cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probes.solver import solve
from probes.splits import Fold, grouped_folds
from stimuli.errors import InputError

PENALTIES = (1.0, 10.0, 100.0, 1000.0)
INNER = 3
"""Inner folds that choose the penalty, within each outer training set."""


@dataclass(frozen=True)
class Prediction:
    """Out-of-fold predictions: no row was predicted by a probe that saw its reference."""

    probabilities: np.ndarray
    """(n, k)."""
    classes: tuple[str, ...]
    penalties: tuple[float, ...]
    """The penalty chosen in each fold."""

    @property
    def predicted(self) -> np.ndarray:
        """(n,) class names."""
        return np.asarray(self.classes)[self.probabilities.argmax(1)]


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe on raw features."""

    coef: np.ndarray
    """(d, k)."""
    intercept: np.ndarray
    """(k,)."""
    classes: tuple[str, ...]
    penalty: float

    def logits(self, values: np.ndarray) -> np.ndarray:
        """(n, k) for values (n, d)."""
        return np.asarray(values @ self.coef + self.intercept)

    def probabilities(self, values: np.ndarray) -> np.ndarray:
        """(n, k) for values (n, d)."""
        return _softmax(self.logits(values))

    def predict(self, values: np.ndarray) -> np.ndarray:
        """(n,) class names."""
        return np.asarray(self.classes)[self.logits(values).argmax(1)]


def fit(
    values: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, penalties: Sequence[float] = PENALTIES, seed: int = 0
) -> LinearProbe:
    """A linear probe fitted to all rows; several penalties are chosen between by inner folds by reference.

    Args:
        values: (n, d).
        labels: (n,) class names.
        groups: (n,) references.
        penalties: candidates.
        seed: of the inner folds.

    Raises:
        InputError: values that are not finite.
    """
    _refuse_infinite(values)
    classes, targets = np.unique(labels, return_inverse=True)
    everything = np.arange(len(values))
    chosen = _chosen(values, targets, groups, [(everything, everything)], list(penalties), seed, len(classes))
    found = solve(values, targets, np.ones((1, len(values))), chosen, len(classes))
    return LinearProbe(found.coef[0], found.intercept[0], tuple(str(c) for c in classes), float(chosen[0]))


def fit_predict(
    values: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    folds: Sequence[Fold],
    *,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> Prediction:
    """Out-of-fold class probabilities of a linear probe.

    Args:
        values: (n, d).
        labels: (n,) class names.
        groups: (n,) references.
        folds: outer folds by reference.
        penalties: candidates; one is used as it is, several are chosen between by inner folds (also by reference).
        seed: of the inner folds.

    Returns:
        The predictions.

    Raises:
        InputError: values that are not finite.
    """
    _refuse_infinite(values)
    classes, targets = np.unique(labels, return_inverse=True)
    k, n = len(classes), len(values)
    chosen = _chosen(values, targets, groups, folds, list(penalties), seed, k)
    weights = np.zeros((len(folds), n))
    for row, (train, _) in enumerate(folds):
        weights[row, train] = 1
    logits = solve(values, targets, weights, chosen, k).logits(values)
    probabilities = np.zeros((n, k))
    for row, (_, test) in enumerate(folds):
        probabilities[test] = _softmax(logits[row, test])
    return Prediction(probabilities, tuple(str(c) for c in classes), tuple(float(c) for c in chosen))


def _refuse_infinite(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        rows = np.flatnonzero(~np.isfinite(values).all(axis=1))
        raise InputError(
            f"{len(rows)} of {len(values)} activation rows hold NaN or infinity (first row {rows[0]}). "
            "Extract in float32, or look at these stimuli."
        )


def _chosen(
    values: np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray,
    folds: Sequence[Fold],
    penalties: Sequence[float],
    seed: int,
    k: int,
) -> np.ndarray:
    """A penalty per outer fold: the only one, the middle one where there is too little to choose by, or the best inner one."""
    if len(penalties) > 1 and min(_inner_folds(targets[train], groups[train]) for train, _ in folds) > 1:
        return _choose(values, targets, groups, folds, penalties, seed, k)
    return np.array([penalties[len(penalties) // 2]] * len(folds))


def _choose(
    values: np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray,
    folds: Sequence[Fold],
    penalties: Sequence[float],
    seed: int,
    k: int,
) -> np.ndarray:
    """The penalty of least inner log-loss for each outer fold."""
    weights, tests, lams, owner = [], [], [], []
    for index, (train, _) in enumerate(folds):
        inner = _inner_folds(targets[train], groups[train])
        for inside, held in grouped_folds(targets[train], groups[train], inner, seed, strict=False):
            row = np.zeros(len(values))
            row[train[inside]] = 1
            for penalty in penalties:
                weights.append(row)
                tests.append(train[held])
                lams.append(penalty)
                owner.append(index)
    logits = solve(values, targets, np.stack(weights), np.array(lams), k).logits(values)
    losses = np.zeros((len(folds), len(penalties)))
    for problem, (held, lam, index) in enumerate(zip(tests, lams, owner, strict=True)):
        p = _softmax(logits[problem, held])[np.arange(len(held)), targets[held]]
        losses[index, penalties.index(lam)] += -np.log(np.clip(p, 1e-12, 1)).sum()
    return np.asarray(penalties)[losses.argmin(1)]


def _inner_folds(targets: np.ndarray, groups: np.ndarray) -> int:
    return min(INNER, len(np.unique(groups)), int(np.bincount(targets).max()))


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
