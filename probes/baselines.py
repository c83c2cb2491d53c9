"""What plain pixel statistics can tell: the baseline that a vision encoder has to beat.

A documented vector in the manner of BRISQUE (Mittal, Moorthy and Bovik 2012): moments of mean-subtracted contrast-normalised
luminance and of neighbouring products at two scales, gradients, Laplacian, 8-px block edges, colour and exposure.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

NAMES: tuple[str, ...] = (
    *(f"{part}_{stat}_{scale}" for scale in (1, 2) for part in ("mscn", "h", "v", "d") for stat in ("mean", "std", "kurt")),
    *(f"gradient_{q}" for q in ("mean", "std", "q90", "q99")),
    *("laplacian_log_var", "laplacian_q10", "noise_mad", "block_edge", "saturated", "crushed"),
    *(f"{channel}_{stat}" for channel in ("red", "green", "blue", "luma", "chroma_b", "chroma_r") for stat in ("mean", "std")),
    *("saturation_mean", "saturation_std"),
)


def pixel_statistics(image: np.ndarray) -> np.ndarray:
    """The statistics of one image.

    Args:
        image: uint8 (H, W, 3), at least 16 px a side.

    Returns:
        float64 (len(NAMES),).
    """
    rgb = image.astype(float) / 255
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    half = luma[: luma.shape[0] // 2 * 2, : luma.shape[1] // 2 * 2]
    half = half.reshape(half.shape[0] // 2, 2, half.shape[1] // 2, 2).mean((1, 3))
    return np.concatenate([_natural_scene(luma), _natural_scene(half), _sharpness(luma), _colour(rgb, luma)])


def _natural_scene(luma: np.ndarray) -> np.ndarray:
    mean = ndimage.gaussian_filter(luma, 7 / 6, mode="nearest", radius=3)
    spread = np.sqrt(np.maximum(ndimage.gaussian_filter(luma**2, 7 / 6, mode="nearest", radius=3) - mean**2, 0))
    mscn = (luma - mean) / (spread + 1 / 255)
    products = (mscn[:, :-1] * mscn[:, 1:], mscn[:-1] * mscn[1:], mscn[:-1, :-1] * mscn[1:, 1:])
    return np.concatenate([_moments(part) for part in (mscn, *products)])


def _moments(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean()
    spread = np.sqrt((centred**2).mean())
    return np.array([x.mean(), spread, np.log1p((centred**4).mean() / max(spread, 1e-6) ** 4)])


def _sharpness(luma: np.ndarray) -> np.ndarray:
    dx, dy = np.abs(np.diff(luma, axis=1)), np.abs(np.diff(luma, axis=0))
    gradient = np.hypot(dx[:-1], dy[:, :-1])
    laplacian = ndimage.laplace(luma)
    noise = np.median(np.abs(laplacian)) / 0.6745
    columns = dx.mean(0)
    at_blocks = columns[7::8].mean() / max(np.delete(columns, np.s_[7::8]).mean(), 1e-6)
    quantiles = np.quantile(gradient, [0.9, 0.99])
    ends = [(luma > 0.98).mean(), (luma < 0.02).mean()]
    low = np.log(np.quantile(np.abs(laplacian), 0.1) + 1e-6)
    return np.array([gradient.mean(), gradient.std(), *quantiles, np.log(laplacian.var() + 1e-8), low, noise, at_blocks, *ends])


def _colour(rgb: np.ndarray, luma: np.ndarray) -> np.ndarray:
    planes = [*np.moveaxis(rgb, 2, 0), luma, rgb[..., 2] - luma, rgb[..., 0] - luma]
    top = rgb.max(2)
    saturation = np.where(top > 1e-6, (top - rgb.min(2)) / np.maximum(top, 1e-6), 0)
    return np.array([value for plane in [*planes, saturation] for value in (plane.mean(), plane.std())])
