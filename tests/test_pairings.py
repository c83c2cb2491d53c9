"""Pairings: every row is used once, references stay together and meet others as in a permutation."""

import numpy as np

from analysis.pairings import PAIRINGS, pairings

REFERENCES = np.random.default_rng(0).permutation(np.repeat(np.arange(12), 5))


def test_whole_references_meet_one_with_their_versions_in_another_order() -> None:
    found = pairings(REFERENCES, 20)
    assert np.array_equal(np.sort(found, axis=1), np.tile(np.arange(60), (20, 1))), "each row once"
    for row in found:
        met = {(own, other) for own, other in zip(REFERENCES, REFERENCES[row], strict=True)}
        assert len(met) == 12 == len({other for _, other in met})
    assert len({tuple(np.diff(row[REFERENCES == 0])) for row in found}) > 10, "versions are shuffled"


def test_a_reference_meets_itself_as_often_as_any_other() -> None:
    same = np.mean([REFERENCES[row] == REFERENCES for row in pairings(REFERENCES, 400)])
    assert abs(same - 1 / 12) < 4 * np.sqrt(1 / 12**2 / 400), "one of twelve on average, with a variance of 1"


def test_references_of_unequal_size_are_paired_as_well() -> None:
    references = np.repeat(np.arange(6), [9, 1, 2, 5, 3, 4])
    found = pairings(references, 50)
    assert np.array_equal(np.sort(found, axis=1), np.tile(np.arange(24), (50, 1)))
    assert np.mean([len(set(references[row[references == 0]])) for row in found]) < 4, "neighbours in the order stay together"


def test_the_seed_decides() -> None:
    assert np.array_equal(pairings(REFERENCES), pairings(REFERENCES)) and pairings(REFERENCES).shape == (PAIRINGS, 60)
    assert not np.array_equal(pairings(REFERENCES, seed=1), pairings(REFERENCES))
