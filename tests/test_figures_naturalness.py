"""The naturalness figure: every image is a point, and the band is the photographs' range."""

import itertools

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis.figures.naturalness import PANELS, draw_naturalness
from analysis.figures.style import style
from analysis.naturalness import KINDS
from stimuli.naturalness import STATISTICS
from stimuli.tables import Table


def table(kinds: tuple[str, ...] = KINDS) -> Table:
    """Three images of each kind."""
    return [{"kind": k, **dict.fromkeys(STATISTICS, 2.0 + i + j)} for i, k in enumerate(kinds) for j in range(3)]


def test_every_image_is_a_point_and_the_band_spans_the_photographs() -> None:
    axes = Figure().subplots(1, len(PANELS), sharey=True)
    draw_naturalness(axes, table())
    for ax in axes:
        points = [line for line in ax.lines if line.get_linestyle() == "None"]
        assert [list(line.get_xdata()) for line in points] == [[2.0 + i, 3.0 + i, 4.0 + i] for i in range(len(KINDS))]
        assert [line.get_ydata()[0] for line in points] == [4, 3, 2, 1, 0]
        band = ax.patches[0].get_extents().transformed(ax.transData.inverted())
        assert np.allclose([band.x0, band.x1], [2.0, 4.0])
    assert [tick.get_text() for tick in axes[0].get_yticklabels()] == list(reversed(KINDS))


def test_kinds_that_were_not_measured_have_no_row() -> None:
    axes = Figure().subplots(1, len(PANELS), sharey=True)
    draw_naturalness(axes, table(("photographs", "leaves")))
    assert [tick.get_text() for tick in axes[0].get_yticklabels()] == ["leaves", "photographs"]


def test_texts_do_not_overlap() -> None:
    with style():
        figure = Figure(figsize=(8.2, 2.5))
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, len(PANELS), sharey=True)
        draw_naturalness(axes, table())
        figure.canvas.draw()
        for texts in ([ax.xaxis.label for ax in axes], [ax._left_title for ax in axes]):
            boxes = [text.get_window_extent() for text in texts]
            assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
