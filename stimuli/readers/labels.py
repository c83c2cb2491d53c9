"""Files of scores as rows of text: CSV, XLSX and plain lines. Every row knows its line, so that errors can name it."""

from __future__ import annotations

import csv
import io
import math
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stimuli.errors import InputError

CELLS = 500_000
"""Cells of a sheet at most; some workbooks claim millions of empty ones."""
UNPACKED = 100 * 1024**2
"""Bytes of a workbook at most: it is a ZIP file, which may unpack to a thousand times its size."""
HIGHEST = 20
"""Rows of a sheet among which its header is looked for."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a file of scores."""

    where: str
    """File and line, as errors name it."""
    cells: Mapping[str, str]
    """By column; empty text where there is nothing."""

    def number(self, column: str) -> float:
        """A column as a finite number.

        Raises:
            InputError: it is none.
        """
        return number(self.cells[column], column, self.where)


@dataclass(frozen=True)
class Sheet:
    """The rows of a file of scores."""

    lines: tuple[Line, ...]
    extra: tuple[str, ...] = ()
    """Columns that nobody asked for."""


def number(text: str, column: str, where: str) -> float:
    """A finite number.

    Raises:
        InputError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: {column} is '{text:.200}'. Expected a number with a decimal point. Correct the line.")
    return value


def text_of(path: Path) -> str:
    """A text file's content, without a byte-order mark.

    Raises:
        InputError: it cannot be read as UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text ({error}). Expected UTF-8: fetch or save the file again.") from error


def read_csv(path: Path, columns: Sequence[str], known: Sequence[str] = ()) -> Sheet:
    """A CSV whose header has at least the given columns.

    Args:
        path: the file.
        columns: the columns that are needed.
        known: columns that may be there without being extra.

    Raises:
        InputError: another header, or a row that is longer or shorter than it.
    """
    rows = csv_rows(text_of(path), str(path))
    header = [name.strip() for name in next(rows, (1, []))[1]]
    extra = tuple(name for name in _extra(header, columns, f"{path}, line 1") if name not in known)
    lines = [_line(header, row, f"{path.name}, line {number}") for number, row in rows if any(row)]
    return Sheet(tuple(lines), extra)


def csv_rows(content: str, name: str, separator: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row of a CSV.

    Raises:
        InputError: a cell of more than 131,072 characters, as where a quote is never closed.
    """
    rows = csv.reader(io.StringIO(content, newline=""), delimiter=separator)
    try:
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:
        raise InputError(
            f"{name}, line {rows.line_num}: {error}. Expected cells of at most {csv.field_size_limit()} characters. Look for a quote that "
            "is never closed."
        ) from error


def _line(header: Sequence[str], row: Sequence[str], where: str) -> Line:
    if len(row) != len(header):
        raise InputError(f"{where} has {len(row)} cells; expected {len(header)}, as in the header. Correct the line.")
    return Line(where, dict(zip(header, (cell.strip() for cell in row), strict=True)))


def _extra(header: Sequence[str], columns: Sequence[str], where: str) -> tuple[str, ...]:
    """The columns nobody asked for, of a header that has all the others."""
    if not set(columns) <= set(header):
        raise _wrong_header(header, columns, where)
    return tuple(name for name in header if name and name not in columns)


def _wrong_header(header: Sequence[str], columns: Sequence[str], where: str) -> InputError:
    missing = [name for name in columns if name not in header]
    return InputError(
        f"{where} has the columns {','.join(name for name in header if name) or '(none)'}; {', '.join(missing)} "
        f"{'is' if len(missing) == 1 else 'are'} missing. Expected {','.join(columns)}. Fetch the dataset's own file again."
    )


def read_xlsx(path: Path, columns: Sequence[str], sheet: str | None = None) -> Sheet:
    """A sheet of an Excel file, its header being the first row that has all the columns.

    Args:
        path: the file.
        columns: the columns that are needed.
        sheet: its name; by default the first.

    Raises:
        InputError: not an Excel file, no such sheet, or none of its first rows is such a header.
    """
    rows = list(_cells(path, sheet))
    place = f"{path.name}, sheet {sheet or 1}"
    above = rows[:HIGHEST]
    top = next((i for i, row in enumerate(above) if set(columns) <= set(row)), None)
    if top is None:
        raise _wrong_header(max(above, key=lambda row: sum(map(bool, row)), default=[]), columns, place)
    at = {name: rows[top].index(name) for name in columns}
    lines = [
        Line(f"{place}, row {i}", {name: row[column] for name, column in at.items()})
        for i, row in enumerate(rows[top + 1 :], start=top + 2)
        if any(row[column] for column in at.values())
    ]
    return Sheet(tuple(lines), _extra(rows[top], columns, place))


def _cells(path: Path, sheet: str | None) -> Iterator[list[str]]:
    """The cells of a sheet as text, row by row."""
    from openpyxl import load_workbook

    try:
        _refuse_bomb(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # parts of a workbook that openpyxl does not keep, such as styles
            with open(path, "rb") as file:  # openpyxl leaves its own open where a workbook is broken
                yield from _rows(load_workbook(file, read_only=True, data_only=True), sheet, path)
    except InputError:
        raise
    except Exception as error:  # archives, XML and cells fail in many ways
        raise InputError(f"{path} cannot be read ({error}). Expected an Excel workbook: fetch the file again.") from error


def _refuse_bomb(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > UNPACKED:
        raise ValueError(f"it unpacks to {size} bytes, more than {UNPACKED}")


def _rows(book: Any, sheet: str | None, path: Path) -> Iterator[list[str]]:
    if sheet is not None and sheet not in book.sheetnames:
        raise InputError(f"{path} has the sheets {', '.join(book.sheetnames)}; expected '{sheet}'. Fetch the file again.")
    chosen = book[sheet or book.sheetnames[0]]
    chosen.reset_dimensions()  # some writers note a wrong size, and then most cells would be left out
    width = seen = 0
    for row in chosen.iter_rows(values_only=True):
        width = max(width, len(row))
        seen += 1 + width
        if seen > CELLS:
            raise ValueError(f"it has more than {CELLS} cells")
        yield [_text(cell) for cell in row] + [""] * (width - len(row))


def _text(cell: object) -> str:
    """A cell as text; the number 1600.0 as 1600."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return "" if cell is None else str(cell).strip()


def read_lines(path: Path, columns: Sequence[str], separator: str | None = None) -> Sheet:
    """A text file without a header, its cells separated by blanks or by ``separator``.

    Raises:
        InputError: a line that has another number of cells.
    """
    numbered = enumerate(text_of(path).splitlines(), start=1)
    rows = [(i, [cell.strip() for cell in row.split(separator)]) for i, row in numbered if row.strip()]
    for i, row in rows:
        if len(row) != len(columns):
            raise InputError(
                f"{path}, line {i}: '{' '.join(row)}' has {len(row)} cells; expected {len(columns)}: {', '.join(columns)}. "
                "Fetch the dataset's own file again."
            )
    return Sheet(tuple(Line(f"{path.name}, line {i}", dict(zip(columns, row, strict=True))) for i, row in rows))
