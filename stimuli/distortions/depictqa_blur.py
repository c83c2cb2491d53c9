"""DepictQA-Wild's blurs: Gaussian, motion, glass, lens, zoom and jitter; and its oversharpening, which undoes one too many."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from stimuli.distortions.kinds import Setting
from stimuli.operations import convolve

MOTION_RADIUS = {3.0: 5, 5.0: 10, 7.0: 15, 9.0: 15, 12.0: 20}
"""Of a motion of standard deviation σ px: its reach in px."""
GLASS_SHIFT = {0.7: 1, 0.9: 2, 1.2: 2, 1.4: 3, 1.6: 4}
"""Of a glass of blur σ px: how far in px it moves pixels."""
GLASS_ROUNDS = {0.7: 1, 0.9: 1, 1.2: 2, 1.4: 2, 1.6: 2}
"""Of a glass of blur σ px: how often it does so."""
ZOOM_STEP = 0.02


def depictqa_blur_gaussian(image: np.ndarray, sigma: float, setting: Setting) -> np.ndarray:
    """Gaussian blur of ``sigma`` px, cut off at 4 σ, replicated border (DepictQA-Wild 101)."""
    return _smooth(image, sigma * setting.scale)


def _smooth(image: np.ndarray, sigma: float) -> np.ndarray:
    for axis in (0, 1):
        image = ndimage.gaussian_filter1d(image, sigma, axis=axis, mode="nearest")
    return image


def depictqa_blur_motion(image: np.ndarray, sigma: float, setting: Setting) -> np.ndarray:
    """A trail that fades as half a Gaussian of ``sigma`` px, at an angle from −90 to 90 degrees (DepictQA-Wild 102).

    The trail lies on one side, so that the image also moves. It ends after 2 ``MOTION_RADIUS`` px. The parameter is σ, as two
    levels have the same radius.
    """
    angle = setting.rng.uniform(-np.pi / 2, np.pi / 2)
    reach = 2 * setting.length(_at(MOTION_RADIUS, sigma))
    return convolve(image, trail(reach, sigma * setting.scale, angle))


def trail(reach: int, sigma: float, angle: float) -> np.ndarray:
    """Half a Gaussian of ``sigma`` px from the middle of the kernel outwards, ``reach`` px long, an angle in radians; sums to 1.

    Points are a px apart and belong to the pixel they fall into. Shape (2·reach + 1, 2·reach + 1).
    """
    steps = np.arange(reach + 1)
    rows, columns = (reach - np.ceil(steps * part - 0.5).astype(int) for part in (np.sin(angle), np.cos(angle)))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    np.add.at(kernel, (rows, columns), np.exp(-0.5 * (steps / sigma) ** 2))
    return np.asarray(kernel / kernel.sum())


def depictqa_blur_glass(image: np.ndarray, sigma: float, setting: Setting) -> np.ndarray:
    """Gaussian blur, pixels scattered ``GLASS_SHIFT`` px far ``GLASS_ROUNDS`` times, and the same blur again (DepictQA-Wild 103)."""
    image = _smooth(image, sigma * setting.scale)
    for _ in range(round(_at(GLASS_ROUNDS, sigma))):
        image = scattered(image, setting.length(_at(GLASS_SHIFT, sigma)), setting.rng)
    return _smooth(image, sigma * setting.scale)


def depictqa_blur_lens(image: np.ndarray, radius: float, setting: Setting) -> np.ndarray:
    """Convolution with the pixels whose centres are at most ``radius`` px away (DepictQA-Wild 104)."""
    radius *= setting.scale
    offsets = np.arange(-int(radius), int(radius) + 1)
    inside = offsets[:, None] ** 2 + offsets[None, :] ** 2 <= radius**2
    return convolve(image, inside / inside.sum())


def depictqa_blur_zoom(image: np.ndarray, end: float, setting: Setting) -> np.ndarray:
    """The mean of the image and its enlargements by 1, 1.02, … up to ``end`` times (DepictQA-Wild 105).

    The image itself thus counts twice. As published, the third level ends with 1.10, the others before their ``end``.
    """
    factors = np.arange(1, end, ZOOM_STEP)
    return (2 * image + sum(_enlarged(image, factor) for factor in factors[1:])) / (len(factors) + 1)


def _enlarged(image: np.ndarray, factor: float) -> np.ndarray:
    """Enlarged about its centre and cropped to its own size, bilinear."""
    for axis in (0, 1):
        last = image.shape[axis] - 1
        where = last / 2 + (np.arange(last + 1) - last / 2) / factor
        low = np.minimum(where.astype(int), last - 1)
        share = np.expand_dims(where - low, (1, 2) if axis == 0 else (0, 2))
        image = (1 - share) * image.take(low, axis) + share * image.take(low + 1, axis)
    return image


def depictqa_blur_jitter(image: np.ndarray, shift: float, setting: Setting) -> np.ndarray:
    """Pixels scattered ``shift`` px far (DepictQA-Wild 106)."""
    return scattered(image, setting.length(shift), setting.rng)


def scattered(image: np.ndarray, shift: int, rng: np.random.Generator) -> np.ndarray:
    """Each pixel replaced by one from −``shift`` to ``shift`` − 1 px away, down and right, one after another from the end.

    A pixel that has its turn after another may take what that one took before, and so on: a chain. The published loop is
    followed exactly, by pointer jumping: node i stands for pixel i after its turn, node i + n for pixel i as it was. A frame
    of ``shift`` + 1 px above and left and of ``shift`` − 1 px below and right has no turn.
    """
    height, width = image.shape[:2]
    count = height * width
    place = np.arange(count).reshape(height, width)
    own = place[shift + 1 : height - shift + 1, shift + 1 : width - shift + 1]
    down, right = rng.integers(-shift, shift, (2, *own.shape))
    taken = own + down * width + right
    source = np.tile(place.ravel() + count, 2)
    source[own] = np.where(taken > own, taken, taken + count)
    while (source[:count] < count).any():
        source = source[source]
    return image.reshape(count, -1)[source[:count] - count].reshape(image.shape)


def depictqa_oversharpen(image: np.ndarray, amount: float, setting: Setting) -> np.ndarray:
    """Unsharp masking of RGB with the binomial kernel of 5 × 5 px, whose σ is 1 px (DepictQA-Wild 131)."""
    return image + amount * (image - _binomial(image, max(1, round(2 * setting.scale**2))))


def _binomial(image: np.ndarray, times: int) -> np.ndarray:
    """Smoothed by (1, 2, 1) / 4 so many times in both directions: σ = √(times / 2) px; reflected border."""
    kernel = np.ones(1)
    for _ in range(times):
        kernel = np.convolve(kernel, (0.25, 0.5, 0.25))
    for axis in (0, 1):
        image = ndimage.correlate1d(image, kernel, axis=axis, mode="mirror")
    return image


def _at(table: dict[float, int], value: float) -> float:
    """A table's value; between two of its entries, in proportion."""
    return float(np.interp(value, list(table), list(table.values())))
