"""What the smaller commands do."""

import csv
from pathlib import Path
from typing import Any

import pytest

from snellen.sources import chosen_set
from snellen.steps import redraw, verify, write_stimuli
from stimuli.distortions import Options
from stimuli.errors import InputError

HOW: dict[str, Any] = {
    "taxonomy": "paper8",
    "design": "balanced",
    "size": 32,
    "region": None,
    "options": Options(),
    "workers": 1,
}


def test_written_stimuli_are_read_back_with_their_labels(tmp_path: Path) -> None:
    assert write_stimuli(tmp_path, "embedded", 2, (5,), 0, HOW) == [f"16 stimuli of 2 references in {tmp_path}"]
    back = chosen_set(str(tmp_path / "stimuli.csv"), 0, (5,), 0)
    assert len(back) == 16 and {s.level for s in back} == {None, 5}
    assert chosen_set("embedded", 2, (5,), 0)[3].type == back[3].type


def test_a_split_is_written_and_its_counts_are_told(tmp_path: Path) -> None:
    lines = write_stimuli(tmp_path, "embedded", 10, (5,), 0, HOW, shares="0.6,0.2,0.2")
    assert "train" in lines[1] and "validation" in lines[1] and "all" in lines[-1]
    with open(tmp_path / "splits.csv") as handle:
        rows = list(csv.DictReader(handle))
    parts = {part: {row["reference"] for row in rows if row["part"] == part} for part in ("train", "validation", "test")}
    assert [len(own) for own in parts.values()] == [6, 2, 2] and len(set.union(*parts.values())) == 10
    with pytest.raises(InputError, match="Got --split 0.6,0.4; expected three shares"):
        write_stimuli(tmp_path, "embedded", 10, (5,), 0, HOW, shares="0.6,0.4")


def test_mixtures_and_a_sheet(tmp_path: Path) -> None:
    lines = write_stimuli(tmp_path, "embedded", 2, (5,), 0, HOW, mixed=True, sheet=True)
    assert lines[0].startswith("8 stimuli of 2 references") and lines[-1] == f"Sheet: {tmp_path / 'sheet.png'}"
    assert (tmp_path / "sheet.png").stat().st_size > 5000
    with pytest.raises(InputError, match="--mixed with --images leaves"):
        write_stimuli(tmp_path, "leaves", 2, (5,), 0, HOW, mixed=True)


def test_nothing_to_draw_or_check_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished exam"):
        redraw(tmp_path)
    with pytest.raises(InputError, match="no activations at or below"):
        verify(tmp_path)
