"""The map of distances: the numbers of the table, one scale, signs around 0, names that are not cut, files with their data."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from analysis.figures.distance_map import CELLS, distance_figures, distance_map, grid_of, limits_of
from analysis.figures.files import canvas, written
from analysis.figures.style import style

CLASSES = ("all", "blur", "colorfulness")


def table(sites: int = 3) -> list[dict[str, Any]]:
    return [
        {"site": "projector" if i == 0 else f"llm.{i - 1}", "space": "direct", "class": label, "n": 4, "centred": 1 + 0.1 * i + 0.01 * j,
         "centred_low": 0.9, "centred_high": 1.2, "margin": 0.1 * j - 0.2, "whitened": None}
        for i in range(sites) for j, label in enumerate(CLASSES)
    ]  # fmt: skip


def changes(sites: int = 3) -> list[dict[str, Any]]:
    return [
        {"site": row["site"], "space": "direct", "class": row["class"], "measure": measure, "before": row[measure],
         "after": row[measure] - 0.1 * (-1) ** i, "change": -0.1 * (-1) ** i, "p_holm": (0.01, 0.5)[i % 2]}
        for measure in ("centred", "margin") for i, row in enumerate(table(sites))
    ]  # fmt: skip


def panels(figure: Any) -> list[Axes]:
    return [ax for ax in figure.axes if ax.images]


def test_the_cells_are_the_numbers_of_the_table() -> None:
    sites, classes, cells = grid_of(table(), "centred")
    assert (sites, classes) == (["projector", "llm.0", "llm.1"], list(CLASSES))
    with style():
        (ax,) = panels(distance_map(table(), "centred"))
    assert np.allclose(np.asarray(ax.images[0].get_array()), cells) and cells[2, 1] == pytest.approx(1.12)
    assert [text.get_text() for text in ax.get_yticklabels()] == list(CLASSES)
    with pytest.raises(KeyError, match="whitened"):
        grid_of(table(), "whitened")


def test_before_and_after_share_a_scale_and_changes_and_margins_are_centred_on_zero() -> None:
    with style():
        before, after, change = (ax.images[0].get_clim() for ax in panels(distance_map(changes(), "centred")))
        margins = {ax.images[0].get_clim() for ax in panels(distance_map(changes(), "margin"))}
    assert before == after and change == pytest.approx((-0.1, 0.1))
    assert len(margins) == 1 and sum(margins.pop()) == 0
    assert limits_of([np.array([[np.nan, 0.2]]), np.array([[0.5]])], "centred") == (0.2, 0.5)


def test_a_dot_marks_what_is_more_than_noise_and_signs_are_told() -> None:
    with style():
        change = panels(distance_map(changes(), "centred"))[2]
    texts = [text.get_text() for text in change.texts]
    assert [("•" in text) for text in texts] == [row["p_holm"] < 0.05 for row in _by_row(changes())]
    assert all(text.startswith(("+", "\N{MINUS SIGN}")) for text in texts)


def _by_row(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    own = [row for row in rows if row["measure"] == "centred"]
    return sorted(own, key=lambda row: CLASSES.index(row["class"]))


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_what_was_not_measured_has_a_cross_even_if_nothing_was(nothing: float | None) -> None:
    lost = [{**row, **dict.fromkeys(("before", "after", "change", "low", "high", "p_holm"), nothing)} for row in changes()]
    for measure, scales in (("centred", [(0, 1), (0, 1), (-1, 1)]), ("margin", [(-1, 1)] * 3)):
        with style():
            made = panels(distance_map(lost, measure))
        assert [ax.images[0].get_clim() for ax in made] == scales
        assert all(len([line for line in ax.lines if line.get_marker() == "x"]) == 9 and not ax.texts for ax in made)
    with style():
        before = panels(distance_map([lost[0], *changes()[1:]], "centred"))[0]
    assert len(before.texts) == 8 and before.images[0].get_clim() == pytest.approx((0.92, 1.31)), "of both panels"


def test_a_p_of_zero_is_marked_and_an_unknown_one_is_not() -> None:
    for p, dots in ((0.0, 9), (None, 0), (float("nan"), 0)):
        with style():
            change = panels(distance_map([{**row, "p_holm": p} for row in changes()], "centred"))[2]
        assert sum("•" in text.get_text() for text in change.texts) == dots


@pytest.mark.parametrize("sites", [3, 2 * CELLS])
def test_names_are_within_the_figure_and_do_not_overlap(sites: int) -> None:
    with style():
        figure = distance_map(changes(sites), "centred")
        figure.canvas.draw()
        ax = panels(figure)[2]
        names = [label.get_window_extent() for label in [*ax.get_yticklabels(), *ax.get_xticklabels()]]
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 for box in names)
    if sites > CELLS:
        assert len([text for text in ax.texts if text.get_text() not in ("", "•")]) == 0
        columns = names[len(CLASSES) :]
        assert not any(a.overlaps(b) for a, b in zip(columns, columns[1:], strict=False))


def test_the_scale_is_even_in_lightness_so_that_it_reads_in_grey() -> None:
    with style():
        figure, ax = canvas(2, 2)
        from analysis.figures.distance_map import draw_distance_map

        shown = draw_distance_map(ax, changes(), "margin", value="change")
    low, middle, high = (np.array(shown.cmap(x)[:3]) @ [0.2126, 0.7152, 0.0722] for x in (0.0, 0.5, 1.0))
    assert low + 0.2 < middle < high - 0.2


def test_every_measure_has_its_files_and_its_rows_beside_it(tmp_path: Path) -> None:
    one = written(distance_figures({"distance": table()}, ["a"]), tmp_path / "one", ("png",))
    two = written(distance_figures({"distance": table(), "distance_change": changes()[9:]}, ["a"]), tmp_path / "two", ("png",))
    assert set(one) == {"map_centred", "map_margin"} and set(two) == {"map_margin"}
    assert all(path.stat().st_size > 1000 for own in two.values() for path in own.values())
    with open(tmp_path / "one" / "map_centred.csv", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 9 and set(rows[0]) == {"site", "space", "class", "n", "centred", "centred_low", "centred_high"}
    with open(tmp_path / "two" / "map_margin.csv", encoding="utf-8") as handle:
        assert {row["measure"] for row in csv.DictReader(handle)} == {"margin"}
