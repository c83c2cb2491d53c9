"""Proportional-odds logistic regression: levels that have an order but no unit.

Model (McCullagh 1980): P(y ≤ j | x) = σ(θⱼ − x·w) with θ₁ < θ₂ < …. Objective as of the other probes: Σᵢ nllᵢ + penalty/2·‖w‖²,
thresholds free, on features standardised by the training rows. With two levels it is logistic regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probes.linear import INNER, PENALTIES
from probes.splits import Fold, grouped_folds
from stimuli.errors import InputError


@dataclass(frozen=True)
class OrdinalProbe:
    """A fitted probe on raw features."""

    coef: np.ndarray
    """(d,)."""
    thresholds: np.ndarray
    """(k - 1,), rising."""
    levels: np.ndarray
    """(k,), rising."""
    penalty: float

    def probabilities(self, values: np.ndarray) -> np.ndarray:
        """(n, k) for values (n, d)."""
        below = _sigmoid(self.thresholds - (np.asarray(values, float) @ self.coef)[:, None])
        return np.diff(below, axis=1, prepend=0.0, append=1.0)


@dataclass(frozen=True)
class OrdinalPrediction:
    """Out-of-fold predictions: no row was predicted by a probe that saw its reference."""

    probabilities: np.ndarray
    """(n, k)."""
    levels: np.ndarray
    """(k,), rising."""
    penalties: tuple[float, ...]
    """The penalty chosen in each fold."""

    @property
    def expected(self) -> np.ndarray:
        """(n,): the mean level under the predicted probabilities, comparable between folds."""
        return np.asarray(self.probabilities @ self.levels)

    @property
    def predicted(self) -> np.ndarray:
        """(n,): the most probable level."""
        return np.asarray(self.levels[self.probabilities.argmax(1)])


def fit(
    values: np.ndarray, levels: np.ndarray, groups: np.ndarray, *, penalties: Sequence[float] = PENALTIES, seed: int = 0
) -> OrdinalProbe:
    """A probe fitted to all rows.

    Args:
        values: (n, d).
        levels: (n,) numbers of which the order counts alone.
        groups: (n,) references.
        penalties: candidates; several are chosen between by inner folds by reference, of least log-loss.
        seed: of the inner folds.

    Raises:
        InputError: values or levels that are not finite, or a single level.
    """
    _check(values, levels)
    penalty = _chosen(values, levels, groups, list(penalties), seed)
    return _fitted(np.asarray(values, float), np.asarray(levels, float), penalty)


def fit_predict(
    values: np.ndarray,
    levels: np.ndarray,
    groups: np.ndarray,
    folds: Sequence[Fold],
    *,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> OrdinalPrediction:
    """Out-of-fold level probabilities; a level that a training set lacks has none there. Arguments and errors as of ``fit``."""
    _check(values, levels)
    known = np.unique(np.asarray(levels, float))
    probabilities, chosen = np.zeros((len(values), len(known))), []
    for train, test in folds:
        probe = fit(values[train], levels[train], groups[train], penalties=penalties, seed=seed)
        probabilities[np.ix_(test, np.searchsorted(known, probe.levels))] = probe.probabilities(values[test])
        chosen.append(probe.penalty)
    return OrdinalPrediction(probabilities, known, tuple(chosen))


def _chosen(values: np.ndarray, levels: np.ndarray, groups: np.ndarray, penalties: Sequence[float], seed: int) -> float:
    """The only penalty, the middle one where there is too little to choose by, or the one of least inner log-loss."""
    names = np.asarray(levels).astype(str)
    inner = min(INNER, len(np.unique(groups)), int(np.unique(names, return_counts=True)[1].max()))
    if len(penalties) == 1 or inner < 2:
        return float(penalties[len(penalties) // 2])
    losses = np.zeros(len(penalties))
    for train, test in grouped_folds(names, groups, inner, seed, strict=False):
        test = test[np.isin(levels[test], levels[train])]
        if len(np.unique(levels[train])) > 1:
            losses += [_loss(_fitted(np.asarray(values[train], float), levels[train], p), values[test], levels[test])
                       for p in penalties]  # fmt: skip
    return float(penalties[int(losses.argmin())])


def _loss(probe: OrdinalProbe, values: np.ndarray, levels: np.ndarray) -> float:
    p = probe.probabilities(values)[np.arange(len(levels)), np.searchsorted(probe.levels, levels)]
    return float(-np.log(np.clip(p, 1e-12, 1)).sum())


def _fitted(values: np.ndarray, levels: np.ndarray, penalty: float) -> OrdinalProbe:
    """The probe of one penalty, by L-BFGS with the analytic gradient."""
    from scipy.optimize import minimize

    mean = values.mean(0)
    z = values - mean
    spread = np.sqrt((z**2).mean(0))
    spread = np.where(spread > 1e-9 * (1 + np.abs(mean)), spread, 1.0)
    z /= spread
    known, place = np.unique(levels, return_inverse=True)
    below = np.cumsum(np.bincount(place))[:-1] / len(levels)
    start = np.log(below / (1 - below))  # the solution without features
    steps = np.concatenate([start[:1], np.log(np.diff(start))])
    at = np.concatenate([np.zeros(z.shape[1]), steps])
    found = minimize(
        _objective,
        at,
        args=(z, place, penalty),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 500, "gtol": 1e-6, "ftol": 1e-12},
    )
    coef, thresholds = found.x[: z.shape[1]] / spread, _thresholds(found.x[z.shape[1] :])
    return OrdinalProbe(coef, thresholds + mean @ coef, known, float(penalty))


def _objective(at: np.ndarray, z: np.ndarray, place: np.ndarray, penalty: float) -> tuple[float, np.ndarray]:
    """Objective and gradient, per row, at the weights (d,) followed by the first threshold and the logarithms of the steps.

    With u and l the upper and the lower logit of a row's level, nll = −log(σ(u) − σ(l)) = −log σ(u) − log σ(−l) −
    log(1 − e^(l − u)), which does not cancel.
    """
    d, n = z.shape[1], len(z)
    w, steps = at[:d], at[d:]
    thresholds, score = _thresholds(steps), z @ w
    upper = np.append(thresholds, np.inf)[place] - score
    lower = np.append(-np.inf, thresholds)[place] - score
    gap = upper - lower
    loss = np.logaddexp(0, -upper) + np.logaddexp(0, lower) - np.log(-np.expm1(-gap))
    inside = 1 / np.expm1(np.minimum(gap, 700.0))
    by_upper, by_lower = -_sigmoid(-upper) - inside, _sigmoid(lower) + inside
    slope = np.bincount(place, by_upper, len(steps) + 1)[:-1] + np.bincount(place, by_lower, len(steps) + 1)[1:]
    later = np.cumsum(slope[::-1])[::-1]  # a step moves every threshold from its own on
    later[1:] *= np.exp(steps[1:])
    by_w = -z.T @ (by_upper + by_lower) + penalty * w
    return float(loss.sum() + penalty / 2 * w @ w) / n, np.concatenate([by_w, later]) / n


def _thresholds(steps: np.ndarray) -> np.ndarray:
    return np.asarray(np.cumsum(np.concatenate([steps[:1], np.exp(steps[1:])])))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))


def _check(values: np.ndarray, levels: np.ndarray) -> None:
    if not (np.isfinite(values).all() and np.isfinite(levels).all()):
        raise InputError("Got activations or levels that hold NaN or infinity; expected finite ones. Leave these rows out.")
    if len(np.unique(levels)) < 2:
        raise InputError(f"Got the single level {levels[0]:g}; expected two or more. Show more levels, or the clean images.")
