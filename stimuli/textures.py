"""What the procedural images share: fields with a 1/f spectrum, and exposure."""

from __future__ import annotations

import numpy as np


def one_over_f(rng: np.random.Generator, side: int, slope: float = 1.2) -> np.ndarray:
    """A Gaussian field of unit variance whose amplitude spectrum falls as f^-slope, shape (side, side); it tiles."""
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    radius = np.hypot(fy, fx)
    radius[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.normal(size=(side, side))) * radius**-slope
    field = np.fft.irfft2(spectrum, s=(side, side))
    return field / field.std()


def levelled(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Auto-exposure: luma of mean about 0.46 and standard deviation about 0.22, in [0, 1].

    Args:
        canvas: float, shape (H, W, 3).
        rng: of what is left of the exposure's error, 0.01.
    """
    canvas = np.clip(canvas, 0, 1)
    for _ in range(2):  # clipping moves the moments, a second pass settles them
        luma = canvas @ np.array([0.299, 0.587, 0.114])
        canvas = (canvas - luma.mean()) * (0.22 / max(luma.std(), 1e-3)) + 0.46
        canvas = np.clip(canvas, 0, 1)
    return np.clip(canvas + rng.normal(0, 0.01), 0, 1)
