"""Folds never put one reference on both sides."""

import numpy as np
import pytest

from probes.splits import assert_no_leak, checked_folds, grouped_folds, repeated_folds
from stimuli.errors import InputError


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_share_no_reference_and_test_every_row_once(seed: int, folds: int) -> None:
    rng = np.random.default_rng(seed)
    groups, labels = rng.integers(0, 12, 150).astype(str), rng.choice(["a", "b", "c"], 150)
    found = grouped_folds(labels, groups, folds, seed)
    assert len(found) == folds
    for train, test in found:
        assert not set(groups[train]) & set(groups[test])
        assert sorted([*train, *test]) == list(range(150))
    assert sorted(np.concatenate([test for _, test in found])) == list(range(150))


def test_folds_are_stratified_and_fixed_by_the_seed() -> None:
    groups, labels = np.repeat(np.arange(20), 4), np.tile(["a", "b", "c", "d"], 20)
    found = grouped_folds(labels, groups, 5, 3)
    assert all(np.unique(labels[test], return_counts=True)[1].tolist() == [4] * 4 for _, test in found)
    tests = [[test.tolist() for _, test in grouped_folds(labels, groups, 5, seed)] for seed in (3, 3, 4)]
    assert tests[0] == tests[1] != tests[2]


def test_a_leak_is_refused_by_name() -> None:
    groups = np.array(["lake", "lake", "tree", "road"])
    with pytest.raises(InputError, match=r"The split leaks: 1 references .* \(lake\)"):
        assert_no_leak(groups, np.array([0, 2]), np.array([1, 3]))
    assert_no_leak(groups, np.array([0, 1]), np.array([2, 3]))


def test_too_few_references_and_too_rare_classes_are_refused() -> None:
    with pytest.raises(InputError, match="5 folds by reference need at least 5 references, got 3"):
        grouped_folds(["a", "b"] * 3, list("xxyyzz"))
    labels = ["a", "b"] * 6
    labels[0] = "rare"
    with pytest.raises(InputError, match="The class 'rare' stands in fewer than two references"):
        grouped_folds(labels, np.repeat(np.arange(6), 2))
    with pytest.raises(InputError, match="5 folds need a class of at least 5 stimuli, got 3 in the largest"):
        grouped_folds(["a", "b"] * 3, np.arange(6))


def test_repeats_are_other_folds_and_the_first_is_that_of_the_seed() -> None:
    groups, labels = np.repeat(np.arange(12), 3), np.tile(list("abc"), 12)
    found = repeated_folds(labels, groups, 3, 4, 5)
    assert [len(folds) for folds in found] == [3] * 4
    as_sets = [frozenset(frozenset(test.tolist()) for _, test in folds) for folds in found]
    assert len(set(as_sets)) == 4
    assert as_sets == [frozenset(frozenset(t.tolist()) for _, t in folds) for folds in repeated_folds(labels, groups, 3, 4, 5)]
    assert as_sets[0] == frozenset(frozenset(test.tolist()) for _, test in grouped_folds(labels, groups, 3, 5))
    for folds in found:
        assert sorted(np.concatenate([test for _, test in folds])) == list(range(36))
    with pytest.raises(InputError, match="Got 0 repeats of the folds. Expected at least 1"):
        repeated_folds(labels, groups, 3, 0)


GROUPS = np.repeat(np.arange(4), 2)


def test_own_folds_are_given_back_as_row_numbers_and_need_not_test_everything() -> None:
    found = checked_folds([([0, 1, 2, 3], [4, 5]), (np.arange(4, 8), np.array([0]))], GROUPS)
    assert [[side.tolist() for side in fold] for fold in found] == [[[0, 1, 2, 3], [4, 5]], [[4, 5, 6, 7], [0]]]
    made = grouped_folds(list("abab") * 2, GROUPS, 2)
    for own, (train, test) in zip(checked_folds(made, GROUPS), made, strict=True):
        assert np.array_equal(own[0], train) and np.array_equal(own[1], test)


@pytest.mark.parametrize(
    ("folds", "said"),
    [
        ([], "Got no folds. Expected a list of"),
        ([([0, 2], [1, 4])], r"The split leaks: 1 references stand in both training and test \(0\)"),
        ([([0, 1], [2]), ([], [4])], "Fold 1 has no training rows. Expected some on both sides"),
        ([([0, 1], [])], "Fold 0 has no test rows"),
        ([([0, 1], [8])], "The folds name rows 8 to 8, and there are 8. Expected 0 to 7"),
        ([([-1, 0], [4])], "The folds name rows -1 to 0, and there are 8"),
        ([(np.arange(8) < 4, np.arange(8) >= 4)], "Expected whole row numbers in one dimension. Turn a mask into rows"),
        ([([0.0, 1.0], [4])], "Got folds of type float64"),
        ([([0, 1], [4, 5]), ([2, 3], [5, 6])], r"1 rows are tested more than once \(first: row 5\)"),
    ],
)
def test_unsound_folds_of_the_users_own_are_refused(folds: list, said: str) -> None:
    with pytest.raises(InputError, match=said):
        checked_folds(folds, GROUPS)
