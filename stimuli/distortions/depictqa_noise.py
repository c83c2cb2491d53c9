"""DepictQA-Wild's noises: Gaussian in RGB and in YCrCb, speckle, spatially correlated, Poisson and impulse."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from stimuli.distortions import noise
from stimuli.distortions.kinds import Setting


def depictqa_noise_gaussian_rgb(image: np.ndarray, sigma: float, setting: Setting) -> np.ndarray:
    """Additive Gaussian noise of standard deviation ``sigma`` in RGB (DepictQA-Wild 107)."""
    return image + setting.rng.normal(0, sigma, image.shape)


def depictqa_noise_gaussian_ycrcb(image: np.ndarray, sigma: float, setting: Setting) -> np.ndarray:
    """Gaussian noise of ``sigma`` in luma and of ``chroma_sigma`` in both colour differences (DepictQA-Wild 108)."""
    from skimage.color import ypbpr2rgb

    spread = (sigma, chroma_sigma(sigma), chroma_sigma(sigma))
    return image + np.asarray(ypbpr2rgb(setting.rng.normal(0, spread, image.shape)))


def chroma_sigma(sigma: float) -> float:
    """Of a luma noise: the chroma noise. The published factors 1, 1.45, …, 2.8 for 0.05, 0.06, …, 0.09 lie on one line."""
    return sigma * (1 + 45 * (sigma - 0.05))


def depictqa_noise_speckle(image: np.ndarray, sigma: float, setting: Setting) -> np.ndarray:
    """I + n·I with Gaussian n of standard deviation ``sigma`` (DepictQA-Wild 109)."""
    return image * (1 + setting.rng.normal(0, sigma, image.shape))


def depictqa_noise_spatially_correlated(image: np.ndarray, sigma: float, setting: Setting) -> np.ndarray:
    """Gaussian noise of ``sigma``, then the mean over 3 × 3 px of the noisy image: a blur too (DepictQA-Wild 110)."""
    noisy = image + setting.rng.normal(0, sigma, image.shape)
    side = 2 * round((3 * setting.scale - 1) / 2) + 1  # the nearest odd number
    return np.asarray(ndimage.uniform_filter(noisy, (side, side, 1), mode="mirror"))


def depictqa_noise_poisson(image: np.ndarray, photons: float, setting: Setting) -> np.ndarray:
    """Counts of photons, of which a white pixel expects so many; the variance is I / ``photons`` (DepictQA-Wild 111)."""
    return setting.rng.poisson(image * photons) / photons


def depictqa_noise_impulse(image: np.ndarray, density: float, setting: Setting) -> np.ndarray:
    """Salt and pepper on a share ``density`` of the elements, as KADID-10k's (DepictQA-Wild 112)."""
    return noise.impulse_noise(image, density, setting)
