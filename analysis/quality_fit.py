"""The curve from a scorer's scale to that of opinion scores, which published PLCC and RMSE are measured after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import least_squares
from scipy.special import expit

EVALUATIONS, WARM_EVALUATIONS = 10_000, 30
"""Most evaluations of the curve from published initial values, and from a fit of nearly the same data."""
NARROWEST = 1e-300


@dataclass(frozen=True)
class Fit:
    """A curve from scores to truth."""

    kind: Literal["logistic", "linear"]
    parameters: tuple[float, ...]
    """β1 to β4 of the logistic; slope and intercept of the line."""
    note: str = ""
    """Why it is no logistic."""

    @property
    def rises(self) -> bool:
        """Whether truth rises with the score."""
        return self.parameters[0] > (self.parameters[1] if self.kind == "logistic" else 0.0)

    def predict(self, scores: np.ndarray) -> np.ndarray:
        """Truth expected of each score, float (n,)."""
        s = np.asarray(scores, float)
        return _logistic(s, *self.parameters) if self.kind == "logistic" else self.parameters[0] * s + self.parameters[1]

    def rmse(self, scores: np.ndarray, truth: np.ndarray) -> float:
        """Root mean squared error in units of truth."""
        return float(np.sqrt(np.mean((self.predict(scores) - truth) ** 2)))


def fit_logistic(scores: np.ndarray, truth: np.ndarray) -> Fit:
    """Least-squares logistic of four parameters from scores to truth.

    q = (β1 − β2) / (1 + exp(−(s − β3) / |β4|)) + β2 (VQEG 2003, full-reference television, phase II). It starts where
    DeQA-Score (You et al. 2025, arXiv 2501.11561) does: greatest and least truth, mean of the scores, a quarter of their standard
    deviation; the first two change places where truth falls as scores rise.

    Args:
        scores: (n,), finite and not all equal.
        truth: (n,), finite.

    Returns:
        The logistic; a straight line where it does not converge, fits worse than the line, or has more parameters than there are
        different scores.
    """
    s, q = np.asarray(scores, float), np.asarray(truth, float)
    line = Fit("linear", _line(s, q))
    if len(np.unique(s)) < 4:
        return Fit("linear", line.parameters, "there are fewer than 4 different scores, so a straight line is fitted")
    ends = (q.max(), q.min()) if line.rises else (q.min(), q.max())
    converged, found = _search(s, q, (*ends, s.mean(), s.std() / 4), EVALUATIONS)
    if not converged or found.rmse(s, q) > line.rmse(s, q):
        why = "fits worse than a straight line" if converged else "does not converge"
        return Fit("linear", line.parameters, f"the logistic {why}, so a straight line is fitted")
    return found


def refit(fit: Fit, scores: np.ndarray, truth: np.ndarray) -> Fit:
    """The same kind of curve on a resample: a line anew, a logistic improved from where it stands (it never gets worse)."""
    if fit.kind == "linear":
        return Fit("linear", _line(scores, truth))
    return _search(scores, truth, fit.parameters, WARM_EVALUATIONS)[1] if len(scores) >= len(fit.parameters) else fit


def _line(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    centred = scores - scores.mean()
    slope = float(centred @ truth / (centred @ centred))
    return slope, float(truth.mean() - slope * scores.mean())


def _search(scores: np.ndarray, truth: np.ndarray, start: Sequence[float], evaluations: int) -> tuple[bool, Fit]:
    """Levenberg and Marquardt's search: whether it converged, and the best that was found."""
    with np.errstate(all="ignore"):
        found = least_squares(lambda b: _logistic(scores, *b) - truth, start, lambda b: _slopes(scores, *b), method="lm",
                              x_scale="jac", max_nfev=evaluations)  # fmt: skip
    return found.status > 0, Fit("logistic", tuple(float(value) for value in found.x))


def _logistic(scores: np.ndarray, b1: float, b2: float, b3: float, b4: float) -> np.ndarray:
    return np.asarray((b1 - b2) * expit((scores - b3) / max(abs(b4), NARROWEST)) + b2)


def _slopes(scores: np.ndarray, b1: float, b2: float, b3: float, b4: float) -> np.ndarray:
    """Derivatives of the logistic by its parameters, (n, 4)."""
    at = (scores - b3) / max(abs(b4), NARROWEST)
    share = expit(at)
    steep = (b1 - b2) * share * (1 - share) / max(abs(b4), NARROWEST)
    return np.stack([share, 1 - share, -steep, -steep * at * np.sign(b4)], axis=1)
