"""Two models' answers to the same images, compared from what ``snellen ask`` wrote."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from analysis.accuracy import mcnemar
from snellen.cli import app
from snellen.compared import compare_files, compared_lines
from stimuli.errors import InputError
from stimuli.tables import write_csv


def answers(path: Path, right: list[bool], first: int = 0, label: str = "blur") -> Path:
    rows = [
        {"id": f"s{first + i}", "reference": f"r{(first + i) // 4}", "label": label, "correct": hit}
        for i, hit in enumerate(right)
    ]
    return write_csv(rows, path)


def test_the_difference_is_paired_and_only_common_images_count(tmp_path: Path) -> None:
    one = answers(tmp_path / "a" / "answers.csv", [False] * 20 + [True] * 20)
    two = answers(tmp_path / "b.csv", [True] * 40 + [False] * 4, first=0)
    found = compare_files(one.parent, two)
    lines = compared_lines(found)
    assert lines[0] == "40 images of 10 references; left out: 0 of the first, 4 of the second"
    assert "second - first: +50.0 points [" in lines[1]
    assert "right only in the first 0, only in the second 20" in lines[2]
    assert lines[2].endswith(f"p {mcnemar([False] * 20 + [True] * 20, [True] * 40).p:.3g}")
    shown = CliRunner().invoke(app, ["compare", str(one), str(two)])
    assert shown.exit_code == 0 and shown.output.splitlines() == lines
    document = json.loads(CliRunner().invoke(app, ["compare", str(one), str(two), "--json", "--quiet"]).stdout)
    assert (
        document["result"] == found
        and found["gain"] == 0.5
        and found["low"] < 0.5 < found["high"]
        and found["only_second"] == 20
    )


def test_what_cannot_be_compared_is_refused_with_the_reason(tmp_path: Path) -> None:
    one = answers(tmp_path / "a.csv", [True] * 8)
    with pytest.raises(InputError, match="have no image in common. Ask both models about the same set"):
        compare_files(one, answers(tmp_path / "b.csv", [True] * 8, first=100))
    with pytest.raises(InputError, match="have other true classes for the same images"):
        compare_files(one, answers(tmp_path / "c.csv", [True] * 8, label="noise"))
    with pytest.raises(InputError, match="cannot be read .* Expected a folder or .csv that `snellen ask --out` wrote"):
        compare_files(one, tmp_path)
    write_csv([{"id": 1}], tmp_path / "d.csv")
    with pytest.raises(InputError, match="lack the columns reference, label, correct"):
        compare_files(one, tmp_path / "d.csv")
