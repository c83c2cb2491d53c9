"""Pixel statistics: named, finite, fast, and each moves with what it is named for."""

import time

import numpy as np
import pytest
from scipy import ndimage

from stimuli.statistics import NAMES, pixel_statistics

RNG = np.random.default_rng(0)
SMOOTH = ndimage.gaussian_filter(RNG.normal(size=(128, 128, 3)), (6, 6, 0))
IMAGE = np.clip(128 + SMOOTH / SMOOTH.std() * 40 + RNG.normal(size=(128, 128, 3)) * 3, 0, 255).astype(np.uint8)


def of(image: np.ndarray, name: str) -> float:
    return float(pixel_statistics(image)[NAMES.index(name)])


def changed(image: np.ndarray) -> np.ndarray:
    return np.clip(image, 0, 255).astype(np.uint8)


def test_every_number_has_a_name_and_is_finite() -> None:
    assert len(set(NAMES)) == len(NAMES) == len(pixel_statistics(IMAGE))
    flat = np.full((128, 128, 3), 77, np.uint8)
    for image in (IMAGE, flat, flat * 0, flat * 0 + 255, IMAGE[:16, :16], IMAGE[:97, :33]):
        assert np.isfinite(pixel_statistics(image)).all()


def test_each_distortion_moves_its_statistic() -> None:
    noisy = changed(IMAGE + RNG.normal(size=IMAGE.shape) * 20)
    blurred = changed(ndimage.gaussian_filter(IMAGE.astype(float), (2, 2, 0)))
    blocks = changed(IMAGE.astype(float).reshape(16, 8, 16, 8, 3).mean((1, 3)).repeat(8, 0).repeat(8, 1))
    grey = IMAGE.mean(2, keepdims=True).astype(np.uint8).repeat(3, 2)
    assert of(noisy, "noise_mad") > 2 * of(IMAGE, "noise_mad")
    assert of(blurred, "laplacian_log_var") < of(IMAGE, "laplacian_log_var") - 1
    assert of(blurred, "gradient_mean") < of(IMAGE, "gradient_mean")
    assert of(blocks, "block_edge") > 5 * of(IMAGE, "block_edge")
    assert of(changed(IMAGE + 40.0), "luma_mean") == pytest.approx(of(IMAGE, "luma_mean") + 40 / 255, abs=0.01)
    assert of(changed(128 + (IMAGE - 128.0) * 0.5), "luma_std") < 0.6 * of(IMAGE, "luma_std")
    assert of(grey, "saturation_mean") == 0
    assert of(changed(IMAGE * 0.0), "crushed") == 1
    assert of(changed(IMAGE * 0 + 255.0), "saturated") == 1


def test_swapped_channels_swap_their_numbers() -> None:
    assert of(IMAGE[..., ::-1], "red_mean") == pytest.approx(of(IMAGE, "blue_mean"))


def test_one_image_takes_milliseconds() -> None:
    taken = []
    for _ in range(9):
        start = time.perf_counter()
        pixel_statistics(IMAGE)
        taken.append(time.perf_counter() - start)
    assert min(taken) < 0.02
