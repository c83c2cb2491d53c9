"""What the distortions are made of: convolution, resampling, codecs and colour spaces; safe in several threads at once.

Images are floats in [0, 1] of shape (H, W, 3) unless something else is said.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image
from scipy.signal import oaconvolve
from scipy.sparse import csr_array

BAND = 1 << 14
"""Pixels that are resampled at a time: few enough for the cache, and memory stays that of the image."""


def to_uint8(image: np.ndarray) -> np.ndarray:
    """The nearest of 256 levels, after clipping to [0, 1]."""
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolution of every channel with a kernel of shape (2n+1, 2n+1), replicated border."""
    reach = kernel.shape[0] // 2
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    return np.asarray(oaconvolve(padded, kernel[..., None], mode="valid", axes=(0, 1)))


def splat(kernel: np.ndarray, y: float, x: float) -> None:
    """Add one point of mass to the four pixels around (y, x), bilinearly; the kernel is changed in place."""
    top, left = int(y), int(x)
    for row, share_y in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, share_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            if share_x * share_y > 0:
                kernel[row, column] += share_x * share_y


def shifted(image: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> np.ndarray:
    """Every pixel taken from (dy, dx) px further down and right, bilinear, replicated border; dy and dx are (H, W)."""
    height, width = image.shape[:2]
    rows, columns = np.arange(height, dtype=float)[:, None], np.arange(width, dtype=float)
    step = max(1, BAND // width)
    bands = (slice(start, start + step) for start in range(0, height, step))
    return np.concatenate([_bilinear(image, rows[band] + dy[band], columns + dx[band]) for band in bands])


def _bilinear(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The image at (y, x), as a sparse product that serves all channels at once.

    It is that of ``scipy.ndimage.map_coordinates`` (order 1, nearest) to a few units in the last place, in half the time.
    """
    height, width = image.shape[:2]
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    top, left = y.astype(np.int32), x.astype(np.int32)
    below, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    y, x = y - top, x - left
    share = np.stack([(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x], axis=-1)
    where = np.stack([top * width + left, top * width + right, below * width + left, below * width + right], axis=-1)
    starts = np.arange(0, share.size + 1, 4, dtype=np.int32)
    weights = csr_array((share.ravel(), where.ravel(), starts), shape=(y.size, height * width))
    return np.asarray(weights @ image.reshape(-1, 3)).reshape(*y.shape, 3)


def translated(plane: np.ndarray, dy: int, dx: int) -> np.ndarray:
    """A plane (H, W) moved down by dy and right by dx px, replicated border."""
    rows = np.clip(np.arange(plane.shape[0]) - dy, 0, plane.shape[0] - 1)
    columns = np.clip(np.arange(plane.shape[1]) - dx, 0, plane.shape[1] - 1)
    return np.asarray(plane[rows[:, None], columns])


def luma(image: np.ndarray) -> np.ndarray:
    """Luma by ITU-R BT.601, (H, W)."""
    return np.asarray(image @ np.array([0.299, 0.587, 0.114]))


def through_codec(image: np.ndarray, **options: object) -> np.ndarray:
    """Encoded by Pillow with these options, and decoded again."""
    buffer = BytesIO()
    Image.fromarray(to_uint8(image)).save(buffer, **options)  # type: ignore[arg-type]
    with Image.open(BytesIO(buffer.getvalue())) as decoded:
        return np.asarray(decoded.convert("RGB")) / 255.0


def rgb2lab(image: np.ndarray) -> np.ndarray:
    """CIE Lab (D65) of an sRGB image."""
    from skimage import color

    return np.array(color.rgb2lab(image))


def lab2rgb(lab: np.ndarray) -> np.ndarray:
    """CIE Lab (D65) to sRGB, clipped to the gamut.

    It is ``skimage.color.lab2rgb`` without its warning: colours outside the gamut are expected here, and to silence a warning
    is to change the state of every thread.
    """
    from skimage import color

    y = (lab[..., 0] + 16) / 116
    xyz = np.stack([lab[..., 1] / 500 + y, y, np.maximum(y - lab[..., 2] / 200, 0)], axis=-1)
    steep = xyz > 0.2068966
    xyz[steep] = np.power(xyz[steep], 3)
    xyz[~steep] = (xyz[~steep] - 16 / 116) / 7.787
    xyz *= color.xyz_tristimulus_values(illuminant="D65", observer="2")
    return np.asarray(color.xyz2rgb(xyz))
