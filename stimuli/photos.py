"""The photographs that ship inside scikit-image, scikit-learn and matplotlib, as reference images.

They are read from the installed packages, never copied. ``LICENCES`` says what their packages state about each.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from stimuli.errors import InputError
from stimuli.types import read_image

EXAM = ("chelsea", "motorcycle", "flower", "grace_hopper")
"""Photographs that only ever appear in exams."""
TRAIN = ("astronaut", "coffee", "rocket", "china")
"""Photographs that only ever appear in training; no photograph is in both lists."""

LICENCES: Mapping[str, str] = {
    "astronaut": "public domain, no known copyright restrictions; NASA Great Images database (skimage.data.astronaut)",
    "chelsea": "CC0; Stefan van der Walt (skimage.data.chelsea)",
    "coffee": "CC0; Rachel Michetti, courtesy of Pikolo Espresso Bar (skimage.data.coffee)",
    "rocket": "public domain; SpaceX (skimage.data.rocket)",
    "motorcycle": "not stated; Middlebury 2014 stereo benchmark, Scharstein et al. 2014 (skimage.data.stereo_motorcycle)",
    "china": "CC-BY 2.0; danielbuechele on Flickr (sklearn/datasets/images/README.txt)",
    "flower": "CC-BY 2.0; vultilion on Flickr by its address, though the text names danielbuechele "
    "(sklearn/datasets/images/README.txt)",
    "grace_hopper": "not stated; File:Grace_Hopper.jpg of Wikimedia Commons by the comment inside the file, public domain by the "
    "pull request that added it, matplotlib #1599 (matplotlib/mpl-data/sample_data/grace_hopper.jpg)",
}
"""Name → licence; author or origin (where in the package that is stated). Read in scikit-image 0.26.0, scikit-learn 1.9 and
matplotlib 3.11.2. "Not stated" means that the package says nothing: look the photograph up before you publish it."""


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


def full(name: str) -> np.ndarray:
    """A whole bundled photograph as its package has it: uint8, shape (H, W, 3).

    Args:
        name: one of ``EXAM`` or ``TRAIN``.

    Raises:
        InputError: another name.
    """
    files = _files()
    if name not in files:
        raise InputError(f"There is no bundled photograph '{name}'. Expected one of {', '.join(files)}. Choose one of these.")
    return read_image(files[name])


def photograph_at(name: str, height: int, width: int) -> np.ndarray:
    """The middle of a bundled photograph, scaled (Lanczos, up where it is small) just so that it covers the size asked for.

    Args:
        name: one of ``EXAM`` or ``TRAIN``.
        height: px.
        width: px.

    Returns:
        uint8, shape (height, width, 3).

    Raises:
        InputError: another name.
    """
    image = Image.fromarray(full(name))
    scale = max(height / image.height, width / image.width)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return np.asarray(image.crop((left, top, left + width, top + height)))


def photograph(name: str, size: int = 128, crop: int = 0, seed: int = 0) -> np.ndarray:
    """A square crop of a bundled photograph, scaled down by at least two so that it is clean at pixel level.

    Args:
        name: one of ``EXAM`` or ``TRAIN``.
        size: side in px.
        crop: 0 is the centre square of the whole photograph; other numbers are random squares, seeded.
        seed: seed of the random squares.

    Returns:
        uint8, shape (size, size, 3).

    Raises:
        InputError: another name.
    """
    image = full(name)
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
