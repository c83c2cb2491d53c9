"""Features at a scale at which their squares can be computed."""

from __future__ import annotations

import numpy as np

SMALL, LARGE = 1e-3, 1e15
"""Between these, the square of the largest value is far from what float32 cannot hold (1e-38 and 3e38)."""


def scaled(values: np.ndarray) -> np.ndarray:
    """Features divided by one power of two, so that no variance overflows or vanishes; as they are where none would.

    Args:
        values: (n, d), finite.
    """
    largest = float(np.abs(values).max(initial=0))
    if largest == 0 or SMALL <= largest <= LARGE:
        return values
    return np.ldexp(values, -int(np.frexp(largest)[1]))


def floor(values: np.ndarray) -> float:
    """Deviations below this are rounding, not variation: a billionth of the largest value, and of 1 at most.

    Args:
        values: (n, d), finite.
    """
    return 1e-9 * min(1.0, float(np.abs(values).max(initial=0)))
