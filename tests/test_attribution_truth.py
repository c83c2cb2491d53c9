"""Scores of maps agree with pixels drawn out at full size, and are what they should be by chance and at their best."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from analysis.attribution.curves import areas, ratio, versions
from analysis.attribution.truth import chance, order, scores
from stimuli.errors import InputError
from stimuli.regions import cell_shares


def drawn(seed: int, levels: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """A map with ties and a region that cuts cells."""
    rng = np.random.default_rng(seed)
    heat = rng.integers(-levels, levels, (4, 4)).astype(float)
    mask = np.zeros((24, 24), bool)
    top, left = rng.integers(0, 12, 2)
    mask[top : top + 7, left : left + 10] = True
    return heat, mask


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_the_map_at_full_size(seed: int) -> None:
    heat, mask = drawn(seed)
    full = np.kron(heat, np.ones((6, 6)))
    found = scores(heat, mask)
    assert found["auc"] == pytest.approx(roc_auc_score(mask.ravel(), full.ravel()))
    assert found["auc_absolute"] == pytest.approx(roc_auc_score(mask.ravel(), np.abs(full).ravel()))
    assert found["average_precision"] == pytest.approx(average_precision_score(mask.ravel(), full.ravel()))
    warm = np.clip(full, 0, None)
    assert found["energy"] == pytest.approx(warm[mask].sum() / warm.sum())
    assert found["pointing"] == pytest.approx(mask[full == full.max()].mean())
    rng = np.random.default_rng(0)  # ties share: the mean over random orders of equal pixels
    both = []
    for _ in range(200):
        hot = np.lexsort((rng.random(full.size), -full.ravel()))[: mask.sum()]
        both.append(mask.ravel()[hot].sum())
    assert found["iou"] == pytest.approx(np.mean(both) / (2 * mask.sum() - np.mean(both)), abs=0.01)


def test_the_region_itself_scores_best_and_its_opposite_worst() -> None:
    mask = np.zeros((32, 32), bool)
    mask[8:16, 16:32] = True  # whole cells
    heat = cell_shares(mask, 4, 4)
    best = scores(heat, mask)
    assert set(best.values()) == {1.0}
    assert scores(-heat, mask)["auc"] == 0 and np.isnan(scores(-heat, mask)["energy"])
    assert scores(-heat, mask)["auc_absolute"] == 1


def test_random_maps_score_by_chance() -> None:
    rng, mask = np.random.default_rng(0), drawn(0)[1]
    found = [scores(rng.random((8, 8)), mask) for _ in range(400)]
    expected = chance(float(mask.mean()))
    for name in ("auc", "pointing", "energy", "iou"):
        assert np.mean([own[name] for own in found]) == pytest.approx(expected[name], abs=0.03)


def test_tolerance_lets_the_hottest_point_stand_beside_the_region() -> None:
    mask = np.zeros((32, 32), bool)
    mask[:, :8] = True
    heat = np.zeros((4, 4))
    heat[2, 1] = 1
    assert scores(heat, mask)["pointing"] == 0
    assert scores(heat, mask, tolerance=0.125)["pointing_near"] == pytest.approx(0.5)


def test_curves_of_a_known_model() -> None:
    """The contrast counts distorted pixels: hottest first leaves early, and areas are those of the broken line."""
    clean, distorted = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)
    distorted[:4, :4] = 255
    heat = np.zeros((4, 4))
    heat[:2, :2] = 1

    def contrast(images: list[np.ndarray]) -> np.ndarray:
        return np.array([own.astype(float).sum() for own in images]) / distorted.astype(float).sum()

    for sign, expected in ((1, (0.125, 0.875)), (-1, (0.875, 0.125))):
        shown = versions(clean, distorted, order(sign * heat), 4, points=4)
        assert len(shown) == 6
        assert areas(contrast(shown), 0.0, 1.0, 16, points=4) == pytest.approx(expected)


def test_a_ratio_of_means_with_its_interval() -> None:
    above, below = np.array([1.0, 3.0, 2.0, 2.0]), np.array([2.0, 6.0, 4.0, 4.0])
    found = ratio(above, below, ["a", "a", "b", "c"], 50, 0)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_what_cannot_be_scored_is_refused() -> None:
    mask = drawn(0)[1]
    with pytest.raises(InputError, match="1 values that are not finite.*Expected"):
        scores(np.array([[1.0, np.nan]]), mask)
    with pytest.raises(InputError, match="whole image or nothing.*region="):
        scores(np.zeros((2, 2)), np.zeros((8, 8), bool))
