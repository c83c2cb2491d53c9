"""How much of one space can be rebuilt linearly from another, such as what enters a projector from what leaves it.

After the embedding reconstruction of Li et al. (2025, Lost in Embeddings), with a ridge regression in place of a trained network,
on held-out references and beside three baselines, without which an R² says little: the mean, a random projection of equal width,
and shuffled rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.word_map import predicted
from probes.intervals import Difference, Interval, group_counts, resamples
from probes.resampled import score_change, score_interval
from probes.ridge import left_out_errors
from probes.splits import Fold, grouped_folds
from stimuli.errors import InputError

PENALTIES = tuple(10.0**power for power in range(-3, 7))
SKETCH = 64
"""Random directions of the target that a penalty is chosen on; the squared error is right on average over them."""


@dataclass(frozen=True)
class Reconstruction:
    """R² on held-out references: 1 is perfect, 0 the mean of the training rows, below 0 is worse than that.

    Pooled over all features of the target as they are, not standardised: a feature counts by its variance.
    """

    r2: Interval
    within: Interval
    """The same for what tells the versions of one reference apart (all less their reference's mean); NaN if it has but one."""
    random: float
    """R² of the same regression from a random projection of the target to the source's width: what the width alone costs."""
    shuffled: float
    """R² with the rows of the target shuffled: about 0."""
    above_random: Difference
    """R² less that of the random projection, paired."""
    folds: int
    penalties: np.ndarray
    """(folds,), chosen within each training set by leaving out one reference at a time."""
    draws: np.ndarray = field(repr=False)
    """(1 + n_boot,): R² on all references and in each resample of them, for paired differences."""
    within_draws: np.ndarray = field(repr=False)
    """The same of ``within``."""
    above_draws: np.ndarray = field(repr=False)
    """The same of ``above_random``."""


def reconstruct(
    source: np.ndarray,
    target: np.ndarray,
    groups: Sequence[str] | np.ndarray,
    *,
    folds: int = 5,
    n_boot: int = 1000,
    seed: int = 0,
) -> Reconstruction:
    """Ridge regression of all features of ``target`` on ``source``, cross-fitted over references.

    R² = 1 - Σ‖y - ŷ‖² / Σ‖y - ȳ‖², summed over rows and features, with ȳ the mean of the training rows. Features of the source are
    standardised by the training rows, those of the target are not; one penalty for all of these. Intervals resample references and
    are widened for out-of-fold scores (``probes.intervals.widening``).

    Time O(folds·(n·d² + d³)) for d the smaller of rows and source features, twice for the baselines, and memory O(n·d + d²).

    Args:
        source: (n, d₁).
        target: (n, d₂), the same stimuli.
        groups: (n,) references.
        folds: by reference; fewer if there are fewer references.
        n_boot: resamples of references.
        seed: of folds, random projection, shuffle and resamples.

    Raises:
        InputError: unequal lengths, fewer than 3 references, values that are not finite, or a target without spread.
    """
    x, y, number = _checked(source, target, groups)
    count = int(number.max()) + 1
    parts = grouped_folds(np.full(len(x), "all"), number, min(folds, count), seed)
    rng = np.random.default_rng([seed, 71])
    shuffled = rng.permutation(len(x))
    projected = (y - y.mean(0)) @ (rng.normal(size=(y.shape[1], x.shape[1])) / np.sqrt(y.shape[1]))
    sketch = rng.normal(size=(y.shape[1], SKETCH)) if y.shape[1] > SKETCH else np.eye(y.shape[1])
    (own, mixed), penalties = _errors(x, [y, y[shuffled]], number, parts, sketch)
    (random,), _ = _errors(projected, [y], number, parts, sketch)
    weights = np.vstack([np.ones((1, count)), resamples(count, n_boot, seed)])
    draws, chance, floor = (_r2(errors[:, :2], number, weights) for errors in (own, random, mixed))
    within = _r2(own[:, 2:], number, weights)
    r2, versions = (score_interval(row, len(parts), -np.inf, 1) for row in (draws, within))
    above = draws - chance
    change = score_change(above, len(parts), number)
    return Reconstruction(r2, versions, float(chance[0]), float(floor[0]), change, len(parts), penalties, draws, within, above)


def _checked(source: np.ndarray, target: np.ndarray, groups: Sequence[str] | np.ndarray) -> tuple[np.ndarray, ...]:
    if np.ndim(source) != 2 or np.ndim(target) != 2 or not len(source) == len(target) == len(groups):
        raise InputError(
            f"Got a source of shape {np.shape(source)}, a target of shape {np.shape(target)} and {len(groups)} references. Expected "
            "a row and a reference per stimulus in the same order. Give (n, d) arrays of pooled activations."
        )
    number, count = group_counts(groups)
    if count < 3:
        raise InputError(
            f"Got {count} references. Expected at least 3: to fit, to choose and to test on. Show more references."
        )
    x, y = np.asarray(source, float), np.asarray(target, float)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("Got features that hold NaN or infinity. Expected finite ones. Leave these rows out.")
    if not np.ptp(y, axis=0).any():
        raise InputError(
            f"Got a target of {len(y)} equal rows. Expected a space with some spread. Look at what the site holds."
        )
    return x, y, number


def _errors(
    x: np.ndarray, targets: Sequence[np.ndarray], number: np.ndarray, parts: Sequence[Fold], sketch: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Per target and stimulus the squared errors (n, 4), see ``_squares``, and the penalties of the first target, (folds,)."""
    found = [np.empty((len(x), 4)) for _ in targets]
    penalties = []
    for train, test in parts:
        sketched = np.hstack([y[train] @ sketch for y in targets])
        left = left_out_errors(x[train], sketched, number[train], PENALTIES).reshape(len(PENALTIES), len(targets), -1).sum(2)
        chosen = np.asarray(PENALTIES)[left.argmin(0)]
        penalties.append(chosen[0])
        for errors, y, penalty in zip(found, targets, chosen, strict=True):
            residual = y[test] - predicted(x[train], y[train], float(penalty), x[test])
            errors[test] = _squares(residual, y[test] - y[train].mean(0), number[test])
    return found, np.array(penalties)


def _squares(residual: np.ndarray, spread: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Squared length of the residual and of the spread per row, and of both less their reference's mean: (m, 4)."""
    squares = [(z**2).sum(1) for z in (residual, spread)]
    _, place, size = np.unique(number, return_inverse=True, return_counts=True)
    for z in (residual, spread):
        sums = np.zeros((len(size), z.shape[1]))
        np.add.at(sums, place, z)
        squares.append(((z - sums[place] / size[place, None]) ** 2).sum(1))
    return np.stack(squares, 1)


def _r2(squares: np.ndarray, number: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """1 - Σ error / Σ spread under group weights, (resamples,); NaN where there is no spread."""
    error, spread = (weights @ np.bincount(number, column) for column in squares.T)
    return np.asarray(1 - np.divide(error, spread, out=np.full_like(error, np.nan), where=spread > 0))
