"""CKA and neighbour overlap agree with their definitions, know no rotation or scale, and leave blocks out exactly."""

import itertools

import numpy as np
import pytest

from analysis import similarity as module
from analysis.similarity import (
    knn_chance,
    linear_cka,
    linear_cka_chance,
    linear_cka_left_out,
    mutual_knn,
    mutual_knn_left_out,
    neighbours,
)
from stimuli.errors import InputError

RNG = np.random.default_rng(0)


def spaces(n: int = 30, d: int = 6, e: int = 9, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two related spaces far from the origin, and blocks of unequal size."""
    x = RNG.normal(size=(n, d)) * np.arange(1, d + 1)
    y = x @ RNG.normal(size=(d, e)) + noise * RNG.normal(size=(n, e))
    return x + 5, y - 3, np.minimum(np.arange(n) // 4, 5)


def song(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased HSIC as it is defined: the mean of the fourth-order U-statistic's kernel over ordered distinct rows."""
    k, m = x @ x.T, y @ y.T
    terms = [k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in itertools.permutations(range(len(x)), 4)]
    return float(np.mean(terms))


def test_cka_is_the_ratio_of_u_statistics() -> None:
    x, y, _ = spaces(8, 3, 4)
    assert linear_cka(x, y) == pytest.approx(song(x, y) / np.sqrt(song(x, x) * song(y, y)), abs=1e-10)


@pytest.mark.parametrize(("d", "e"), [(3, 4), (50, 70)])
def test_cka_in_feature_and_in_gram_space_without_each_block(d: int, e: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 7)
    x, y, blocks = spaces(30, d, e)
    found = linear_cka_left_out(x, y, blocks)
    slow = [linear_cka(x, y), *(linear_cka(x[blocks != b], y[blocks != b]) for b in range(6))]
    assert np.allclose(found, slow, atol=1e-12)


def test_cka_knows_no_rotation_shift_or_scale_and_is_not_inflated_by_width() -> None:
    x, y, _ = spaces()
    turn = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    assert linear_cka(x, 3 * x @ turn + 7) == pytest.approx(1)
    assert linear_cka(x @ turn, y) == pytest.approx(linear_cka(x, y), abs=1e-12) == linear_cka(y, x)
    unrelated = [linear_cka(RNG.normal(size=(30, 400)), RNG.normal(size=(30, 400))) for _ in range(20)]
    assert abs(np.mean(unrelated)) < 0.05, "the biased estimate is above 0.9 here"
    assert np.isnan(linear_cka(np.full((9, 2), 1e6), y[:9]))


def test_versions_of_a_reference_alone_make_unrelated_spaces_alike_and_chance_tells() -> None:
    from analysis.pairings import pairings

    references = np.repeat(np.arange(25), 6)
    worlds = [[RNG.normal(size=(25, 30))[references] + 0.3 * RNG.normal(size=(150, 30)) for _ in range(2)] for _ in range(5)]
    found, chance = np.mean([(linear_cka(x, y), linear_cka_chance(x, y, pairings(references))) for x, y in worlds], axis=0)
    assert found > 0.4 and chance == pytest.approx(found, abs=0.04), "debiased for independent rows alone"
    alone = [linear_cka_chance(x, y, pairings(np.arange(150))) for x, y in worlds]
    assert abs(np.mean(alone)) < 0.03, "rows mixed one by one would hide it"
    x, y = worlds[0]
    orders = pairings(references, 2)
    assert linear_cka_chance(x, y, orders) == pytest.approx(np.mean([linear_cka(x, y[order]) for order in orders]))


def test_chance_among_other_references_holds_for_spaces_that_both_know_the_content() -> None:
    references = np.repeat(np.arange(25), 4)
    found = []
    for _ in range(30):
        first, second = (RNG.normal(size=(25, 5))[references] + 0.2 * RNG.normal(size=(100, 5)) for _ in range(2))
        found.append(mutual_knn(first, second, 10, references=references))
    assert np.mean(found) == pytest.approx(knn_chance(100, 10, references), abs=4 * np.std(found) / np.sqrt(30))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("by_reference", [False, True])
def test_neighbours_agree_with_sorting_all_distances(
    metric: module.Metric, by_reference: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scipy.spatial.distance import cdist

    monkeypatch.setattr(module, "BLOCK", 7)
    x, _, blocks = spaces()
    far = cdist(x, x, metric)
    far[(blocks[:, None] == blocks) if by_reference else np.eye(30, dtype=bool)] = np.inf
    assert np.array_equal(neighbours(x, 5, metric, blocks if by_reference else None), np.argsort(far, 1)[:, :5])


def test_overlap_of_equal_spaces_is_one_and_of_unrelated_ones_chance() -> None:
    x, y, blocks = spaces(200, noise=0)
    turn = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    assert mutual_knn(x, 4 * x @ turn) == 1 and mutual_knn(x, 2 * x + 1, metric="euclidean") == 1
    assert mutual_knn(x, y, k=500) == 1, "k is capped at all the others"
    other = RNG.normal(size=(200, 8))
    assert knn_chance(200, 10) == 10 / 199
    assert mutual_knn(x, other, 10) == pytest.approx(10 / 199, abs=0.012)
    sizes = np.bincount(blocks)[blocks]
    assert knn_chance(200, 5, blocks) == pytest.approx(np.mean(np.minimum(1, 5 / (200 - sizes))))


def test_versions_of_a_reference_alone_make_an_overlap_that_vanishes_without_them() -> None:
    references = np.repeat(np.arange(25), 6)
    first, second = (RNG.normal(size=(25, 8))[references] + 0.1 * RNG.normal(size=(150, 8)) for _ in range(2))
    assert mutual_knn(first, second, 5) == 1, "the five neighbours are the other versions, in two unrelated spaces"
    assert mutual_knn(first, second, 5, references=references) < 3 * knn_chance(150, 5, references)


@pytest.mark.parametrize("by_reference", [False, True])
def test_overlap_without_each_block_is_that_of_the_other_rows(by_reference: bool) -> None:
    x, y, blocks = spaces(60)
    references = np.arange(60) // 2 if by_reference else None
    found = mutual_knn_left_out(x, y, blocks, 4, "euclidean", references)
    slow = [mutual_knn(x, y, 4, "euclidean", references)]
    for keep in (blocks != b for b in range(6)):
        slow.append(mutual_knn(x[keep], y[keep], 4, "euclidean", None if references is None else references[keep]))
    assert np.allclose(found, slow)


def test_what_cannot_be_compared_is_refused() -> None:
    x, y, blocks = spaces()
    with pytest.raises(InputError, match=r"shapes \(30, 6\) and \(29, 9\).*same stimuli"):
        linear_cka(x, y[1:])
    for measured in (linear_cka, mutual_knn):
        with pytest.raises(InputError, match="NaN or infinity. Expected finite ones. Leave these rows out of both"):
            measured(x, np.where(y > 0, np.nan, y))
    with pytest.raises(InputError, match="Got 3 stimuli for CKA. Expected at least 4"):
        linear_cka(x[:3], y[:3])
    with pytest.raises(InputError, match="k = 0 neighbours of 30 stimuli. Expected 1 to 29"):
        neighbours(x, 0)
    with pytest.raises(InputError, match="k = 25 neighbours and 19 candidates outside a block of 10"):
        mutual_knn_left_out(x, y, blocks, 25)
    with pytest.raises(InputError, match="Got 30 stimuli with 30 of one reference"):
        mutual_knn(x, y, 3, references=np.zeros(30))
