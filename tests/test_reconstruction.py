"""Reconstruction: what is kept is rebuilt, what is lost is not, and the baselines say what that is worth."""

import numpy as np
import pytest

from analysis.reconstruction import PENALTIES, reconstruct
from stimuli.errors import InputError

RNG = np.random.default_rng(0)
GROUPS = np.repeat([f"r{i}" for i in range(20)], 6)


def space(d: int) -> np.ndarray:
    """Content of 20 references and, in smaller directions of their own, what tells six versions apart."""
    return np.hstack([3 * RNG.normal(size=(20, d // 2))[np.arange(120) // 6], RNG.normal(size=(120, d - d // 2))])


def test_a_linear_map_that_keeps_all_is_undone_and_one_that_drops_half_loses_its_share() -> None:
    y = space(8)
    whole = reconstruct(y @ RNG.normal(size=(8, 12)) + 5, y, GROUPS, n_boot=200)
    assert whole.r2.value > 0.999 and whole.within.value > 0.999 and whole.random > 0.999
    content = reconstruct(y[:, :4], y, GROUPS, n_boot=200)
    share = 1 - y[:, 4:].var(0).sum() / y.var(0).sum()
    assert content.r2.value == pytest.approx(share, abs=0.03) and content.r2.low < share < content.r2.high
    assert content.within.value == pytest.approx(0, abs=0.05), "the content alone does not tell versions apart"
    assert content.draws.shape == (201,) and content.draws[0] == content.r2.value


def test_unrelated_and_shuffled_rows_are_worth_no_more_than_the_mean() -> None:
    y = space(8)
    found = reconstruct(RNG.normal(size=(120, 5)), y, GROUPS, n_boot=200)
    assert -0.1 < found.r2.value < 0.03 and -0.1 < found.shuffled < 0.03
    assert found.random > 0.3 and found.above_random.high < 0 and found.above_random.p < 0.05
    assert found.above_random.value == pytest.approx(found.r2.value - found.random) == found.above_draws[0]


def test_features_of_the_target_count_by_their_variance_and_those_of_the_source_alike() -> None:
    y = np.hstack([RNG.normal(size=(120, 2)), 10 * RNG.normal(size=(120, 1))])
    known = reconstruct(y[:, 2:], y, GROUPS, n_boot=20).r2.value
    assert known == pytest.approx(y[:, 2].var() / y.var(0).sum(), abs=0.02), (
        "pooled: 0.98, where the mean over features is 0.33"
    )
    assert reconstruct(y[:, 2:] * 1e3, y, GROUPS, n_boot=20).r2.value == pytest.approx(known)


@pytest.mark.parametrize(("d", "wide"), [(4, 3), (300, 80)])
def test_the_same_as_scikit_learn_at_the_chosen_penalties(d: int, wide: int) -> None:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from probes.splits import grouped_folds

    x = space(d) + 4
    y = x @ RNG.normal(size=(d, wide)) + RNG.normal(size=(120, wide))
    found = reconstruct(x, y, GROUPS, n_boot=20, seed=3)
    error, spread = 0.0, 0.0
    for (train, test), penalty in zip(grouped_folds(np.full(120, "all"), GROUPS, 5, 3), found.penalties, strict=True):
        told = make_pipeline(StandardScaler(), Ridge(penalty)).fit(x[train], y[train]).predict(x[test])
        error += ((y[test] - told) ** 2).sum()
        spread += ((y[test] - y[train].mean(0)) ** 2).sum()
    assert found.r2.value == pytest.approx(1 - error / spread) and set(found.penalties) <= set(PENALTIES)


def test_the_penalty_is_chosen_for_new_references() -> None:
    """Versions of a reference are near copies: known ones would be told best without a penalty, new ones with a high one."""
    x, y = (RNG.normal(size=(20, d))[np.arange(120) // 6] + 0.01 * RNG.normal(size=(120, d)) for d in (40, 3))
    found = reconstruct(x, y, GROUPS, n_boot=20)
    assert np.median(found.penalties) >= 10 and found.r2.value > -0.1


def test_versions_cannot_be_told_apart_where_each_reference_has_one() -> None:
    y = RNG.normal(size=(120, 3))
    assert np.isnan(reconstruct(y, y, np.arange(120), n_boot=20).within.value)


def test_what_cannot_be_rebuilt_is_refused() -> None:
    y = space(4)
    with pytest.raises(InputError, match=r"source of shape \(119, 4\).*120 references"):
        reconstruct(y[1:], y, GROUPS)
    with pytest.raises(InputError, match="Got 2 references. Expected at least 3"):
        reconstruct(y[:12], y[:12], GROUPS[:12])
    with pytest.raises(InputError, match="NaN or infinity"):
        reconstruct(y, np.where(y > 2, np.nan, y), GROUPS)
    with pytest.raises(InputError, match="target of 120 equal rows"):
        reconstruct(y, np.ones((120, 2)), GROUPS)
