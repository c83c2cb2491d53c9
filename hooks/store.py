"""A folder of activations: what was captured of which stimuli, whole and checked, one site readable without the others.

Layout: ``config.json`` (format and recipe: what the activations are of) and one folder below ``parts/`` per process that
wrote: ``manifest.jsonl`` (``hooks.manifest``), ``stimuli.jsonl`` (what was shown), ``skipped.jsonl`` (what could not be, and
why) and ``shard-00000.safetensors`` …, one tensor per site. A line of the manifest is written after its files are whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hooks import manifest, shards
from hooks.manifest import Line
from stimuli.errors import InputError

FORMAT = 2
"""Version of the layout of a store."""


@dataclass(frozen=True, eq=False)
class Activations:
    """The rows of one site."""

    ids: tuple[str, ...]
    parts: np.ndarray | Sequence[np.ndarray]
    """The rows as they lie in the files, memory-mapped: one array, or one per file; bfloat16 as its bits (uint16)."""
    offsets: np.ndarray | None = None
    """int64 (n + 1,): where each stimulus's rows start, at a site with several rows per stimulus; else None."""
    keeper: Any = field(default=None, repr=False)
    """What keeps the files there while this is in use: a ``hooks.scratch.Scratch``, if anything."""

    @cached_property
    def values(self) -> np.ndarray:
        """Shape (n, d), or (all rows, d) with ``offsets``. Memory-mapped where one file holds them all; bfloat16 as float32."""
        found = [_widened(part) for part in self._files]
        return found[0] if len(found) == 1 else np.concatenate(found)

    @property
    def tensor(self) -> torch.Tensor:
        """The same as a tensor of the type that was stored; memory-mapped where one file holds them all."""
        raw = self._files[0] if len(self._files) == 1 else np.concatenate(self._files)
        value = torch.from_numpy(raw if raw.flags.writeable else _private(raw))
        return value.view(torch.bfloat16) if raw.dtype == np.uint16 else value

    def of(self, id: str) -> np.ndarray:
        """The rows of one stimulus: (d,), or (rows, d) with ``offsets``; no other's are read.

        Raises:
            InputError: it is not among them.
        """
        if id not in self._at:
            raise InputError(f"The stimulus '{id}' is not among these {len(self.ids)}. Check its id against .ids.")
        at = self._at[id]
        start, end = (at, at + 1) if self.offsets is None else (int(self.offsets[at]), int(self.offsets[at + 1]))
        for part in self._files:
            if start < len(part):
                rows = _widened(part[start:end])
                return rows[0] if self.offsets is None else rows
            start, end = start - len(part), end - len(part)
        return self._files[-1][:0]

    @property
    def _files(self) -> list[np.ndarray]:
        return [self.parts] if isinstance(self.parts, np.ndarray) else list(self.parts)

    @cached_property
    def _at(self) -> dict[str, int]:
        return {id: i for i, id in enumerate(self.ids)}


