"""Bundled photographs."""

import numpy as np

from stimuli import photos


def test_every_photograph_loads_and_no_photograph_is_in_both_lists() -> None:
    assert not set(photos.EXAM) & set(photos.TRAIN)
    for name in (*photos.EXAM, *photos.TRAIN):
        image = photos.photograph(name, 64)
        assert image.shape == (64, 64, 3) and image.std() > 10


def test_crops_are_seeded_and_differ() -> None:
    one = photos.photograph("china", 64, crop=1, seed=5)
    assert np.array_equal(one, photos.photograph("china", 64, crop=1, seed=5))
    assert not np.array_equal(one, photos.photograph("china", 64, crop=2, seed=5))
