"""Minimal pairs."""

import pytest

from stimuli.errors import InputError
from stimuli.pairs import Pair, pairs
from stimuli.types import Stimulus


def ladder(reference: str, levels: tuple[int, ...] = (1, 3, 5)) -> list[Stimulus]:
    types = ("jpeg", "gaussian_blur")
    made = [Stimulus(f"{reference}+{type}-{level}", reference, type, level) for type in types for level in levels]
    return [*made[::-1], Stimulus(reference, reference, None, None)]


def test_every_distorted_image_is_paired_with_the_clean_one_of_its_reference() -> None:
    found = pairs([*ladder("a"), *ladder("b")])
    assert len(found) == 12 and all(p.before.id == p.reference == p.after.reference and p.type == p.after.type for p in found)


def test_levels_are_paired_within_a_type_and_reference_the_lower_first() -> None:
    both = [*ladder("a"), *ladder("b")]
    assert len(pairs(both, "levels")) == 12 and len(pairs(both, "neighbours")) == 8
    for kind in ("levels", "neighbours"):
        for pair in pairs(both, kind):  # type: ignore[arg-type]
            assert (pair.before.type, pair.before.reference) == (pair.after.type, pair.after.reference)
            assert (pair.before.level or 0) < (pair.after.level or 0)
    assert {(p.before.level, p.after.level) for p in pairs(both, "neighbours")} == {(1, 3), (3, 5)}


def test_what_cannot_be_paired_is_told() -> None:
    with pytest.raises(
        InputError, match=r"1 references have distorted stimuli but no clean one \(b\). Add the reference images"
    ):
        pairs([*ladder("a"), *ladder("b")[:-1]])
    with pytest.raises(InputError, match="no pair of kind 'levels' among 3 stimuli"):
        pairs(ladder("a", (3,)), "levels")
    with pytest.raises(InputError, match="Unknown kind of pairs 'x'"):
        pairs(ladder("a"), "x")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'a' is of reference 'a' and 'b' of 'b'; expected a pair of one reference"):
        Pair(ladder("a")[-1], ladder("b")[-1])