class Store:
    """Activations on disk, by site and stimulus id."""

    def __init__(self, folder: str | Path, keeper: Any = None) -> None:
        """Open a folder.

        Args:
            folder: of the store.
            keeper: kept as long as the store and what is read of it; the ``hooks.scratch.Scratch`` of a temporary folder.

        Raises:
            InputError: the folder holds no activations, or those of another version of the format.
        """
        self.folder, self._keeper = Path(folder), keeper
        self.config: dict[str, Any] = recipe(self.folder)
        self._load()

    def _load(self) -> None:
        taken: set[str] = set()
        self._lines: list[tuple[Line, np.ndarray | None]] = []
        broken = []
        for part in manifest.parts(self.folder):
            for line in manifest.lines(part):
                if not line.whole:
                    broken.append(line)
                    continue
                new = [i for i, id in enumerate(line.ids) if id not in taken]
                taken.update(line.ids)
                if new:
                    self._lines.append((line, None if len(new) == len(line.ids) else np.array(new)))
        self._broken = [line for line in broken if not taken.issuperset(line.ids)]
        self.__dict__.pop("ids", None)

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites, in order."""
        return tuple(self.config["sites"])

    @property
    def dead_ends(self) -> tuple[str, ...]:
        """The sites that the model's answer does not depend on, as its self-test found."""
        return tuple(self.config.get("dead_ends", ()))

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The stimuli whose activations are whole, in the order of every site's rows; each once."""
        return tuple(id for line, rows in self._lines for id in _chosen(line.ids, rows))

    @property
    def skipped(self) -> list[dict[str, Any]]:
        """Stimuli that gave no activations, with the reason: ``id``, ``reason``. Those that a later run computed are not listed."""
        there = set(self.ids)
        rows = {row["id"]: row for part in self._parts for row in manifest.read_lines(part / "skipped.jsonl")}
        return [row for id, row in rows.items() if id not in there]

    @property
    def runs(self) -> list[dict[str, Any]]:
        """What each finished run measured of itself (``hooks.meter.Meter.summary``), oldest first."""
        found = [row["run"] for part in self._parts for row in manifest.read_lines(part / manifest.MANIFEST) if "run" in row]
        return sorted(found, key=lambda run: str(run.get("started")))

    @property
    def bytes(self) -> int:
        """Size of the activations on disk."""
        return sum(line.bytes for line, _ in self._lines)

    def metadata(self, id: str) -> dict[str, Any]:
        """What is known of a stimulus (``Stimulus.metadata``)."""
        return self._metadata[id]

    def read(self, site: str) -> Activations:
        """The rows of one site, memory-mapped: nothing is read from disk until it is looked at, and no other site at all.

        Raises:
            InputError: the site was not extracted, a file is missing or cut short, or nothing is finished yet.
        """
        if site not in self.sites:
            raise InputError(
                f"The site '{site}' was not extracted into {self.folder}; it holds {', '.join(self.sites)}. Extract it."
            )
        self._refuse_broken()
        if not self._lines:
            raise InputError(f"{self.folder} holds no finished shard yet. Run the extraction again; it goes on.")
        try:
            found = [self._rows(line, site, rows) for line, rows in self._lines]
        except FileNotFoundError:
            self._load()
            found = [self._rows(line, site, rows) for line, rows in self._lines]
        counts = [count for _, count in found if count is not None]
        values = [value for value, _ in found]
        bounds = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64) if counts else None
        return Activations(self.ids, values, bounds, self._keeper)

    def verify(self) -> list[str]:
        """What is wrong with the files, one sentence each; empty if every checksum holds."""
        from hooks.compact import damaged

        return [problem for _, problem in damaged(self.folder)]

    @property
    def _parts(self) -> list[Path]:
        return manifest.all_parts(self.folder)

    @cached_property
    def _metadata(self) -> dict[str, dict[str, Any]]:
        return {row["id"]: row for part in self._parts for row in manifest.read_lines(part / "stimuli.jsonl")}

    def _refuse_broken(self) -> None:
        if self._broken:
            self._load()  # a process that still writes may just have put small files together
        if self._broken:
            line = self._broken[0]
            names = ", ".join(name for name in line.files)
            raise InputError(
                f"The shard {line.part / names} cannot be read: it is missing or cut short, and {len(line.ids)} stimuli lie in it. "
                "Run the extraction again to compute them anew, or `snellen verify --drop` to go on without them."
            )

    def _rows(self, line: Line, site: str, chosen: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """One line's rows of a site, and how many each stimulus has where that differs."""
        entry, key = line.tensors[site], manifest.offsets(site)
        try:
            value = shards.mapped(line.part / entry["file"], site, entry)
            if key not in line.tensors:
                return (value if chosen is None else value[chosen]), None
            bounds = shards.mapped(line.part / line.tensors[key]["file"], key, line.tensors[key])
        except ValueError as error:
            raise InputError(
                f"The shard {line.part / entry['file']} cannot be read ({error}); it holds {len(line.ids)} stimuli. "
                "`snellen verify --drop` takes it out, and the extraction, run again, computes them anew."
            ) from error
        if chosen is not None:
            value = np.concatenate([value[bounds[i] : bounds[i + 1]] for i in chosen])
            return value, np.diff(bounds)[chosen]
        return value, np.diff(bounds)


def recipe(folder: Path) -> dict[str, Any]:
    """What the activations of a folder are of.

    Raises:
        InputError: the folder holds no activations, or those of another version of the format.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(
            f"The folder {folder} holds no activations (no config.json). Expected a folder that sn.extract or "
            "`snellen extract --out` wrote. Check the path."
        )
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if config.get("format") != FORMAT:
        raise InputError(
            f"The activations in {folder} have format {config.get('format', 1)}; this version of Snellen reads format {FORMAT}. "
            f"Extract them again into another folder. Their recipe: {json.dumps(config, ensure_ascii=False)}"
        )
    return config


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """How two configs differ, as text: ``seed: 0 → 1; levels: [1] → [3]``; empty if they do not."""
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return "; ".join(f"{key}: {old.get(key)!r} → {new.get(key)!r}" for key in keys)


def refuse_other(old: Mapping[str, Any], new: Mapping[str, Any], folder: Path) -> None:
    """Refuse to mix activations of two recipes.

    Raises:
        InputError: the recipes differ; the difference and both are shown.
    """
    new = json.loads(json.dumps(new))
    changed = difference(old, new)
    if changed:
        raise InputError(
            f"The folder {folder} holds activations of another run ({changed}). Give another --out, or repeat with the same "
            f"settings to resume; nothing was overwritten.\nRecipe there: {json.dumps(old, ensure_ascii=False)}\n"
            f"Recipe now:   {json.dumps(new, ensure_ascii=False)}"
        )


def _chosen(ids: Sequence[str], rows: np.ndarray | None) -> Sequence[str]:
    return ids if rows is None else [ids[i] for i in rows]


def _widened(raw: np.ndarray) -> np.ndarray:
    """bfloat16 as float32: its bits are the upper half of a float32's."""
    return (raw.astype(np.uint32) << 16).view(np.float32) if raw.dtype == np.uint16 else raw


def _private(raw: np.ndarray) -> np.ndarray:
    """A read-only array as one that torch takes without a warning: the same map, private to this process, or a copy."""
    if isinstance(raw, np.memmap) and not isinstance(raw.base, np.ndarray):  # the whole map, no slice of one
        return np.memmap(str(raw.filename), raw.dtype, "c", raw.offset, raw.shape)
    return raw.copy()
