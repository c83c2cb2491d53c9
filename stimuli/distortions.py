"""KADID-10k distortions at their published parameters, deterministic per (seed, reference, type, level).

Parameters: the public KADIS/KADID generator (Lin, Hosu and Saupe, QoMEX 2019, "KADID-10k: A large-scale artificially
distorted IQA database"); the level tables below are that generator's. Images are floats in [0, 1] of shape (H, W, 3)
inside this module and uint8 at its door. Level is not severity: types 18 and 25 are signed, and some levels are identities;
``severity`` measures what a level did to an image.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.interpolate import CubicSpline

from stimuli.errors import InputError
from stimuli.operations import convolve, lab2rgb, rgb2lab, shifted, splat, through_codec, to_uint8

Rng = np.random.Generator
Apply = Callable[[np.ndarray, float, Rng], np.ndarray]
LEVELS = (1, 2, 3, 4, 5)


def gaussian_blur(image: np.ndarray, sigma: float, rng: Rng) -> np.ndarray:
    """Gaussian blur of ``sigma`` px, kernel of 2⌈2σ⌉+1 px, replicated border (KADID 1)."""
    radius = int(np.ceil(2 * sigma))
    for axis in (0, 1):
        image = ndimage.gaussian_filter1d(image, sigma, axis=axis, radius=radius, mode="nearest")
    return image


def lens_blur(image: np.ndarray, radius: float, rng: Rng) -> np.ndarray:
    """Convolution with an area-sampled disk of ``radius`` px (KADID 2)."""
    reach, fine = int(np.ceil(radius)), 8
    offsets = (np.arange((2 * reach + 1) * fine) + 0.5) / fine - reach - 0.5
    inside = (offsets[:, None] ** 2 + offsets[None, :] ** 2 <= radius**2).astype(float)
    kernel = inside.reshape(2 * reach + 1, fine, 2 * reach + 1, fine).sum((1, 3))
    return convolve(image, kernel / kernel.sum())


def motion_blur(image: np.ndarray, length: float, rng: Rng) -> np.ndarray:
    """Convolution with a line of ``length`` px at a random angle; length 1 is the identity (KADID 3)."""
    angle = rng.uniform(0, np.pi)
    half = (length - 1) / 2
    reach = int(np.ceil(half)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for step in np.linspace(-half, half, 8 * int(np.ceil(length)) + 1):
        splat(kernel, reach - step * np.sin(angle), reach + step * np.cos(angle))
    return convolve(image, kernel / kernel.sum()) if length > 1 else image


def color_diffusion(image: np.ndarray, amount: float, rng: Rng) -> np.ndarray:
    """Lab a, b blurred with σ = 1.5·amount + 2 px and multiplied by ``amount`` (KADID 4)."""
    lab = rgb2lab(image)
    for channel in (1, 2):
        lab[..., channel] = ndimage.gaussian_filter(lab[..., channel], 1.5 * amount + 2, mode="nearest") * amount
    return lab2rgb(lab)


def color_saturation_1(image: np.ndarray, factor: float, rng: Rng) -> np.ndarray:
    """HSV saturation times ``factor``; a negative factor turns to the complementary hue (KADID 7).

    HSV is linear in S at fixed hue and value, RGB = V − S·V·(1 − pure hue), hence RGB' = V − factor·(V − RGB).
    """
    value = image.max(axis=2, keepdims=True)
    return value - factor * (value - image)


def color_saturation_2(image: np.ndarray, factor: float, rng: Rng) -> np.ndarray:
    """Lab a, b times ``factor``; level 1 is the identity (KADID 8)."""
    if factor == 1:
        return image
    lab = rgb2lab(image)
    lab[..., 1:] *= factor
    return lab2rgb(lab)


def jpeg2000(image: np.ndarray, ratio: float, rng: Rng) -> np.ndarray:
    """JPEG 2000 (irreversible 9/7) at a compression ratio (KADID 9)."""
    return through_codec(image, format="JPEG2000", quality_mode="rates", quality_layers=[float(ratio)], irreversible=True)


def jpeg(image: np.ndarray, quality: float, rng: Rng) -> np.ndarray:
    """Baseline JPEG at a libjpeg quality, 4:2:0 (KADID 10)."""
    return through_codec(image, format="JPEG", quality=int(quality))


def white_noise(image: np.ndarray, variance: float, rng: Rng) -> np.ndarray:
    """Additive Gaussian noise in RGB (KADID 11)."""
    return image + rng.normal(0, np.sqrt(variance), image.shape)


def white_noise_color_component(image: np.ndarray, variance: float, rng: Rng) -> np.ndarray:
    """Additive Gaussian noise on the three channels of studio-range YCbCr (KADID 12)."""
    from skimage.color import rgb2ycbcr, ycbcr2rgb

    return np.asarray(ycbcr2rgb(rgb2ycbcr(image) + 255 * rng.normal(0, np.sqrt(variance), image.shape)))


def impulse_noise(image: np.ndarray, density: float, rng: Rng) -> np.ndarray:
    """Salt and pepper on a share ``density`` of the elements (KADID 13)."""
    draw = rng.random(image.shape)
    return np.where(draw < density / 2, 0.0, np.where(draw < density, 1.0, image))


def multiplicative_noise(image: np.ndarray, variance: float, rng: Rng) -> np.ndarray:
    """Speckle, I + n·I with uniform zero-mean n of the given variance (KADID 14)."""
    reach = np.sqrt(3 * variance)
    return image + rng.uniform(-reach, reach, image.shape) * image


def brighten(image: np.ndarray, amount: float, rng: Rng) -> np.ndarray:
    """Two thirds a tone curve on RGB, one third the same curve on Lab L (KADID 16)."""
    curve = np.polyfit([0, 0.5, 1], [0, 0.5 + amount / 2, 1], 2)
    lab = rgb2lab(image)
    lab[..., 0] = 100 * np.clip(np.polyval(curve, lab[..., 0] / 100), 0, 1)
    return (2 * np.clip(np.polyval(curve, image), 0, 1) + lab2rgb(lab)) / 3


def darken(image: np.ndarray, amount: float, rng: Rng) -> np.ndarray:
    """A tone curve through (0.5, 0.5 − amount/2) on RGB (KADID 17)."""
    return np.polyval(np.polyfit([0, 0.5, 1], [0, 0.5 - amount / 2, 1], 2), image)


def mean_shift(image: np.ndarray, shift: float, rng: Rng) -> np.ndarray:
    """I + shift; signed, level 3 is the identity (KADID 18)."""
    return image + shift


def jitter(image: np.ndarray, pixels: float, rng: Rng) -> np.ndarray:
    """Five random warps of N(0, 1)·``pixels`` px, bilinear (KADID 19)."""
    for _ in range(5):
        dy, dx = rng.normal(0, pixels, (2, *image.shape[:2]))
        image = shifted(image, dy, dx)
    return image


def contrast_change(image: np.ndarray, amount: float, rng: Rng) -> np.ndarray:
    """A not-a-knot spline through (.3, .25 − v/4), (.5, .5), (.7, .75 + v/4); signed (KADID 25)."""
    knots = [0, 0.25 - amount / 4, 0.5, 0.75 + amount / 4, 1]
    return CubicSpline([0, 0.3, 0.5, 0.7, 1], knots, bc_type="not-a-knot")(image)


@dataclass(frozen=True)
class Distortion:
    """One KADID-10k type: its number there, its function and its published parameter per level."""

    number: int
    apply: Apply
    parameters: tuple[float, float, float, float, float]
    identities: tuple[int, ...] = ()
    """Levels that leave the image as it was."""


TYPES: dict[str, Distortion] = {
    d.apply.__name__: d
    for d in (
        Distortion(1, gaussian_blur, (0.1, 0.5, 1, 2, 5), (1,)),
        Distortion(2, lens_blur, (1, 2, 4, 6, 8)),
        Distortion(3, motion_blur, (1, 2, 4, 6, 10), (1,)),
        Distortion(4, color_diffusion, (1, 3, 6, 8, 12)),
        Distortion(7, color_saturation_1, (0.4, 0.2, 0.1, 0, -0.4)),
        Distortion(8, color_saturation_2, (1, 2, 3, 6, 9), (1,)),
        Distortion(9, jpeg2000, (16, 32, 45, 120, 400)),
        Distortion(10, jpeg, (43, 36, 24, 7, 4)),
        Distortion(11, white_noise, (0.001, 0.002, 0.003, 0.005, 0.01)),
        Distortion(12, white_noise_color_component, (0.0001, 0.0005, 0.001, 0.002, 0.003)),
        Distortion(13, impulse_noise, (0.001, 0.005, 0.01, 0.02, 0.03)),
        Distortion(14, multiplicative_noise, (0.001, 0.005, 0.01, 0.02, 0.05)),
        Distortion(16, brighten, (0.1, 0.2, 0.4, 0.7, 1.1)),
        Distortion(17, darken, (0.05, 0.1, 0.2, 0.4, 0.8)),
        Distortion(18, mean_shift, (0.15, 0.08, 0, -0.08, -0.15), (3,)),
        Distortion(19, jitter, (0.05, 0.1, 0.2, 0.5, 1)),
        Distortion(25, contrast_change, (0.3, 0.15, 0, -0.4, -0.6)),
    )
}


def parameter(type: str, level: int) -> float:
    """The published parameter of a type at a level.

    Raises:
        InputError: unknown type, or a level outside 1 to 5.
    """
    if type not in TYPES:
        raise InputError(f"Unknown distortion type '{type}'. Known types: {', '.join(TYPES)}. Use one of these.")
    if level not in LEVELS:
        raise InputError(f"Distortion level {level!r} does not exist; KADID-10k has the levels 1 to 5. Use one of these.")
    return TYPES[type].parameters[level - 1]


def distort(image: np.ndarray, type: str, level: int, *, seed: int = 0, reference: str = "") -> np.ndarray:
    """Distort one image.

    Args:
        image: uint8, shape (H, W, 3); never changed.
        type: a key of ``TYPES``.
        level: 1 to 5, as published.
        seed: draws of the random types depend on (seed, reference, type, level) and on nothing else.
        reference: the id of the source image.

    Returns:
        uint8 of the same shape.

    Raises:
        InputError: unknown type or level, or not a uint8 RGB image.
    """
    value = parameter(type, level)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            f"Got an image of dtype {image.dtype} and shape {image.shape}; expected uint8 (H, W, 3). Convert it to RGB first."
        )
    kind = TYPES[type]
    rng = np.random.default_rng([seed, zlib.crc32(reference.encode()), kind.number, level])
    return to_uint8(kind.apply(image / 255.0, value, rng))


def severity(reference: np.ndarray, distorted: np.ndarray) -> tuple[float, float]:
    """Measured severity: (PSNR in dB, 100 where identical; mean SSIM over channels).

    SSIM: Wang, Bovik, Sheikh and Simoncelli 2004, 7 px uniform window, as in scikit-image.
    """
    from skimage.metrics import structural_similarity

    error = float(np.mean((reference.astype(float) - distorted.astype(float)) ** 2))
    if error == 0:
        return 100.0, 1.0
    ssim = structural_similarity(reference, distorted, channel_axis=2, data_range=255)
    return float(10 * np.log10(255**2 / error)), float(ssim)


QUALITY_BOUNDS_DB = {"excellent": 32.0, "good": 26.0, "fair": 22.0, "poor": 17.0}


def quality(psnr: float) -> str:
    """The five-level quality word for a measured PSNR in dB: excellent, good, fair, poor or bad.

    The bounds are ours, chosen so that the published levels of the paper8 types spread over all five words. PSNR is used
    rather than the level because levels of signed types are not ordered by severity.
    """
    return next((word for word, bound in QUALITY_BOUNDS_DB.items() if psnr >= bound), "bad")
