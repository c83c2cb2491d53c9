"""Folds never put one reference on both sides."""

import numpy as np
import pytest

from probes.splits import assert_no_leak, grouped_folds
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
