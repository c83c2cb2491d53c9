"""The jackknife agrees with the textbook where there is one, covers what it should, and says nothing of what is not known."""

import numpy as np
import pytest

from analysis.jackknife import jackknife, reference_blocks
from analysis.shape import effective_rank, spectra
from analysis.similarity import linear_cka_left_out, mutual_knn_left_out
from stimuli.errors import InputError


def test_a_mean_has_its_textbook_interval() -> None:
    from scipy import stats

    x = np.random.default_rng(0).normal(1, 2, 12)
    left = np.array([x.mean(), *((x.sum() - x) / 11)])
    found, known = jackknife(left), stats.ttest_1samp(x, 0)
    assert (found.low, found.high) == pytest.approx(known.confidence_interval()) and found.p == pytest.approx(known.pvalue)
    assert jackknife(left, high=1.5).high == min(1.5, found.high)
    assert jackknife(np.zeros(5)).p == 1
    assert np.isnan(jackknife(np.full(5, 0.3)).p) and jackknife(np.full(5, 0.3)).low == 0.3, "no spread is no proof"


@pytest.mark.parametrize("place", [0, 2])
def test_where_a_number_is_not_known_nothing_is_said_to_be(place: int) -> None:
    """Also not where all others are equal, so that the standard error of what is left would be 0."""
    left = np.full(6, 0.5)
    left[place] = np.nan
    found = jackknife(left, 0, 1)
    assert np.isnan([found.low, found.high, found.p]).all() and (found.value == 0.5) == (place > 0)


def test_many_references_are_dealt_to_blocks_and_none_is_torn() -> None:
    references = np.repeat(np.arange(100), 3)
    blocks = reference_blocks(references, most=30)
    assert len(np.unique(blocks)) == 30 and all(len(np.unique(blocks[references == r])) == 1 for r in range(100))
    assert np.bincount(blocks).max() == 12


def world(rng: np.random.Generator, references: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    number = np.repeat(np.arange(references), 4)
    x = (rng.normal(size=(references, 8))[number] + 0.7 * rng.normal(size=(len(number), 8))) * np.arange(1, 9) ** -0.5
    return x, x + 0.8 * np.tanh(2 * x) + 0.3 * rng.normal(size=x.shape), number


def test_intervals_cover_the_expected_value() -> None:
    rng = np.random.default_rng(0)
    bounds: dict[str, list[tuple[float, float, float]]] = {"cka": [], "knn": [], "rank": []}
    for _ in range(100):
        x, y, number = world(rng)
        rank = np.array([effective_rank(own) for own in spectra(x, number)])
        for name, left in (
            ("cka", linear_cka_left_out(x, y, number)),
            ("knn", mutual_knn_left_out(x, y, number)),
            ("rank", rank),
        ):
            found = jackknife(left)
            bounds[name].append((found.value, found.low, found.high))
    for name, own in bounds.items():
        value, low, high = np.array(own).T
        covered = np.mean((low <= value.mean()) & (value.mean() <= high))
        ideal = 2 * 1.96 * value.std()
        assert covered >= 0.85 and 0.8 * ideal < np.mean(high - low) < (2 if name == "knn" else 1.4) * ideal, (name, covered)


def test_two_blocks_are_too_few() -> None:
    with pytest.raises(InputError, match="Got 2 blocks of references for a jackknife"):
        jackknife(np.zeros(3))
