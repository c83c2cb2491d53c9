"""A built wheel holds every room and both patients, and works from another folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.heavy
def test_the_wheel_holds_everything_and_examines_from_another_folder(tmp_path: Path) -> None:
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{ROOT}", str(source)], check=True)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for wanted in (
        "stimuli/data/questions.yaml", "stimuli/data/taxonomies/paper8.yaml", "hooks/capture.py", "probes/sweep.py",
        "tuning/tune.py", "analysis/report/templates/report.html", "analysis/report/templates/style.css",
        "analysis/report/templates/common.js", "analysis/figures/snellen.mplstyle",
        "snellen/embedded/embedded/model.safetensors", "snellen/embedded/embedded-template/tokenizer.json",
    ):  # fmt: skip
        assert wanted in names, wanted
    assert not any(name.startswith(("tests/", "benchmarks/", "notebooks/")) for name in names)
    site = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    small = ["references=6", "arms=[]", "folds=3", "levels=[5]", "n_boot=50", "random_baseline=false", "few=2", "repeats=2"]
    options = [part for pair in small for part in ("--set", pair)]
    command = [
        sys.executable,
        "-P",
        "-c",
        "import snellen.cli as c; print(c.__file__); c.main()",
        "exam",
        "--out",
        "run",
        *options,
    ]
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(site) in done.stdout and "Verdict:" in done.stdout
    assert (elsewhere / "run" / "report.html").is_file()
