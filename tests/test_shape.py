"""Procrustes, ranks and the modality gap agree with closed forms, know no rotation or scale, and leave blocks out."""

import numpy as np
import pytest

from analysis.shape import (
    effective_rank,
    modality_gap,
    modality_gap_left_out,
    participation_ratio,
    procrustes,
    procrustes_chance,
    procrustes_left_out,
    spectra,
    spread,
)
from stimuli.errors import InputError

RNG = np.random.default_rng(0)


def turn(d: int) -> np.ndarray:
    return np.linalg.qr(RNG.normal(size=(d, d)))[0]


def others(x: np.ndarray, blocks: np.ndarray) -> list[np.ndarray]:
    return [x, *(x[blocks != block] for block in range(blocks.max() + 1))]


@pytest.mark.parametrize("d", [6, 60])
def test_procrustes_is_what_the_best_rotation_leaves(d: int) -> None:
    from scipy.spatial import procrustes as scipys

    x, y = RNG.normal(size=(30, d)), RNG.normal(size=(30, d))
    free = scipys(x, y)[2]  # scipy also chooses the scale: 1 - s² where ours is 2 - 2s
    assert procrustes(x, y) == pytest.approx(2 - 2 * np.sqrt(1 - free))
    assert procrustes(x, 4 * x @ turn(d) + 3) == pytest.approx(0, abs=1e-12)
    assert procrustes(x @ turn(d), y) == pytest.approx(procrustes(x, y)) == pytest.approx(procrustes(y, x))
    padded = np.hstack([y[:, :4], np.zeros((30, d - 4))])
    assert procrustes(x, y[:, :4]) == pytest.approx(procrustes(x, padded))


def test_procrustes_without_each_block_is_right_to_first_order() -> None:
    blocks = np.repeat(np.arange(20), 5)
    x = RNG.normal(size=(20, 8))[blocks] + RNG.normal(size=(100, 8)) * np.linspace(0.3, 2, 20)[blocks, None]
    y = x @ turn(8) + 0.5 * RNG.normal(size=(100, 8))
    found = procrustes_left_out(x, y, blocks)
    exact = [procrustes(a, b) for a, b in zip(others(x, blocks), others(y, blocks), strict=True)]
    assert found[0] == pytest.approx(exact[0])
    assert np.corrcoef(found[1:], exact[1:])[0, 1] > 0.98 and np.std(found[1:]) == pytest.approx(np.std(exact[1:]), rel=0.15)


def test_procrustes_without_a_block_is_exact_on_a_line() -> None:
    """Of one feature there is no singular vector to move, so that the sums alone must be right."""
    x, blocks = RNG.normal(size=(12, 1)) + np.arange(12)[:, None], np.arange(12) // 5
    y = x + RNG.normal(size=(12, 1))
    exact = [procrustes(a, b) for a, b in zip(others(x, blocks), others(y, blocks), strict=True)]
    assert np.allclose(procrustes_left_out(x, y, blocks), exact)


@pytest.mark.parametrize(("n", "d"), [(2000, 20), (1000, 50)])
def test_unrelated_rows_are_as_far_apart_as_the_quarter_circle_says(n: int, d: int) -> None:
    x, y = RNG.normal(size=(n, d)), RNG.normal(size=(n, d))
    law = 2 - 16 / (3 * np.pi) * np.sqrt(d / n)
    assert procrustes(x, y) == pytest.approx(law, abs=0.02)
    mixed = np.stack([RNG.permutation(n) for _ in range(2)])
    assert procrustes_chance(x, x, mixed) == pytest.approx(law, abs=0.02)
    assert procrustes_chance(x, y, mixed) == pytest.approx(np.mean([procrustes(x, y[order]) for order in mixed]))


def test_few_unrelated_rows_of_many_features_are_near_each_other_and_no_nearer_than_by_chance() -> None:
    x, y = RNG.normal(size=(100, 500)), RNG.normal(size=(100, 500))
    found, chance = procrustes(x, y), procrustes_chance(x, y, np.stack([RNG.permutation(100) for _ in range(3)]))
    assert found < 0.15 and chance == pytest.approx(found, abs=0.01)


