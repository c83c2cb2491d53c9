"""A linear probe: standardise, multinomial logistic regression, penalty by nested grouped cross-validation.

Where the outer folds share out all rows, the inner folds of a fold are the other ones: a probe that was trained without the folds i
and j serves both, j to choose the penalty of fold i and i to choose that of fold j. That is nested cross-validation as by hand, at
half the number of fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from probes.solver import Problems, Start, path, solve
from probes.splits import Fold, grouped_folds
from stimuli.errors import InputError

PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 10000.0)
INNER = 3
"""Inner folds that choose the penalty where the outer ones cannot."""

ROUGH, EXACT = 1e-3, 3e-4
"""``relative`` of the solver where a penalty is chosen, and of the probes that predict: coefficients within 0.2 and 0.1 %."""


@dataclass(frozen=True)
class Prediction:
    """Out-of-fold predictions: no row was predicted by a probe that saw its reference."""

    probabilities: np.ndarray
    """(n, k); NaN in rows that no fold tests."""
    classes: tuple[str, ...]
    penalties: tuple[float, ...]
    """The penalty chosen in each fold; NaN where an estimator chose its own."""

    @property
    def predicted(self) -> np.ndarray:
        """(n,) class names; empty where no fold tests."""
        tested = np.isfinite(self.probabilities[:, 0])
        best = np.asarray(self.classes)[np.where(tested[:, None], self.probabilities, 0).argmax(1)]
        return best if tested.all() else np.where(tested, best, "")


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
    chosen = _Search(values, targets, groups, [(everything, everything[:0])], penalties, seed).chosen
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
    estimator: Any = None,
) -> Prediction:
    """Out-of-fold class probabilities of a linear probe.

    Args:
        values: (n, d).
        labels: (n,) class names.
        groups: (n,) references.
        folds: outer folds by reference.
        penalties: candidates; one is used as it is, several are chosen between by log-loss on inner folds, also by reference.
        seed: of inner folds that are not the outer ones.
        estimator: a scikit-learn classifier instead, fitted anew per fold; one that searches (``cv``) is given the references.

    Returns:
        The predictions.

    Raises:
        InputError: values that are not finite, no penalty, or one that is not positive.
    """
    _refuse_infinite(values)
    if estimator is not None:
        return _by_estimator(estimator, values, np.asarray(labels), groups, folds)
    classes, targets = np.unique(labels, return_inverse=True)
    search = _Search(values, targets, groups, folds, penalties, seed)
    probabilities = np.full((len(values), len(classes)), np.nan)
    for logits, (_, test) in zip(search.outer(), folds, strict=True):
        probabilities[test] = _softmax(logits[test])
    return Prediction(probabilities, tuple(str(c) for c in classes), tuple(float(c) for c in search.chosen))


def _by_estimator(
    estimator: Any, values: np.ndarray, labels: np.ndarray, groups: np.ndarray, folds: Sequence[Fold]
) -> Prediction:
    """The same by scikit-learn: probabilities where the estimator gives them, else 1 for the class it names."""
    from sklearn.base import clone

    classes = np.unique(labels)
    probabilities = np.full((len(values), len(classes)), np.nan)
    for train, test in folds:
        fresh = clone(estimator)
        more = {"groups": np.asarray(groups)[train]} if hasattr(fresh, "cv") else {}
        fresh.fit(values[train], labels[train], **more)
        probabilities[test] = 0
        if hasattr(fresh, "predict_proba"):
            probabilities[np.ix_(test, np.searchsorted(classes, fresh.classes_))] = fresh.predict_proba(values[test])
        else:
            probabilities[test, np.searchsorted(classes, fresh.predict(values[test]))] = 1
    return Prediction(probabilities, tuple(str(c) for c in classes), (float("nan"),) * len(folds))


def _refuse_infinite(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        rows = np.flatnonzero(~np.isfinite(values).all(axis=1))
        raise InputError(
            f"{len(rows)} of {len(values)} activation rows hold NaN or infinity (first row {rows[0]}). "
            "Extract in float32, or look at these stimuli."
        )


class _Search:
    """The penalty of each outer fold, the only one, the middle one where there is too little to choose by, or the best inner one."""

    def __init__(
        self,
        values: np.ndarray,
        targets: np.ndarray,
        groups: np.ndarray,
        folds: Sequence[Fold],
        penalties: Sequence[float],
        seed: int,
    ) -> None:
        if not len(penalties) or min(penalties) <= 0:
            raise InputError(
                f"The penalties are {tuple(penalties)}; expected at least one, all positive. Leave them out for the defaults."
            )
        ordered = sorted(set(penalties), reverse=True)
        inner = _shared(folds, len(values)) if len(ordered) > 1 else []
        if len(ordered) > 1 and not inner:
            inner = _nested(targets, np.asarray(groups), folds, seed)
        self._pairs, self._folds = len(inner), len(folds)
        weights = _weights([train for train, _ in [*inner, *folds]], len(values))
        k = int(targets.max()) + 1
        self._problems = Problems(values, targets, weights, k, penalties=len(ordered), relative=ROUGH if inner else EXACT)
        self._serve = [[at for at, (_, tests) in enumerate(inner) if fold in dict(tests)] for fold in range(len(folds))]
        self._starts: dict[float, Start] = {}
        losses = np.zeros((len(folds), len(ordered)))
        for at, found in enumerate(path(self._problems, ordered, np.arange(len(inner))) if inner else ()):
            self._starts[found.penalty] = found.start
            for logits, (_, tests) in zip(found.logits, inner, strict=True):
                for fold, held in tests:
                    losses[fold, at] += _log_loss(logits[held], targets[held])
        middle = penalties[len(penalties) // 2]
        self.chosen = np.asarray(ordered)[losses.argmin(1)] if inner else np.full(len(folds), middle)

    def outer(self) -> list[np.ndarray]:
        """Logits (n, k) of the probe of each outer fold, at its penalty.

        Each starts from the mean of the inner probes that choose its penalty: they saw none of its test rows either.
        """
        found: dict[int, np.ndarray] = {}
        self._problems.relative = EXACT
        for penalty in np.unique(self.chosen):
            at, start = np.flatnonzero(self.chosen == penalty), self._starts.get(float(penalty))
            begin = None if start is None else start.mean([self._serve[fold] for fold in at.tolist()])
            logits = self._problems.solve(float(penalty), self._pairs + at, begin).logits
            found |= dict(zip(at.tolist(), logits, strict=True))
        return [found[fold] for fold in range(self._folds)]


Inner = list[tuple[np.ndarray, list[tuple[int, np.ndarray]]]]
"""Training rows, and which rows tell of which outer fold's penalty."""


