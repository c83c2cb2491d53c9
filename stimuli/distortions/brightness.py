"""KADID-10k's changes of brightness: brighten, darken and mean shift; and of contrast."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

from stimuli.distortions.kinds import Setting
from stimuli.operations import lab2rgb, rgb2lab


def brighten(image: np.ndarray, amount: float, setting: Setting) -> np.ndarray:
    """Two thirds a tone curve on RGB, one third the same curve on Lab L (KADID 16)."""
    curve = np.polyfit([0, 0.5, 1], [0, 0.5 + amount / 2, 1], 2)
    lab = rgb2lab(image)
    lab[..., 0] = 100 * np.clip(np.polyval(curve, lab[..., 0] / 100), 0, 1)
    return (2 * np.clip(np.polyval(curve, image), 0, 1) + lab2rgb(lab)) / 3


def darken(image: np.ndarray, amount: float, setting: Setting) -> np.ndarray:
    """A tone curve through (0.5, 0.5 − amount/2) on RGB (KADID 17)."""
    return np.polyval(np.polyfit([0, 0.5, 1], [0, 0.5 - amount / 2, 1], 2), image)


def mean_shift(image: np.ndarray, shift: float, setting: Setting) -> np.ndarray:
    """I + shift; signed, level 3 is the identity (KADID 18)."""
    return image + shift


def contrast_change(image: np.ndarray, amount: float, setting: Setting) -> np.ndarray:
    """A not-a-knot spline through (.3, .25 − v/4), (.5, .5), (.7, .75 + v/4); signed, neutral at v = −0.2 (KADID 25)."""
    knots = [0, 0.25 - amount / 4, 0.5, 0.75 + amount / 4, 1]
    return CubicSpline([0, 0.3, 0.5, 0.7, 1], knots, bc_type="not-a-knot")(image)
