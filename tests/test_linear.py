"""The probe learns what is there, finds nothing where nothing is, and never sees its test references."""

import numpy as np
import pytest

from probes.linear import PENALTIES, fit_predict
from probes.splits import grouped_folds
from stimuli.errors import InputError

GROUPS = np.repeat(np.arange(20), 8)
LABELS = np.tile(list("abcd"), 40)


def planted(strength: float, d: int = 24, seed: int = 0) -> np.ndarray:
    """Noise, an effect of the reference, and ``strength`` times a direction per class."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=(4, d))[np.unique(LABELS, return_inverse=True)[1]]
    return rng.normal(size=(160, d)) + 2 * rng.normal(size=(20, d))[GROUPS] + strength * direction


def accuracy(values: np.ndarray, **options: object) -> float:
    found = fit_predict(values, LABELS, GROUPS, grouped_folds(LABELS, GROUPS), **options)  # type: ignore[arg-type]
    return float(np.mean(found.predicted == LABELS))


def test_a_planted_signal_is_found_and_noise_is_chance() -> None:
    assert accuracy(planted(2)) > 0.9
    assert abs(np.mean([accuracy(planted(0, seed=seed)) for seed in range(5)]) - 0.25) < 0.06


def test_more_dimensions_than_rows() -> None:
    assert accuracy(planted(1, d=400)) > 0.9


def test_a_code_of_the_reference_is_worth_nothing_on_other_references() -> None:
    one_label_each = np.repeat(list("abcd") * 5, 8)
    values = np.eye(20)[GROUPS] + 0.01 * np.random.default_rng(0).normal(size=(160, 20))
    found = fit_predict(values, one_label_each, GROUPS, grouped_folds(one_label_each, GROUPS))
    assert np.mean(found.predicted == one_label_each) < 0.4
    even, odd = np.arange(0, 160, 2), np.arange(1, 160, 2)
    leaky = [(even, odd), (odd, even)]
    seen = fit_predict(values, one_label_each, GROUPS, leaky, penalties=[1.0])
    assert np.mean(seen.predicted == one_label_each) == 1


def test_test_rows_change_nothing_in_the_probe_that_predicts_the_others() -> None:
    values, split = planted(1), grouped_folds(LABELS, GROUPS)
    spoilt = values.copy()
    held = split[0][1]
    spoilt[held[1:]] += 1e3
    a, b = (fit_predict(v, LABELS, GROUPS, split) for v in (values, spoilt))
    assert a.penalties[0] == b.penalties[0]
    np.testing.assert_allclose(a.probabilities[held[0]], b.probabilities[held[0]], atol=1e-3)


def test_probabilities_are_probabilities_over_the_named_classes() -> None:
    found = fit_predict(planted(1), LABELS, GROUPS, grouped_folds(LABELS, GROUPS))
    assert found.classes == ("a", "b", "c", "d")
    assert found.probabilities.shape == (160, 4)
    np.testing.assert_allclose(found.probabilities.sum(1), 1)
    assert set(found.penalties) <= set(PENALTIES)


def test_the_penalty_is_chosen_by_what_helps() -> None:
    split = grouped_folds(LABELS, GROUPS)
    nothing = fit_predict(planted(0, d=100), LABELS, GROUPS, split, penalties=(0.1, 1000.0))
    assert set(nothing.penalties) == {1000.0}
    clear = fit_predict(planted(4), LABELS, GROUPS, split, penalties=(0.1, 1e5))
    assert set(clear.penalties) == {0.1}


def test_a_scale_per_feature_does_not_matter() -> None:
    values = planted(0.5)
    split = grouped_folds(LABELS, GROUPS)
    a, b = (fit_predict(v, LABELS, GROUPS, split) for v in (values, values * np.geomspace(1e-4, 1e4, 24) + 7))
    np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-6)


def test_same_seed_same_prediction() -> None:
    values, split = planted(0.5), grouped_folds(LABELS, GROUPS)
    a, b = (fit_predict(values, LABELS, GROUPS, split, seed=4) for _ in range(2))
    assert np.array_equal(a.probabilities, b.probabilities)


@pytest.mark.parametrize(("references", "folds"), [(2, 2), (3, 3), (4, 3)])
def test_few_references_can_still_be_probed(references: int, folds: int) -> None:
    keep = GROUPS < references
    split = grouped_folds(LABELS[keep], GROUPS[keep], folds)
    found = fit_predict(planted(6)[keep], LABELS[keep], GROUPS[keep], split)
    assert np.mean(found.predicted == LABELS[keep]) > 0.5


def test_a_class_of_two_references_can_be_probed() -> None:
    labels = np.where((LABELS == "d") & (GROUPS > 1), "a", LABELS)
    found = fit_predict(planted(2), labels, GROUPS, grouped_folds(labels, GROUPS))
    assert found.classes == ("a", "b", "c", "d")


def test_activations_that_are_not_finite_are_refused() -> None:
    values = planted(1)
    values[[7, 9], 3] = np.nan, np.inf
    with pytest.raises(InputError, match=r"2 of 160 activation rows hold NaN or infinity \(first row 7\)"):
        accuracy(values)


def test_inner_folds_that_are_the_other_outer_ones_choose_as_a_grid_search_does() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, PredefinedSplit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    values, split = planted(0.6, d=60), grouped_folds(LABELS, GROUPS)
    fold_of = np.empty(160, int)
    for index, (_, test) in enumerate(split):
        fold_of[test] = index
    grid = {"logisticregression__C": [1 / penalty for penalty in sorted(PENALTIES, reverse=True)]}
    own = fit_predict(values, LABELS, GROUPS, split)
    for index, (train, test) in enumerate(split):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000, tol=1e-8))
        folds = PredefinedSplit(fold_of[train])
        search = GridSearchCV(model, grid, scoring="neg_log_loss", cv=folds).fit(values[train], LABELS[train])
        assert own.penalties[index] == pytest.approx(1 / search.best_params_["logisticregression__C"])
        np.testing.assert_allclose(own.probabilities[test], search.predict_proba(values[test]), atol=4e-3)


def test_rows_that_no_fold_tests_are_not_predicted() -> None:
    split = grouped_folds(LABELS, GROUPS)[:2]
    found = fit_predict(planted(2), LABELS, GROUPS, split)
    tested = np.zeros(160, bool)
    tested[np.concatenate([test for _, test in split])] = True
    assert (found.predicted[~tested] == "").all() and np.isnan(found.probabilities[~tested]).all()
    assert np.mean(found.predicted[tested] == LABELS[tested]) > 0.9


def test_any_scikit_learn_estimator_can_be_the_probe() -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.svm import LinearSVC

    values, split = planted(2), grouped_folds(LABELS, GROUPS)
    for estimator in (LinearDiscriminantAnalysis(), LinearSVC()):
        found = fit_predict(values, LABELS, GROUPS, split, estimator=estimator)
        assert np.mean(found.predicted == LABELS) > 0.8 and np.isnan(found.penalties).all()
        np.testing.assert_allclose(found.probabilities.sum(1), 1)
    search = GridSearchCV(LogisticRegression(max_iter=1000), {"C": [0.01, 1]}, cv=GroupKFold(3))
    assert np.mean(fit_predict(values, LABELS, GROUPS, split, estimator=search).predicted == LABELS) > 0.85


@pytest.mark.parametrize("penalties", [(), (1.0, 0.0), (-1.0,)])
def test_penalties_must_be_positive(penalties: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"The penalties are \(.*\); expected at least one, all positive"):
        accuracy(planted(1), penalties=penalties)
