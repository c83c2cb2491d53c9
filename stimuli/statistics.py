"""What plain pixel statistics can tell: the baseline that a vision encoder has to beat.

A documented vector in the manner of BRISQUE (Mittal, Moorthy and Bovik 2012): moments of mean-subtracted contrast-normalised
luminance and of neighbouring products at two scales, gradients, Laplacian, 8-px block edges, colour and exposure.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from stimuli.errors import InputError

NAMES: tuple[str, ...] = (
    *(f"{part}_{stat}_{scale}" for scale in (1, 2) for part in ("mscn", "h", "v", "d") for stat in ("mean", "std", "kurt")),
    *(f"gradient_{q}" for q in ("mean", "std", "q90", "q99")),
    *("laplacian_log_var", "laplacian_q10", "noise_mad", "block_edge", "saturated", "crushed"),
    *(f"{channel}_{stat}" for channel in ("red", "green", "blue", "luma", "chroma_b", "chroma_r") for stat in ("mean", "std")),
    *("saturation_mean", "saturation_std"),
)
LEAST = 16
"""Pixels per side that an image needs."""


def pixel_statistics(image: np.ndarray) -> np.ndarray:
    """The statistics of one image.

    Args:
        image: uint8 (H, W, 3), or float from 0 to 1; at least ``LEAST`` px a side.

    Returns:
        float64 (len(NAMES),).

    Raises:
        InputError: another shape, or an image that is too small.
    """
    if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < LEAST:
        raise InputError(
            f"Got an image of shape {' x '.join(map(str, image.shape))} for pixel statistics. Expected height x width x 3 with at "
            f"least {LEAST} px a side. Leave it out, or give a larger one."
        )
    rgb = image / 255 if image.dtype == np.uint8 else image.astype(float)
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    half = luma[: luma.shape[0] // 2 * 2, : luma.shape[1] // 2 * 2]
    half = half.reshape(half.shape[0] // 2, 2, half.shape[1] // 2, 2).mean((1, 3))
    return np.concatenate([_natural_scene(luma), _natural_scene(half), _sharpness(luma), _colour(rgb, luma)])


def _natural_scene(luma: np.ndarray) -> np.ndarray:
    mean = ndimage.gaussian_filter(luma, 7 / 6, mode="nearest", radius=3)
    spread = np.sqrt(np.maximum(ndimage.gaussian_filter(luma * luma, 7 / 6, mode="nearest", radius=3) - mean * mean, 0))
    mscn = (luma - mean) / (spread + 1 / 255)
    products = (mscn[:, :-1] * mscn[:, 1:], mscn[:-1] * mscn[1:], mscn[:-1, :-1] * mscn[1:, 1:])
    return np.concatenate([_moments(part) for part in (mscn, *products)])


def _moments(x: np.ndarray) -> np.ndarray:
    mean = x.mean()
    squares = (x - mean).ravel()
    squares *= squares
    spread = np.sqrt(squares.mean())
    fourth = (squares @ squares) / squares.size  # a power of four takes twenty times as long
    return np.array([mean, spread, np.log1p(fourth / max(spread, 1e-6) ** 4)])


def _sharpness(luma: np.ndarray) -> np.ndarray:
    dx, dy = np.diff(luma, axis=1), np.diff(luma, axis=0)
    gradient = np.sqrt(dx[:-1] ** 2 + dy[:, :-1] ** 2)
    laplacian = ndimage.laplace(luma)
    low, median = np.quantile(np.abs(laplacian), [0.1, 0.5])
    columns = np.abs(dx).mean(0)
    at_blocks = columns[7::8].mean() / max(np.delete(columns, np.s_[7::8]).mean(), 1e-6)
    quantiles = np.quantile(gradient, [0.9, 0.99])
    ends = [(luma > 0.98).mean(), (luma < 0.02).mean()]
    spread = [np.log(laplacian.var() + 1e-8), np.log(low + 1e-6), median / 0.6745]
    return np.array([gradient.mean(), gradient.std(), *quantiles, *spread, at_blocks, *ends])


def _colour(rgb: np.ndarray, luma: np.ndarray) -> np.ndarray:
    red, green, blue = np.ascontiguousarray(np.moveaxis(rgb, 2, 0))
    top = np.maximum(np.maximum(red, green), blue)
    low = np.minimum(np.minimum(red, green), blue)
    saturation = np.where(top > 1e-6, (top - low) / np.maximum(top, 1e-6), 0)
    planes = (red, green, blue, luma, blue - luma, red - luma, saturation)
    return np.array([value for plane in planes for value in _mean_and_std(plane)])


def _mean_and_std(plane: np.ndarray) -> tuple[float, float]:
    mean = plane.mean()
    rest = (plane - mean).ravel()
    return float(mean), float(np.sqrt(rest @ rest / rest.size))
