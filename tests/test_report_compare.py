"""Exams side by side: refused where they are about other things, told what differs, drawn on shared axes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from analysis.report.compare import render_comparison
from analysis.report.dots import Dot, dots
from snellen.cli_report import report
from snellen.side_by_side import side_by_side
from stimuli.errors import InputError
from tests.exams import EVIL, SITES, folder


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    return [folder(tmp_path / "a", "first", 0.25), folder(tmp_path / "b", "second", 0.75)]


def changed(run: Path, how: Any) -> None:
    """The results of a run with something else in them."""
    file = run / "results.json"
    found = json.loads(file.read_text())
    how(found)
    file.write_text(json.dumps(found))


def test_answers_are_paired_and_what_differs_is_told(two: list[Path]) -> None:
    changed(two[1], lambda found: found["provenance"]["config"].update(steps=9))
    found = side_by_side(two)
    assert list(found.runs) == ["first", "second"]
    (pair,) = found.pairs
    assert (
        pair["name"] == "second" and pair["gain"] == pytest.approx(0.5) and (pair["only_first"], pair["only_second"]) == (0, 6)
    )
    told = {row["setting"]: (row["first"], row["second"]) for row in found.differences}
    assert told == {"model: name": ("first", "second"), "model: checksum": ("first", "second"), "steps": ("7", "9")}
    changed(two[1], lambda found: found["provenance"]["model"].update(name="first"))
    assert list(side_by_side(two).runs) == ["a", "b"], "models of one name are told apart by their folders"
    assert list(side_by_side(two, ["before", "after"]).runs) == ["before", "after"]


def test_what_cannot_be_compared_is_refused(two: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected two or more different folders"):
        side_by_side([two[0], two[0] / ".." / "a"])
    with pytest.raises(InputError, match=r"Got 1 names \(x\) for 2 exams. Expected one --name each"):
        side_by_side(two, ["x"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no finished exam \(no results.json\). Run `snellen exam"):
        side_by_side([two[0], tmp_path / "empty"])
    for check in ("1", "2"):
        changed(two[int(check) - 1], lambda found, check=check: found["provenance"].update(data={"exam": {"checksum": check}}))
    with pytest.raises(InputError, match="cannot be compared: their images have the same names and other pixels"):
        side_by_side(two)
    file = two[1] / "tables" / "answers_base.csv"
    file.write_text(file.read_text().replace("a-blur", "z-blur"))
    changed(two[1], lambda found: found["provenance"]["config"].update(seed=5))
    with pytest.raises(
        InputError, match=r"of 12 and 12 images they have 11 in common \(seed: 0 and 5\). Expected exams about the same images"
    ):
        side_by_side(two)
    file.unlink()
    with pytest.raises(InputError, match="has no tables/answers_base.csv, so its answers cannot be paired"):
        side_by_side(two)
    changed(two[1], lambda found: found["perception"]["base"].update(classes=["blur", "clean"]))
    file.write_text((two[0] / "tables" / "answers_base.csv").read_text())
    with pytest.raises(InputError, match=r"their classes differ \(blur, noise, clean; blur, clean\)"):
        side_by_side(two)
    (two[1] / "results.json").write_text("{}")
    with pytest.raises(InputError, match="results.json lacks provenance, stimuli"):
        side_by_side(two)
    (two[1] / "results.json").write_text("{")
    with pytest.raises(InputError, match="results.json cannot be used"):
        side_by_side(two)


def test_the_page_has_both_on_shared_axes_and_escapes_names(two: list[Path], tmp_path: Path) -> None:
    third = folder(tmp_path / "c", EVIL, 0.5, [*SITES, ("llm.1", "llm"), ("llm.2", "llm")])
    found = side_by_side([*two, third])
    page = render_comparison(found.runs, found.pairs, found.differences, tmp_path / "page.html").read_text()
    assert page.count('class="line probe s') == 3 and "place is the share of a component" in page
    told = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", page.partition("<body>")[2]))
    assert "50.0 % [" in told and "80.0 % [70.0, 90.0] at vision.0" in told
    assert EVIL not in page and "&lt;/script&gt;" in page and page.count("<script>") == 1
    same = render_comparison(side_by_side(two).runs, [], [], tmp_path / "page.html").read_text()
    assert (
        "place is the share" not in same
        and ">vision.1</text>" in same
        and "settings, weights and versions are the same" in same
    )


def test_dots_stand_in_rows_and_what_is_missing_leaves_its_place() -> None:
    made = dots(
        [("a", [Dot(0.0, None, None), Dot(1.0, 0.9, 1.0)]), ("none", [None, None]), ("b", [None, Dot(0.5, 0.4, 0.6)])],
        ["x", "y"],
        0.5,
    )
    assert [row["title"] for row in made["rows"]] == ["a", "b"]
    first, second = made["rows"][0]["points"]
    assert first["x"] == made["ticks"][0]["x"] and second["x"] == made["ticks"][5]["x"] and first["low"] is None
    (alone,) = made["rows"][1]["points"]
    assert alone["number"] == 1 and alone["x"] == made["chance"] and alone["label"] == "y 50.0 % [40.0, 60.0]"


def test_the_command_writes_a_page_and_no_file_of_others(
    two: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    result = report(two, out, [])
    told = capsys.readouterr().out
    assert "second - first: +50.0 points [" in told and str(out) in told and result["report"] == str(out) and out.is_file()
    assert report(two, out, [])["report"] == str(out), "a page of ours is written anew"
    out.write_text("mine")
    with pytest.raises(InputError, match="exists and is no page of Snellen's. Expected a new name; nothing was overwritten"):
        report(two, out, [])
    assert out.read_text() == "mine"
    with pytest.raises(InputError, match="Got --out or --name with one exam"):
        report(two[:1], out, [])
