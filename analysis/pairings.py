"""Rows paired anew, so that a likeness of two spaces can be compared with that of two that have nothing to do with each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PAIRINGS = 10
"""Measures of likeness are averages over many rows, so that a few pairings tell their level by chance; less exactly, of few references."""


def pairings(references: Sequence[str] | np.ndarray, count: int = PAIRINGS, seed: int = 0) -> np.ndarray:
    """For every row a row at random, int (count, n), each row once; references stay together.

    References are put in a random order, twice, each with its versions in a random order, and rows at the same place are paired. With
    equally many versions each reference thus meets one at random, now and then itself, as in any permutation. That leaves unrelated
    spaces their clusters of versions: these alone make spaces alike, which rows mixed one by one would hide. References that must not
    meet themselves would be less alike than unrelated ones, the more so the fewer there are.

    Args:
        references: (n,).
        count: how many pairings.
        seed: of the orders.
    """
    _, number = np.unique(np.asarray(references), return_inverse=True)
    rng = np.random.default_rng([seed, 43])
    found = np.empty((count, len(number)), int)
    for row in found:
        row[_order(number, rng)] = _order(number, rng)
    return found


def _order(number: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows by reference, references and the rows of each in a random order."""
    place = rng.permutation(int(number.max()) + 1)
    return np.lexsort((rng.random(len(number)), place[number]))
