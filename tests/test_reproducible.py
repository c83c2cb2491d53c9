"""Runs are compared number by number, repeated from their own config, and those of earlier versions are refused in words."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hooks.book import Book
from hooks.store import Store
from hooks.writer import Writer
from snellen.cli import app
from snellen.repeat import arguments, rerun
from snellen.runcompare import compare_folders
from stimuli.errors import InputError
from stimuli.tables import write_csv

HERE = Path(__file__).parent / "data"
MADE: dict[str, Any] = {
    "snellen": "0.1.0", "command": "snellen probe runs/a --out runs/b", "commit": "abc", "platform": "p", "threads": 1,
    "versions": {"torch": "2.13.0"}, "model": {"checksum": "m", "image_backend": "pil"}, "data": {"exam": {"checksum": "d"}},
    "seconds": {"model": 1.0}, "started": "now",
}  # fmt: skip


def run(folder: Path, name: str = "results.json", made: dict[str, Any] | None = None, **values: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps({"provenance": {**MADE, **(made or {})}, **values}))
    return folder


def test_values_are_equal_within_or_different_and_the_keys_are_told(tmp_path: Path) -> None:
    a = run(tmp_path / "a", x={"score": 0.5, "n": 3, "names": ["u", "v"], "seconds": 1.5}, big=2e9, none=None)
    b = run(tmp_path / "b", x={"score": 0.5 + 1e-8, "n": 4, "names": ["u", "w"], "seconds": 9.5}, big=2e9 + 100, none=0)
    found = compare_folders(a, b, 1e-6)
    assert {row["key"]: row["status"] for row in found.table} == {
        "x.score": "within", "x.n": "different", "x.names.1": "different", "big": "within", "none": "different"
    }  # fmt: skip
    assert not found.same and found.within == 2 and len(found.different) == 3
    assert compare_folders(a, b, 1e-9).within == 0, "the tolerance counts"
    assert "2 within 1e-06, 3 different" in found.sentence


@pytest.mark.parametrize(("first", "second"), [([1], [1, 1]), ({"a": 1}, {"b": 1}), (True, 1), ("1", 1.5), (1.0, None)])
def test_what_is_missing_or_of_another_kind_is_different(first: Any, second: Any, tmp_path: Path) -> None:
    assert not compare_folders(run(tmp_path / "a", x=first), run(tmp_path / "b", x=second), 10).same


def test_times_and_provenance_are_not_compared_but_what_decides_numbers_is_warned_of(tmp_path: Path) -> None:
    other = {
        "versions": {"torch": "2.9.0"}, "model": {"checksum": "n", "image_backend": "pil"}, "data": {"exam": {"checksum": "e"}},
        "started": "later", "threads": 2, "command": "another",
    }  # fmt: skip
    found = compare_folders(run(tmp_path / "a", x=1), run(tmp_path / "b", made=other, x=1))
    assert found.same and found.table == []
    told = "\n".join(found.warnings)
    for name in ("torch: 2.13.0 in the first, 2.9.0 in the second", "model's checksum: m", r"data (exam): d", "threads: 1"):
        assert name in told
    assert len(found.warnings) == 4
    assert compare_folders(run(tmp_path / "a", x=1), run(tmp_path / "b", x=1)).warnings == ()


def test_of_a_command_all_tables_count(tmp_path: Path) -> None:
    for name, score in (("a", 0.5), ("b", 0.75)):
        write_csv([{"site": "s", "score": score, "seconds": score}], run(tmp_path / name, "probe.json", x=1) / "probe.csv")
    found = compare_folders(tmp_path / "a", tmp_path / "b")
    assert [(row["file"], row["key"], row["status"]) for row in found.table] == [("probe.csv", "0.score", "different")]


def test_of_activations_every_site_counts_in_whatever_files_they_lie(tmp_path: Path) -> None:
    values = torch.arange(12.0).reshape(4, 3)
    for name, parts, more in (("a", [[0, 1, 2, 3]], 0.0), ("b", [[2, 3], [0, 1]], 0.0), ("c", [[0, 1, 2, 3]], 1e-3)):
        into = Writer(run(tmp_path / name, "command.json"), {"sites": ["p"], "pool": "mean", "model": {}})
        for rows in parts:
            into.batch([{"id": f"s{i}", "reference": "r"} for i in rows], {"p": values[rows] + more})
    assert compare_folders(tmp_path / "a", tmp_path / "b").same
    found = compare_folders(tmp_path / "a", tmp_path / "c")
    assert [row["key"] for row in found.different] == ["p"] and found.table[0]["difference"] == pytest.approx(1e-3, rel=0.01)
    assert compare_folders(tmp_path / "a", tmp_path / "c", 1e-2).same


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    a = run(tmp_path / "a", x=1)
    with pytest.raises(InputError, match="no file of results in common"):
        compare_folders(a, run(tmp_path / "b", "probe.json", x=1))
    with pytest.raises(InputError, match="holds no finished run that says how it was made"):
        compare_folders(a, tmp_path / "nowhere")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "exam.json").write_text("{}")
    (tmp_path / "c" / "cause.json").write_text(json.dumps({"provenance": MADE}))
    with pytest.raises(InputError, match="finish the run first"):  # an exam that was stopped
        compare_folders(a, tmp_path / "c")
    with pytest.raises(InputError, match="tolerance of -1"):
        compare_folders(a, a, -1)
    (a / "results.json").write_text("{")
    with pytest.raises(InputError, match="results.json is damaged"):
        compare_folders(a, a)


def test_the_command_is_taken_from_the_run_with_another_folder() -> None:
    typed = "snellen ask 'my model' --images a.csv --out runs/x --json --set a=1"
    assert arguments(Path("r"), {"command": typed}) == ["ask", "my model", "--images", "a.csv", "--set", "a=1"]
    assert arguments(Path("r"), {"command": "__main__.py probe runs/a --out=runs/x"}) == ["probe", "runs/a"]
    for command in ("ipykernel_launcher.py -f x", "", "snellen"):
        with pytest.raises(InputError, match="not by a command of snellen's.*sn.compare_folders"):
            arguments(Path("r"), {"command": command})


def test_a_run_is_not_compared_with_itself_and_a_failing_command_is_told(tmp_path: Path) -> None:
    a = run(tmp_path / "a", "probe.json", made={"command": f"snellen probe {tmp_path / 'nothing'}"})
    with pytest.raises(InputError, match="expected two folders"):
        rerun(a, tmp_path / "." / "a")
    with pytest.raises(InputError, match=r"failed with exit code 2 \(snellen probe .*nothing.* --out .*a-again\)"):
        rerun(a, progress=False)


def test_an_exam_is_repeated_with_its_own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def exam(model: str, out: Path, **settings: Any) -> None:
        given.update({"model": model, **settings})
        run(out, x=2.0)

    monkeypatch.setattr(sys.modules["snellen.repeat"], "exam", exam)
    a = run(tmp_path / "a", x=1.0)
    (a / "exam.json").write_text(json.dumps({"model": "m", "seed": 7, "lr": None}))
    done = CliRunner().invoke(app, ["rerun", str(a), "--no-progress"])
    assert given == {"model": "m", "seed": 7, "lr": None, "progress": False}
    assert done.exit_code == 1 and "different  results.json  x: 1.0 → 2.0" in done.output and (tmp_path / "a-again").is_dir()
    done = CliRunner().invoke(app, ["rerun", str(a), "--tolerance", "0.5", "--json"])
    told = json.loads(done.stdout)
    assert done.exit_code == 0 and told["result"]["same"] and told["result"]["within"] == 1
    (a / "exam.json").write_text(json.dumps({"model": "m", "of_old": 7}))
    with pytest.raises(InputError, match="the settings of_old, which this version does not know"):
        rerun(a)


@pytest.mark.parametrize("number", [1, 2])
def test_activations_of_earlier_versions_are_refused_with_what_they_are_of(number: int) -> None:
    with pytest.raises(InputError, match=rf"have format {number}; this version.*format 3. Extract them again.*\"embedded\""):
        Store(HERE / f"store-format-{number}")


def test_an_extraction_into_the_folder_of_an_earlier_version_is_refused_and_leaves_it(tmp_path: Path) -> None:
    there = shutil.copytree(HERE / "store-format-2", tmp_path / "s")
    before = {path: path.read_bytes() for path in there.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="format 2"):
        Writer(there, {"sites": ["projector"], "model": {}})
    assert {path: path.read_bytes() for path in there.rglob("*") if path.is_file()} == before


def test_answers_of_an_earlier_version_are_refused_and_left(tmp_path: Path) -> None:
    there = shutil.copytree(HERE / "answers-without-checksum", tmp_path / "answers")
    before = {path: path.read_bytes() for path in there.iterdir()}
    with pytest.raises(InputError, match="an earlier version of Snellen wrote it.*Give another --out"):
        Book(there, json.loads((there / "model.json").read_text()))
    assert {path: path.read_bytes() for path in there.iterdir()} == before


@pytest.mark.heavy
def test_an_exam_in_two_processes_is_the_same_to_the_last_bit(tmp_path: Path) -> None:
    """Other hash seeds, so that an order that rests on them shows."""
    import os
    import subprocess

    sets = ["references=4", "train_references=6", "steps=2", "batch_size=4", "levels=[5]", "few=2", "repeats=2", "cause=3", "folds=3",
            "n_boot=30", "arms=[vision]"]  # fmt: skip
    exam = ["exam", "--out", str(tmp_path / "a"), *(part for own in sets for part in ("--set", own))]
    for seed, command in (("1", exam), ("2", ["rerun", str(tmp_path / "a"), "--tolerance", "0"])):
        own = [sys.executable, "-m", "snellen", *command, "--no-progress"]
        done = subprocess.run(own, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    found = compare_folders(tmp_path / "a", tmp_path / "a-again", 0)
    assert found.table == [] and found.warnings == () and found.equal > 1000
    assert np.isfinite(json.loads((tmp_path / "a" / "results.json").read_text())["perception"]["base"]["accuracy"])
