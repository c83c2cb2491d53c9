"""Rows and files that prove themselves: whatever else stands there is no row."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hooks import records
from stimuli.errors import InputError

ROWS: list[dict[str, Any]] = [
    {"id": "s0", "text": 'two\nlines, "quoted", na\u00efve \u2028 \u2603', "share": 0.1 + 0.2},
    {"id": "s1", "by_level": {1: 2, 10: 3}, "nothing": None},
]
PLAIN = json.loads(json.dumps(ROWS))


def filled(folder: Path) -> Path:
    path = folder / "rows.jsonl"
    for row in ROWS:
        records.append(path, [row])
    return path


@settings(deadline=None, max_examples=60)
@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_no_flipped_bit_of_a_row_goes_unnoticed(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int) -> None:
    path = filled(tmp_path_factory.mktemp("rows"))
    assert records.read(path) == PLAIN and records.unsound(path) == []
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 1 << bit
    path.write_bytes(data)
    assert all(row in PLAIN for row in records.read(path))
    assert records.unsound(path)  # also the line end behind the last row


@settings(deadline=None, max_examples=60)
@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_no_flipped_bit_of_a_file_goes_unnoticed(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int) -> None:
    path = records.write(tmp_path_factory.mktemp("file") / "a.json", {"rows": ROWS, "format": 3})
    assert records.load(path) == {"rows": PLAIN, "format": 3}
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 1 << bit
    path.write_bytes(data)
    assert records.load(path) is None
    with pytest.raises(InputError, match=r"a\.json is damaged.*checksum does not hold.*Buy a disk"):
        records.needed(path, "Buy a disk.")


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = filled(tmp_path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        records.append(path, ROWS)
    monkeypatch.undo()
    assert path.read_bytes() == before
    records.append(path, ROWS)  # room again: no half line stands before it
    assert records.read(path) == [*PLAIN, *PLAIN]
