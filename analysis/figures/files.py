"""Figures without pyplot's global state, and their files: every format, and the data behind each as CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.figures.style import style
from stimuli.tables import Table, write_csv

FORMATS = ("png", "pdf", "svg")
Made = tuple[Any, Table] | None
"""A figure and the rows that it shows; None where there is nothing to show."""


def canvas(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Any, Any]:
    """A figure of a size in inches and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height))
    FigureCanvasAgg(made)
    return made, made.subplots(rows, columns, **options)


def drawn(
    figures: Mapping[str, Callable[[Any], Made]], results: Any, folder: str | Path, formats: Sequence[str] = FORMATS
) -> dict[str, dict[str, Path]]:
    """Draw every figure that the results have data for.

    Args:
        figures: name → what makes it of the results.
        results: as the figures want them.
        folder: where to write.
        formats: file endings.

    Returns:
        Name → format → path; a figure without data is left out.
    """
    written: dict[str, dict[str, Path]] = {}
    with style():
        for name, draw in figures.items():
            made = draw(results)
            if made is not None:
                written[name] = _written(*made, name, Path(folder), formats)
    return written


def _written(made: Any, data: Table, name: str, folder: Path, formats: Sequence[str]) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(data, folder / f"{name}.csv")
    return {ending: _save(made, folder / f"{name}.{ending}") for ending in formats}


def _save(made: Any, path: Path) -> Path:
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(path.suffix[1:])
    made.savefig(path, metadata=metadata)
    return path
