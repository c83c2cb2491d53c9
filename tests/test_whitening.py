"""Whitened distances: agreement with scikit-learn and a direct inverse, what references do to the shrinkage, the unit and its limit."""

import numpy as np
import pytest

from analysis import whitening
from analysis.distance_measures import measure
from analysis.whitening import to_words, within_covariance


def world(n_refs: int, versions: int, d: int, k: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, class numbers and references; versions of a reference are alike. Rows are shuffled."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_refs), versions)
    targets = np.tile(np.arange(versions) % k, n_refs)
    x = rng.normal(size=(n_refs, d))[groups] + 0.3 * rng.normal(size=(len(groups), d)) + rng.normal(size=(k, d))[targets]
    order = rng.permutation(len(groups))
    return x[order], targets[order], groups[order]


def residuals(x: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return np.asarray(x - np.stack([x[targets == c].mean(0) for c in range(targets.max() + 1)])[targets])


@pytest.mark.parametrize(("n", "d"), [(30, 50), (300, 8)])
def test_without_references_the_shrunk_covariance_is_that_of_scikit_learn(n: int, d: int) -> None:
    from sklearn.covariance import ledoit_wolf

    rng = np.random.default_rng(2)
    x, targets = rng.normal(size=(n, d)) * rng.uniform(0.2, 3, d) + 7, rng.integers(0, 3, n)
    covariance, share = within_covariance(x, targets)
    theirs, their_share = ledoit_wolf(residuals(x, targets), assume_centered=True)
    assert share == pytest.approx(their_share) and np.allclose(covariance, theirs)


@pytest.mark.parametrize("even", [True, False])
def test_the_shrinkage_is_that_of_sums_over_references(even: bool) -> None:
    x, targets, groups = world(12, 4, 6)
    keep = np.ones(48, bool) if even else np.random.default_rng(1).random(48) < 0.7
    x, targets, groups = x[keep], targets[keep], groups[keep]
    z = residuals(x, targets)
    s, n = z.T @ z / len(z), len(z)
    own = [(z[groups == g].T @ z[groups == g], (groups == g).sum()) for g in np.unique(groups)]
    error = sum(((a - m * s) ** 2).sum() for a, m in own) / n**2
    expected = error / ((s - np.trace(s) / 6 * np.eye(6)) ** 2).sum()
    assert within_covariance(x, targets, groups)[1] == pytest.approx(min(1, expected)) and expected < 1


def test_shrinking_by_references_comes_nearer_to_the_covariance_where_versions_are_alike() -> None:
    d = 20
    scale = np.random.default_rng(0).uniform(0.2, 3, d)
    truth = np.diag(scale**2) * (1 + 0.3**2)
    by_rows: list[float] = []
    by_references: list[float] = []
    shares = []
    for seed in range(20):
        x, targets, groups = world(15, 8, d, seed=seed)
        x = x * scale
        for groups_or_none, errors in ((None, by_rows), (groups, by_references)):
            covariance, share = within_covariance(x, targets, groups_or_none)
            errors.append(((covariance - truth) ** 2).sum())
            shares.append(share)
    assert np.mean(shares[1::2]) > 2 * np.mean(shares[::2]) and np.mean(by_references) < np.mean(by_rows)


@pytest.mark.parametrize("d", [10, 30, 60])
def test_distances_are_those_of_the_inverse_with_fewer_and_with_more_rows_than_dimensions(
    d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, targets, groups = world(8, 5, d)
    words, mean = 3 * np.random.default_rng(5).normal(size=(6, d)), x.mean(0)
    covariance, share = within_covariance(x, targets, groups)
    delta = (x - mean)[:, None] - words
    expected = np.sqrt(np.einsum("nkd,de,nke->nk", delta, np.linalg.inv(covariance), delta) / d)
    assert share < 1 and np.allclose(to_words(x, words, targets, mean, groups), expected, rtol=1e-6)
    monkeypatch.setattr(whitening, "CHUNK", 7)
    assert np.allclose(to_words(x, words, targets, mean, groups), expected, rtol=1e-6)
    assert np.allclose(to_words(x.astype(np.float32), words, targets, mean, groups), expected, rtol=1e-4)


def test_chunks_are_of_whole_references_and_of_every_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whitening, "CHUNK", 10)
    number = np.random.default_rng(0).integers(0, 9, 60)
    number[:25] = 4  # larger than a chunk
    number = np.unique(number, return_inverse=True)[1]
    parts = list(whitening._whole(number))
    assert sorted(np.concatenate(parts)) == list(range(60)) and len(parts) > 4
    assert sum(len(np.unique(number[rows])) for rows in parts) == len(np.unique(number))


def test_at_one_the_word_is_as_far_as_an_image_is_from_its_class_if_there_are_many_more_rows_than_dimensions() -> None:
    rng = np.random.default_rng(3)
    scale, targets = rng.uniform(0.1, 10, 12), np.arange(4000) % 2
    words = 50 * rng.normal(size=(2, 12)) * scale
    centre = (words - words.mean(0))[targets]
    own = measure(centre + rng.normal(size=(4000, 12)) * scale, words, targets, ("whitened",)).values["whitened"]
    assert np.sqrt((own**2).mean()) == pytest.approx(1, abs=0.02)
    moved = centre + rng.normal(size=(4000, 12)) * scale + 3 * scale * np.sign(targets - 0.5)[:, None]
    far = measure(moved, words, targets, ("whitened",)).values["whitened"]
    assert np.sqrt((far**2).mean()) == pytest.approx(np.sqrt(1 + 9), abs=0.05)


def test_with_fewer_rows_than_dimensions_the_unit_is_not_the_classes_spread_but_the_contrast_tells_the_right_word() -> None:
    x, targets, groups = world(10, 4, 400)
    words = np.stack([x[targets == c].mean(0) for c in range(4)])
    found = measure(x, words, targets, ("whitened", "whitened_margin"), groups).values
    assert np.sqrt((found["whitened"] ** 2).mean()) < 0.9, "words at the class means, and yet not 1"
    assert found["whitened_margin"].mean() > 0
    turned = measure(x, words[[1, 2, 3, 0]], targets, ("whitened", "whitened_margin"), groups).values
    assert turned["whitened_margin"].mean() < 0 and turned["whitened"].mean() > found["whitened"].mean()


def test_features_without_variance_have_no_whitened_distance() -> None:
    for d in (4, 9):
        found = measure(np.ones((6, d)), np.eye(d)[:2], np.arange(6) % 2).values
        assert np.isnan(found["whitened"]).all() and np.isnan(found["whitened_margin"]).all()
