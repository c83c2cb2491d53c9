"""Tidy tables as lists of rows, and files written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from stimuli.errors import InputError

Row = dict[str, Any]
Table = list[Row]


def write_text(text: str, path: str | Path) -> Path:
    """Write ``text`` to ``path`` by way of a temporary neighbour, so that a reader never sees half a file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8", newline="") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def abandoned(temporary: Path) -> bool:
    """Whether the process that ``write_text`` named a temporary neighbour after is gone."""
    number = temporary.name.removesuffix(".tmp").rpartition(".")[2]
    return not (number.isdigit() and psutil.pid_exists(int(number)))


def write_json(value: Any, path: str | Path) -> Path:
    """Write ``value`` as indented JSON, atomically; NaN is refused by the JSON standard and becomes null."""
    return write_text(json_text(value), path)


def json_text(value: Any) -> str:
    """``value`` as it is written by ``write_json``."""
    return json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: str | Path, expected: str) -> dict[str, Any]:
    """An object from a JSON file.

    Args:
        path: the file.
        expected: what it should be, for the error.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be used ({error}). Expected {expected}. Make it anew, or take it away.") from error
    return found


def write_csv(rows: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Write rows as CSV, atomically; the columns are the union of the rows' keys in order of first appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _plain(value) for key, value in row.items()} for row in rows)
    return write_text(buffer.getvalue(), path)


def write_table(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as CSV or JSON, as the ending of the path says.

    Raises:
        InputError: another ending.
    """
    kind = Path(path).suffix.lower()
    if kind not in (".csv", ".json"):
        raise InputError(f"Cannot write a table as '{Path(path).name}'. Expected a name that ends in .csv or .json. Change it.")
    return write_csv(rows, path) if kind == ".csv" else write_json([dict(row) for row in rows], path)


def _plain(value: Any) -> Any:
    """Turn NumPy scalars and arrays, tuples, paths and mappings into what JSON knows; non-finite numbers into None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
