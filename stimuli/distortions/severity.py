"""How severe a distortion is: measured, not read off its level."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Measure = Callable[[np.ndarray, np.ndarray], float]
"""A measure of the user's own: reference and distorted image, uint8 (H, W, 3) each, to a number."""
QUALITY_BOUNDS_DB = {"excellent": 32.0, "good": 26.0, "fair": 22.0, "poor": 17.0}


def severity(reference: np.ndarray, distorted: np.ndarray) -> tuple[float, float]:
    """Measured severity: (PSNR in dB, 100 where identical; mean SSIM over channels).

    SSIM: Wang, Bovik, Sheikh and Simoncelli 2004, 7 px uniform window, as in scikit-image.

    Args:
        reference: uint8 (H, W, 3).
        distorted: the same size.
    """
    from skimage.metrics import structural_similarity

    error = float(np.mean((reference.astype(float) - distorted.astype(float)) ** 2))
    if error == 0:
        return 100.0, 1.0
    ssim = structural_similarity(reference, distorted, channel_axis=2, data_range=255)
    return float(10 * np.log10(255**2 / error)), float(ssim)


def quality(psnr: float) -> str:
    """The five-level quality word for a measured PSNR in dB: excellent, good, fair, poor or bad.

    The bounds are ours, chosen so that the published levels of the paper8 types spread over all five words. PSNR is used
    rather than the level because levels of signed types are not ordered by severity.
    """
    return next((word for word, bound in QUALITY_BOUNDS_DB.items() if psnr >= bound), "bad")
