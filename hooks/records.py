"""JSON on disk that proves itself: every row of a JSON-lines file and every small JSON file carries a CRC-32 of its own.

A row counts only if its text is, byte for byte, what was written; so a flipped bit, a cut or an edit is noticed wherever it falls.
CRC-32 finds every error of up to 32 adjacent bits and others but for one in 4 billion (Peterson and Brown 1961); it is no defence
against somebody who wants to deceive.
"""

from __future__ import annotations

import json
import os
import secrets
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stimuli.errors import InputError
from stimuli.tables import json_text, write_text

CRC = "crc32"
Row = dict[str, Any]


def line(row: Mapping[str, Any]) -> str:
    """A row as it is written, its checksum last."""
    plain = json.loads(json.dumps(row))
    return json.dumps({**plain, CRC: _crc(plain)}, ensure_ascii=False)


def sound(text: bytes) -> Row | None:
    """The row that a line holds, without its checksum; None if it is not what was written."""
    try:
        row = json.loads(text)
        crc = row.pop(CRC)
        if crc == _crc(row) and json.dumps({**row, CRC: crc}, ensure_ascii=False).encode() == text:
            return dict(row)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        pass
    return None


def append(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows to a JSON-lines file and sync it; where that fails, the file is cut back to what it was.

    Raises:
        OSError: the disk is full, or the folder is gone.
        BaseException: whatever else interrupted it.
    """
    data = "".join(line(row) + "\n" for row in rows).encode()
    with open(path, "ab", buffering=0) as handle:
        size = handle.seek(0, os.SEEK_END)
        try:
            left = memoryview(data)
            while left:
                left = left[handle.write(left) :]
            os.fsync(handle.fileno())
        except BaseException:  # also Ctrl-C: whoever tidies up behind it may add rows
            _cut(handle, size)
            raise


def _cut(handle: Any, size: int) -> None:
    try:
        handle.truncate(size)
    except OSError:  # then half a line stays, which is told from a whole one when it is read
        pass


def rewrite(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a JSON-lines file anew, whole or not at all; without rows there is none."""
    text = "".join(line(row) + "\n" for row in rows)
    if not rows:
        path.unlink(missing_ok=True)
    elif not path.is_file() or path.read_bytes() != text.encode():  # what is right is not put at risk
        write_text(text, path)


def read(path: Path) -> list[Row]:
    """The sound rows of a JSON-lines file; none if there is no such file."""
    return [row for row in _rows(path) if row is not None]


def unsound(path: Path) -> list[int]:
    """Numbers, from 1, of the lines that are not what was written; a last line without its end is one, too."""
    return [number for number, row in enumerate(_rows(path, whole=True), 1) if row is None]


def _rows(path: Path, whole: bool = False) -> list[Row | None]:
    if not path.is_file():
        return []
    *lines, last = path.read_bytes().split(b"\n")
    rows = [sound(text) for text in lines]
    return [*rows, None if whole else sound(last)] if last else rows


def write(path: Path, value: Mapping[str, Any]) -> Path:
    """Write a small JSON file with its checksum, whole or not at all."""
    return write_text(text(value), path)


def write_once(path: Path, value: Mapping[str, Any]) -> None:
    """The same, unless another process has done so before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = write(path.with_name(f".{path.stem}-{secrets.token_hex(4)}.json"), value)
    try:
        os.link(own, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        if not path.is_file():
            os.replace(own, path)
    own.unlink(missing_ok=True)


def load(path: Path) -> Row | None:
    """The value of a small JSON file, without its checksum; None if it is not there or not what was written."""
    try:
        data = path.read_bytes()
        value: Row = json.loads(data)
        value.pop(CRC)
        return value if text(value).encode() == data else None
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None


def needed(path: Path, advice: str) -> Row:
    """The same of a file that must be sound.

    Args:
        path: of the file.
        advice: what to do if it is not, as a sentence.

    Raises:
        InputError: it is damaged.
    """
    found = load(path)
    if found is None:
        raise InputError(
            f"{path} is damaged, or an earlier version of Snellen wrote it: its checksum does not hold. Expected the file as it was "
            f"written. {advice}"
        )
    return found


def text(value: Mapping[str, Any]) -> str:
    """A small JSON file as it is written."""
    plain: Row = json.loads(json_text(value))
    return json_text({**plain, CRC: _crc(plain)})


def _crc(row: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(row, ensure_ascii=False, sort_keys=True).encode())