def test_without_the_only_block_that_differs_nothing_is_known() -> None:
    x, blocks = np.zeros((8, 2)), np.repeat(np.arange(4), 2)
    x[:2] = [[1, 0], [0, 1]]
    found = procrustes_left_out(x, x, blocks)
    assert found[0] == pytest.approx(0) and np.isnan(found[1]) and np.isfinite(found[2:]).all()
    ranks = [[rank(own) for own in spectra(x, blocks)] for rank in (effective_rank, participation_ratio)]
    assert np.isnan([own[1] for own in ranks]).all() and np.isfinite([own[2:] for own in ranks]).all()


@pytest.mark.parametrize("d", [5, 80])
def test_variances_are_numpys_without_each_block_too(d: int) -> None:
    x, blocks = RNG.normal(size=(40, d)) * np.arange(1, d + 1) + 9, np.arange(40) // 7
    for found, rows in zip(spectra(x, blocks), others(x, blocks), strict=True):
        singular = np.linalg.svd(rows - rows.mean(0), compute_uv=False) ** 2 / len(rows)
        size = min(len(found), len(singular))
        assert np.allclose(found[:size] / found.sum(), singular[:size] / singular.sum(), atol=1e-12)


def test_ranks_of_known_spectra() -> None:
    assert effective_rank(np.ones(7)) == pytest.approx(7) == participation_ratio(np.ones(7))
    assert effective_rank(np.array([4.0, 0, 0])) == pytest.approx(1) == participation_ratio(np.array([4.0, 0, 0]))
    assert effective_rank(np.array([4.0, 1.0])) == pytest.approx(3 / 2 ** (2 / 3)), "singular values 2 and 1"
    assert participation_ratio(np.array([4.0, 1.0])) == pytest.approx(25 / 17)
    x = RNG.normal(size=(50, 6)) * [5, 4, 3, 2, 1, 0.5]
    for rank in (effective_rank, participation_ratio):
        assert rank(spectra(x)[0]) == pytest.approx(rank(spectra(9 * x @ turn(6) - 2)[0]))


def test_gap_is_the_distance_of_the_means_on_the_sphere() -> None:
    images, words = np.array([[3.0, 0], [5, 0]]), np.array([[0, 2.0]])
    assert modality_gap(images, words) == pytest.approx(np.sqrt(2)) and modality_gap(images, -images) == pytest.approx(2)
    assert modality_gap(images, 7 * images) == 0
    x, text, blocks = RNG.normal(size=(20, 4)) + 2, RNG.normal(size=(3, 4)), np.arange(20) // 6
    found = modality_gap_left_out(x, text, blocks)
    assert np.allclose(found, [modality_gap(rows, text) for rows in others(x, blocks)])
    rotation = turn(4)
    assert modality_gap(3 * x @ rotation, text @ rotation) == pytest.approx(found[0])


def test_what_has_no_shape_is_refused() -> None:
    with pytest.raises(InputError, match="Got 5 rows that are all equal"):
        spectra(np.full((5, 3), 1e5))
    with pytest.raises(InputError, match=r"shapes \(5, 3\) and \(4, 3\)"):
        procrustes(np.eye(5)[:, :3], np.eye(4)[:, :3])
    with pytest.raises(InputError, match=r"features of shape \(5, 3\) and words of shape \(2, 4\).*behind the projector"):
        modality_gap(np.ones((5, 3)), np.ones((2, 4)))
    gap = np.full((5, 3), np.nan)
    for measured in (spread, spectra, lambda x: procrustes(x, np.eye(5)), lambda x: modality_gap(x, np.ones((2, 3)))):
        with pytest.raises(InputError, match="NaN or infinity. Expected finite ones. Leave these rows out"):
            measured(gap)
