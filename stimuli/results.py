"""What all results share: they show themselves, give their rows, draw themselves, and are saved without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib import import_module
from numbers import Real
from pathlib import Path
from typing import Any, Self

from stimuli.errors import InputError
from stimuli.tables import Table, write_text

SHOWN = 12
"""Rows of a table that a result shows of itself."""
FIELDS = 8
"""Numbers and words in its heading."""


class Result:
    """A frozen dataclass with a ``table`` of rows, a dictionary each.

    In a notebook it is a heading, the first rows, and a small figure where there is one for its kind; printed, the same without the
    figure. Declare it with ``@dataclass(frozen=True, repr=False)``.
    """

    table: Table

    def to_records(self) -> Table:
        """The rows of the table, a new dictionary each."""
        return [dict(row) for row in self.table]

    def to_frame(self) -> Any:
        """The table as a pandas ``DataFrame``.

        Raises:
            InputError: pandas is not installed.
        """
        try:
            pandas = import_module("pandas")
        except ImportError:
            raise InputError(
                "to_frame needs pandas, which is not installed. Expected it beside Snellen. Install it (pip install pandas), or use "
                "to_records(), which needs nothing."
            ) from None
        return pandas.DataFrame.from_records(self.to_records())

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """Draw the result as its kind is usually shown.

        Args:
            ax: matplotlib axes; without them a figure is made.
            options: of the ``draw_…`` function of its kind (``analysis.figures``).

        Returns:
            The figure.

        Raises:
            InputError: there is no such figure for this kind of result, or it needs several axes and got one.
        """
        return import_module("analysis.figures.of_results").plot(self, ax, **options)

    def save(self, path: str | Path) -> Path:
        """Write everything as one JSON file, arrays within, that ``load`` reads; nothing in it is ever run.

        Raises:
            InputError: a name that does not end in .json, or a value that cannot be written so.
        """
        from stimuli.result_files import dumps

        if Path(path).suffix.lower() != ".json":
            raise InputError(f"Cannot save a result as '{Path(path).name}'. Expected a name that ends in .json. Change it.")
        return write_text(dumps(self), path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            InputError: no such file, another kind of result, or a file that ``save`` did not write so.
        """
        from stimuli.result_files import load_result

        found = load_result(path)
        if not isinstance(found, cls):
            raise InputError(
                f"{path} holds a {type(found).__name__}. Expected a {cls.__name__}. Load it with sn.load_result, or give another file."
            )
        return found

    def __repr__(self) -> str:
        """Heading and first rows."""
        return "\n".join([_heading(self), *_lines(self.table)])

    def _repr_html_(self) -> str:
        return f"<div><b>{escape(_heading(self))}</b>{_html_table(self.table)}{_small_figure(self)}</div>"


def columns(table: Table) -> list[str]:
    """Names of the columns in order of first appearance."""
    return list(dict.fromkeys(key for row in table for key in row))


def cell(value: Any) -> str:
    """A value as short text: three significant digits, a dash for what there is not."""
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, bool) or not isinstance(value, Real):
        text = str(value).replace("\n", " ")
        return text if len(text) <= 40 else f"{text[:37]}…"
    return str(value) if float(value).is_integer() and abs(float(value)) < 1e6 else f"{float(value):.3g}"


def _heading(result: Any) -> str:
    plain = {
        name: value
        for name, value in vars(result).items()
        if isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""
    }
    told = [f"{name} {cell(value)}" for name, value in list(plain.items())[:FIELDS]]
    rows = len(result.table)
    return ", ".join([f"{type(result).__name__}: {rows} row{'' if rows == 1 else 's'}", *told])


def _shown(table: Table) -> tuple[list[str], list[list[str]], str]:
    names = [name for name in columns(table) if any(not isinstance(row.get(name), Mapping | list | tuple) for row in table)]
    cells = [[cell(row.get(name)) for name in names] for row in table[:SHOWN]]
    left = len(table) - len(cells)
    return names, cells, f"… and {left} more: to_records(), to_frame()" if left > 0 else ""


def _lines(table: Table) -> list[str]:
    names, cells, more = _shown(table)
    widths = [max(len(row[i]) for row in [names, *cells]) for i in range(len(names))]
    rows = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in [names, *cells]]
    return [*(rows if names else []), *([more] if more else [])]


def _html_table(table: Table) -> str:
    names, cells, more = _shown(table)
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in cells)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{escape(more)}"


def _small_figure(result: Any) -> str:
    """The figure of its kind as an image within the page; nothing where there is none or it has nothing to show."""
    return str(import_module("analysis.figures.of_results").small(result))
