"""DepictQA-Wild's changes of brightness, contrast and saturation.

Brightness in HSV is V at fixed hue and saturation. HSV is linear in V then, so RGB is multiplied by V'/V, and a colour that
leaves the cube is clipped channel by channel.
"""

from __future__ import annotations

import numpy as np

from stimuli.distortions.kinds import Setting
from stimuli.operations import luma


def depictqa_brighten_hsv(image: np.ndarray, shift: float, setting: Setting) -> np.ndarray:
    """HSV value V + ``shift`` (DepictQA-Wild 115)."""
    return _with_value(image, _value(image) + shift)


def depictqa_brighten_rgb(image: np.ndarray, shift: float, setting: Setting) -> np.ndarray:
    """I + ``shift`` (DepictQA-Wild 116)."""
    return image + shift


def depictqa_brighten_gamma_hsv(image: np.ndarray, gamma: float, setting: Setting) -> np.ndarray:
    """HSV value V^γ with γ below 1 (DepictQA-Wild 117)."""
    return _with_value(image, _value(image) ** gamma)


def depictqa_brighten_gamma_rgb(image: np.ndarray, gamma: float, setting: Setting) -> np.ndarray:
    """I^γ with γ below 1 (DepictQA-Wild 118)."""
    return image**gamma


def depictqa_darken_hsv(image: np.ndarray, shift: float, setting: Setting) -> np.ndarray:
    """HSV value V − ``shift`` (DepictQA-Wild 119)."""
    return _with_value(image, _value(image) - shift)


def depictqa_darken_rgb(image: np.ndarray, shift: float, setting: Setting) -> np.ndarray:
    """I − ``shift`` (DepictQA-Wild 120)."""
    return image - shift


def depictqa_darken_gamma_hsv(image: np.ndarray, gamma: float, setting: Setting) -> np.ndarray:
    """HSV value V^γ with γ above 1 (DepictQA-Wild 121)."""
    return _with_value(image, _value(image) ** gamma)


def depictqa_darken_gamma_rgb(image: np.ndarray, gamma: float, setting: Setting) -> np.ndarray:
    """I^γ with γ above 1 (DepictQA-Wild 122)."""
    return image**gamma


def _value(image: np.ndarray) -> np.ndarray:
    """HSV's V, (H, W, 1)."""
    return np.asarray(image.max(axis=2, keepdims=True))


def _with_value(image: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The same hue and saturation at another V, (H, W, 1); black becomes grey."""
    before = _value(image)
    return np.divide(image, before, out=np.ones_like(image), where=before > 0) * value


def depictqa_contrast_strengthen_scale(image: np.ndarray, factor: float, setting: Setting) -> np.ndarray:
    """Distances from the image's mean luma times a ``factor`` above 1 (DepictQA-Wild 123)."""
    return _scaled(image, factor)


def depictqa_contrast_strengthen_stretch(image: np.ndarray, power: float, setting: Setting) -> np.ndarray:
    """The sigmoid of ``_stretched`` with a ``power`` of 2 or more (DepictQA-Wild 124)."""
    return _stretched(image, power)


def depictqa_contrast_weaken_scale(image: np.ndarray, factor: float, setting: Setting) -> np.ndarray:
    """Distances from the image's mean luma times a ``factor`` below 1 (DepictQA-Wild 125)."""
    return _scaled(image, factor)


def depictqa_contrast_weaken_stretch(image: np.ndarray, power: float, setting: Setting) -> np.ndarray:
    """The sigmoid of ``_stretched`` with a ``power`` of 1 or less (DepictQA-Wild 126)."""
    return _stretched(image, power)


def _scaled(image: np.ndarray, factor: float) -> np.ndarray:
    mean = luma(image).mean()
    return mean + factor * (image - mean)


def _stretched(image: np.ndarray, power: float) -> np.ndarray:
    """1 / (1 + (m/x)^k) = x^k / (x^k + m^k) with m the channel's mean, which becomes 0.5; a channel of zeros stays so."""
    raised, mean = image**power, image.mean(axis=(0, 1)) ** power
    return np.divide(raised, raised + mean, out=np.zeros_like(image), where=raised + mean > 0)


def depictqa_saturate_strengthen_hsv(image: np.ndarray, factor: float, setting: Setting) -> np.ndarray:
    """HSV saturation times a ``factor`` above 1, at most 1 (DepictQA-Wild 127)."""
    return _saturated(image, factor)


def depictqa_saturate_strengthen_ycrcb(image: np.ndarray, factor: float, setting: Setting) -> np.ndarray:
    """Both colour differences times a ``factor`` above 1, within ±0.5 (DepictQA-Wild 128)."""
    return _coloured(image, factor)


def depictqa_saturate_weaken_hsv(image: np.ndarray, factor: float, setting: Setting) -> np.ndarray:
    """HSV saturation times a ``factor`` below 1: at 0, every channel is the largest (DepictQA-Wild 129)."""
    return _saturated(image, factor)


def depictqa_saturate_weaken_ycrcb(image: np.ndarray, factor: float, setting: Setting) -> np.ndarray:
    """Both colour differences times a ``factor`` below 1: at 0, every channel is the luma (DepictQA-Wild 130)."""
    return _coloured(image, factor)


def _saturated(image: np.ndarray, factor: float) -> np.ndarray:
    """S = (V − smallest) / V and RGB = V − S·V·(1 − pure hue), hence RGB' = V − S'/S·(V − RGB); greys stay."""
    value = _value(image)
    span = value - image.min(axis=2, keepdims=True)
    most = np.divide(value, span, out=np.ones_like(value), where=span > 0)
    return value - np.minimum(factor, most) * (value - image)


def _coloured(image: np.ndarray, factor: float) -> np.ndarray:
    """Full-range YCbCr by ITU-R BT.601, as JPEG's; its Cb and Cr times ``factor`` and clipped to ±0.5."""
    from skimage.color import rgb2ypbpr, ypbpr2rgb

    coded = np.array(rgb2ypbpr(image))
    coded[..., 1:] = np.clip(factor * coded[..., 1:], -0.5, 0.5)
    return np.asarray(ypbpr2rgb(coded))
