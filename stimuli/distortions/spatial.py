"""KADID-10k's spatial distortions: jitter, non-eccentricity patch, pixelate, quantization, colour block; and sharpening."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from stimuli.distortions.kinds import Setting
from stimuli.distortions.thresholds import multi_otsu
from stimuli.operations import lab2rgb, rgb2lab, shifted


def jitter(image: np.ndarray, pixels: float, setting: Setting) -> np.ndarray:
    """Five random warps of N(0, 1)·``pixels`` px, bilinear (KADID 19)."""
    for _ in range(5):
        dy, dx = setting.rng.normal(0, pixels * setting.scale, (2, *image.shape[:2]))
        image = shifted(image, dy, dx)
    return image


def non_eccentricity_patch(image: np.ndarray, patches: float, setting: Setting) -> np.ndarray:
    """So many patches of 16 × 16 px, each replaced by one at most 8 px away in either direction (KADID 20)."""
    result = image.copy()
    side = min(setting.length(16), *(length // 2 for length in image.shape[:2]))
    room = np.array(image.shape[:2]) - side
    for _ in range(int(patches)):
        to = setting.rng.integers(0, room + 1)
        away = np.round(side * (setting.rng.random(2) - 0.5)).astype(int)
        (top, left), (y, x) = to, np.clip(to + away, 0, room)
        result[top : top + side, left : left + side] = result[y : y + side, x : x + side].copy()
    return result


def pixelate(image: np.ndarray, strength: float, setting: Setting) -> np.ndarray:
    """Nearest neighbour down to 0.95 − strength^0.6 of the size, and up again (KADID 21)."""
    height, width = image.shape[:2]
    share = 0.95 - strength**0.6
    small = _nearest(height, max(1, round(share * height))), _nearest(width, max(1, round(share * width)))
    rows, columns = (part[_nearest(len(part), full)] for part, full in zip(small, (height, width), strict=True))
    return image[rows[:, None], columns]


def _nearest(source: int, wanted: int) -> np.ndarray:
    """Which of ``source`` samples the ``wanted`` ones take, by the centres of pixels."""
    return np.floor((np.arange(wanted) + 0.5) * source / wanted).astype(int)


def quantization(image: np.ndarray, thresholds: float, setting: Setting) -> np.ndarray:
    """All channels together cut at so many Otsu thresholds; the values of a class become its upper threshold (KADID 22).

    Those of the first class become 0, of the last 1. An image of no more values than classes stays as it is.
    """
    cuts = multi_otsu(image, int(thresholds))
    if len(cuts) == 0:
        return image
    values = np.concatenate([[0.0], cuts[1:], [1.0]])
    return values[np.searchsorted(cuts, image, side="left")]


def color_block(image: np.ndarray, blocks: float, setting: Setting) -> np.ndarray:
    """So many blocks of 32 × 32 px in random colours at random places (KADID 23)."""
    result = image.copy()
    side = min(setting.length(32), *image.shape[:2])
    for _ in range(int(blocks)):
        top, left = setting.rng.integers(0, np.array(image.shape[:2]) - side + 1)
        result[top : top + side, left : left + side] = setting.rng.random(3)
    return result


def high_sharpen(image: np.ndarray, amount: float, setting: Setting) -> np.ndarray:
    """Unsharp masking of Lab L with σ = 3 px (KADID 24)."""
    lab = rgb2lab(image)
    sigma = 3 * setting.scale
    smooth = ndimage.gaussian_filter(lab[..., 0], sigma, radius=int(np.ceil(2 * sigma)), mode="nearest")
    lab[..., 0] = np.clip(lab[..., 0] + amount * (lab[..., 0] - smooth), 0, 100)
    return lab2rgb(lab)
