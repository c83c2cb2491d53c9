"""KADID-10k's colour distortions: diffusion, shift, quantization and two saturations."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from stimuli.distortions.blur import gaussian
from stimuli.distortions.kinds import Setting
from stimuli.operations import lab2rgb, luma, rgb2lab, to_uint8, translated


def color_diffusion(image: np.ndarray, amount: float, setting: Setting) -> np.ndarray:
    """Lab a, b blurred with σ = 1.5·amount + 2 px and multiplied by ``amount`` (KADID 4)."""
    lab = rgb2lab(image)
    for channel in (1, 2):
        sigma = (1.5 * amount + 2) * setting.scale
        lab[..., channel] = ndimage.gaussian_filter(lab[..., channel], sigma, mode="nearest") * amount
    return lab2rgb(lab)


def color_shift(image: np.ndarray, pixels: float, setting: Setting) -> np.ndarray:
    """Green moved by ``pixels`` px in a random direction down and right, the more the nearer to an edge (KADID 5).

    The share of the moved channel is the grey image's gradient magnitude, smoothed with σ = 4 px, stretched to [0, 1], held to
    [0.1, 1], and stretched again between its 1st and 99th percentile.
    """
    direction = setting.rng.random(2)
    dy, dx = np.round(pixels * setting.scale * direction / np.linalg.norm(direction)).astype(int)
    edges = gaussian(np.hypot(*np.gradient(luma(image))), 4 * setting.scale)
    edges = np.clip((edges - edges.min()) / max(np.ptp(edges), 1e-9), 0.1, 1)
    low, high = np.percentile(edges, (1, 99))
    share = np.clip((edges - low) / max(high - low, 1e-9), 0, 1)
    result = image.copy()
    result[..., 1] += share * (translated(image[..., 1], dy, dx) - image[..., 1])
    return result


def color_quantization(image: np.ndarray, colors: float, setting: Setting) -> np.ndarray:
    """A minimum-variance palette of so many colours, with Floyd-Steinberg dither (KADID 6).

    The palette is median cut's, moved towards least variance by k-means over the occupied cells of a 32-level colour cube.
    """
    picture = Image.fromarray(to_uint8(image))
    cut = picture.quantize(int(colors), Image.Quantize.MEDIANCUT)
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.round(_refined(picture, cut)).astype(np.uint8).tobytes())
    found = picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    return np.asarray(found.convert("RGB")) / 255.0


def _refined(picture: Image.Image, cut: Image.Image, rounds: int = 8) -> np.ndarray:
    """The colours of a cut after some rounds of Lloyd's algorithm, (colours, 3), from 0 to 255."""
    pixels = np.asarray(picture).reshape(-1, 3)
    cell = (pixels >> 3).astype(np.int64) @ np.array([1024, 32, 1])
    weight = np.bincount(cell, minlength=32768).astype(float)
    sums = np.stack([np.bincount(cell, pixels[:, channel], 32768) for channel in range(3)], axis=1)
    sums, weight = sums[weight > 0], weight[weight > 0]
    means = sums / weight[:, None]
    centres = np.array(cut.getpalette(), float).reshape(-1, 3)[: len(cut.getcolors() or ())]
    for _ in range(rounds):
        nearest = ((centres**2).sum(1) - 2 * means @ centres.T).argmin(1)
        mass = np.bincount(nearest, weight, len(centres))
        own = np.stack([np.bincount(nearest, sums[:, channel], len(centres)) for channel in range(3)], axis=1)
        centres = np.where(mass[:, None] > 0, own / np.maximum(mass, 1)[:, None], centres)
    return centres


def color_saturation_1(image: np.ndarray, factor: float, setting: Setting) -> np.ndarray:
    """HSV saturation times ``factor``; a negative factor turns to the complementary hue (KADID 7).

    HSV is linear in S at fixed hue and value, RGB = V − S·V·(1 − pure hue), hence RGB' = V − factor·(V − RGB).
    """
    value = image.max(axis=2, keepdims=True)
    return value - factor * (value - image)


def color_saturation_2(image: np.ndarray, factor: float, setting: Setting) -> np.ndarray:
    """Lab a, b times ``factor``; level 1 is the identity (KADID 8)."""
    if factor == 1:
        return image
    lab = rgb2lab(image)
    lab[..., 1:] *= factor
    return lab2rgb(lab)
