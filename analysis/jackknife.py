"""Intervals over blocks of references for measures that a bootstrap would distort: ranks, likeness, neighbours.

A jackknife (Tukey 1958; over blocks, Shao and Tu 1995, 2.3), not a bootstrap, which shows some references twice: copies are each
other's neighbours and add no direction. In simulations of 40 references × 8 versions the bootstrap's 95 % interval of the effective
rank held its expected value in 52 % of 60 worlds, the jackknife's in 88 % of 300; its coverage was 88 to 98 % over all measures of
``analysis.geometry``, 84 to 98 % with 12 references and 91 to 97 % with 90. Intervals of neighbour overlaps are cautious, up to 1.8
times as wide as need be; with neighbours held fixed they would cover 72 to 89 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from probes.intervals import Difference
from stimuli.errors import InputError

BLOCKS = 30
"""At most so many blocks of references are left out; with fewer references each is its own block."""


def jackknife(left_out: np.ndarray, low: float = -np.inf, high: float = np.inf) -> Difference:
    """A value with its 95 % interval over blocks of references and two-sided p against 0.

    The standard error is √((B - 1) / B · Σ(θ₍₋ᵦ₎ - mean)²), whose square is on average not below the true variance (Efron and
    Stein 1981); the interval is that times Student's t with B - 1 degrees of freedom. Not for quantiles, which jump. Where a number
    is not finite, neither interval nor p is known: they are NaN. Nor is p of a value other than 0 that no block changes.

    Args:
        left_out: (1 + B,): the value on all stimuli, and without each block; a difference of two such rows is paired.
        low: the range of the value, at which the interval ends.
        high: the same.

    Raises:
        InputError: fewer than 3 blocks.
    """
    from scipy.stats import t

    value, rest = float(left_out[0]), np.asarray(left_out[1:], float)
    count = len(rest)
    if count < 3:
        raise InputError(f"Got {count} blocks of references for a jackknife. Expected at least 3. Show more references.")
    if not np.isfinite(left_out).all():
        return Difference(value, float("nan"), float("nan"), float("nan"))
    error = float(np.sqrt((count - 1) / count * ((rest - rest.mean()) ** 2).sum()))
    reach = float(t.ppf(0.975, count - 1)) * error
    p = float(2 * t.sf(abs(value) / error, count - 1)) if error > 0 else 1.0 if value == 0 else float("nan")
    return Difference(value, float(np.clip(value - reach, low, high)), float(np.clip(value + reach, low, high)), p)


def reference_blocks(references: Sequence[str] | np.ndarray, seed: int = 0, most: int = BLOCKS) -> np.ndarray:
    """Block of every row, int (n,): one per reference, or ``most`` blocks that the references are dealt to at random."""
    _, number = np.unique(np.asarray(references), return_inverse=True)
    count = int(number.max()) + 1
    if count <= most:
        return number
    dealt = np.random.default_rng([seed, 41]).permutation(count) % most
    return np.asarray(dealt[number])
