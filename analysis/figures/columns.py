"""A figure at the width of a journal's column: panels stacked, legends below, long lines broken, type that can still be read.

The widths are those of IEEE's journals, 3.5 and 7.16 inches (21 and 43 picas), which Nature's (89 and 183 mm) and Elsevier's
(90 and 190 mm) differ from by 5 % at most; a CVPR page (3.25 and 6.875 inches) shrinks them by 7 and 4 %. Type is as large in both: labels
of 7 points, and nothing below 5.5, so that it stays above 5 points, which is the least that Nature prints.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from math import ceil
from typing import Any

from stimuli.errors import InputError

WIDTHS: Mapping[str, float] = {"single": 3.5, "double": 7.16}
"""Inches."""
WIDE = ("templates", "gallery", "overlays", "processed")
"""Figures that cannot be read in a column: texts, grids of pictures with captions, and many rows beside each other. They are as wide as a
page at least."""
NARROW = 5.0
"""Below so many inches, panels flow and legends go below."""
TALLEST = 9.2
"""Inches of a page that a figure may take with its caption still on it."""
TYPE, SMALLEST = 0.84, 5.5
"""What type shrinks by from the screen, and how small it may get, in points."""
PANEL = 0.85
"""A panel that flows may be so much smaller than on the screen."""
SPARE = 0.04
"""Inches that are kept free at the edge."""


def width_of(column: str) -> float:
    """Inches of a column, by name or as a number.

    Raises:
        InputError: neither.
    """
    try:
        width = WIDTHS[column] if column in WIDTHS else float(column)
    except ValueError:
        width = float("nan")
    if not 2 <= width <= 20:
        raise InputError(
            f"Got the column '{column}'; expected {', '.join(WIDTHS)}, or a width from 2 to 20 inches, such as 5.5. Use one of these."
        )
    return width


def too_wide(name: str, column: str | None) -> bool:
    """Whether a figure is drawn as wide as a page, although a narrower column is asked for."""
    return column is not None and name in WIDE and width_of(column) < WIDTHS["double"]


def fit(figure: Any, width: float) -> None:
    """Bring a finished figure to the width of a column.

    Args:
        figure: a matplotlib figure with constrained layout; it is changed.
        width: inches.
    """
    before, height = figure.get_size_inches()
    if width < NARROW and getattr(figure, "narrow", "keep") == "flow":
        height = _flow(figure, width / before, height)
    figure.set_size_inches(width, min(height, TALLEST))
    _smaller(figure)
    headings = [text for ax in figure.axes for text in _headings(ax)]
    for text in headings:
        text.set_visible(False)  # before they are broken, long ones would leave the panels no room
    figure.draw_without_rendering()
    if width < NARROW:
        for ax in list(figure.axes):
            _legend_below(figure, ax)
    for legend in list(figure.legends):
        _fewer_columns(figure, legend)
    figure.draw_without_rendering()
    for text in headings:
        text.set_visible(True)
    for ax in figure.axes:
        _broken_titles(figure, ax)
        _label(figure, ax)
    for text in figure.texts:
        _broken(text, (width - 2 * SPARE) * figure.dpi)
    figure.draw_without_rendering()
    for ax in figure.axes:
        _cells(ax)


def _flow(figure: Any, shrunk: float, height: float) -> float:
    """Put panels into fewer columns, row by row; the height that they then need."""
    panels = [ax for ax in figure.axes if _own_place(ax) and (ax.axison or ax.images)]
    if len(panels) < 2:
        return height
    rows, before = panels[0].get_gridspec().get_geometry()
    own = height / rows
    columns = max(1, min(before, int(shrunk * before / PANEL)))
    while columns < before and ceil(len(panels) / columns) * own * PANEL > TALLEST:
        columns += 1
    if columns == before:
        return height
    lines = ceil(len(panels) / columns)
    grid = figure.add_gridspec(lines, columns)
    for place, ax in enumerate(panels):
        row, at = divmod(place, columns)
        ax.set_subplotspec(grid[row, at])
        if len(ax.get_shared_y_axes().get_siblings(ax)) > 1:
            ax.tick_params(labelleft=at == 0)
        if len(ax.get_shared_x_axes().get_siblings(ax)) > 1:
            ax.tick_params(labelbottom=place + columns >= len(panels))
    return lines * own * (PANEL if lines > 1 else 1)


def _own_place(ax: Any) -> bool:
    """Whether axes are a panel of the figure's grid: no colour bar, and no part of a panel."""
    spec = ax.get_subplotspec()
    return spec is not None and spec.get_topmost_subplotspec() == spec


def _smaller(figure: Any) -> None:
    """All type, by one factor; tick labels by their axes, as they are made anew when the figure changes."""
    from matplotlib.text import Text

    def size(points: float) -> float:
        return max(SMALLEST, TYPE * points)

    ticks = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            labels = [*axis.get_ticklabels(), *axis.get_ticklabels(minor=True)]
            ticks |= set(labels)
            if labels:
                axis.set_tick_params(which="both", labelsize=size(labels[0].get_fontsize()))
    for text in figure.findobj(Text):
        if text not in ticks:
            text.set_fontsize(size(text.get_fontsize()))


