"""Scores out of comparisons, and how well they agree with truth where comparisons fall into several parts.

Scores are Bradley and Terry's (1952) with an effect of order (Davidson and Beaver 1977): the log-odds that the first image is said
to be better are its score minus the other's plus the effect of standing first. A normal prior of mean 0 and standard deviation
``PRIOR`` on every score and on the effect keeps the scores of images that never lose finite.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

PRIOR = 3.0
"""In log-odds: of two images this far apart, the better one wins 95 times in 100."""
DIGITS = 4
"""Scores that differ by less than what the search leaves open are equal."""


def bradley_terry(
    first: np.ndarray,
    second: np.ndarray,
    wins: np.ndarray,
    images: int,
) -> tuple[np.ndarray, float]:
    """Scores of images and the effect of standing first, at the greatest posterior density.

    Args:
        first: (n,) numbers of the images shown first.
        second: (n,) numbers of the images shown second.
        wins: (n,), 1 where the first is said to be better, 0 where the second is.
        images: how many there are; those in no comparison have 0.

    Returns:
        Scores in log-odds, float (images,), and the effect of the first place.
    """

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        z = x[first] - x[second] + x[-1]
        residual = expit(z) - wins
        slope = np.bincount(first, residual, images + 1) - np.bincount(second, residual, images + 1)
        slope[-1] = residual.sum()
        return float(np.sum(np.logaddexp(0, z) - wins * z) + x @ x / (2 * PRIOR**2)), slope + x / PRIOR**2

    options = {"ftol": 0, "gtol": 1e-7, "maxiter": 1000}
    found = minimize(loss, np.zeros(images + 1), jac=True, method="L-BFGS-B", options=options).x
    return found[:-1], float(found[-1])


def part_correlation(score: np.ndarray, truth: np.ndarray, part: np.ndarray, weights: np.ndarray) -> float:
    """Spearman's correlation within parts, mean over the parts of 3 images or more, weighted by images.

    Args:
        score: (n,), compared to ``DIGITS`` digits.
        truth: (n,).
        part: (n,) numbers.
        weights: (n,), how often each image counts.

    Returns:
        −1 to 1, parts of equal scores counting as 0; NaN if no part of 3 images or more has different truths.
    """
    x, y = (_ranks(column, part, weights) for column in (np.round(score, DIGITS), truth))
    size = np.bincount(part, weights)
    xx, yy, xy = (np.bincount(part, weights * product) for product in (x * x, y * y, x * y))
    told = (np.bincount(part) > 2) & (yy > 1e-9) & (size > 0)
    if not told.any():
        return float("nan")
    r = np.divide(xy, np.sqrt(xx * yy), out=np.zeros(len(size)), where=told & (xx > 1e-9))
    return float(size[told] @ r[told] / size[told].sum())


def _ranks(values: np.ndarray, part: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Ranks of weighted values within their part, less the part's mean; equal values share the middle of their ranks."""
    order = np.lexsort((values, part))
    ordered, own = values[order], part[order]
    tie = np.cumsum(np.r_[False, (ordered[1:] != ordered[:-1]) | (own[1:] != own[:-1])])
    size = np.bincount(tie, weights[order])
    rank = np.empty(len(values))
    rank[order] = (np.cumsum(size) - size / 2)[tie]
    total = np.bincount(part, weights)
    return rank - np.divide(np.bincount(part, weights * rank), total, out=np.zeros(len(total)), where=total > 0)[part]
