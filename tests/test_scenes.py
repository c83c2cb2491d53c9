"""Procedural scenes and their natural-image statistics."""

import numpy as np
import pytest
from scipy import stats

from stimuli.scenes import COLOURS, GROUNDS, SHAPES, content, scene


def test_a_scene_is_a_function_of_its_seed() -> None:
    assert np.array_equal(scene((1, 0, 5)).image, scene((1, 0, 5)).image)
    assert not np.array_equal(scene((1, 0, 5)).image, scene((1, 1, 5)).image)


def test_attributes_name_what_is_shown() -> None:
    made = [scene((2, 0, i), 32).attributes for i in range(60)]
    assert {a["shape"] for a in made} == set(SHAPES)
    assert {a["colour"] for a in made} == set(COLOURS)
    assert {a["ground"] for a in made} == set(GROUNDS)


def test_attributes_are_known_without_making_the_scene() -> None:
    assert all(content((2, 0, i)) == scene((2, 0, i), 16).attributes for i in range(20))


def spectrum_slope(image: np.ndarray) -> float:
    """Exponent of the radial power spectrum: P(f) ∝ f^-slope."""
    grey = image.mean(2) - image.mean()
    power = np.abs(np.fft.fft2(grey * np.outer(np.hanning(len(grey)), np.hanning(len(grey))))) ** 2
    f = np.hypot(np.fft.fftfreq(len(grey))[:, None], np.fft.fftfreq(len(grey))[None])
    edges = np.geomspace(0.02, 0.4, 12)
    means = [power[(f >= a) & (f < b)].mean() for a, b in zip(edges, edges[1:], strict=False)]
    return -float(np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(means), 1)[0])


def test_statistics_are_those_of_photographs() -> None:
    leaves = [s.image.astype(float) for s in (scene((3, 0, i)) for i in range(40)) if s.attributes["ground"] == "leaves"]
    slope = np.mean([spectrum_slope(image) for image in leaves])
    kurtosis = np.mean([stats.kurtosis(np.diff(image.mean(2), axis=1).ravel(), fisher=False) for image in leaves])
    correlation = np.mean([np.corrcoef(image.reshape(-1, 3).T)[0, 1] for image in leaves])
    assert 1.5 < slope < 3.0  # photographs: about 2 to 2.5
    assert kurtosis > 6  # heavy-tailed gradients; a Gaussian field has 3
    assert correlation > 0.5  # luminance dominates colour
    assert np.std([image.mean() for image in leaves]) < 20  # exposure is levelled


@pytest.mark.parametrize("size", [32, 128])
def test_size_and_dtype(size: int) -> None:
    image = scene((4, 0, 0), size).image
    assert image.shape == (size, size, 3) and image.dtype == np.uint8


def test_the_mask_is_where_the_object_is() -> None:
    for index in range(12):
        made = scene((5, 0, index))
        inside, colour = made.mask > 0.99, COLOURS[made.attributes["colour"]]
        assert made.mask.shape == (128, 128) and 0.04 < made.mask.mean() < 0.35
        assert np.abs(made.image[inside].mean(0) - colour).max() < 30
