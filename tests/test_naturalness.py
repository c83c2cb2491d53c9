"""The four statistics on images whose statistics are known, and the table that compares kinds of image."""

import numpy as np
import pytest

from analysis.naturalness import KINDS, naturalness_summary, naturalness_table
from stimuli import photos
from stimuli.errors import InputError
from stimuli.naturalness import STATISTICS, channel_correlation, gradient_kurtosis, mean_chroma, spectral_slope, statistics
from stimuli.textures import one_over_f


@pytest.mark.parametrize("slope", [0.5, 1.0, 1.5])
def test_the_slope_of_a_field_is_twice_that_of_its_amplitudes(slope: float) -> None:
    found = [spectral_slope(one_over_f(np.random.default_rng(i), 256, slope)) for i in range(6)]
    assert np.mean(found) == pytest.approx(2 * slope, abs=0.15)


def test_an_oblong_image_has_the_slope_of_its_square() -> None:
    field = one_over_f(np.random.default_rng(0), 512, 1.0)
    assert spectral_slope(field[:384]) == pytest.approx(spectral_slope(field), abs=0.15)


def test_the_kurtosis_is_that_of_the_distribution_of_steps() -> None:
    rng = np.random.default_rng(0)
    gaussian, laplace = (np.cumsum(steps, axis=1) for steps in (rng.normal(size=(256, 257)), rng.laplace(size=(256, 257))))
    assert gradient_kurtosis(gaussian) == pytest.approx(3, abs=0.1)
    assert gradient_kurtosis(laplace) == pytest.approx(6, abs=0.4)


def test_the_correlation_is_the_mean_of_the_pairs() -> None:
    a, b, c = np.random.default_rng(0).normal(size=(3, 200, 200))
    channels = np.stack([a, a + b, c], axis=2)
    assert channel_correlation(channels) == pytest.approx((np.sqrt(0.5) + 0 + 0) / 3, abs=0.02)
    channels[..., 2] = 7.0
    assert channel_correlation(channels) == pytest.approx(np.sqrt(0.5) / 3, abs=0.02), "a flat channel counts as 0"


def test_the_chroma_is_that_of_cielab() -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    assert mean_chroma(red) == pytest.approx(np.hypot(80.09, 67.20), abs=0.05)  # a* and b* of sRGB red under D65
    assert mean_chroma(np.full((4, 4, 3), 90, np.uint8)) == pytest.approx(0, abs=0.05)


def test_photographs_measure_as_photographs_do() -> None:
    names = [name for name in (*photos.EXAM, *photos.TRAIN) if name != "grace_hopper"]
    found = np.mean([list(statistics(photos.photograph(name, 256)).as_dict().values()) for name in names], axis=0)
    assert found == pytest.approx([2.49, 19.9, 0.82, 23.7], rel=0.03)


@pytest.mark.parametrize(
    "image",
    [np.zeros((64, 64), np.uint8), np.zeros((64, 64, 3)), np.zeros((31, 64, 3), np.uint8), np.zeros((64, 64, 4), np.uint8)],
)
def test_what_cannot_be_measured_is_refused(image: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"Expected uint8 of shape \(H, W, 3\)"):
        statistics(image)


def test_an_image_without_detail_is_refused() -> None:
    with pytest.raises(InputError, match="Expected an image with detail"):
        statistics(np.full((64, 64, 3), 128, np.uint8))


def test_the_table_has_every_photograph_and_as_many_of_each_other_kind() -> None:
    rows = naturalness_table(size=64, count=2, seed=1)
    counts = {kind: sum(row["kind"] == kind for row in rows) for kind in KINDS}
    assert counts == {"photographs": 8, "leaves": 2, "scenes": 2, "1/f noise": 2, "white noise": 2}
    assert len(rows) == 16 and all(set(row) == {"kind", "name", "size", *STATISTICS} for row in rows)
    assert rows[8]["name"] == "leaves-exam-1-00000"
    mean = {(row["kind"], row["statistic"]): row["mean"] for row in naturalness_summary(rows)}
    assert mean["white noise", "slope"] == pytest.approx(0, abs=0.2)
    assert mean["1/f noise", "slope"] == pytest.approx(2, abs=0.3) and mean["1/f noise", "kurtosis"] == pytest.approx(
        3, abs=0.3
    )


def test_the_summary_says_how_many_are_within_the_range_of_photographs() -> None:
    kinds = [("photographs", 1.0), ("photographs", 3.0), ("leaves", 2.0), ("leaves", 3.0), ("leaves", 4.0), ("leaves", 0.0)]
    rows = [{"kind": kind, **dict.fromkeys(STATISTICS, value)} for kind, value in kinds]
    leaves = naturalness_summary(rows)[4]
    assert leaves == {"kind": "leaves", "statistic": "slope", "count": 4, "mean": 2.25, "low": 0.0, "high": 4.0, "inside": 0.5}


@pytest.mark.parametrize(("size", "count"), [(31, 2), (64, 0)])
def test_a_table_of_nothing_is_refused(size: int, count: int) -> None:
    with pytest.raises(InputError, match="Expected a size of at least 32 px and at least one image"):
        naturalness_table(size, count)
