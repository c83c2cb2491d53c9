"""Figures without pyplot's global state, and their files: every format, and the data behind each as CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from analysis.figures.columns import fit, too_wide, width_of
from analysis.figures.style import style
from stimuli.tables import Table, write_csv

FORMATS = ("png", "pdf", "svg")
Made = tuple[Any, Table] | None
"""A figure and the rows that it shows; None where there is nothing to show."""
Plan = Mapping[str, Callable[[], Made]]
"""Name of a figure → what makes it."""
Files = dict[str, dict[str, Path]]
"""Name of a figure → format → path."""


def canvas(
    width: float, height: float, rows: int = 1, columns: int = 1, *, narrow: str | None = None, **options: Any
) -> tuple[Any, Any]:
    """A figure of a size in inches and its axes.

    Args:
        width: on a screen; a journal's column is narrower (``analysis.figures.columns``).
        height: likewise.
        rows: of panels.
        columns: of panels.
        narrow: what becomes of the panels in a narrow column: they ``flow`` into fewer columns (those of a single row by default), or
            ``keep`` their places (all others by default).
        **options: of ``Figure.subplots``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made: Any = Figure(figsize=(width, height))
    FigureCanvasAgg(made)
    made.narrow = narrow or ("flow" if rows == 1 else "keep")
    return made, made.subplots(rows, columns, **options)


def bound(figures: Mapping[str, Callable[[Any], Made]], results: Any) -> dict[str, Callable[[], Made]]:
    """The plan of figures that all take the same results."""
    return {name: partial(make, results) for name, make in figures.items()}


def written(
    plan: Plan, folder: str | Path, formats: Sequence[str] = FORMATS, column: str | None = None, workers: int = 1
) -> Files:
    """Draw every figure of a plan that there is data for, and write it.

    Args:
        plan: name → what makes it.
        folder: where to write.
        formats: file endings.
        column: a width, as ``analysis.figures.columns`` knows them; by default the figure's own, for screens.
        workers: processes that draw at the same time, each at least four figures; 1 draws here.

    Returns:
        Name → format → path, in the plan's order; a figure without data is left out.

    Raises:
        InputError: an unknown width.
    """
    workers = max(1, min(workers, len(plan) // 4))
    draw = partial(_drawn, folder=Path(folder), formats=formats, column=column)
    if workers == 1:
        return draw(plan)
    from joblib import Parallel, delayed

    shares = [{name: plan[name] for name in [*plan][start::workers]} for start in range(workers)]
    found: Files = {}
    for files in Parallel(workers)(delayed(draw)(share) for share in shares):
        found |= files
    return {name: found[name] for name in plan if name in found}


def _drawn(plan: Plan, folder: Path, formats: Sequence[str], column: str | None) -> Files:
    found: Files = {}
    with style():
        for name, make in plan.items():
            made = make()
            if made is not None:
                if column is not None:
                    fit(made[0], width_of("double" if too_wide(name, column) else column))
                _laid_out(made[0])
                found[name] = _saved(*made, name, folder, formats)
    return found


def _laid_out(made: Any) -> None:
    """Places what is on a figure once for all formats, at the resolution of the file: at a lower one, letters are rounded to other widths."""
    from matplotlib import rcParams

    engine, screen = made.get_layout_engine(), made.dpi
    if engine is not None:
        made.dpi = rcParams["savefig.dpi"]
        engine.execute(made)
        made.dpi = screen
        made.set_layout_engine("none")


def there(plan: Plan) -> list[str]:
    """The names of the figures that there is data for."""
    with style():
        return [name for name, make in plan.items() if make() is not None]


def _saved(made: Any, data: Table, name: str, folder: Path, formats: Sequence[str]) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(data, folder / f"{name}.csv")
    return {ending: save(made, folder / f"{name}.{ending}") for ending in formats}


def save(made: Any, path: Path, **options: Any) -> Path:
    """Write a figure without the time in it, so that the same figure is the same file."""
    made.savefig(path, metadata={"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(path.suffix[1:]), **options)
    return path
