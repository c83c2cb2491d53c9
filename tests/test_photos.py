"""Bundled photographs."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import sklearn

from stimuli import photos
from stimuli.errors import InputError


def test_every_photograph_loads_and_no_photograph_is_in_both_lists() -> None:
    assert not set(photos.EXAM) & set(photos.TRAIN)
    for name in (*photos.EXAM, *photos.TRAIN):
        image = photos.photograph(name, 64)
        assert image.shape == (64, 64, 3) and image.std() > 10


def test_crops_are_seeded_and_differ() -> None:
    one = photos.photograph("china", 64, crop=1, seed=5)
    assert np.array_equal(one, photos.photograph("china", 64, crop=1, seed=5))
    assert not np.array_equal(one, photos.photograph("china", 64, crop=2, seed=5))


def test_every_photograph_has_a_licence_or_says_that_none_is_stated() -> None:
    assert set(photos.LICENCES) == {*photos.EXAM, *photos.TRAIN}
    for text in photos.LICENCES.values():
        assert text.startswith(("public domain", "CC0", "CC-BY 2.0", "not stated")) and text.endswith(")")


def test_the_licences_are_those_that_the_packages_state() -> None:
    for name, words in {"astronaut": "public domain", "chelsea": "CC0", "coffee": "CC0", "rocket": "public domain"}.items():
        stated = " ".join((getattr(skimage.data, name).__doc__ or "").split())
        assert words in stated and photos.LICENCES[name].startswith(words)
    assert "licen" not in (skimage.data.stereo_motorcycle.__doc__ or "").lower()
    readme = (Path(sklearn.__file__).parent / "datasets" / "images" / "README.txt").read_text()
    assert readme.count("https://creativecommons.org/licenses/by/2.0/") == 2


def test_a_whole_photograph_is_unscaled() -> None:
    assert photos.full("chelsea").shape == (300, 451, 3)
    assert photos.full("grace_hopper").shape == (600, 512, 3)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "china", "grace_hopper"])
def test_a_photograph_covers_the_size_asked_for(name: str) -> None:
    image = photos.photograph_at(name, 384, 512)
    assert image.shape == (384, 512, 3) and image.dtype == np.uint8
    assert min(edge.std() for edge in (image[0], image[-1], image[:, 0], image[:, -1])) > 1, "no bare border"


def test_a_photograph_at_its_own_size_is_untouched() -> None:
    assert np.array_equal(photos.photograph_at("astronaut", 512, 512), photos.full("astronaut"))
    middle = photos.full("coffee")[:, 100:500]
    assert np.array_equal(photos.photograph_at("coffee", 400, 400), middle)


def test_an_unknown_photograph_is_refused() -> None:
    for read in (photos.full, photos.photograph, lambda name: photos.photograph_at(name, 32, 32)):
        with pytest.raises(InputError, match="no bundled photograph 'lena'. Expected one of astronaut, chelsea"):
            read("lena")
