"""What the distortions are made of."""

import warnings

import numpy as np
import pytest
from scipy import ndimage
from skimage import color

from stimuli.distortions import TYPES, distort
from stimuli.operations import BAND, lab2rgb, shifted
from stimuli.scenes import scene


def test_lab_to_rgb_is_that_of_scikit_image_to_the_last_bit() -> None:
    lab = np.random.default_rng(0).uniform((0, -200, -200), (100, 200, 200), (40, 50, 3))  # far out of the gamut
    with pytest.warns(UserWarning, match="CIE-LAB"):
        expected = color.lab2rgb(lab)
    before = lab.copy()
    assert np.array_equal(lab2rgb(lab), expected) and np.array_equal(lab, before)


@pytest.mark.parametrize("type", TYPES)
def test_no_distortion_touches_the_warning_filters_which_all_threads_share(type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = scene((1, 0, 1), 32).image
    expected = distort(image, type, 5)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("warnings.catch_warnings was used")

    monkeypatch.setattr(warnings, "catch_warnings", never)
    assert np.array_equal(distort(image, type, 5), expected)


@pytest.mark.parametrize("shape", [(40, 56), (1, 9), (9, 1), (2, BAND + 3), (200, 130)])
def test_shifting_is_that_of_ndimage(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image, (dy, dx) = rng.random((*shape, 3)), rng.normal(0, 3, (2, *shape))
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    where = [rows + dy, columns + dx]
    expected = [ndimage.map_coordinates(image[..., c], where, order=1, mode="nearest") for c in range(3)]
    assert np.abs(shifted(image, dy, dx) - np.stack(expected, axis=2)).max() < 1e-14
