"""One look everywhere, and matplotlib as it was afterwards."""

import matplotlib

from analysis.figures.style import ARMS, CLASS_COLOURS, CLASS_MARKERS, COLOURS, MARKERS, colour, style


def test_settings_are_put_back() -> None:
    before = matplotlib.rcParams["axes.titleweight"]
    with style():
        assert matplotlib.rcParams["axes.titleweight"] == "bold" != before
    assert matplotlib.rcParams["axes.titleweight"] == before


def test_arms_and_classes_differ_in_colour_and_in_marker() -> None:
    assert len({COLOURS[arm] for arm in ARMS}) == len({MARKERS[arm] for arm in ARMS}) == len(ARMS)
    assert len(set(CLASS_COLOURS)) == len(set(CLASS_MARKERS)) == 9
    assert colour("a user's own arm") == COLOURS["base"]
