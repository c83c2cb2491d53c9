"""A folder of activations: safetensors shards and a manifest; what a killed run wrote stays readable, what it lacks is known.

Layout: ``config.json`` (what the activations are of), ``stimuli.jsonl`` (what was shown), ``skipped.jsonl`` (what could not
be), ``manifest.jsonl`` (one line per shard: file, ids, shapes, SHA-256) and ``shard-00000.safetensors`` …, one key per site,
rows in the order of the ids. A shard is written to a temporary name, synced and renamed; only then its line is appended.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stimuli.errors import InputError
from stimuli.tables import write_json


@dataclass(frozen=True)
class Activations:
    """The rows of one site."""

    ids: tuple[str, ...]
    values: np.ndarray
    """Shape (n, d); memory-mapped where the site lies in one shard."""


class Store:
    """Activations on disk, by site and stimulus id."""

    def __init__(self, folder: str | Path) -> None:
        """Open a folder.

        Raises:
            InputError: the folder holds no activations.
        """
        self.folder = Path(folder)
        if not (self.folder / "config.json").is_file():
            raise InputError(
                f"The folder {self.folder} holds no activations (no config.json). Expected a folder that sn.extract or "
                "`snellen extract --out` wrote. Check the path."
            )
        self.config: dict[str, Any] = json.loads((self.folder / "config.json").read_text())
        self._manifest = _lines(self.folder / "manifest.jsonl")
        self._metadata = {row["id"]: row for row in _lines(self.folder / "stimuli.jsonl")}

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites, in order."""
        return tuple(self.config["sites"])

    @property
    def dead_ends(self) -> tuple[str, ...]:
        """The sites that the model's answer does not depend on, as its self-test found."""
        return tuple(self.config.get("dead_ends", ()))

    @property
    def ids(self) -> tuple[str, ...]:
        """The stimuli, in the order of every site's rows."""
        return tuple(id for line in self._manifest for id in line["ids"])

    @property
    def skipped(self) -> list[dict[str, Any]]:
        """Stimuli that could not be read, with the reason."""
        return _lines(self.folder / "skipped.jsonl")

    def metadata(self, id: str) -> dict[str, Any]:
        """What is known of a stimulus (``Stimulus.metadata``)."""
        return self._metadata[id]

    def read(self, site: str) -> Activations:
        """The rows of one site.

        Raises:
            InputError: the site was not extracted, or a shard is missing or truncated.
        """
        if site not in self.sites:
            raise InputError(
                f"The site '{site}' was not extracted into {self.folder}; it holds {', '.join(self.sites)}. Extract it."
            )
        parts = [self._map(line, site) for line in self._manifest]
        if not parts:
            raise InputError(f"{self.folder} holds no finished shard yet. Run the extraction again; it goes on.")
        return Activations(self.ids, parts[0] if len(parts) == 1 else np.concatenate(parts))

    def verify(self) -> list[str]:
        """What is wrong with the files: one sentence each; empty if every checksum holds."""
        problems = []
        for line in self._manifest:
            path = self.folder / line["file"]
            if not path.is_file():
                problems.append(f"{line['file']} is missing ({len(line['ids'])} stimuli).")
            elif _sha256(path) != line["sha256"]:
                problems.append(f"{line['file']} does not match its checksum ({len(line['ids'])} stimuli).")
        return problems

    def _map(self, line: Mapping[str, Any], site: str) -> np.ndarray:
        """Memory-map one tensor of a shard: 8 bytes of header length, JSON header, data."""
        path = self.folder / line["file"]
        try:
            with open(path, "rb") as handle:
                length = int.from_bytes(handle.read(8), "little")
                entry = json.loads(handle.read(length))[site]
            start, _ = entry["data_offsets"]
            shape = tuple(entry["shape"])
            return np.memmap(path, {"F32": "<f4", "F16": "<f2"}[entry["dtype"]], "r", 8 + length + start, shape)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"The shard {path} cannot be read ({error}); it holds {len(line['ids'])} stimuli. "
                "Delete its line from manifest.jsonl and run the extraction again to recompute them."
            ) from error


class Writer:
    """Appends shards to a folder; resumes one that was begun with the same config."""

    def __init__(self, folder: str | Path, config: Mapping[str, Any]) -> None:
        """Begin or resume.

        Raises:
            InputError: the folder holds activations of another config; the difference is shown.
        """
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "config.json"
        if path.is_file():
            _same(json.loads(path.read_text()), dict(config), self.folder)
        else:
            write_json(config, path)
        self._lines = _lines(self.folder / "manifest.jsonl")

    @property
    def done(self) -> set[str]:
        """Ids that need not be computed again."""
        present = [line for line in self._lines if (self.folder / line["file"]).is_file()]
        return {id for line in present for id in line["ids"]}

    def shard(self, rows: Sequence[Mapping[str, Any]], values: Mapping[str, np.ndarray]) -> None:
        """Write one shard: ``rows`` are the stimuli's metadata, ``values`` site → (len(rows), d)."""
        from safetensors.numpy import save_file

        name = f"shard-{len(self._lines):05d}.safetensors"
        temporary = self.folder / f".{name}.tmp"
        save_file({site: np.ascontiguousarray(value) for site, value in values.items()}, temporary)
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())
        line = {
            "file": name,
            "ids": [row["id"] for row in rows],
            "shapes": {site: list(value.shape) for site, value in values.items()},
            "sha256": _sha256(temporary),
        }
        os.replace(temporary, self.folder / name)
        for row in rows:
            _append(self.folder / "stimuli.jsonl", row)
        _append(self.folder / "manifest.jsonl", line)
        self._lines.append(line)

    def skip(self, id: str, reason: str) -> None:
        """Record a stimulus that could not be read."""
        if not any(row["id"] == id for row in _lines(self.folder / "skipped.jsonl")):
            _append(self.folder / "skipped.jsonl", {"id": id, "reason": reason})


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """How two configs differ, as text: ``seed: 0 → 1; levels: [1] → [3]``; empty if they do not."""
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return "; ".join(f"{key}: {old.get(key)!r} → {new.get(key)!r}" for key in keys)


def _same(old: Mapping[str, Any], new: Mapping[str, Any], folder: Path) -> None:
    changed = difference(old, json.loads(json.dumps(new)))
    if changed:
        raise InputError(
            f"The folder {folder} holds activations of another run ({changed}). "
            "Give another --out, or repeat with the same settings to resume; nothing was overwritten."
        )


def _append(path: Path, row: Mapping[str, Any]) -> None:
    with open(path, "a", encoding="utf-8") as handle:
        handle.write(json.dumps(row, ensure_ascii=False) + "\n")
        handle.flush()
        os.fsync(handle.fileno())


def _lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file; a half-written last line, as a kill leaves it, is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _sha256(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
