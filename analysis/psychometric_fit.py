"""Psychometric functions by maximum likelihood, from arrays.

The model is Wichmann and Hill's (2001): P(z) = γ + (1 − γ − λ) F(z), F(z) = 1 / (1 + exp(−β (z − α))), with z the severity,
α the threshold (where F is 0.5), β the steepness, γ the guess rate and λ the lapse rate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, xlogy
from scipy.stats import chi2

from probes.intervals import resamples

LARGEST_LAPSE = 0.1
BOUNDS = ((-2.0, 2.0), (np.log(0.1), np.log(100.0)))
"""Of α and log β; at the steepest F rises from 10 to 90 % within a 45th of the severities shown."""
STARTS = [(threshold, np.log(beta), 0.01) for threshold in (-1.5, -1, -0.6, -0.2, 0.2, 0.6, 1, 1.5) for beta in (1, 3, 10, 30)]


@dataclass(frozen=True)
class Observed:
    """What was said of distorted and of clean images."""

    z: np.ndarray
    """float (n,), severity from -1, the mildest shown, to 1."""
    told: np.ndarray
    """float (n,), 1 where the distortion was told."""
    number: np.ndarray
    """int (n,), reference."""
    guessed: np.ndarray
    """float (m,), 0 to 1: by how much the same was told of each clean image."""
    clean_number: np.ndarray
    """int (m,), reference."""

    @property
    def references(self) -> int:
        """How many there are."""
        return 1 + int(max(self.number.max(), self.clean_number.max()))


@dataclass(frozen=True)
class Curve:
    """A fitted function."""

    threshold: float
    steepness: float
    lapse: float
    guess: float
    log_likelihood: float

    def p(self, z: np.ndarray) -> np.ndarray:
        """Probability that a distortion of this severity is told."""
        return np.asarray(self.guess + (1 - self.guess - self.lapse) * expit(self.steepness * (z - self.threshold)))


def fit(observed: Observed, weights: np.ndarray | None = None, start: Curve | None = None) -> Curve:
    """The likeliest curve with β > 0, γ the mean of ``guessed`` and λ at most a tenth of 1 − γ.

    Args:
        observed: the answers.
        weights: (references,), how often each counts; once by default.
        start: a curve nearby; by default the likeliest of a coarse grid.
    """
    weights = np.ones(observed.references) if weights is None else weights
    own, clean = weights[observed.number], weights[observed.clean_number]
    guess = float(clean @ observed.guessed / clean.sum())
    kept = own > 0
    data = (observed.z[kept], observed.told[kept], own[kept], guess)
    starts = STARTS if start is None else [(start.threshold, np.log(start.steepness), start.lapse)]
    first = min(starts, key=lambda parameters: loss(np.array(parameters), *data)[0])
    found = minimize(loss, first, data, "L-BFGS-B", jac=True, bounds=(*BOUNDS, (0, LARGEST_LAPSE * (1 - guess))))
    threshold, log_steepness, lapse = (float(value) for value in found.x)
    return Curve(threshold, float(np.exp(log_steepness)), lapse, guess, -float(found.fun) * float(own.sum()))


def loss(
    parameters: np.ndarray, z: np.ndarray, told: np.ndarray, weights: np.ndarray, guess: float
) -> tuple[float, np.ndarray]:
    """Mean negative log-likelihood of α, log β and λ, and its gradient (3,)."""
    threshold, log_steepness, lapse = parameters
    beta, chance = np.exp(log_steepness), 1 - guess - lapse
    f = expit(beta * (z - threshold))
    p = np.clip(guess + chance * f, 1e-9, 1 - 1e-9)
    by_p = weights / weights.sum() * (told / p - (1 - told) / (1 - p))
    by_eta = by_p * chance * f * (1 - f)
    value = -(weights @ np.log(np.where(told > 0, p, 1 - p))) / weights.sum()
    return float(value), -np.array([-beta * by_eta.sum(), beta * (by_eta @ (z - threshold)), -(by_p @ f)])


def flat_p(curve: Curve, told: np.ndarray) -> float:
    """The p-value of the likelihood ratio against a constant: chi-squared with 2 degrees of freedom, for β and λ."""
    share = told.mean()
    constant = len(told) * (xlogy(share, share) + xlogy(1 - share, 1 - share))
    return float(chi2.sf(max(0.0, 2 * (curve.log_likelihood - constant)), 2))


def refits(observed: Observed, curve: Curve, n_boot: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds and steepnesses of resampled references; a resample that holds no distorted or no clean image is left out."""
    drawn = resamples(observed.references, n_boot, seed)
    kept = [w for w in drawn if w[observed.number].any() and w[observed.clean_number].any()]
    found = [fit(observed, w, curve) for w in kept]
    return np.array([own.threshold for own in found]), np.array([own.steepness for own in found])


def goodness(observed: Observed, curve: Curve, place: np.ndarray, n_boot: int, seed: int) -> tuple[float, float]:
    """Deviance of the binned points, and how often a model that answers as the curve says has a larger one.

    Wichmann and Hill (2001) simulate likewise. Images are taken for independent.

    Args:
        observed: the answers.
        curve: fitted to them.
        place: int (n,), bin of each distorted image.
        n_boot: simulations, each with γ drawn and the curve fitted anew.
        seed: of the simulations.
    """
    rng = np.random.default_rng([seed, 97])
    p, found, larger = curve.p(observed.z), deviance(observed.told, curve.p(observed.z), place), 0
    for _ in range(n_boot):
        told = (rng.random(len(p)) < p).astype(float)
        guessed = (rng.random(len(observed.guessed)) < curve.guess).astype(float)
        again = fit(replace(observed, told=told, guessed=guessed), None, curve)
        larger += deviance(told, again.p(observed.z), place) >= found
    return found, (larger + 1) / (n_boot + 1)


def deviance(told: np.ndarray, p: np.ndarray, place: np.ndarray) -> float:
    """2 Σ over bins of log-likelihood of the bin's own share − that of the mean of the curve in it."""
    n, hits, fitted = (np.bincount(place, values) for values in (np.ones(len(told)), told, np.clip(p, 1e-9, 1 - 1e-9)))
    return float(2 * (xlogy(hits, hits / fitted) + xlogy(n - hits, (n - hits) / (n - fitted))).sum())
