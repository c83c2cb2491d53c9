"""What a folder of activations holds: one line per group of stimuli, in the manifest of the process that wrote them.

Each process writes into a folder of its own below ``parts/``, so that any number of them, on any number of machines, share a
store without locks. A line names its stimuli, its files with their sizes, and for each tensor its file, type, shape and CRC-32.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from stimuli.tables import write_json

PARTS, MANIFEST = "parts", "manifest.jsonl"


@dataclass(frozen=True)
class Line:
    """A group of stimuli whose activations lie in the same files."""

    part: Path
    ids: tuple[str, ...]
    files: Mapping[str, int]
    """File to size in bytes."""
    tensors: Mapping[str, Mapping[str, Any]]
    """Site (or ``offsets(site)``) to file, dtype, shape, crc32."""

    @property
    def whole(self) -> bool:
        """Whether every file is there at its full length."""
        return all(_size(self.part / name) == size for name, size in self.files.items())

    @property
    def bytes(self) -> int:
        """Size of its files."""
        return sum(self.files.values())

    def record(self, replaces: Sequence[str] = ()) -> dict[str, Any]:
        """The line as it is written; ``replaces`` are files of earlier lines that it takes the place of."""
        record = {"ids": list(self.ids), "files": dict(self.files), "tensors": dict(self.tensors)}
        return {**record, "replaces": list(replaces)} if replaces else record


def offsets(site: str) -> str:
    """The tensor that says where each stimulus's rows begin at a site with several rows per stimulus."""
    return f"{site}#offsets"


def parts(folder: Path) -> list[Path]:
    """The folders of the processes that wrote here, oldest first."""
    return sorted(path.parent for path in (folder / PARTS).glob(f"[!.]*/{MANIFEST}"))


def all_parts(folder: Path) -> list[Path]:
    """The same, also of processes that have written no activations yet."""
    return sorted(path for path in (folder / PARTS).glob("[!.]*") if path.is_dir())


def lines(part: Path) -> list[Line]:
    """The groups of one process that are in force."""
    found: dict[str, Line] = {}
    for record in read_lines(part / MANIFEST):
        if "ids" not in record:
            continue
        line = Line(part, tuple(record["ids"]), record["files"], record["tensors"])
        key, gone = next(iter(line.files)), set(record.get("replaces", ()))
        if gone:  # it stands where the first line that it replaces stood
            found = {key if name in gone else name: line if name in gone else one for name, one in found.items()}
        found[key] = line
    return list(found.values())


def append_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows to a JSON-lines file and sync it."""
    with open(path, "a", encoding="utf-8") as handle:
        handle.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        handle.flush()
        os.fsync(handle.fileno())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file; a half-written last line, as a kill leaves it, is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def write_once(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON, whole, unless another process has done so before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = write_json(value, path.with_name(f".{path.stem}-{secrets.token_hex(4)}.json"))
    try:
        os.link(own, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        if not path.is_file():
            os.replace(own, path)
    own.unlink(missing_ok=True)


def owner() -> dict[str, Any]:
    """Who writes: host and process."""
    return {"host": socket.gethostname(), "pid": os.getpid()}


def finished(part: Path) -> bool:
    """Whether the process that wrote a part came to its end."""
    return any("run" in record for record in read_lines(part / MANIFEST))


def writing(part: Path) -> bool | None:
    """Whether a part is still being written: False if its process ended, None if that runs, or ran, on another machine."""
    if finished(part):
        return False
    try:
        who = json.loads((part / "owner.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    if who["host"] != socket.gethostname():
        return None
    return bool(psutil.pid_exists(who["pid"]))


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
