"""Ridge regression of numbers on activations: all penalties and targets of a training set from one decomposition of it.

Objective, as in scikit-learn with alpha = penalty: Σᵢ (yᵢ − b − xᵢ·w)² + penalty·‖w‖², intercept free, on features standardised
by the training rows (Hoerl and Kennard 1970). With fewer rows than features the rows' products are decomposed instead of the
features' (the dual), which gives the same solution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probes.splits import Fold
from stimuli.errors import InputError

PENALTIES = tuple(10.0**power for power in range(7))


@dataclass(frozen=True)
class Regression:
    """Out-of-fold predictions: no row was predicted by a probe that saw its reference."""

    predicted: np.ndarray
    """(n,), or (n, targets)."""
    penalties: np.ndarray
    """(folds,), or (folds, targets): the penalty chosen in each fold."""


@dataclass(frozen=True)
class RidgeProbe:
    """A fitted regression on raw features."""

    coef: np.ndarray
    """(d,), or (d, targets)."""
    intercept: np.ndarray
    """(), or (targets,)."""
    penalties: np.ndarray
    """The same: one chosen per target."""

    def predict(self, values: np.ndarray) -> np.ndarray:
        """(n,), or (n, targets), for values (n, d)."""
        return np.asarray(np.asarray(values, float) @ self.coef + self.intercept)


def fit(values: np.ndarray, numbers: np.ndarray, groups: np.ndarray, *, penalties: Sequence[float] = PENALTIES) -> RidgeProbe:
    """A regression fitted to all rows.

    Args:
        values: (n, d).
        numbers: (n,), or (n, targets); each target chooses its own penalty.
        groups: (n,) references.
        penalties: candidates, above zero; several are chosen between by leaving one reference out (``left_out_errors``).

    Raises:
        InputError: no row, values or numbers that are not finite, or penalties that are not above zero.
    """
    _check(values, numbers, penalties)
    targets = np.asarray(numbers, float).reshape(len(values), -1)
    space = _Space(values)
    chosen = _chosen(space, targets, groups, penalties)
    coef = np.stack([space.coef(targets[:, [t]], penalty)[:, 0] for t, penalty in enumerate(chosen)], 1)
    intercept = targets.mean(0) - space.mean @ coef
    flat = np.ndim(numbers) == 1
    return RidgeProbe(coef[:, 0], intercept[0], chosen[0]) if flat else RidgeProbe(coef, intercept, chosen)


def fit_predict(
    values: np.ndarray,
    numbers: np.ndarray,
    groups: np.ndarray,
    folds: Sequence[Fold],
    *,
    penalties: Sequence[float] = PENALTIES,
) -> Regression:
    """Out-of-fold predictions; the penalty is chosen within each training set, by reference.

    Arguments and errors as of ``fit``; ``folds`` are by reference and together test every row.
    """
    _check(values, numbers, penalties)
    predicted = np.full(np.shape(numbers), np.nan)
    chosen = []
    for train, test in folds:
        found = fit(values[train], np.asarray(numbers)[train], np.asarray(groups)[train], penalties=penalties)
        predicted[test] = found.predict(values[test])
        chosen.append(found.penalties)
    return Regression(predicted, np.array(chosen))


def left_out_errors(
    values: np.ndarray, numbers: np.ndarray, groups: np.ndarray, penalties: Sequence[float] = PENALTIES
) -> np.ndarray:
    """Mean squared error on each reference when it is left out of the fit, in closed form, without fitting again.

    For rows g of one reference: (I − H)₍gg₎⁻¹ (y − Hy)₍g₎ with H the fit's hat matrix, intercept included (Allen 1974; for groups,
    Cook and Weisberg 1982). The scale of the features is that of all rows, also of those left out.

    Returns:
        (penalties, targets).
    """
    _check(values, numbers, penalties)
    return _left_out(_Space(values), np.asarray(numbers, float).reshape(len(values), -1), groups, penalties)


class _Space:
    """Standardised training rows, decomposed: fits for any penalty and target from here on are products with small matrices.

    With s² the eigenvalues and Z the rows, the fit to y at penalty p is P·diag(f)·Pᵀy, where in the primal P = ZV and
    f = 1 / (s² + p), and in the dual P = U and f = s² / (s² + p).
    """

    def __init__(self, values: np.ndarray) -> None:
        x = np.asarray(values, float)
        self.mean = x.mean(0)
        z = x - self.mean
        spread = np.sqrt((z**2).mean(0))
        self.spread = np.where(spread > 1e-9 * (1 + np.abs(self.mean)), spread, 1.0)
        z /= self.spread
        self.rows, self.dual = z, z.shape[0] < z.shape[1]
        squares, vectors = np.linalg.eigh(z @ z.T if self.dual else z.T @ z)
        self.squares, self._vectors = np.maximum(squares, 0), vectors
        self.left = vectors if self.dual else z @ vectors

    def share(self, penalty: float) -> np.ndarray:
        """The diagonal f of a penalty, (r,)."""
        return (self.squares if self.dual else 1.0) / (self.squares + penalty)

    def coef(self, targets: np.ndarray, penalty: float) -> np.ndarray:
        """Weights on raw features, (d, targets)."""
        found = (self.left.T @ (targets - targets.mean(0))) / (self.squares + penalty)[:, None]
        on_rows = self._vectors @ found
        return np.asarray((self.rows.T @ on_rows if self.dual else on_rows) / self.spread[:, None])


def _left_out(space: _Space, targets: np.ndarray, groups: np.ndarray, penalties: Sequence[float]) -> np.ndarray:
    """See ``left_out_errors``."""
    number = np.unique(groups, return_inverse=True)[1]
    n, parts = len(targets), [np.flatnonzero(number == g) for g in range(number.max() + 1)]
    centred = targets - targets.mean(0)
    errors = np.zeros((len(penalties), targets.shape[1]))
    for row, penalty in enumerate(penalties):
        share = space.share(penalty)
        residual = centred - space.left @ (share[:, None] * (space.left.T @ centred))
        for part in parts:
            own = space.left[part]
            kept = np.eye(len(part)) - 1 / n - (own * share) @ own.T
            errors[row] += (np.linalg.solve(kept, residual[part]) ** 2).sum(0)
    return errors / n


def _chosen(space: _Space, targets: np.ndarray, groups: np.ndarray, penalties: Sequence[float]) -> np.ndarray:
    """A penalty per target: the only one, the middle one where there is a single reference, or the one of least error."""
    if len(penalties) == 1 or len(np.unique(groups)) < 2:
        return np.full(targets.shape[1], float(penalties[len(penalties) // 2]))
    return np.asarray(penalties, float)[_left_out(space, targets, groups, penalties).argmin(0)]


def _check(values: np.ndarray, numbers: np.ndarray, penalties: Sequence[float]) -> None:
    if not len(values) or len(values) != len(numbers):
        raise InputError(
            f"Got {len(values)} rows and {len(numbers)} numbers; expected one number per row, and at least one row."
        )
    if not (np.isfinite(values).all() and np.isfinite(numbers).all()):
        raise InputError("Got activations or numbers that hold NaN or infinity; expected finite ones. Leave these rows out.")
    if not len(penalties) or not min(penalties) > 0:
        raise InputError(f"Got the penalties {tuple(penalties)}; expected one or more, each above zero, such as 1, 10 and 100.")
