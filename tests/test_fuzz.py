"""What is fuzzed is read when it is good, and what libFuzzer finds is told."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks.reliability import fuzz
from stimuli.errors import InputError

PARSERS = fuzz.parsers()


@pytest.mark.parametrize("name", [name for name in PARSERS if name != "scores"])
def test_every_parser_reads_what_is_good(name: str, tmp_path: Path) -> None:
    file, good, read = PARSERS[name]
    for content in good:
        read(fuzz.placed(tmp_path, file, content), tmp_path / "out")


def test_a_part_of_a_dataset_is_refused_for_what_it_lacks(tmp_path: Path) -> None:
    file, good, read = PARSERS["scores"]
    with pytest.raises(InputError, match="images of kadid10k are listed but not there"):
        read(fuzz.placed(tmp_path, file, good[0]), tmp_path / "out")


def row(**changed: Any) -> dict[str, Any]:
    return {"parser": "p", "read": 3, "refused": 4, "first": 10, "last": 20, "finding": "", "said": "", "slowest": 0, **changed}


def test_findings_are_told() -> None:
    assert fuzz.section([row()], 60)[-1] == "Nothing was found." and "| p | 7 | 3 | 4 | 10 | 20 | 0 |" in fuzz.section(
        [row()], 60
    )
    assert fuzz.section([row(finding="ValueError: x")], 60)[-1] == "`p`: ValueError: x."


@pytest.mark.heavy
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed (pip install -e '.[fuzz]')")
@pytest.mark.parametrize("name", ["prompt", "manifest"])
def test_code_is_reached_that_good_files_do_not_reach(name: str) -> None:
    found = fuzz.fuzzed(name, 8)
    assert not found["finding"] and found["read"] + found["refused"] > 50 and found["last"] > found["first"] > 0
