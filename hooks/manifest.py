"""What a folder of activations holds: one line per group of stimuli, in the manifest of the process that wrote them.

Each process writes into a folder of its own below ``parts/``, so that any number of them, on any number of machines, share a
store without locks. A line names its stimuli, its files with their sizes, and for each tensor its file, type, shape and CRC-32.
When the process ends, the part is sealed: length and CRC-32 of the manifest and of the files beside it, so that a line that is
lost is noticed, too.
"""

from __future__ import annotations

import os
import socket
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from hooks import records
from hooks.shards import RAW
from stimuli.errors import InputError

PARTS, MANIFEST, STIMULI, SKIPPED = "parts", "manifest.jsonl", "stimuli.jsonl", "skipped.jsonl"
OWNER, SEAL = "owner.json", "seal.json"
SEALED = (MANIFEST, STIMULI, SKIPPED, OWNER)


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


def all_parts(folder: Path) -> list[Path]:
    """The folders of the processes that wrote here, oldest first; some may have written no activations yet."""
    return sorted(path for path in (folder / PARTS).glob("[!.]*") if path.is_dir())


def lines(part: Path) -> list[Line]:
    """The groups of one process that are in force.

    Raises:
        InputError: a line with a checksum that holds and contents that Snellen never writes.
    """
    found: dict[str, Line] = {}
    for record in records.read(part / MANIFEST):
        if "ids" not in record:
            continue
        if not _ours(record):
            raise InputError(
                f"{part / MANIFEST} holds a line that Snellen does not write. Expected ids, files of the same folder, and for each tensor its "
                "file, type, shape and checksum. Do not trust the folder, or extract again into another."
            )
        line = Line(part, tuple(record["ids"]), record["files"], record["tensors"])
        key, gone = next(iter(line.files)), set(record.get("replaces", ()))
        if gone:  # it stands where the first line that it replaces stood
            found = {key if name in gone else name: line if name in gone else one for name, one in found.items()}
        found[key] = line
    return list(found.values())


def _ours(record: Mapping[str, Any]) -> bool:
    """Whether a line is of the kind that is written here, its files in its own folder."""
    ids, files, tensors, gone = (record.get(key) for key in ("ids", "files", "tensors", "replaces"))
    return (
        isinstance(ids, list)
        and all(isinstance(id, str) for id in ids)
        and isinstance(files, dict)
        and bool(files)
        and all(Path(name).name == name and isinstance(size, int) for name, size in files.items())
        and isinstance(tensors, dict)
        and all(isinstance(entry, dict) and _tensor(entry, files) for entry in tensors.values())
        and (gone is None or isinstance(gone, list))
    )


def _tensor(entry: Mapping[str, Any], files: Mapping[str, Any]) -> bool:
    """Whether a tensor is described as it is here, in one of the files."""
    file, kind, shape, crc = (entry.get(key) for key in ("file", "dtype", "shape", "crc32"))
    known = isinstance(file, str) and file in files and isinstance(kind, str) and kind in RAW and isinstance(crc, int)
    return known and isinstance(shape, list) and all(isinstance(side, int) and side >= 0 for side in shape)


def known(part: Path) -> set[str]:
    """The stimuli of a part of which it is known what they were."""
    return {row["id"] for row in records.read(part / STIMULI)}


def gaps(part: Path) -> list[str]:
    """Files that a line takes the place of although no line before it named them: their own was lost."""
    seen: set[str] = set()
    found = []
    for record in records.read(part / MANIFEST):
        found += [name for name in record.get("replaces", ()) if name not in seen]
        seen.update(record.get("files", ()))
    return found


def runs(part: Path) -> list[dict[str, Any]]:
    """What each finished run of a part measured of itself."""
    return [row["run"] for row in records.read(part / MANIFEST) if "run" in row]


# ---- who writes, and whether it is done ------------------------------------------------------------------------------


def own(part: Path, recipe: Mapping[str, Any]) -> None:
    """Say who writes a part, and keep the store's recipe beside it, from which ``config.json`` can be written again."""
    part.mkdir(parents=True, exist_ok=True)
    records.write(part / OWNER, {"host": socket.gethostname(), "pid": os.getpid(), "recipe": recipe})


def recipes(folder: Path) -> list[dict[str, Any]]:
    """The store's recipe as its parts keep it, each different one once."""
    found: list[dict[str, Any]] = []
    for part in all_parts(folder):
        told = records.load(part / OWNER)
        if told is not None and told["recipe"] not in found:
            found.append(told["recipe"])
    return found


def seal(part: Path) -> None:
    """Say that nothing more will come."""
    files = {name: _measured(part / name) for name in SEALED}
    records.write(part / SEAL, {"files": {name: told for name, told in files.items() if told}})


def sealed(part: Path) -> bool:
    """Whether the process that wrote a part came to its end."""
    return (part / SEAL).is_file()


def broken(part: Path) -> dict[str, str]:
    """Files of a sealed part, none of them a shard, that are not what they were, each with what is wrong in a few words."""
    if not sealed(part):
        return {}
    told = records.load(part / SEAL)
    if told is None:
        return {SEAL: "is not what was written"}
    found = {}
    for name in SEALED:
        there = _measured(part / name)
        if there != told["files"].get(name):
            found[name] = "is missing" if there is None else "is not what it was when the run ended"
    return found


def writing(part: Path) -> bool | None:
    """Whether a part is still being written: False if its process ended, None if that runs, or ran, on another machine."""
    if sealed(part):
        return False
    who = records.load(part / OWNER)
    if who is None or who["host"] != socket.gethostname():
        return None
    return bool(psutil.pid_exists(who["pid"]))


def _measured(path: Path) -> list[int] | None:
    """Length and CRC-32 of a file; None if it is not there."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return [len(data), zlib.crc32(data)]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
