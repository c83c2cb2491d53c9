"""Stimuli that are described without their images: what a CSV says of each row of features made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stimuli.errors import InputError
from stimuli.readers.labels import Line
from stimuli.readers.listed import COLUMNS, _lines, _stimulus

NEEDED = ("id", "reference")


def described(path: str | Path) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The lines of a CSV with the columns ``id`` and ``reference`` and, optionally, those of ``from_csv`` and any of your own.

    Returns:
        Of each line ``Stimulus.metadata`` with the further columns as text; and the names of all columns.

    Raises:
        InputError: no such file, a column that is missing, no lines, a cell that is not what its column expects, or an id that occurs
            twice (both lines are named).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file {path}. Expected a CSV with the columns {', '.join(NEEDED)}. Check the path.")
    lines, extra = _lines(path, NEEDED)
    if not lines:
        raise InputError(f"{path} describes no stimuli. Expected a line per row of the features. Fill it in.")
    first: dict[str, Line] = {}
    for line in lines:
        _refuse_empty(line)
        other = first.setdefault(line.cells["id"], line)
        if other is not line:
            raise InputError(
                f"{other.where} and {line.where} have the same id '{line.cells['id']}'. Expected each once. Rename one of them."
            )
    known = tuple(name for name in lines[0].cells if name in COLUMNS)
    return [_row(line, extra, path) for line in lines], (*known, *extra)


def _refuse_empty(line: Line) -> None:
    empty = [name for name in NEEDED if not line.cells[name]]
    if empty:
        raise InputError(
            f"{line.where}: {empty[0]} is empty. Expected a name; the reference is the source image, the stimulus itself where it has no "
            "other. Fill it in."
        )


def _row(line: Line, extra: Sequence[str], path: Path) -> dict[str, Any]:
    cells = {**line.cells, "image": line.cells["id"], "mask": ""}
    own = {name: line.cells[name] for name in extra if name}
    return {**own, **_stimulus(Line(line.where, cells), path, True).metadata()}
