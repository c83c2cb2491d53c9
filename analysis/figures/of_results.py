"""The figure that a result is usually shown as: what ``result.plot()`` draws, and the small one of a notebook's output."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from analysis.figures.attribution import draw_conductance, draw_leaders, draw_sanity
from analysis.figures.calibration import draw_reliability
from analysis.figures.distance_map import draw_distance_map
from analysis.figures.files import canvas
from analysis.figures.geometry import draw_alike
from analysis.figures.kinds import draw_types
from analysis.figures.knockout import draw_attention, draw_knockout
from analysis.figures.lens import draw_lens
from analysis.figures.patching import draw_patching
from analysis.figures.probing import draw_control_task, draw_dimension, draw_probe, draw_transfer
from analysis.figures.quality import draw_monotonicity, draw_quality
from analysis.figures.steering import draw_dose_response, draw_erased
from analysis.figures.style import style
from stimuli.errors import InputError

Draw = Callable[..., Any]
SIZE = (7.0, 3.6)
SMALL = 80
"""Dots per inch of a notebook's figure."""


def _transfer(ax: Any, result: Any, kind: str | None = None, **options: Any) -> Any:
    """One held-out kind, the first unless another is asked for."""
    chosen = kind or result.kinds[0]
    return draw_transfer(ax, [row for row in result.table if row["held_out"] == chosen], result.by, **options)


def _answers(ax: Any, result: Any, **options: Any) -> Any:
    from analysis.figures.answers import draw_confusion

    title = f"{result.protocol}: balanced accuracy {100 * result.balanced_accuracy:.1f} %"
    return draw_confusion(ax, result.as_dict(), **{"title": title, **options})


def _distances(ax: Any, result: Any, measure: str = "centred", **options: Any) -> Any:
    return draw_distance_map(ax, result, measure, **options)


def _table(draw: Draw) -> Draw:
    return lambda ax, result, **options: draw(ax, result.table, **options)


def _entry(draw: Draw) -> Draw:
    return lambda ax, result, **options: draw(ax, result.as_dict(), **options)


FIGURES: Mapping[str, Draw] = {
    "SweepResult": lambda ax, result, **options: draw_probe(ax, result.table, result.target, **options),
    "SeverityResult": lambda ax, result, **options: draw_probe(ax, result.table, result.target, **options),
    "TypeResult": _table(draw_types),
    "TransferResult": _transfer,
    "ControlTaskResult": _table(draw_control_task),
    "EqualDimensionResult": lambda ax, result, **options: draw_dimension(ax, result.table, result.d, **options),
    "Answers": _answers,
    "Calibration": _entry(draw_reliability),
    "Quality": lambda ax, result, **options: draw_quality(ax, result.correlations.as_dict(), **options),
    "Monotonicity": _entry(draw_monotonicity),
    "Erased": _table(draw_erased),
    "Steering": _table(draw_dose_response),
    "Patching": draw_patching,
    "Knockout": _table(draw_knockout),
    "AttentionShares": _table(draw_attention),
    "Lens": _table(draw_lens),
    "Attribution": draw_leaders,
    "Conductance": draw_conductance,
    "Sanity": draw_sanity,
    "Distances": _distances,
    "Geometry": _table(draw_alike),
}
"""Kind of result → what draws it on one axes."""


def plot(result: Any, ax: Any = None, **options: Any) -> Any:
    """Draw a result.

    Args:
        result: of a kind in ``FIGURES``.
        ax: axes; without them a figure is made.
        options: of what draws it.

    Returns:
        The figure.

    Raises:
        InputError: there is no figure of its kind on one axes.
    """
    kind = type(result).__name__
    if kind not in FIGURES:
        raise InputError(
            f"There is no figure of a {kind} alone. Expected one of {', '.join(FIGURES)}. Draw its rows (to_records()) with a draw_… "
            "function of analysis.figures, or run the command, which draws its figures."
        )
    with style():
        if ax is None:
            _, ax = canvas(*SIZE)
        FIGURES[kind](ax, result, **options)
    return ax.get_figure()


def small(result: Any) -> str:
    """The figure as an ``img`` element with the picture within; nothing where there is none, or nothing to draw."""
    if type(result).__name__ not in FIGURES or not result.table:
        return ""
    written = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plot(result).savefig(written, format="png", dpi=SMALL, bbox_inches="tight")
    except (InputError, LookupError, TypeError, ValueError):  # nothing to draw: the rows are shown all the same
        return ""
    data = base64.b64encode(written.getvalue()).decode("ascii")
    return f'<br><img alt="figure of the {type(result).__name__}" src="data:image/png;base64,{data}">'
