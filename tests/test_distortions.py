"""KADID-10k types at published parameters."""

import numpy as np
import pytest

from stimuli.distortions import LEVELS, TYPES, distort, parameter, quality, severity
from stimuli.errors import InputError
from stimuli.scenes import scene

IMAGE = scene((7, 0, 0), 64).image
LARGE = scene((7, 0, 0), 128).image


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("level", LEVELS)
def test_a_distortion_keeps_shape_dtype_and_input_and_is_deterministic(type: str, level: int) -> None:
    before = IMAGE.copy()
    first = distort(IMAGE, type, level, seed=3, reference="a")
    assert first.shape == IMAGE.shape and first.dtype == np.uint8
    assert np.array_equal(IMAGE, before)
    assert np.array_equal(first, distort(IMAGE, type, level, seed=3, reference="a"))


@pytest.mark.parametrize("type", TYPES)
def test_identity_levels_are_exactly_those_declared(type: str) -> None:
    unchanged = tuple(level for level in LEVELS if np.array_equal(distort(IMAGE, type, level), IMAGE))
    assert unchanged == TYPES[type].identities


MONOTONE = sorted(set(TYPES) - {"mean_shift", "contrast_change", "color_saturation_1", "motion_blur"})


@pytest.mark.parametrize("type", MONOTONE)
def test_unsigned_types_lower_the_psnr_level_by_level(type: str) -> None:
    values = [severity(LARGE, distort(LARGE, type, level, reference="m"))[0] for level in LEVELS]
    assert all(high > low for high, low in zip(values, values[1:], strict=False)), values


def test_mean_shift_is_signed_and_mildest_in_the_middle() -> None:
    grey = np.full((32, 32, 3), 128, np.uint8)
    means = [distort(grey, "mean_shift", level).mean() for level in LEVELS]
    assert means == sorted(means, reverse=True) and means[2] == 128


@pytest.mark.parametrize("type", ["jitter", "white_noise", "impulse_noise", "multiplicative_noise", "motion_blur"])
def test_random_types_depend_on_seed_and_reference(type: str) -> None:
    base = distort(IMAGE, type, 4, seed=0, reference="a")
    assert not np.array_equal(base, distort(IMAGE, type, 4, seed=1, reference="a"))
    assert not np.array_equal(base, distort(IMAGE, type, 4, seed=0, reference="b"))


@pytest.mark.parametrize("level", LEVELS)
def test_white_noise_has_the_published_variance(level: int) -> None:
    grey = np.full((256, 256, 3), 128, np.uint8)
    noise = distort(grey, "white_noise", level) / 255.0 - 128 / 255
    assert np.var(noise) == pytest.approx(parameter("white_noise", level), rel=0.03)


@pytest.mark.parametrize("level", LEVELS)
def test_multiplicative_noise_has_the_published_variance(level: int) -> None:
    grey = np.full((256, 256, 3), 128, np.uint8)
    noise = distort(grey, "multiplicative_noise", level) / 128.0 - 1
    assert np.var(noise) == pytest.approx(parameter("multiplicative_noise", level), rel=0.05)


def test_impulse_noise_hits_the_published_share() -> None:
    grey = np.full((256, 256, 3), 128, np.uint8)
    assert np.mean(distort(grey, "impulse_noise", 5) != 128) == pytest.approx(0.03, rel=0.05)


@pytest.mark.parametrize("type", ["gaussian_blur", "lens_blur", "motion_blur", "jitter"])
def test_spatial_types_leave_a_flat_image_alone(type: str) -> None:
    grey = np.full((48, 48, 3), 77, np.uint8)
    assert np.array_equal(distort(grey, type, 5), grey)


def test_zero_saturation_is_grey() -> None:
    grey = distort(IMAGE, "color_saturation_1", 4)
    assert np.array_equal(grey[..., 0], grey[..., 1]) and np.array_equal(grey[..., 1], grey[..., 2])


def test_severity_of_identical_images_is_100_db_and_1() -> None:
    assert severity(IMAGE, IMAGE) == (100.0, 1.0)


def test_quality_words_follow_psnr() -> None:
    assert [quality(p) for p in (100, 32, 27, 22, 18, 10)] == ["excellent", "excellent", "good", "fair", "poor", "bad"]


def test_unknown_type_level_and_image_are_refused_in_words() -> None:
    with pytest.raises(InputError, match="Unknown distortion type 'fog'. Known types: gaussian_blur"):
        distort(IMAGE, "fog", 1)
    with pytest.raises(InputError, match="level 6 does not exist; KADID-10k has the levels 1 to 5"):
        distort(IMAGE, "jpeg", 6)
    with pytest.raises(InputError, match=r"dtype float64 and shape \(64, 64, 3\); expected uint8"):
        distort(IMAGE / 255.0, "jpeg", 1)
