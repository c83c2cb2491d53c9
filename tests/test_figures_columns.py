"""At a column's width everything is inside, readable and apart: measured on the drawn figure, not on its settings."""

import itertools
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text

from analysis.figures.columns import SMALLEST, TALLEST, WIDTHS, fit, too_wide, width_of
from analysis.figures.distance_map import distance_map
from analysis.figures.files import canvas, written
from analysis.figures.style import style
from analysis.figures.survival import draw_survival
from stimuli.errors import InputError
from tests.test_figures_all import answers
from tests.test_figures_distance_map import changes
from tests.test_figures_survival import survival


def shown_texts(figure: Any) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]


@pytest.fixture
def curve() -> Any:
    """A survival curve as on a screen, its legend beside it."""
    with style():
        figure, ax = canvas(8.2, 3.9)
        draw_survival(ax, survival(), answers(0.5))
    return figure


def panels(n: int, **options: Any) -> tuple[Any, Any]:
    """As many panels side by side, with long titles."""
    figure, axes = canvas(8.2, 2.7, 1, n, sharey=True, **options)
    for i, ax in enumerate(axes):
        ax.plot([0, 1], [0, i])
        ax.set_title(f"panel {i} has a title of so many words that no column holds it")
    axes[0].set_yticks([0, 1], ["as loaded", "vision+constraint tuned"])
    return figure, axes


@pytest.mark.parametrize("column", WIDTHS)
def test_nothing_is_cut_off_and_no_type_is_too_small(curve: Any, column: str) -> None:
    with style():
        fit(curve, width_of(column))
        curve.draw_without_rendering()
        wide, tall = curve.get_size_inches()
        assert wide == WIDTHS[column] and tall <= TALLEST
        box = curve.get_tightbbox()
        assert box.x0 > -0.01 and box.y0 > -0.01 and box.x1 < wide + 0.01 and box.y1 < tall + 0.01
        assert all(text.get_fontsize() >= SMALLEST for text in shown_texts(curve))
        assert curve.axes[0].yaxis.label.get_fontsize() == pytest.approx(7.14), "the same in both"


def test_in_a_narrow_column_the_legend_stands_below_and_leaves_the_curve_its_room(curve: Any) -> None:
    with style():
        (ax,) = curve.axes
        before = [text.get_text() for text in ax.get_legend().get_texts()]
        fit(curve, WIDTHS["single"])
        curve.draw_without_rendering()
        legend, inner = ax.get_legend(), ax.get_window_extent()
        assert legend.get_window_extent().y1 < min(label.get_window_extent().y0 for label in ax.get_xticklabels()) + 1
        assert [text.get_text() for text in legend.get_texts()] == before, "nothing is lost"
        assert inner.width > 0.75 * curve.bbox.width and inner.height > 1.8 * curve.dpi


def test_on_a_page_the_legend_stays_beside(curve: Any) -> None:
    with style():
        fit(curve, WIDTHS["double"])
        (ax,) = curve.axes
        assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1


def test_panels_of_a_row_flow_and_each_line_of_them_is_named() -> None:
    with style():
        figure, axes = panels(5)
        fit(figure, WIDTHS["single"])
        figure.draw_without_rendering()
        boxes = [ax.get_window_extent() for ax in axes]
        assert len({round(box.x0) for box in boxes}) == 2 and len({round(box.y0) for box in boxes}) == 3
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
        named = [any(label.get_visible() and label.get_text() for label in ax.get_yticklabels()) for ax in axes]
        assert named == [True, False, True, False, True]
        titles = [
            ax.title if ax.title.get_text() else next(t for t in shown_texts(ax) if "panel" in t.get_text()) for ax in axes
        ]
        found = [title.get_window_extent() for title in titles]
        assert not any(a.overlaps(b) for a, b in itertools.combinations(found, 2)), "titles are broken before the next panel"
        assert all(box.x1 <= figure.bbox.x1 for box in found)


def test_panels_that_keep_their_places_do_not_flow() -> None:
    with style():
        figure, axes = panels(2, narrow="keep")
        fit(figure, WIDTHS["single"])
        figure.draw_without_rendering()
        assert len({round(ax.get_window_extent().y0) for ax in axes}) == 1


def marked(figure: Any) -> int:
    """How many cells have a dot."""
    return sum("•" in text.get_text() for ax in figure.axes if ax.images for text in ax.texts)


@pytest.mark.slow
def test_numbers_in_narrow_cells_stand_upright_or_leave_but_their_dots_stay() -> None:
    rows = [
        {**row, "site": f"{row['site']}{i}"} for i in range(3) for row in changes() if row["measure"] == changes()[0]["measure"]
    ]
    with style():
        figure = distance_map(rows, rows[0]["measure"])
        dots = marked(figure)
        fit(figure, WIDTHS["single"])
        figure.draw_without_rendering()
        for ax in figure.axes:
            if ax.images:
                cells = [text for text in ax.texts if text.get_text()]
                boxes = [text.get_window_extent() for text in cells]
                assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
        assert marked(figure) == dots > 0


@pytest.mark.slow
def test_grids_of_pictures_are_as_wide_as_a_page_and_files_have_their_column(tmp_path: Any) -> None:
    from PIL import Image

    assert (
        too_wide("gallery", "single")
        and too_wide("gallery", "5")
        and not too_wide("gallery", "double")
        and not too_wide("gallery", None)
    )
    assert not too_wide("survival", "single")

    def plotted() -> Any:
        figure, ax = canvas(8.2, 2.0)
        ax.plot([0, 1])
        return figure, [{"x": 0}]

    for column, inches in (("single", {"line": 3.5, "gallery": 7.16}), (None, {"line": 8.2})):
        found = written(dict.fromkeys(inches, plotted), tmp_path, ("png",), column)
        for name, wide in inches.items():
            with Image.open(found[name]["png"]) as image:
                assert image.width == pytest.approx(200 * wide, abs=1)


@pytest.mark.parametrize("column", ["triple", "1", "nan", "-7"])
def test_an_unknown_column_is_refused(column: str) -> None:
    with pytest.raises(
        InputError, match=rf"Got the column '{column}'; expected single, double, or a width from 2 to 20 inches.*Use one"
    ):
        width_of(column)


def test_inches_are_a_column_too() -> None:
    assert np.isclose(width_of("5.5"), 5.5)
