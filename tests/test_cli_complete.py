"""What the shell completes: by the function, and by bash itself."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from snellen import cli_complete, sources
from snellen.embedded import PATIENTS

SNELLEN = Path(sys.executable).with_name("snellen")


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a checkpoint, a folder of two runs, a hidden folder and a file."""
    for name in ("checkpoint", "runs/one", "runs/two", ".hidden", "ends"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "checkpoint" / "config.json").write_text("{}")
    (tmp_path / "emblem.txt").write_text("a file")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("inside")
def test_models_are_the_packaged_ones_and_folders() -> None:
    assert cli_complete.models("") == [*PATIENTS, "checkpoint", "ends", "runs"]
    assert cli_complete.models("emb") == list(PATIENTS)
    assert cli_complete.models("check") == ["checkpoint"]
    assert cli_complete.models("ru") == ["runs", "runs/one", "runs/two"]  # so that no space is set behind runs
    assert cli_complete.models("runs/o") == ["runs/one"] and cli_complete.models("no/such") == []
    assert cli_complete.models(".h") == [".hidden"]


def test_images_and_taxonomies_are_those_that_are_read() -> None:
    named = {name.rstrip(":") for name in cli_complete.images("")}
    assert {*sources.DATASETS, *sources.BUILTIN} <= named and cli_complete.images("kad") == ["kadid10k:"]
    assert cli_complete.taxonomies("p") == ["paper8"] and len(cli_complete.taxonomies("")) >= 5


@pytest.mark.skipif(not SNELLEN.exists(), reason="needs the installed command")
def test_completion_of_an_argument_of_another_module() -> None:
    """``steer`` has its model as an option that is declared elsewhere."""
    words = {"COMP_WORDS": "snellen steer projector --model embedded-", "COMP_CWORD": "4", "_SNELLEN_COMPLETE": "complete_bash"}
    done = subprocess.run([SNELLEN], env={**os.environ, **words}, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["embedded-template"]


@pytest.mark.skipif(not (SNELLEN.exists() and shutil.which("bash")), reason="needs the installed command and bash")
def test_bash_completes_commands_models_and_folders(inside: Path) -> None:
    """The script that ``--show-completion`` prints in bash, run by bash."""
    script = """
        eval "$(snellen --show-completion)"
        say() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _snellen_completion snellen; echo "${COMPREPLY[*]}"; }
        say snellen exa; say snellen exam embedded-; say snellen ask runs/
    """
    path = f"{SNELLEN.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["exam", "embedded-template", "runs/one runs/two"], done.stderr