def _shared(folds: Sequence[Fold], n: int) -> Inner:
    """Every pair of outer folds left out together; empty where the folds are fewer than three or do not share out all rows."""
    held = np.concatenate([test for _, test in folds])
    whole = len(held) == n and len(np.unique(held)) == n and all(len(train) + len(test) == n for train, test in folds)
    if len(folds) < 3 or not whole:
        return []
    return [
        (np.setdiff1d(folds[i][0], folds[j][1]), [(i, folds[j][1]), (j, folds[i][1])])
        for i, j in combinations(range(len(folds)), 2)
    ]


def _nested(targets: np.ndarray, groups: np.ndarray, folds: Sequence[Fold], seed: int) -> Inner:
    """Inner folds of each fold's own training rows; empty where there is too little for two."""
    found: Inner = []
    for index, (train, _) in enumerate(folds):
        inner = min(INNER, len(np.unique(groups[train])), int(np.bincount(targets[train]).max()))
        if inner < 2:
            return []
        for inside, held in grouped_folds(targets[train], groups[train], inner, seed, strict=False):
            found.append((train[inside], [(index, train[held])]))
    return found


def _weights(rows: Sequence[np.ndarray], n: int) -> np.ndarray:
    """(P, n): 1 for the training rows of each problem."""
    weights = np.zeros((len(rows), n))
    for weight, train in zip(weights, rows, strict=True):
        weight[train] = 1
    return weights


def _log_loss(logits: np.ndarray, targets: np.ndarray) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(targets)), targets]).sum())


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
