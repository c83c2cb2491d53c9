"""KADID-10k's noises: white in RGB and in colour components, impulse, multiplicative, and noise that was denoised."""

from __future__ import annotations

import numpy as np

from stimuli.distortions.kinds import Setting


def white_noise(image: np.ndarray, variance: float, setting: Setting) -> np.ndarray:
    """Additive Gaussian noise in RGB (KADID 11)."""
    return image + setting.rng.normal(0, np.sqrt(variance), image.shape)


def white_noise_color_component(image: np.ndarray, variance: float, setting: Setting) -> np.ndarray:
    """Additive Gaussian noise on the three channels of studio-range YCbCr (KADID 12)."""
    from skimage.color import rgb2ycbcr, ycbcr2rgb

    return np.asarray(ycbcr2rgb(rgb2ycbcr(image) + 255 * setting.rng.normal(0, np.sqrt(variance), image.shape)))


def impulse_noise(image: np.ndarray, density: float, setting: Setting) -> np.ndarray:
    """Salt and pepper on a share ``density`` of the elements (KADID 13)."""
    draw = setting.rng.random(image.shape)
    return np.where(draw < density / 2, 0.0, np.where(draw < density, 1.0, image))


def multiplicative_noise(image: np.ndarray, variance: float, setting: Setting) -> np.ndarray:
    """Speckle, I + n·I with uniform zero-mean n of the given variance (KADID 14)."""
    reach = np.sqrt(3 * variance)
    return image + setting.rng.uniform(-reach, reach, image.shape) * image


def denoise(image: np.ndarray, variance: float, setting: Setting) -> np.ndarray:
    """Gaussian noise, then a denoiser (KADID 15).

    KADID-10k used the pretrained network DnCNN, which no package carries. Without the user's own denoiser, non-local means
    (Buades, Coll and Morel 2005; scikit-image, h = 0.8 σ) stands in for it, and stimuli should be called "denoise (NLM)".
    """
    sigma = float(np.sqrt(variance))
    noisy = np.clip(image + setting.rng.normal(0, sigma, image.shape), 0, 1)
    if setting.denoiser is not None:
        return np.asarray(setting.denoiser(noisy, sigma), float)
    return nonlocal_means(noisy, sigma)


def nonlocal_means(noisy: np.ndarray, sigma: float) -> np.ndarray:
    """The stand-in for a denoising network: non-local means at h = 0.8 σ, patches of 5 px searched within 6 px."""
    from skimage.restoration import denoise_nl_means

    options = {"patch_size": 5, "patch_distance": 6, "h": 0.8 * sigma, "sigma": sigma, "fast_mode": True}
    return np.asarray(denoise_nl_means(noisy, channel_axis=2, **options))
