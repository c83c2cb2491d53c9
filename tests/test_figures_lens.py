"""Lens figures show the numbers of the table, on the axis that they say."""

from typing import Any

import numpy as np
import pytest

from analysis.figures.files import canvas
from analysis.figures.lens import draw_lens, draw_patch_map, lens_figure, patch_map_figure
from stimuli.errors import InputError


def table(lens: str = "logit", shift: float = 0.0) -> list[dict[str, Any]]:
    return [
        {"site": site, "position": position, "class": label, "lens": lens if site != "projector" else "logit",
         "rank": rank + shift, "rank_low": rank, "rank_high": 2 * rank, "rank_control": 400.0,
         "class_rank": 2.0, "class_rank_low": 1.5, "class_rank_high": 2.5, "class_rank_chance": 4.5}
        for position in ("image", "last")
        for label in ("all", "blur")
        for site, rank in (("projector", 700.0), ("llm.0", 30.0), ("llm.1", 1.0))
        if (site, position) != ("projector", "last")
    ]  # fmt: skip


def test_lines_are_the_rows_and_the_axis_is_logarithmic() -> None:
    _, ax = canvas(4, 3)
    draw_lens(ax, table(), table("tuned", 2.0))
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert lines["image, logit lens"].get_ydata().tolist() == [700, 30, 1]
    assert lines["last, logit lens"].get_xdata().tolist() == [1, 2]
    assert lines["image, tuned lens"].get_ydata().tolist() == [32, 3]  # the projector has no translator
    assert ax.get_yscale() == "log" and ax.yaxis_inverted() and "shuffled labels" in lines
    assert [text.get_text() for text in ax.get_xticklabels()] == ["projector", "llm.0", "llm.1"]
    _, ax = canvas(4, 3)
    draw_lens(ax, table(), measure="class_rank")
    assert any(set(line.get_ydata()) == {4.5} and line.get_label() == "chance" for line in ax.get_lines())


def test_a_figure_has_one_legend_and_a_panel_per_measure() -> None:
    figure = lens_figure(table(), table("tuned"))
    assert len(figure.axes) == 2 and len(figure.legends) == 1
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(texts) == len(set(texts)) == 6


def test_colours_of_a_map_are_exact_until_they_are_drawn() -> None:
    from matplotlib import colormaps

    _, ax = canvas(3, 3)
    image, values = np.full((7, 9, 3), 255, np.uint8), np.array([[0.0, 0.25], [0.5, 1.0]])
    mask = np.zeros((7, 9), bool)
    mask[:3, :4] = True
    shown = draw_patch_map(ax, image, values, mask)
    drawn = ax.images[0].get_array()
    assert shown.get_clim() == (0, 1) and drawn.dtype.kind == "f" and drawn.shape == (7, 9, 3)
    assert np.allclose(drawn[-1, -1], colormaps["cividis"](1.0)[:3]) and np.allclose(drawn[0, 0], colormaps["cividis"](0.0)[:3])
    assert len(ax.collections) == 2  # two outlines of the mask
    _, ax = canvas(3, 3)
    draw_patch_map(ax, image, values, limits=(0, 1), seen=1.0)
    assert np.allclose(ax.images[0].get_array(), 1) and not ax.collections


def test_a_row_per_image_and_a_bar_per_site() -> None:
    images, maps = [np.zeros((8, 8, 3), np.uint8)] * 2, {"llm.0": [np.eye(2)] * 2, "llm.1": [np.eye(2)] * 2}
    figure = patch_map_figure(images, maps, [None, np.eye(8, dtype=bool)], ["blur", "noise"])
    assert len(figure.axes) == 2 * 3 + 2 and figure.axes[0].get_ylabel() == "blur"
    assert "less that of clean" in figure.get_supxlabel()


def test_what_cannot_be_drawn_is_refused() -> None:
    _, ax = canvas(3, 3)
    with pytest.raises(InputError, match="measure 'hits' of the class 'all'. Expected one of rank"):
        draw_lens(ax, table(), measure="hits")
    with pytest.raises(InputError, match=r"class 'fog'.*\(all, blur\)"):
        draw_lens(ax, table(), label="fog")
    with pytest.raises(InputError, match=r"mask of shape \(2, 2\) for an image of shape \(8, 8, 3\)"):
        draw_patch_map(ax, np.zeros((8, 8, 3), np.uint8), np.eye(2), np.eye(2, dtype=bool))
