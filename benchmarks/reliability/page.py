"""Where the scripts of this folder write what they measured: rows beside them, as JSON, and a section of docs/reliability.md."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.attribution import replaced
from stimuli.tables import write_json

HERE = Path(__file__).resolve().parent
PAGE, ROWS = HERE.parents[1] / "docs" / "reliability.md", HERE / "measured"


def arguments(about: str | None) -> argparse.ArgumentParser:
    """What every script can be told: ``--quick``, and where to write."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small part of it, in seconds; the page is left alone")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page whose section is written")
    parser.add_argument("--rows", type=Path, default=ROWS, help="folder of the rows")
    return parser


def written(name: str, found: Any, lines: Sequence[str], options: argparse.Namespace) -> None:
    """Print a section; unless it is a quick run, write it between its marks, and the rows it is made of.

    Args:
        name: of the script, without ``.py``.
        found: JSON-able: every number of the section.
        lines: of the section, a heading first.
        options: as ``arguments`` parsed them.
    """
    begin, end = (f"<!-- benchmarks/reliability/{name}.py writes {word} here -->" for word in ("from", "to"))
    section = "\n".join([begin, *lines, end])
    print(section)
    if options.quick:
        return
    write_json(found, options.rows / f"{name}.json")
    page = options.page.read_text(encoding="utf-8") if options.page.exists() else ""
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(replaced(page, section, begin, end), encoding="utf-8")


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(map(str, row))} |" for row in (header, ["---"] * len(header), *rows)]
