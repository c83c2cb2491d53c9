"""Temporary folders go with what needs them, and not before."""

import gc
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from hooks.extract import extract
from hooks.load import Mllm
from hooks.scratch import Scratch
from stimuli.errors import InputError
from stimuli.types import Stimulus, StimulusSet


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_store_without_a_folder_leaves_none_behind(llava: Mllm, six: StimulusSet, temporary: Path) -> None:
    store = extract(llava, six, ["projector"], progress=False)
    kept = extract(llava, six, ["projector"], out=temporary / "kept", progress=False).read("projector").values
    acts = store.read("projector")
    del store
    gc.collect()
    assert list(temporary.glob("snellen-*"))  # what was read still needs its file,
    assert np.array_equal(acts.tensor.numpy(), kept)  # which is opened again here
    values = acts.values
    del acts
    gc.collect()
    assert not list(temporary.glob("snellen-*")) and np.array_equal(values, kept)
    assert (temporary / "kept" / "config.json").is_file()


def test_a_failed_extraction_leaves_none_behind(llava: Mllm, temporary: Path) -> None:
    missing = Stimulus("gone", "r", None, None, pixels=temporary / "gone.png")
    with pytest.raises(InputError, match=r"gone\.png"):
        extract(llava, [missing], ["projector"], progress=False, strict=True)
    gc.collect()
    assert not list(temporary.glob("snellen-*"))


def test_the_folder_goes_when_its_process_ends_and_not_with_a_forked_one(tmp_path: Path) -> None:
    script = (
        "import os, sys; from hooks.scratch import Scratch; s = Scratch()\n"
        "if os.fork() == 0:\n    del s; os._exit(0)\n"
        "os.wait(); print(s.path, s.path.is_dir())"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    assert said[1] == "True" and not Path(said[0]).exists() and Path(said[0]).parent == tmp_path


def test_each_is_a_folder_of_its_own(temporary: Path) -> None:
    one, other = Scratch(), Scratch()
    assert one.path != other.path and one.path.parent == temporary
    del one
    assert other.path.is_dir()
