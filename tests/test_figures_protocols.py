"""Accuracy by the way of asking, by control, type and severity, and plain shares: what is drawn is what the rows hold."""

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.figures.protocols import draw_accuracy_by, draw_controls, draw_protocols, draw_shares

UNKNOWN = (None, float("nan"))


def panels(*shape: int, **options: Any) -> Any:
    return Figure().subplots(*shape, **options)


def protocol(value: float, low: Any, high: Any, unparsed: float = 0.0, references: int = 10) -> dict[str, Any]:
    return {"balanced_accuracy": value, "balanced_low": low, "balanced_high": high, "unparsed": unparsed, "chance": 0.125,
            "references": references}  # fmt: skip


def spans(ax: Any) -> list[list[float]]:
    """Ends of every horizontal interval, by row."""
    segments = [segment for collection in ax.collections for segment in collection.get_segments()]
    return [[round(float(x), 9) for x in segment[:, 0]] for segment in sorted(segments, key=lambda own: own[0, 1])]


def dots(ax: Any, marker: str) -> list[tuple[float, float]]:
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in ax.lines if line.get_marker() == marker]


def test_every_protocol_has_its_accuracy_interval_and_unparsed_share() -> None:
    ax = panels()
    draw_protocols(ax, {"forced-choice": protocol(0.5, 0.4, 0.55), "json": protocol(0.2, 0.1, 0.35, 0.6, 3)})
    assert dots(ax, "o") == [(0.5, 0), (0.2, 1)] and dots(ax, "x") == [(0.6, 1)], "none unparsed is no mark"
    assert spans(ax) == [[0.4, 0.55], [0.1, 0.35]]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["forced-choice\n10 references", "json\n3 references"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first is on top"
    (chance,) = [line for line in ax.lines if line.get_label().startswith("chance")]
    assert list(chance.get_xdata()) == [0.125, 0.125]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["balanced accuracy", "unparsed", "chance 12.5 %"]


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_an_unknown_interval_is_not_drawn(unknown: Any) -> None:
    ax = panels()
    draw_protocols(ax, {"open": protocol(0.5, unknown, unknown), "json": protocol(0.2, 0.1, 0.3)})
    assert dots(ax, "o") == [(0.5, 0), (0.2, 1)] and spans(ax) == [[0.1, 0.3]]
    left, right = panels(1, 2)
    draw_controls((left, right), {"chance": 0.5, "table": [control("image", 1.0, unknown, unknown)]})
    assert left.patches[0].get_width() == 1 and not left.collections and not right.collections
    draw_shares(left, [{"what": "a", "share": 0.3, "low": unknown, "high": unknown}], "title")
    assert left.patches[-1].get_width() == 0.3 and not left.collections
    draw_accuracy_by(right, [{"type": "jpeg", "n": 3, "accuracy": 0.3, "low": unknown, "high": unknown}], "type", 0.5)
    assert not right.collections and right.lines[0].get_markerfacecolor() == "white", "hollow"


def control(name: str, value: float, low: Any, high: Any, same: tuple[Any, ...] = (1.0, None, None)) -> dict[str, Any]:
    agreed = dict(zip(("same_answer", "same_low", "same_high"), same, strict=True))
    return {"view": name, "what": f"{name} image", "n": 40, "balanced_accuracy": value, "low": low, "high": high, **agreed}


def test_controls_stand_below_the_image_with_accuracy_and_same_answers() -> None:
    left, right = panels(1, 2, sharey=True)
    rows = [control("seen", 0.8, 0.7, 0.9, (1.0, 1.0, 1.0)), control("grey", 0.25, 0.2, 0.3, (0.4, 0.35, 0.5)),
            control("other", 0.1, 0.05, 0.2, (0.0, 0.1, 0.2))]  # fmt: skip
    draw_controls((left, right), {"chance": 0.25, "table": rows})
    assert [bar.get_width() for bar in left.patches] == [0.8, 0.25, 0.1] and [bar.get_width() for bar in right.patches] == [
        1,
        0.4,
        0,
    ]
    assert [bar.get_y() + bar.get_height() / 2 for bar in left.patches] == pytest.approx([0, 1, 2])
    assert spans(left) == [[0.7, 0.9], [0.2, 0.3], [0.05, 0.2]]
    assert spans(right) == [[1, 1], [0.35, 0.5], [0, 0.2]], "an end on the wrong side of its value is at the value"
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["seen image", "grey image", "other image"]
    assert left.patches[0].get_facecolor() != left.patches[1].get_facecolor() == left.patches[2].get_facecolor()
    assert left.get_title(loc="left") + left.get_title() == "balanced accuracy (40 images)"
    assert [text.get_text() for text in left.texts] == ["chance 25.0 %"] and list(left.lines[-1].get_xdata()) == [0.25, 0.25]


@pytest.mark.parametrize(("chance", "side"), [(0.125, "left"), (0.5, "left"), (1.0, "right")])
def test_the_name_of_chance_stays_inside_its_panel(chance: float, side: str) -> None:
    left, right = panels(1, 2)
    draw_controls((left, right), {"chance": chance, "table": [control("seen", 0.8, 0.7, 0.9)]})
    (text,) = left.texts
    assert text.get_ha() == side


def test_accuracy_by_type_has_its_counts_and_a_single_reference_is_hollow() -> None:
    ax = panels()
    rows = [{"type": "gaussian_blur", "n": 12, "accuracy": 0.75, "low": 0.5, "high": 0.9},
            {"type": "jpeg", "n": 3, "accuracy": 0.0, "low": None, "high": None}]  # fmt: skip
    draw_accuracy_by(ax, rows, "type", 0.2)
    assert dots(ax, "o") == [(0.75, 0), (0, 1)] and spans(ax) == [[0.5, 0.9]]
    solid, hollow = [line.get_markerfacecolor() for line in ax.lines if line.get_marker() == "o"]
    assert hollow == "white" != solid
    assert [text.get_text() for text in ax.texts] == ["12", "3"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["gaussian blur", "jpeg"] and ax.get_ylim() == (1.5, -0.5)
    assert list(ax.lines[-1].get_xdata()) == [0.2, 0.2]
    draw_accuracy_by(severe := panels(), [{**rows[0], "severity": "25 to 30 dB"}], "severity", 0.2)
    assert [tick.get_text() for tick in severe.get_yticklabels()] == ["25 to 30 dB"] and "PSNR" in severe.get_title()


def test_shares_are_bars_with_their_own_chance() -> None:
    ax = panels()
    rows = [{"what": "right", "share": 0.6, "low": 0.5, "high": 0.65, "chance": 0.5},
            {"what": "right twice", "share": 0.3, "low": 0.2, "high": 0.4, "chance": 0.25},
            {"what": "silent", "share": 0.1, "low": 0.0, "high": 0.2, "chance": None}]  # fmt: skip
    draw_shares(ax, rows, "A title")
    assert [bar.get_width() for bar in ax.patches] == [0.6, 0.3, 0.1] and ax.get_title() == "A title"
    assert spans(ax) == [[0.5, 0.65], [0.2, 0.4], [0, 0.2]]
    marks = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert [list(line.get_xdata()) for line in marks] == [[0.5, 0.5], [0.25, 0.25]]
    assert [float(np.mean(line.get_ydata())) for line in marks] == pytest.approx(
        [0, 1]
    ) and ax.get_xlabel() == "dotted: by chance"
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["right", "right twice", "silent"]
    draw_shares(plain := panels(), [{**rows[2]}], "B")
    assert plain.get_xlabel() == ""
