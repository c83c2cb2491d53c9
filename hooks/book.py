"""Answers on disk: one line each, found again by what was asked about which stimulus, so that none is asked for twice."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hooks import records
from hooks.recipe import difference
from stimuli.errors import InputError

RECORD = "model.json"
PART = "answers-*.jsonl"


class Book:
    """The answers of one model; any number of processes may write to the same folder, each into a file of its own."""

    def __init__(self, folder: Path | None, model: Mapping[str, Any]) -> None:
        """Open a folder of answers, or begin one.

        Args:
            folder: where; None keeps everything in memory.
            model: who answers, JSON-able.

        Raises:
            InputError: the folder holds the answers of another model, or something else.
        """
        self._folder, self._file = folder, None if folder is None else folder / f"answers-{secrets.token_hex(6)}.jsonl"
        self._rows: dict[str, dict[str, Any]] = {}
        if folder is not None:
            _claim(folder, json.loads(json.dumps(model)))
            self.refresh()

    def refresh(self) -> None:
        """Read what is in the folder, by whichever process; lines that a kill or a disk has damaged are left out."""
        if self._folder is None:
            return
        for path in sorted(self._folder.glob(PART)):
            for row in records.read(path):
                if "key" in row:
                    self._rows[row["key"]] = row

    def __contains__(self, key: str) -> bool:
        """Whether an answer is known."""
        return key in self._rows

    def __getitem__(self, key: str) -> dict[str, Any]:
        """An answer."""
        return self._rows[key]

    def __len__(self) -> int:
        """How many are known."""
        return len(self._rows)

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep some answers; when this returns they outlast anything.

        Raises:
            InputError: they cannot be written.
        """
        self._rows |= {row["key"]: dict(row) for row in rows}
        self._write(rows)

    def log(self, run: Mapping[str, Any]) -> None:
        """Keep what a run measured of itself."""
        self._write([{"run": dict(run)}])

    @property
    def runs(self) -> list[dict[str, Any]]:
        """What the runs measured of themselves, file by file."""
        if self._folder is None:
            return []
        return [row["run"] for path in sorted(self._folder.glob(PART)) for row in records.read(path) if "run" in row]

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if self._file is not None and rows:
            with _told(self._file.parent):
                records.append(self._file, rows)


def _claim(folder: Path, model: Mapping[str, Any]) -> None:
    record = folder / RECORD
    foreign = folder.exists() and (not folder.is_dir() or any(path.name[0] != "." for path in folder.iterdir()))
    if record.is_file() and records.load(record) is None and not any(folder.glob(PART)):
        record.unlink(missing_ok=True)  # half-written by a file system whose renames are copies; there is no answer yet
        foreign = False
    if not record.is_file():  # looked for last: other processes may be claiming the folder
        if foreign:
            raise InputError(
                f"The folder {folder} is not empty and holds no answers ({RECORD} is missing). Give a new folder as --out; nothing "
                "was overwritten."
            )
        with _told(folder):
            records.write_once(record, model)
    there = records.needed(record, "Give another --out; what is in the folder is left as it is.")
    if changed := difference(there, model):
        raise InputError(
            f"The folder {folder} holds the answers of another model ({changed}). Give another --out, or load the same model; "
            "nothing was overwritten."
        )


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Say what to do where a disk refuses.

    Raises:
        InputError: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise InputError(
            f"Answers cannot be written to {folder} ({error}). What was written before is whole. Make room, or check the folder, and run "
            "the same again: it goes on."
        ) from error
