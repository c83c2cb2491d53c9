"""Dead leaves: any size, the same for the same seed, with the statistics of photographs."""

import numpy as np
import pytest

from stimuli import photos
from stimuli.errors import InputError
from stimuli.leaves import dead_leaves
from stimuli.naturalness import STATISTICS, statistics


def measured(images: list[np.ndarray]) -> np.ndarray:
    """One row per image, one column per statistic."""
    return np.array([list(statistics(image).as_dict().values()) for image in images])


def check_against_photographs(size: int, count: int, most_outside: int) -> None:
    """Means within the photographs' range, and no more than ``most_outside`` images outside it, for each statistic."""
    photographs = measured([photos.photograph(name, size) for name in (*photos.EXAM, *photos.TRAIN)])
    leaves = measured([dead_leaves((20, size, index), size) for index in range(count)])
    low, high = photographs.min(0), photographs.max(0)
    for column, name in enumerate(STATISTICS):
        own = leaves[:, column]
        assert low[column] < own.mean() < high[column], (name, own.mean(), low[column], high[column])
        outside = own[(own < low[column]) | (own > high[column])]
        assert len(outside) <= most_outside, (name, outside, low[column], high[column])


def test_leaves_are_a_function_of_their_seed() -> None:
    assert np.array_equal(dead_leaves((1, 0, 5), 64), dead_leaves((1, 0, 5), 64))
    assert not np.array_equal(dead_leaves((1, 0, 5), 64), dead_leaves((1, 1, 5), 64))


@pytest.mark.parametrize("size", [16, 33, (48, 64), (64, 48), (16, 200)])
def test_leaves_have_any_size(size: int | tuple[int, int]) -> None:
    image = dead_leaves((2, 0), size)
    assert image.dtype == np.uint8 and image.shape == ((size, size, 3) if isinstance(size, int) else (*size, 3))
    assert image.std() > 20


@pytest.mark.parametrize("size", [15, 4097, (128, 0), (5000, 128)])
def test_a_size_out_of_range_is_refused(size: int | tuple[int, int]) -> None:
    with pytest.raises(InputError, match="Expected 16 to 4096 px a side"):
        dead_leaves((1,), size)


def test_exposure_leaves_room_for_distortions() -> None:
    images = [dead_leaves((3, index), 128) for index in range(12)]
    assert all(abs(image.mean() - 117) < 12 and 45 < image.std() < 75 for image in images)
    assert np.mean([((image == 0) | (image == 255)).mean() for image in images]) < 0.02


def test_statistics_are_those_of_photographs() -> None:
    check_against_photographs(size=256, count=12, most_outside=2)


@pytest.mark.slow
@pytest.mark.parametrize("size", [128, 256, pytest.param(384, marks=pytest.mark.heavy)])
def test_at_most_a_tenth_of_many_leaves_is_outside_the_range_of_photographs(size: int) -> None:
    check_against_photographs(size, count=40, most_outside=4)


@pytest.mark.slow
def test_oblong_leaves_have_the_same_statistics() -> None:
    oblong = measured([dead_leaves((21, index), (192, 256)) for index in range(8)]).mean(0)
    square = measured([dead_leaves((22, index), 222) for index in range(8)]).mean(0)
    assert np.abs(oblong / square - 1).max() < 0.25
