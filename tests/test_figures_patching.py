"""The map of exchanges: the numbers of the table, its control beside each, marks and hatching where they belong."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from analysis.figures.files import canvas, written
from analysis.figures.patching import STRIP, draw_patching, patching_figures, patching_map
from analysis.figures.style import style

SITES = {"vision.0": ("image",), "projector": ("image",), "llm.0": ("image", "last"), "llm.1": ("image", "last")}


def table(parts: tuple[str, ...] = ("block",)) -> list[dict[str, Any]]:
    rows, number = [], 0
    for part in parts:
        for site, sets in SITES.items():
            for name in sets if part == "block" or site != "projector" else ():
                for direction, sign in (("forward", 1), ("reverse", -1)):
                    number += 1
                    share = 0.07 * number - 0.3
                    rows.append({
                        "site": site, "part": part, "set": name, "direction": direction, "low": 0.1, "high": 0.8, "recovery": share,
                        "recovery_control": 0.01 * number, "contrast_recovery": None, "effect": 0.7 * sign * share,
                        "effect_control": 0.007 * sign * number, "beyond": sign * (0.7 * share - 0.007 * number), "beyond_p_holm": 0.01,
                    })  # fmt: skip
    return rows


def drawn(rows: Any, **how: Any) -> Any:
    figure, ax = canvas(4, 3)
    draw_patching(ax, rows, **how)
    figure.canvas.draw()
    return ax


def texts(ax: Any) -> dict[tuple[int, int], str]:
    return {(round(text.get_position()[0] + 0.05), round(text.get_position()[1])): text.get_text() for text in ax.texts}


def strips(ax: Any) -> list[Rectangle]:
    return [patch for patch in ax.patches if patch.get_width() == STRIP]


@pytest.mark.parametrize("value", ["recovery", "effect"])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_cells_and_strips_are_the_numbers_of_the_table(value: str, direction: str) -> None:
    ax = drawn(table(), direction=direction, value=value)
    image = ax.images[0]
    low, high = image.get_clim()
    assert low == -high and (high == 1 if value == "recovery" else high == max(abs(row["effect"]) for row in table()))
    cells = np.ma.filled(image.get_array(), np.nan)
    own = [row for row in table() if row["direction"] == direction]
    for row, strip in zip(own, strips(ax), strict=True):
        at = list(SITES).index(row["site"]), ("image", "last").index(row["set"])
        assert cells[at] == pytest.approx(row[value])
        assert strip.get_y() + 0.5 == pytest.approx(at[0]) and strip.get_x() + STRIP == pytest.approx(at[1] + 0.5)
        assert strip.get_facecolor() == pytest.approx(image.cmap(image.norm(row[f"{value}_control"])))
    assert np.isnan(cells[0, 1]) and np.isfinite(cells).sum() == len(own)
    assert [label.get_text() for label in ax.get_yticklabels()] == list(SITES)


def test_a_dot_says_beyond_the_control_towards_the_donor() -> None:
    rows = table()
    for row in rows[:2]:
        assert row["recovery"] < 0  # the wrong way, however surely
    rows[-2]["beyond_p_holm"] = 0.2
    rows[-4]["beyond_p_holm"] = None
    forward = {at: text for at, text in texts(drawn(rows)).items()}
    assert {at for at, text in forward.items() if "•" in text} == {(0, 2), (1, 2)} | (
        {(0, 1)} if rows[2]["beyond"] > 0 else set()
    )
    assert forward[0, 0] == "\N{MINUS SIGN}0.23" and "•" not in forward[1, 3]
    reverse = texts(drawn(rows, direction="reverse"))
    assert "•" in reverse[1, 3] and "•" not in reverse[0, 0]


def test_what_has_no_recovery_is_hatched_and_what_does_not_exist_is_empty() -> None:
    rows = table()
    rows[0]["recovery"] = None
    ax = drawn(rows)
    hatched = [patch for patch in ax.patches if patch.get_hatch()]
    assert [(patch.get_x() + 0.5, patch.get_y() + 0.5) for patch in hatched] == [(0, 0)]
    assert (0, 0) not in texts(ax) and (1, 0) not in texts(ax)
    without = [{**row, "recovery_control": None, "beyond": None, "beyond_p_holm": None} for row in table()]
    assert not strips(drawn(without)) and not any("•" in text for text in texts(drawn(without)).values())


def test_colours_keep_their_order_in_grey() -> None:
    ax = drawn(table())
    image = ax.images[0]
    grey = [float(np.dot(image.cmap(image.norm(v))[:3], (0.2126, 0.7152, 0.0722))) for v in np.linspace(-1, 1, 21)]
    assert (np.diff(grey) > 0).all()
    for text in ax.texts:
        ink = float(np.dot(to_rgba(text.get_color())[:3], (0.2126, 0.7152, 0.0722)))
        x, y = (round(at) for at in (text.get_position()[0] + 0.05, text.get_position()[1]))
        paper = float(np.dot(image.cmap(image.norm(image.get_array()[y, x]))[:3], (0.2126, 0.7152, 0.0722)))
        assert abs(ink - paper) > 0.35


def test_a_figure_has_a_row_of_panels_per_part_and_nothing_is_cut() -> None:
    with style():
        figure = patching_map(table(("mlp", "block")))
        figure.canvas.draw()
        panels = [ax for ax in figure.axes if ax.images]
        assert [ax.get_title(loc="left") for ax in panels] == [
            "block, forward",
            "block, reverse",
            "mlp, forward",
            "mlp, reverse",
        ]
        assert [len(ax.get_yticks()) for ax in panels] == [4, 4, 3, 3]
        inside = figure.bbox
        for artist in [
            *figure.legends,
            *(ax.title for ax in panels),
            *(label for ax in panels for label in ax.get_yticklabels()),
        ]:
            box = artist.get_window_extent()
            assert box.x0 >= inside.x0 - 1 and box.x1 <= inside.x1 + 1, artist
        boxes = [ax._left_title.get_window_extent() for ax in panels]
        assert boxes[0].x1 < boxes[1].x0
    with pytest.raises(KeyError):
        drawn(table(), part="attention")
    with pytest.raises(KeyError):
        drawn([row for row in table() if row["direction"] == "reverse"])


def test_files_bring_their_rows_and_values_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    made = written(patching_figures({"patching": table()}), tmp_path, ("png",))
    assert set(made) == {"patching_recovery", "patching_effect"} and made["patching_recovery"]["png"].is_file()
    with open(tmp_path / "patching_recovery.csv", encoding="utf-8") as handle:
        assert [float(row["recovery"]) for row in csv.DictReader(handle)] == pytest.approx([row["recovery"] for row in table()])
