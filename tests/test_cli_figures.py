"""``snellen figures``: the figures of every kind of run again, from its saved results alone."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.figures import exam_figures, written
from analysis.figures.files import there
from analysis.figures.saved import OVERLAYS, RECORDS, numbers, saved_figures
from snellen.cli import app
from stimuli.errors import InputError
from stimuli.result_files import dumps
from stimuli.tables import write_csv, write_json
from tests import test_figures_distance_map, test_figures_patching, test_figures_processed, test_figures_teaching
from tests.test_figures_all import probe, results

__all__ = ["results"]
ROOT = Path(__file__).parent.parent


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["figures", *map(str, arguments)], catch_exceptions=True)


@pytest.fixture
def exam(results: dict[str, Any], tmp_path: Path) -> Path:
    """The folder of an exam that did not tune."""
    write_json(results, tmp_path / "exam" / "results.json")
    return tmp_path / "exam"


def test_the_figures_of_an_exam_are_those_it_drew_and_torch_is_not_needed(
    exam: Path, results: dict[str, Any], tmp_path: Path
) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from snellen.cli import app;"
        f"done = CliRunner().invoke(app, ['figures', {str(exam)!r}, '--only', 'survival,confusion', '--format', 'svg']);"
        "print(done.output); assert done.exit_code == 0, done.output;"
        "assert not {'torch', 'transformers', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "2 figures as svg" in done.stdout
    plan = {name: make for name, make in exam_figures(results).items() if name in ("survival", "confusion")}
    for name, own in written(plan, tmp_path / "drawn", ("svg",)).items():
        assert (exam / "figures" / f"{name}.svg").read_bytes() == own["svg"].read_bytes()
    with open(exam / "figures" / "survival.csv", encoding="utf-8") as handle:
        assert [row["score"] for row in csv.DictReader(handle)] == ["0.5", "0.9", "0.6"]
    assert len(list((exam / "figures").iterdir())) == 4, "nothing but what was asked for"


def test_a_column_has_a_folder_of_its_own_and_machines_are_told(exam: Path) -> None:
    done = run(exam, "--column", "single", "--only", "survival", "--format", "pdf", "--json", "--quiet")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["result"]
    path = exam / "figures-single" / "survival.pdf"
    assert told == {"folder": str(path.parent), "figures": {"survival": {"pdf": str(path)}}}
    data = path.read_bytes()
    assert b"/MediaBox [ 0 0 252" in data and b"/Type3" not in data and b"/FontFile2" in data, (
        "3.5 inches, letters embedded as TrueType"
    )


def test_figures_with_data_are_named_and_nothing_is_drawn(exam: Path) -> None:
    done = run(exam, "--list")
    assert done.exit_code == 0 and done.output.split() == ["survival", "responses", "confusion", "levels", "severity"]
    assert not (exam / "figures").exists()


def test_what_has_no_data_is_told(exam: Path) -> None:
    done = run(exam, "--only", "plane", "--format", "png")
    assert done.exit_code == 0 and "There is no data for plane." in done.output


def folders(place: Path) -> dict[str, set[str]]:
    """A folder of each other kind of run, and the figures it should have."""
    rows = [probe("pixels", "input", 0.5), probe("vision.0", "vision", 0.9)]
    rows = [{**row, "chance": 0.5, "majority": 0.5} for row in rows]
    write_json({"settings": {"target": "artist"}, "tables": {"probe": rows}}, place / "probe" / "probe.json")
    write_json({"table": test_figures_processed.ROWS}, place / "processed" / "processed.json")
    write_json({"patching": test_figures_patching.table(), "notes": []}, place / "patch" / "patching.json")
    distance = test_figures_distance_map.table()
    write_json({"distance": distance, "classes": list(test_figures_distance_map.CLASSES)}, place / "distance" / "distance.json")
    teaching = {"matrix": test_figures_teaching.MATRIX, "rates": test_figures_teaching.RATES, "forgotten": [],
                "base": {"balanced_accuracy": 0.13, "chance": 0.125}}  # fmt: skip
    write_json(teaching, place / "compare" / "teaching.json")
    write_json({"config": {"component": "vision"}, "forgotten": []}, place / "tune" / "report.json")
    write_csv([{"step": i, "answer": 2.0 - 0.1 * i} for i in range(4)], place / "tune" / "history.csv")
    overlays = {
        "images": [np.zeros((8, 8, 3), np.uint8)],
        "maps": {"gradient": [np.eye(2)]},
        "masks": [None],
        "names": ["blur 5"],
    }
    (place / "attribute").mkdir()
    (place / "attribute" / OVERLAYS).write_text(dumps(overlays))
    return {
        "probe": {"survival"}, "processed": {"processed"}, "patch": {"patching_recovery", "patching_effect"},
        "distance": {"map_centred", "map_margin"}, "compare": {"matrix", "rates"}, "tune": {"training"}, "attribute": {"overlays"},
    }  # fmt: skip


@pytest.mark.slow
def test_every_kind_of_run_is_known(tmp_path: Path) -> None:
    for name, figures in folders(tmp_path).items():
        assert set(there(saved_figures(tmp_path / name))) == figures, name


def test_numbers_of_a_table_are_numbers_and_gaps_are_none(tmp_path: Path) -> None:
    rows = [{"step": 3, "loss": 0.25, "site": "llm.0", "gap": None}]
    assert numbers(write_csv(rows, tmp_path / "a.csv")) == rows and type(numbers(tmp_path / "a.csv")[0]["step"]) is int
    assert numbers(tmp_path / "none.csv") == []


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"holds no results\. Expected a folder with one of results\.json, .*which the commands write with --out",
    ):
        saved_figures(tmp_path)
    with pytest.raises(InputError, match="nowhere does not exist"):
        saved_figures(tmp_path / "nowhere")
    (tmp_path / "exam.json").write_text("{}")
    with pytest.raises(InputError, match="Its exam is not finished: the same command goes on"):
        saved_figures(tmp_path)


@pytest.mark.parametrize("name", [name for name in RECORDS if name not in ("summary.json", OVERLAYS)])
def test_damaged_and_foreign_results_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{")
    with pytest.raises(InputError, match=rf"{name} is damaged .*Expected JSON"):
        saved_figures(tmp_path)
    (tmp_path / name).write_text("[]")
    with pytest.raises(InputError, match=rf"{name} is not what this version writes .*Run it again with this version"):
        saved_figures(tmp_path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--format", "gif"], r"Got --format gif; expected png, pdf, svg. Use some of these"),
        (["--only", "survivor"], r"Got --only survivor; expected some of survival, .*--list names those with data"),
        (["--column", "triple"], r"Got the column 'triple'; expected single, double, or a width"),
    ],
)
def test_what_cannot_be_drawn_is_refused(exam: Path, options: list[str], told: str) -> None:
    done = run(exam, *options)
    assert done.exit_code != 0 and isinstance(done.exception, InputError)
    with pytest.raises(InputError, match=told):
        raise done.exception
    assert not list(exam.glob("figures*"))


def test_what_only_drawing_finds_missing_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "processed.json").write_text('{"table": [{"class": "blur"}]}')
    with pytest.raises(
        InputError, match=r"processed.json is not what this version writes \(KeyError.*Run it again with this version"
    ):
        [make() for make in saved_figures(tmp_path).values()]
