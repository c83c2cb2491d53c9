"""The photographs that ship inside scikit-image, scikit-learn and matplotlib, as square reference images.

Licences as stated by their packages: astronaut and rocket are public domain, chelsea and coffee CC0, motorcycle (Middlebury
2014 stereo), china and flower CC-BY 2.0, grace_hopper public domain. They are read from the installed packages, never copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from stimuli.types import read_image

EXAM = ("chelsea", "motorcycle", "flower", "grace_hopper")
"""Photographs that only ever appear in exams."""
TRAIN = ("astronaut", "coffee", "rocket", "china")
"""Photographs that only ever appear in training; no photograph is in both lists."""


def _files() -> Mapping[str, Path]:
    import matplotlib
    import skimage
    import sklearn

    skimage_data = Path(skimage.__file__).parent / "data"
    sklearn_images = Path(sklearn.__file__).parent / "datasets" / "images"
    return {
        "astronaut": skimage_data / "astronaut.png",
        "chelsea": skimage_data / "chelsea.png",
        "coffee": skimage_data / "coffee.png",
        "rocket": skimage_data / "rocket.jpg",
        "motorcycle": skimage_data / "motorcycle_left.png",
        "china": sklearn_images / "china.jpg",
        "flower": sklearn_images / "flower.jpg",
        "grace_hopper": Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg",
    }


def photograph(name: str, size: int = 128, crop: int = 0, seed: int = 0) -> np.ndarray:
    """A square crop of a bundled photograph, scaled down by at least two so that it is clean at pixel level.

    Args:
        name: one of ``EXAM`` or ``TRAIN``.
        size: side in px.
        crop: 0 is the centre square of the whole photograph; other numbers are random squares, seeded.
        seed: seed of the random squares.

    Returns:
        uint8, shape (size, size, 3).
    """
    image = read_image(_files()[name])
    height, width = image.shape[:2]
    if crop == 0:
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
    else:
        rng = np.random.default_rng([seed, crop])
        side = int(rng.integers(min(2 * size, height, width), min(height, width) + 1))
        top, left = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
    square = Image.fromarray(image[top : top + side, left : left + side])
    return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS))
