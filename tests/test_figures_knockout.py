"""The drawn numbers are the table's, and what is more than noise is filled or dotted."""

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from analysis.figures.files import canvas
from analysis.figures.knockout import draw_attention, draw_knockout, grid_of
from analysis.figures.style import style


def cut(control: bool = True) -> list[dict[str, Any]]:
    rows = []
    for i, edge in enumerate(("image->last", "question->last")):
        for centre in (0, 1, 2, None):
            change = -0.1 * (i + 1) * (centre or 0)
            row = {"edge": edge, "centre": centre, "p_before": 0.5, "change": change,
                   "low": change - 0.02, "high": change + 0.02, "p_holm": 0.01 if change else 1.0, "relative": 200 * change,
                   "relative_low": 200 * change - 4, "relative_high": None if centre is None else 0.0}  # fmt: skip
            rows.append(row | ({"control_change": 0.01} if control else {}))
    return rows


def looks() -> list[dict[str, Any]]:
    return [
        {"layer": layer, "head": head, "image": 0.1 * layer + 0.01 * (head or 0), "enrichment": (0.5, 3.0, np.nan)[layer % 3],
         "beyond": None, "p_holm": 0.01 if head == 0 else 0.5}
        for layer in (2, 3, 4) for head in (0, 1, None)
    ]  # fmt: skip


def axes() -> Axes:
    ax: Axes = canvas(4, 3)[1]
    return ax


@pytest.mark.parametrize("value", ["change", "relative"])
def test_lines_are_the_changes_over_layers_and_all_layers_stand_apart(value: str) -> None:
    with style():
        ax = axes()
        draw_knockout(ax, cut(), value)
    for i, edge in enumerate(("image->last", "question->last")):
        want = [row[value] for row in cut() if row["edge"] == edge and row["centre"] is not None]
        (line,) = [
            line
            for line in ax.lines
            if line.get_linestyle() == ("-", "--")[i] and np.size(line.get_xdata()) == 3 and line.get_zorder() == 3
        ]
        assert np.allclose(line.get_ydata(), want)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "1", "2", "all"]
    assert len(ax.collections) == 2, "a band per edge"
    control = [line for line in ax.lines if line.get_linestyle() == ":" and np.size(line.get_xdata()) == 3]
    assert len(control) == 2 and np.allclose(control[0].get_ydata(), 0.01 if value == "change" else 2)
    filled = [
        line
        for line in ax.lines
        if np.size(line.get_xdata()) == 1 and line.get_marker() in "os" and line.get_markerfacecolor() != "white"
    ]
    assert sorted(float(np.asarray(line.get_ydata())[0]) for line in filled) == sorted(
        row[value] for row in cut() if row["p_holm"] < 0.05
    )
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["image → last", "question → last", "as many pairs elsewhere"]


def test_without_a_control_none_is_named() -> None:
    with style():
        ax = axes()
        draw_knockout(ax, cut(control=False))
        with pytest.raises(ValueError, match="'share'; expected 'change' or 'relative'"):
            draw_knockout(ax, cut(), "share")
    legend = ax.get_legend()
    assert legend is not None and len(legend.get_texts()) == 2


def test_the_map_is_the_table_with_the_mean_below() -> None:
    layers, heads, cells = grid_of(looks(), "image")
    assert (layers, heads) == ([2, 3, 4], [0, 1, None]) and cells[1, 2] == pytest.approx(0.41)
    with style():
        ax = axes()
        shown = draw_attention(ax, looks(), "image")
    assert np.allclose(np.asarray(shown.get_array()), cells) and shown.get_clim() == pytest.approx((0, 0.41))
    assert [text.get_text() for text in ax.get_yticklabels()] == ["0", "1", "mean"]
    assert [text.get_text() for text in ax.texts][:3] == ["0.20", "0.30", "0.40"], "no dot: nothing was tested of it"
    with pytest.raises(KeyError, match="beyond"):
        draw_attention(ax, looks(), "beyond")


def test_enrichment_has_an_even_share_in_the_middle_and_dots_where_it_was_tested() -> None:
    with style():
        ax = axes()
        shown = draw_attention(ax, looks(), "enrichment")
        assert shown.norm(1.0) == pytest.approx(0.5) and shown.norm(0.0) == 0 and shown.norm(3.0) == 1
        assert [text.get_text() for text in ax.texts][:5] == ["×", "0.50•", "3.00•", "×", "0.50"]
        signed = draw_attention(axes(), [{**row, "beyond": row["image"] - 0.2} for row in looks()], "beyond")
        assert sum(signed.get_clim()) == pytest.approx(0)
        assert draw_attention(axes(), looks(), "image", (0.0, 1.0)).get_clim() == (0, 1)
