"""Four statistics that tell photographs from synthetic images.

The power spectrum of a photograph falls as about 1/f² (Field 1987; Burton and Moorhead 1987), its gradients are heavy-tailed
because edges are rare and strong (Ruderman 1994; Huang and Mumford 1999), its three channels vary together, and its colours
are mostly dull. Noise with the right spectrum has Gaussian gradients; shapes of random RGB colours have channels that do not
vary together and colours that are far too vivid.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from stimuli.errors import InputError

STATISTICS = ("slope", "kurtosis", "correlation", "chroma")
"""The fields of ``Naturalness``, in order."""
LOWEST, HIGHEST, BANDS = 0.02, 0.4, 12
"""The slope is fitted from 0.02 to 0.4 cycles per px, in bands of equal width in log f: below, the window and the few waves
that an image holds decide; above, the resampling filter of the image does."""
SMALLEST = 32
"""The shortest side, in px, on which the slope is defined."""
LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of R', G' and B' in luma (ITU-R BT.601)."""


@dataclass(frozen=True)
class Naturalness:
    """What ``statistics`` finds in one image."""

    slope: float
    """Exponent s of the radial power spectrum of luma, P(f) ∝ f^-s. White noise has 0, photographs about 2 to 3."""
    kurtosis: float
    """Of horizontal luma differences, E[(x-μ)⁴]/σ⁴. A Gaussian has 3, photographs far more."""
    correlation: float
    """Pearson correlation of two of the channels R, G and B over the pixels, mean over the three pairs, -1 to 1."""
    chroma: float
    """Mean over the pixels of √(a*² + b*²) in CIELAB (D65), 0 for grey and up to about 130 in sRGB."""

    def as_dict(self) -> dict[str, float]:
        """Name of each statistic → value, in the order of ``STATISTICS``."""
        return asdict(self)


def statistics(image: np.ndarray) -> Naturalness:
    """The four statistics of one image.

    Args:
        image: uint8, shape (H, W, 3), both sides at least ``SMALLEST`` px.

    Raises:
        InputError: another shape or dtype, or an image of one grey level, which has no spectrum to fit.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < SMALLEST:
        raise InputError(
            f"Cannot measure an image of shape {image.shape} and dtype {image.dtype}. Expected uint8 of shape (H, W, 3), H and W "
            f"{SMALLEST} or more. Convert it to 8-bit RGB, or take a larger crop."
        )
    luma = image @ LUMA
    if not np.diff(luma, axis=1).any():
        raise InputError(
            "Cannot measure an image whose rows are all of one grey level. Expected an image with detail. Leave it out."
        )
    return Naturalness(spectral_slope(luma), gradient_kurtosis(luma), channel_correlation(image), mean_chroma(image))


def spectral_slope(luma: np.ndarray) -> float:
    """Exponent of the radial power spectrum, from a line fitted to log mean power against log f (least squares).

    The mean is taken off and a Hann window laid over both axes, so that the jump between opposite borders adds no 1/f cross.
    Frequencies are in cycles per px on both axes, so an oblong image has the same bands as a square one.

    Args:
        luma: shape (H, W), not constant.
    """
    height, width = luma.shape
    windowed = (luma - luma.mean()) * np.outer(np.hanning(height), np.hanning(width))
    power = np.abs(np.fft.fft2(windowed)) ** 2
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    edges = np.geomspace(LOWEST, HIGHEST, BANDS + 1)
    band = np.digitize(frequency.ravel(), edges) - 1
    inside = (band >= 0) & (band < BANDS)
    counts, sums = (np.bincount(band[inside], weights, BANDS) for weights in (None, power.ravel()[inside]))
    held = counts > 0
    centres = np.sqrt(edges[1:] * edges[:-1])
    return -float(np.polyfit(np.log(centres[held]), np.log(sums[held] / counts[held]), 1)[0])


def gradient_kurtosis(luma: np.ndarray) -> float:
    """Kurtosis E[(x-μ)⁴]/σ⁴ of the differences between horizontal neighbours.

    Args:
        luma: shape (H, W), with rows that are not constant.
    """
    steps = np.diff(luma, axis=1)
    centred = steps - steps.mean()
    return float(np.mean(centred**4) / np.mean(centred**2) ** 2)


def channel_correlation(image: np.ndarray) -> float:
    """Mean Pearson correlation of the pairs RG, RB and GB; a channel without variance counts as 0 with the others.

    Args:
        image: shape (H, W, 3).
    """
    centred = image.reshape(-1, 3) - image.reshape(-1, 3).mean(0)
    covariance = centred.T @ centred
    spread = np.sqrt(np.diag(covariance))
    unit = np.divide(covariance, np.outer(spread, spread), out=np.zeros((3, 3)), where=np.outer(spread, spread) > 0)
    return float(unit[np.triu_indices(3, 1)].mean())


def mean_chroma(image: np.ndarray) -> float:
    """Mean CIELAB chroma of sRGB pixels.

    Args:
        image: uint8, shape (H, W, 3).
    """
    from skimage.color import rgb2lab

    lab = rgb2lab(image)
    return float(np.hypot(lab[..., 1], lab[..., 2]).mean())
