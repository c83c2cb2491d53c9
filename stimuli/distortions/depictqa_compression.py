"""DepictQA-Wild's ways to store an image in less: two codecs, pixelate and three quantizations."""

from __future__ import annotations

import numpy as np
from PIL import Image

from stimuli.distortions import compression
from stimuli.distortions.kinds import Setting
from stimuli.distortions.thresholds import multi_otsu
from stimuli.operations import through_codec, to_uint8


def depictqa_compression_jpeg(image: np.ndarray, quality: float, setting: Setting) -> np.ndarray:
    """Baseline JPEG at a libjpeg quality, 4:2:0, as KADID-10k's (DepictQA-Wild 113)."""
    return compression.jpeg(image, quality, setting)


def depictqa_compression_jpeg2000(image: np.ndarray, psnr: float, setting: Setting) -> np.ndarray:
    """JPEG 2000 (reversible 5/3) that aims at a PSNR in dB (DepictQA-Wild 114)."""
    return through_codec(image, format="JPEG2000", quality_mode="dB", quality_layers=[float(psnr)])


def depictqa_pixelate(image: np.ndarray, share: float, setting: Setting) -> np.ndarray:
    """Means of boxes down to ``share`` of the size, and nearest neighbour up again (DepictQA-Wild 132)."""
    height, width = image.shape[:2]
    small = max(1, int(width * share)), max(1, int(height * share))
    boxes = Image.fromarray(to_uint8(image)).resize(small, Image.Resampling.BOX)
    return np.asarray(boxes.resize((width, height), Image.Resampling.NEAREST)) / 255.0


def depictqa_quantization_otsu(image: np.ndarray, classes: float, setting: Setting) -> np.ndarray:
    """Each channel cut into classes by Otsu's thresholds (DepictQA-Wild 133).

    Class i of n becomes smallest + i/n·(largest − smallest): the last one lies below the largest value, so that few classes
    also darken. A channel of no more values than classes stays as it is.
    """
    return np.stack([_otsu(image[..., channel], int(classes)) for channel in range(3)], axis=2)


def _otsu(plane: np.ndarray, classes: int) -> np.ndarray:
    cuts = multi_otsu(plane, classes - 1)
    if len(cuts) == 0:
        return plane
    low, high = plane.min(), plane.max()
    return low + np.searchsorted(cuts, plane, side="left") * (high - low) / classes


def depictqa_quantization_mediancut(image: np.ndarray, levels: float, setting: Setting) -> np.ndarray:
    """Each channel to so many levels by median cut (Heckbert 1982), without dither (DepictQA-Wild 134)."""
    planes = (Image.fromarray(to_uint8(image[..., channel])) for channel in range(3))
    cut = [plane.quantize(int(levels), Image.Quantize.MEDIANCUT).convert("L") for plane in planes]
    return np.stack([np.asarray(plane) for plane in cut], axis=2) / 255.0


def depictqa_quantization_histogram(image: np.ndarray, bins: float, setting: Setting) -> np.ndarray:
    """All channels together to so many levels, spread by histogram equalization (DepictQA-Wild 135).

    A value belongs to the level nearest to it and becomes the share of values up to that bin of the histogram, stretched to
    [0, 1]. Bins and levels are not quite the same intervals; it was published so. An image within one bin stays as it is.
    """
    total = np.histogram(image, int(bins), (0, 1))[0].cumsum()
    least = total[total > 0][0]
    if least == total[-1]:
        return image
    curve = np.maximum(total - least, 0) / (total[-1] - least)
    return np.asarray(curve[np.round(image * (int(bins) - 1)).astype(int)])
