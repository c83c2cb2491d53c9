"""KADID-10k's blurs: Gaussian, lens and motion."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from stimuli.distortions.kinds import Setting
from stimuli.operations import convolve, splat


def gaussian_blur(image: np.ndarray, sigma: float, setting: Setting) -> np.ndarray:
    """Gaussian blur of ``sigma`` px, kernel of 2⌈2σ⌉+1 px, replicated border (KADID 1)."""
    return gaussian(image, sigma * setting.scale)


def gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    """The same by itself, of an image or a plane."""
    radius = int(np.ceil(2 * sigma))
    for axis in (0, 1):
        image = ndimage.gaussian_filter1d(image, sigma, axis=axis, radius=radius, mode="nearest")
    return image


def lens_blur(image: np.ndarray, radius: float, setting: Setting) -> np.ndarray:
    """Convolution with an area-sampled disk of ``radius`` px (KADID 2)."""
    return convolve(image, disk(radius * setting.scale))


def disk(radius: float) -> np.ndarray:
    """A disk of ``radius`` px whose border pixels have the share that it covers; sums to 1, odd sides."""
    radius = max(radius, 0.5)  # a smaller one lies within one pixel
    reach, fine = int(np.ceil(radius)), 8
    offsets = (np.arange((2 * reach + 1) * fine) + 0.5) / fine - reach - 0.5
    inside = (offsets[:, None] ** 2 + offsets[None, :] ** 2 <= radius**2).astype(float)
    kernel = inside.reshape(2 * reach + 1, fine, 2 * reach + 1, fine).sum((1, 3))
    return np.asarray(kernel / kernel.sum())


def motion_blur(image: np.ndarray, length: float, setting: Setting) -> np.ndarray:
    """Convolution with a line of ``length`` px at a random angle; length 1 is the identity (KADID 3)."""
    angle = setting.rng.uniform(0, np.pi)
    return convolve(image, line(1 + (length - 1) * setting.scale, angle)) if length > 1 else image


def line(length: float, angle: float) -> np.ndarray:
    """A line of ``length`` px at an angle in radians; sums to 1, odd sides."""
    half = (length - 1) / 2
    reach = int(np.ceil(half)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for step in np.linspace(-half, half, 8 * int(np.ceil(length)) + 1):
        splat(kernel, reach - step * np.sin(angle), reach + step * np.cos(angle))
    return np.asarray(kernel / kernel.sum())
