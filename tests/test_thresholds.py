"""Exact multi-level Otsu thresholds."""

import numpy as np
import pytest
from skimage.filters import threshold_multiotsu, threshold_otsu

from stimuli.distortions.thresholds import multi_otsu
from stimuli.scenes import scene

IMAGE = scene((4, 0, 0), 64).image


def within(values: np.ndarray, cuts: np.ndarray) -> float:
    """The sum of squares within the classes."""
    part = np.searchsorted(cuts, values)
    return sum(float(((values[part == i] - values[part == i].mean()) ** 2).sum()) for i in np.unique(part))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_thresholds_are_those_of_scikit_image_where_it_can_find_them(count: int) -> None:
    grey = IMAGE[..., 1]
    expected = threshold_multiotsu(grey, classes=count + 1) if count > 1 else [threshold_otsu(grey)]
    assert np.abs(multi_otsu(grey / 255.0, count) * 255 - np.array(expected)).max() <= 1.0


@pytest.mark.parametrize("count", [7, 20])
def test_no_small_move_of_a_threshold_is_better(count: int) -> None:
    values = IMAGE.ravel() / 255.0
    cuts = multi_otsu(values, count)
    assert len(cuts) == count and (np.diff(cuts) > 0).all()
    best = within(values, cuts)
    for i in range(count):
        for step in (-1, 1):
            moved = cuts.copy()
            moved[i] += step / 255
            assert within(values, np.sort(moved)) >= best - 1e-9


def test_as_many_values_as_classes_need_no_threshold() -> None:
    assert len(multi_otsu(np.array([0.1, 0.5, 0.9]), 2)) == 0
    assert len(multi_otsu(np.array([0.1, 0.5, 0.9]), 1)) == 1
