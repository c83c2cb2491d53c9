"""The tables of docs/cause.md: what is kept, what is starred, and that the page says what the file beside it says."""

import csv
from pathlib import Path
from typing import Any

from benchmarks.attribution import BEGIN, CSV, END, kept, leader_rows, replaced, starred
from benchmarks.cause import PARTS, at, cell, marks

PAGE = Path(__file__).parent.parent / "docs" / "cause.md"


def test_a_section_is_replaced_and_what_stands_around_it_stays() -> None:
    page = replaced("# by hand\n", f"{BEGIN}\nold\n{END}")
    page = replaced(page + "\n## by hand too\n", f"{BEGIN}\nnew\n{END}")
    assert "old" not in page and page.count(BEGIN) == page.count(END) == 1
    assert page.startswith("# by hand\n") and page.endswith("\n## by hand too\n") and f"{BEGIN}\nnew\n{END}" in page


def test_a_result_is_made_once_per_configuration(tmp_path: Path) -> None:
    calls: list[int] = []

    def make() -> dict[str, Any]:
        calls.append(1)
        return {"table": [{"n": len(calls)}]}

    path = tmp_path / "part.json"
    assert kept(path, {"sites": ("a", "b")}, make)["table"] == kept(path, {"sites": ("a", "b")}, make)["table"] == [{"n": 1}]
    assert kept(path, {"sites": ("a",)}, make)["table"] == [{"n": 2}]  # of other settings: made again


def test_a_star_needs_a_small_p_and_references_enough_for_one() -> None:
    row = {"beyond": 0.2, "p_holm": 0.01, "references": 10}
    assert starred(row, "beyond", "p_holm", 12) == "+0.20*"
    assert starred({**row, "p_holm": 0.06}, "beyond", "p_holm", 12) == "+0.20"
    assert starred({**row, "references": 8}, "beyond", "p_holm", 12) == "+0.20"  # 12 tests of 2 ** -7
    assert starred({"beyond": None}, "beyond", "p_holm", 12) == "–"


def test_a_cell_has_its_interval_control_and_star() -> None:
    row = {"change": -0.5, "low": -0.6, "high": -0.4, "control_change": -0.01, "beyond_p_holm": 0.004, "references": 12}
    assert cell(row, "change", "control_change", "beyond_p_holm", "plain", 5) == "-0.50* [-0.60, -0.40] (-0.01)"
    assert cell({**row, "references": 4}, "change", "control_change", "beyond_p_holm", "plain", 5).startswith("-0.50 [")
    assert cell(None, "change", "control_change") == cell({"change": None}, "change", "control_change") == "–"
    assert at([row], references=12) is row and at([row], references=13) is None


def test_the_page_has_a_table_of_every_part_and_its_leaders_are_those_of_the_file() -> None:
    page = PAGE.read_text()
    for begin, end in [(BEGIN, END), *map(marks, PARTS)]:
        assert page.count(begin) == page.count(end) == 1 and page.index(begin) < page.index(end)
    with open(PAGE.parent / CSV, newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len({row["model"] for row in rows}) >= 1
    for name in {row["model"] for row in rows}:
        for line in leader_rows([_read(row) for row in rows if row["model"] == name]):
            assert line in page, line


def _read(row: dict[str, str]) -> dict[str, Any]:
    """A row of the CSV as it was before it was written."""
    return {key: value if key in ("model", "method") else (None if value == "" else float(value)) for key, value in row.items()}
