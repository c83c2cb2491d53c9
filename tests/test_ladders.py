"""Severities have ladders and quality words where levels tell them, and none where they do not."""

from dataclasses import replace

import pytest

from stimuli.types import Stimulus
from tuning.ladders import ladder, quality_words

WORDS = ("excellent", "good", "fair", "poor", "bad")


def stimulus(id: str, type: str | None = None, level: int | None = None, reference: str = "r", **more: float) -> Stimulus:
    return Stimulus(id, reference, type, level, **more)  # type: ignore[arg-type]


def test_a_ladder_is_one_type_of_one_reference_whose_levels_are_severities() -> None:
    assert ladder(stimulus("a", "jpeg", 1)) == ladder(stimulus("b", "jpeg", 5)) == ("r", "jpeg")
    assert ladder(stimulus("a", "jpeg", 1, "q")) != ladder(stimulus("a", "jpeg", 1)) != ladder(stimulus("a", "white_noise", 1))
    identity = Stimulus("d", "r", "jpeg", 3, is_identity=True)
    for none in (stimulus("a"), stimulus("b", "jpeg"), stimulus("c", "mean_shift", 5), identity):
        assert ladder(none) is None


def test_mos_is_cut_into_five_bins_of_equal_width() -> None:
    shown = [stimulus(str(mos), "jpeg", 1, mos=mos) for mos in (0.0, 20.0, 20.1, 40.0, 50.0, 61.0, 80.0, 80.1, 100.0)]
    expected = ["bad", "bad", "poor", "poor", "fair", "good", "good", "excellent", "excellent"]
    assert quality_words(shown, WORDS) == expected, "a bin ends with its upper edge"
    assert quality_words([replace(s, mos=(s.mos or 0) / 25 - 7) for s in shown], WORDS) == expected
    assert quality_words([stimulus("a", mos=3.0), stimulus("b", mos=3.0)], WORDS) == [None, None]


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ((1, 2, 3, 4, 5), "good fair poor poor bad"),
        ((1, 3, 5), "good poor bad"),
        ((2, 4), "good bad"),
        ((5,), "bad"),
        ((1,), "good"),
    ],
)
def test_without_mos_of_all_levels_are_spread_over_the_words(levels: tuple[int, ...], expected: str) -> None:
    shown = [stimulus("clean", mos=4.0), *(stimulus(f"s{v}", "jpeg", v) for v in levels)]
    assert quality_words(shown, WORDS) == ["excellent", *expected.split()]


def test_what_has_no_severity_gets_no_word() -> None:
    same = Stimulus("same", "r", "mean_shift", 3, is_identity=True)
    shown = [
        stimulus("a", "mean_shift", 5),
        stimulus("b", "jpeg"),
        same,
        stimulus("c", "jpeg+mean_shift", 5),
        stimulus("d", "jpeg", 5),
    ]
    assert quality_words(shown, WORDS) == [None, None, "excellent", None, "bad"]
