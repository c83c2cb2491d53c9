"""The folder of one probing: tables, notes and settings; a step is done once and written when it is finished."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snellen.provenance import now, provenance
from stimuli.errors import InputError
from stimuli.tables import Table, write_csv, write_json

SUMMARY = "probe.json"
Tables = dict[str, Table]
Notes = dict[str, Any]
Step = Callable[[], tuple[Tables, Notes]]


@dataclass(frozen=True)
class Book:
    """Tables and notes, in a folder if there is one."""

    folder: Path | None
    settings: dict[str, Any]
    model: Any
    data: Mapping[str, Mapping[str, Any]]
    tables: Tables
    notes: Notes

    @classmethod
    def opened(cls, folder: Path | None, settings: dict[str, Any], model: Any, data: Mapping[str, Mapping[str, Any]]) -> Book:
        """A new one, or what the folder holds for the same settings."""
        if folder is not None and folder.is_file():
            raise InputError(
                f"{folder} is a file; expected a folder, or a name that ends in .csv or .json. Give another --out."
            )
        file = None if folder is None else folder / SUMMARY
        if file is None or not file.exists():
            return cls(folder, settings, model, data, {}, {})
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
            there = dict(kept["settings"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{file} is not what `snellen probe` wrote ({type(error).__name__}: {error}). Expected its settings and tables. Give another "
                "--out, or take the file away."
            ) from error
        other = [key for key in settings if there.get(key) != settings[key]]
        if other:
            told = "; ".join(f"{key}: {kept['settings'].get(key)} there, {settings[key]} now" for key in other)
            raise InputError(
                f"{folder} holds a probing with other settings ({told}). Expected the same ones, whose finished tables are kept. Give another "
                f"folder, such as --out {file.parent / settings['target']}."
            )
        return cls(folder, settings, model, data, kept["tables"], kept["steps"])

    def keep(self, name: str, step: Step) -> None:
        """Do a step that is not done yet, and write it: its tables as CSV, and everything as JSON."""
        if name in self.notes:
            return
        started = time.monotonic()
        tables, notes = step()
        self.tables.update(tables)
        self.notes[name] = {**notes, "tables": list(tables), "made": now(), "seconds": round(time.monotonic() - started, 1)}
        if self.folder is not None:
            for table, rows in tables.items():
                write_csv(rows, self.folder / f"{table}.csv")
            about = {"settings": self.settings, "provenance": provenance(self.model, self.data)}
            write_json({**about, "steps": self.notes, "tables": self.tables}, self.folder / SUMMARY)


def checksum(value: Any) -> str:
    """Of anything that is JSON, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
