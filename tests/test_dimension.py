"""Equal dimension: reductions see training rows alone, keep what they promise, and are compared in pairs."""

from typing import Any

import numpy as np
import pytest

from probes.dimension import effective_dimension, equal_dimension, equal_score, reduced
from probes.splits import grouped_folds
from stimuli.errors import InputError
from tests.test_sweep import store

RNG = np.random.default_rng(0)
GROUPS = np.repeat(np.arange(12), 8)
LABELS = np.tile(list("aabbccdd"), 12)
KIND = np.unique(LABELS, return_inverse=True)[1]
FOLDS = grouped_folds(LABELS, GROUPS, 3)
TRAIN = FOLDS[0][0]


def standard(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    return np.asarray((values - values[train].mean(0)) / values[train].std(0))


@pytest.mark.parametrize("features", [20, 150])
def test_pca_is_the_librarys_on_standardised_training_rows_but_for_a_rotation(features: int) -> None:
    from sklearn.decomposition import PCA

    values = RNG.normal(size=(96, features)) @ RNG.normal(size=(features, features)) + 5
    z = standard(values, TRAIN)
    expected = PCA(7, svd_solver="full").fit(z[TRAIN]).transform(z)
    found = reduced(values, TRAIN, 7, "pca")
    assert found.shape == (96, 7)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-8 * np.abs(expected).max() ** 2)


def test_all_components_give_a_probe_the_same_lengths_as_the_features_themselves() -> None:
    values = RNG.normal(size=(96, 20))
    z = standard(values, TRAIN)
    found = reduced(values, TRAIN, 20, "pca")
    np.testing.assert_allclose(found @ found.T, z @ z.T, atol=1e-9)


@pytest.mark.parametrize("method", ["pca", "random"])
def test_rows_outside_of_training_have_no_say(method: Any) -> None:
    values = RNG.normal(size=(96, 20))
    spoilt = values.copy()
    spoilt[FOLDS[0][1]] *= 1e3
    a, b = (reduced(own, TRAIN, 5, method) for own in (values, spoilt))
    np.testing.assert_allclose(a[TRAIN], b[TRAIN])


def test_random_projections_keep_squared_lengths_on_average() -> None:
    values = RNG.normal(size=(96, 300))
    length = (standard(values, TRAIN) ** 2).sum(1)
    kept = np.stack([(reduced(values, TRAIN, 64, "random", seed) ** 2).sum(1) for seed in range(20)]) / length
    assert abs(kept.mean() - 1) < 0.02
    assert abs(kept.std() - np.sqrt(2 / 64)) < 0.03  # chi-square with 64 degrees of freedom over 64


def test_the_scale_of_a_feature_does_not_matter_and_constant_features_are_nothing() -> None:
    values = RNG.normal(size=(96, 20))
    scaled = np.hstack([values * np.geomspace(1e-3, 1e6, 20) + 3, np.full((96, 1), 7.0)])
    a, b = (reduced(own, TRAIN, 5, "pca") for own in (values, scaled))
    np.testing.assert_allclose(a @ a.T, b @ b.T, atol=1e-6)
    assert effective_dimension(values)[1] == pytest.approx(effective_dimension(scaled)[1])


def test_effective_dimension_in_closed_form() -> None:
    def check(values: np.ndarray, rank: int, ratio: float) -> None:
        found = effective_dimension(values)
        assert found[0] == rank and found[1] == pytest.approx(ratio)

    line = np.outer(np.arange(10.0), np.ones(4))
    check(line, 1, 1)
    corners = np.array(np.meshgrid([-1.0, 1], [-1, 1], [-1, 1])).reshape(3, 8).T  # three uncorrelated features
    check(corners, 3, 3)
    twice = np.hstack([corners, corners[:, :1]])  # eigenvalues 2, 1, 1 of the correlation matrix: 16 / 6
    check(twice, 3, 16 / 6)
    assert effective_dimension(RNG.normal(size=(10, 50)))[0] == 9
    rank, ratio = effective_dimension(np.ones((5, 3)))
    assert rank == 0 and np.isnan(ratio)


@pytest.mark.parametrize(("d", "method", "most"), [(0, "pca", 20), (21, "pca", 20), (21, "random", 20)])
def test_more_dimensions_than_there_are_are_refused(d: int, method: Any, most: int) -> None:
    with pytest.raises(InputError, match=f"Cannot reduce 20 features on 64 training rows to {d} .*Expected d from 1 to {most}"):
        reduced(RNG.normal(size=(96, 20)), TRAIN, d, method)


def test_a_signal_of_little_variance_is_lost_by_components_and_shared_by_projections() -> None:
    loud = RNG.normal(size=(96, 3)) @ np.repeat(np.eye(3), 13, axis=1) + 0.05 * RNG.normal(size=(96, 39))
    quiet = (KIND % 2)[:, None] + 0.3 * RNG.normal(size=(96, 1))
    values, labels = np.hstack([loud, quiet]), np.where(KIND % 2, "odd", "even")
    found = equal_score(values, labels, GROUPS, FOLDS, 3, penalties=[1.0], n_boot=200)
    assert found.raw.value > 0.9 and found.pca.value < 0.7 and found.pca_change.high < 0
    assert found.pca_change.value == pytest.approx(found.pca.value - found.raw.value)
    assert found.random_change.value == pytest.approx(found.random.value - found.raw.value) and found.spread > 0
    all_of_it = equal_score(values, labels, GROUPS, FOLDS, 40, projections=1, penalties=[1.0], n_boot=200)
    assert all_of_it.pca.value > 0.85 and np.isnan(all_of_it.spread)


def test_what_varies_most_is_kept_by_components() -> None:
    values = 4 * RNG.normal(size=(4, 60))[KIND] + RNG.normal(size=(96, 60))
    found = equal_score(values, LABELS, GROUPS, FOLDS, 4, penalties=[1.0], n_boot=100)
    assert found.raw.value == 1 and found.pca.value > 0.95 and found.effective < 10 < found.rank


def test_every_site_is_brought_to_the_smallest_of_all() -> None:
    own = store({"vision.0": 2.0, "llm.0": 0.0})
    own.values["llm.0"] = own.values["llm.0"][:, :5]
    options: dict[str, Any] = {"penalties": [10.0], "projections": 2, "folds": 3, "n_boot": 100, "progress": False}
    result = equal_dimension(own, **options)
    assert result.d == 5 and [row["dim"] for row in result.table] == [12, 5]
    row = result.row("vision.0")
    assert row["score"] > 0.9 and row["score_low"] <= row["score"] <= row["score_high"] and row["rank"] == 12
    assert row["projections"] == 2 and row["random_change_p_holm"] >= row["random_change_p"]
    options["projections"] = 1
    assert equal_dimension(own, sites=["vision.0"], **options).d == 12
    assert equal_dimension(own, sites=["vision.0"], inputs={"vision.0": own.read("llm.0")}, **options).d == 5
    with pytest.raises(InputError, match="At site 'llm.0': Cannot reduce 5 features"):
        equal_dimension(own, d=6, **options)
