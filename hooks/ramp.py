"""A ramp that shows whether an image came through a processor in one piece, and which part of what came out is image."""

from __future__ import annotations

import numpy as np

EXACT = 3 / 255
"""How near to one an image and its negative must add up where nothing is padded: each is rounded to 8 bits twice."""
DIFFERENT = 0.15
"""How far a ramp and its negative are apart at least, with something to spare, where nothing is padded."""


def ramp(size: tuple[int, int]) -> np.ndarray:
    """Red rising from left to right, green from top to bottom, up to 40 %; blue at 20 %: uint8 (H, W, 3).

    So an image and its negative differ everywhere, and differ nowhere in what a processor pads.
    """
    height, width = size
    image = np.full((height, width, 3), 51, np.uint8)
    image[..., 0] = np.linspace(0, 102, width).round()
    image[..., 1] = np.linspace(0, 102, height).round()[:, None]
    return image


def box(rising: np.ndarray, falling: np.ndarray) -> tuple[slice, slice] | None:
    """The rectangle of a tile in which a ramp and its negative add up to one, and are not the same."""
    real = ((np.abs(rising + falling - 1) < EXACT) & (falling - rising > DIFFERENT)).all(2)
    rows, columns = np.flatnonzero(real.mean(1) > 0.5 * real.mean(1).max()), np.flatnonzero(real.any(0))
    if not len(rows) or not len(columns):
        return None
    columns = np.flatnonzero(real[rows].mean(0) > 0.5)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def roughness(tile: np.ndarray) -> float:
    """Root mean square of what is left of a ramp (h, w, 3) when a plane has been fitted to each channel."""
    x, y = (np.linspace(-0.5, 0.5, side) for side in (tile.shape[1], tile.shape[0]))
    rest = tile - tile.mean((0, 1))
    rest[..., 0] -= max(0.0, _slope(rest[..., 0].mean(0), x)) * x
    rest[..., 1] -= (max(0.0, _slope(rest[..., 1].mean(1), y)) * y)[:, None]
    return float(np.sqrt((rest**2).mean()))


def _slope(profile: np.ndarray, at: np.ndarray) -> float:
    return float(profile @ at / max(float(at @ at), 1e-12))


def allowed(size: tuple[int, int]) -> float:
    """Roughness by rounding, and by the last half pixel of a small image, which resampling makes flat."""
    return 2 / 255 + 0.2 / min(size)
