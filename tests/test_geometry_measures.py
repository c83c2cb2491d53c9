"""Each number of the geometry stands beside its chance, and R² is also told above a random projection, with an interval."""

import numpy as np
import pytest

from analysis.geometry_measures import Design, Measured, between, of_both, of_one
from analysis.jackknife import reference_blocks
from analysis.pairings import pairings
from analysis.reconstruction import reconstruct

RNG = np.random.default_rng(0)
REFERENCES = np.repeat(np.arange(20), 6)
DESIGN = Design(REFERENCES, reference_blocks(REFERENCES), pairings(REFERENCES), 100, 0)


def content(d: int) -> np.ndarray:
    """Versions of a reference lie together."""
    return RNG.normal(size=(20, d))[REFERENCES] + 0.3 * RNG.normal(size=(120, d))


@pytest.mark.parametrize("d", [12, 150])
def test_two_spaces_that_know_nothing_of_each_other_are_as_alike_as_by_chance(d: int) -> None:
    for name in ("cka", "procrustes"):
        worlds = [dict(of_both(content(d), content(d), DESIGN))[name, None] for _ in range(4)]
        found, chance = np.mean([own.found.value for own in worlds]), np.mean([own.more["chance"] for own in worlds])
        assert found == pytest.approx(chance, abs=0.06), (name, found, chance)
        assert (chance < 0.3 if name == "procrustes" else chance > 0.7) == (d == 150), "wide and few rows: near the best value"


def test_a_changed_space_is_further_from_chance_than_from_itself() -> None:
    x = content(12)
    for (name, _), own in of_both(x, x + 0.3 * RNG.normal(size=x.shape), DESIGN):
        assert own.found.low > own.more["chance"] if name != "procrustes" else own.found.high < own.more["chance"], name


def test_r2_above_a_random_projection_is_paired() -> None:
    source = content(8)
    found = dict(between(source, source[:, :3], DESIGN))
    own, r2 = found["rebuilt_above_random", None], found["rebuilt", None]
    assert own.found.value == pytest.approx(r2.found.value - r2.more["chance"])
    known = reconstruct(source[:, :3], source, REFERENCES, n_boot=100)
    assert (own.found.low, own.found.high) == (known.above_random.low, known.above_random.high)
    more = dict(between(source, source[:, :6], DESIGN))
    for name in ("rebuilt", "rebuilt_above_random"):
        change = found[name, None].change(more[name, None])
        assert change.value == pytest.approx(more[name, None].found.value - found[name, None].found.value), name
    assert r2.change(more["rebuilt", None]).low > 0 and ("predicted_above_random", None) in found
    assert own.change(own).low == own.change(own).high == 0


def test_ranks_and_a_gap_where_there_are_words() -> None:
    x = content(5)
    assert [name for (name, _), _ in of_one(x, None, DESIGN)] == ["effective_rank", "participation_ratio"]
    gap: Measured = dict(of_one(x, np.ones((2, 5)), DESIGN))["modality_gap", None]
    assert gap.found.low <= gap.found.value <= gap.found.high and gap.folds is None
