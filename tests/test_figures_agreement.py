"""Figures of agreement show the numbers they are given, measured beside chance."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.agreement import agreement
from analysis.figures.agreement import PANELS, draw_agreement, draw_flips
from analysis.spread import LEVELS, flips

GROUPS = np.arange(40) // 4
UNKNOWN = {"value": None, "low": None, "high": float("nan")}


def entry(seed: int) -> dict[str, Any]:
    """Agreement of answers that hold to their image half of the time."""
    rng = np.random.default_rng(seed)
    own, other = rng.choice(["blur", "noise", "clean"], (40, 1)), rng.choice(["blur", "noise", "clean"], (40, 4))
    return agreement(np.where(rng.random((40, 4)) < 0.5, own, other), GROUPS, n_boot=50).as_dict()


def drawn(entries: dict[str, Any]) -> Any:
    axes = Figure().subplots(1, 3, sharey=True)
    draw_agreement(axes, entries)
    return axes


def points(ax: Any, marker: str) -> list[tuple[float, float]]:
    return [
        (line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_marker() == marker and len(line.get_xdata())
    ]


def test_each_row_has_its_measured_point_and_its_chance_point() -> None:
    entries = {"repeats": entry(0), "paraphrases": entry(1)}
    for ax, (key, *_) in zip(drawn(entries), PANELS, strict=True):
        assert points(ax, "o") == [(own[key]["value"], y - 0.1) for y, own in enumerate(entries.values())]
        chance = [0.0 if key == "kappa" else own["chance"][key]["value"] for own in entries.values()]
        assert points(ax, "D") == [(value, y + 0.17) for y, value in enumerate(chance)]


def test_intervals_and_values_are_those_of_the_entry() -> None:
    own = entry(0)
    share, kappa, entropy = drawn({"repeats": own})
    for ax, key in ((share, "mode_share"), (kappa, "kappa"), (entropy, "entropy")):
        assert [own[key]["low"], own[key]["high"]] in [list(line.get_xdata()) for line in ax.lines]
        left, right = ax.get_xlim()
        assert left <= 0 and left <= own[key]["low"] and own[key]["high"] <= right
    assert share.texts[0].get_text() == f"{100 * own['mode_share']['value']:.0f}%"
    assert kappa.texts[0].get_text() == f"{own['kappa']['value']:.2f}"
    assert [tick.get_text() for tick in share.get_yticklabels()] == ["repeats\n40 images × 4"]
    assert [text.get_text() for text in share.figure.legends[0].get_texts()][0] == "measured"


def test_what_is_not_defined_is_said_and_not_drawn() -> None:
    always = agreement(np.full((40, 3), "blur"), GROUPS, n_boot=20).as_dict()
    share, kappa, entropy = drawn({"always the same": always, "unknown": {**entry(0), "kappa": UNKNOWN, "entropy": UNKNOWN}})
    assert [text.get_text() for text in kappa.texts] == ["not defined", "not defined"] and not points(kappa, "o")
    assert len(points(entropy, "o")) == 1 and len(points(share, "o")) == 2 and len(points(kappa, "D")) == 2


def test_flips_are_shares_of_their_row_with_its_count() -> None:
    levels = np.array([[5, 5, 5, 4], [5, 5, 5, 5], [2, 1, 2, 1], [2, 2, 2, 2]])
    ax = Figure().subplots()
    draw_flips(ax, {"repeats": flips(levels, np.arange(4), n_boot=20).as_dict()})
    cells = {text.get_position(): text.get_text() for text in ax.texts if text.get_horizontalalignment() == "center"}
    assert cells == {(4, 4): "83", (3, 4): "17", (1, 1): "67", (0, 1): "33"}, "empty cells stay empty"
    assert [text.get_text() for text in ax.texts if text.get_fontsize() == 5.5] == ["0", "6", "0", "0", "6", "n"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == list(LEVELS)
    assert ax.yaxis_inverted() and any("50 % unstable" in text.get_text() for text in ax.texts)


def test_entries_of_flips_stand_side_by_side() -> None:
    own = flips(np.array([[5, 4], [4, 4], [3, 2]]), np.arange(3), n_boot=20).as_dict()
    ax = Figure().subplots()
    draw_flips(ax, {"repeats": own, "paraphrases": {**own, "unstable": UNKNOWN}})
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [*LEVELS, *LEVELS]
    places = [tick for tick in ax.get_xticks()]
    cells = [text.get_position()[0] for text in ax.texts if text.get_horizontalalignment() == "center"]
    assert set(cells) <= set(places) and len(cells) == 6 and max(cells) > 6
    assert ax.texts[-1].get_text() == "paraphrases\nstability not known"