def _legend_below(figure: Any, ax: Any) -> None:
    """A legend that stands on the right of its axes goes below them, and the figure grows by it."""
    from matplotlib.transforms import offset_copy

    legend = ax.get_legend()
    if legend is None or legend.get_window_extent().x0 < ax.get_window_extent().x1 - 1:
        return
    handles, labels, how = _parts(legend, figure.axes)
    legend.remove()
    figure.draw_without_rendering()
    box, inner = ax.get_tightbbox(), ax.get_window_extent()
    left, below = ((own - other) / figure.dpi for own, other in ((box.x0, inner.x0), (box.y0, inner.y0)))
    place = offset_copy(ax.transAxes, figure, x=left, y=below - SPARE, units="inches")
    room = figure.get_size_inches()[0] * figure.dpi - box.x0
    for columns in (3, 2, 1):
        made = ax.legend(handles, labels, loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=place, borderaxespad=0,
                         borderpad=0.1, ncols=columns, **how)  # fmt: skip
        if columns == 1 or made.get_window_extent().width <= room:
            break
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, min(TALLEST, height + made.get_window_extent().height / figure.dpi))


def _fewer_columns(figure: Any, legend: Any) -> None:
    """The figure's own legend, in as many columns as fit."""
    room = (figure.get_size_inches()[0] - 2 * SPARE) * figure.dpi
    if legend.get_window_extent().width <= room:
        return
    handles, labels, how = _parts(legend, figure.axes)
    before = legend.get_window_extent().height
    legend.remove()
    for columns in (3, 2, 1):
        made = figure.legend(handles, labels, loc="outside lower left", ncols=columns, **how)
        if columns == 1 or made.get_window_extent().width <= room:
            break
        made.remove()
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, min(TALLEST, height + (made.get_window_extent().height - before) / figure.dpi))


def _parts(legend: Any, axes: Any) -> tuple[list[Any], list[str], dict[str, Any]]:
    """Handles, labels and look of a legend; handles of the axes where they are known there, as a legend keeps mere pictures of them."""
    known: dict[str, Any] = {}
    for ax in axes:
        handles, labels = ax.get_legend_handles_labels()
        known = {**dict(zip(labels, handles, strict=True)), **known}
    labels = [text.get_text() for text in legend.get_texts()]
    handles = [known.get(label, own) for label, own in zip(labels, legend.legend_handles, strict=True)]
    size = legend.get_texts()[0].get_fontsize() if labels else SMALLEST
    return (
        handles,
        labels,
        {"title": legend.get_title().get_text() or None, "fontsize": size, "title_fontsize": size, "alignment": "left"},
    )


def _broken_titles(figure: Any, ax: Any) -> None:
    """Titles end before the next panel, or the edge."""
    box = ax.get_window_extent()
    right = [other.get_window_extent().x0 for other in figure.axes if other.get_subplotspec() is not None]
    end = (
        min([x for x in right if x > box.x0 + 0.5 * box.width], default=figure.get_size_inches()[0] * figure.dpi)
        - SPARE * figure.dpi
    )
    for text in _headings(ax):
        _broken(text, end - box.x0)


def _headings(ax: Any) -> list[Any]:
    """The titles of axes: their texts that nobody put there."""
    from matplotlib.text import Text

    return [child for child in ax.get_children() if isinstance(child, Text) and child not in ax.texts]


def _label(figure: Any, ax: Any) -> None:
    """Labels of axes are no longer than the axes, or the figure."""
    box = ax.get_window_extent()
    _broken(ax.yaxis.label, max(box.height, 0.5 * figure.dpi), across=False)
    _broken(ax.xaxis.label, max(box.width, min(2 * (figure.bbox.x1 - (box.x0 + box.x1) / 2), 2 * (box.x0 + box.x1) / 2)))


def _broken(text: Any, room: float, across: bool = True) -> None:
    """Break lines that are wider (or, upright, taller) than the room, in pixels."""
    if not text.get_text() or not text.get_visible():
        return
    box = text.get_window_extent()
    long = box.width if across else box.height
    if long <= room:
        return
    lines = text.get_text().split("\n")
    letters = max(8, int(max(map(len, lines)) * room / long))
    text.set_text("\n".join(part for line in lines for part in textwrap.wrap(line, letters, break_long_words=False)))


def _cells(ax: Any) -> None:
    """Numbers in the cells of a map that are wider than these stand upright, or are left out; the dots behind them stay."""
    if not ax.images or not ax.texts:
        return
    box = ax.get_window_extent()
    wide, tall = (
        length / max(1, abs(ends[1] - ends[0])) for length, ends in ((box.width, ax.get_xlim()), (box.height, ax.get_ylim()))
    )
    inside = [
        text for text in ax.texts if text.get_transform() == ax.transData and text.get_text() and text.get_ha() == "center"
    ]
    widest = max((text.get_window_extent().width for text in inside), default=0)
    if widest <= wide:
        return
    for text in inside:
        if widest <= tall:
            text.set_rotation(90)
        else:
            text.set_text("•" if "•" in text.get_text() else "")
