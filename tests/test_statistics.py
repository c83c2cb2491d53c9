"""Pixel statistics: named, finite, fast, and each moves with what it is named for."""

import time

import numpy as np
import pytest
from scipy import ndimage

from stimuli.errors import InputError
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


def test_an_image_from_0_to_1_gives_what_its_bytes_give() -> None:
    of_bytes = pixel_statistics(IMAGE)
    assert pixel_statistics(IMAGE / 255) == pytest.approx(of_bytes, rel=1e-9, abs=1e-12)
    assert pixel_statistics((IMAGE / 255).astype(np.float32)) == pytest.approx(of_bytes, rel=1e-3, abs=1e-4)


def test_quick_sums_give_what_the_formulas_say() -> None:
    luma = IMAGE / 255 @ np.array([0.299, 0.587, 0.114])
    mean = ndimage.gaussian_filter(luma, 7 / 6, mode="nearest", radius=3)
    spread = np.sqrt(np.maximum(ndimage.gaussian_filter(luma**2, 7 / 6, mode="nearest", radius=3) - mean**2, 0))
    mscn = (luma - mean) / (spread + 1 / 255)
    rest = mscn - mscn.mean()
    laplacian = np.abs(ndimage.laplace(luma))
    gradient = np.hypot(np.diff(luma, axis=1)[:-1], np.diff(luma, axis=0)[:, :-1])
    expected = {
        "mscn_std_1": mscn.std(),
        "mscn_kurt_1": np.log1p((rest**4).mean() / mscn.std() ** 4),
        "gradient_q99": np.quantile(gradient, 0.99),
        "noise_mad": np.median(laplacian) / 0.6745,
        "laplacian_q10": np.log(np.quantile(laplacian, 0.1) + 1e-6),
        "chroma_b_std": (IMAGE[..., 2] / 255 - luma).std(),
    }
    assert {name: of(IMAGE, name) for name in expected} == pytest.approx(expected, rel=1e-9)


def test_what_is_no_image_or_too_small_is_refused_in_words() -> None:
    for wrong in (IMAGE[:15], IMAGE[..., 0], IMAGE[..., :2]):
        with pytest.raises(InputError, match="for pixel statistics. Expected height x width x 3 with at least 16 px a side"):
            pixel_statistics(wrong)
