"""A folder of activations: what was captured of which stimuli, whole and checked, one site readable without the others.

Layout: ``config.json`` (format and recipe: what the activations are of) and one folder below ``parts/`` per process that
wrote: ``manifest.jsonl`` (``hooks.manifest``), ``stimuli.jsonl`` (what was shown), ``skipped.jsonl`` (what could not be, and
why) and ``shard-00000.safetensors`` …, one tensor per site. A line of the manifest is written after its files are whole. Every
row and every tensor has a checksum, which is compared before the first number is handed out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hooks import manifest, records, shards
from hooks.manifest import Line
from stimuli.errors import InputError

FORMAT = 3
"""Version of the layout of a store."""
CONFIG = "config.json"
TRIES = 20
"""How often a reader looks again where a writer has just put files together."""
_NEEDED = (manifest.SEAL, manifest.MANIFEST, manifest.STIMULI)
"""Without which nobody knows whether all stimuli are there, and what they are."""
REPAIR = "`snellen repair {folder}` takes out what is damaged, and the same extraction computes just that anew."


@dataclass(frozen=True, eq=False)
class Activations:
    """The rows of one site."""

    ids: tuple[str, ...]
    parts: np.ndarray | Sequence[np.ndarray]
    """The rows as they lie in the files, memory-mapped: one array, or one per file; bfloat16 as its bits (uint16). What comes from a
    store is compared with its checksum when it is first looked at."""
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
        files = self._files
        raw = files[0] if len(files) == 1 else np.concatenate(list(files))
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
        for number, length in enumerate(self._lengths):
            if start < length:
                rows = _widened(self._files[number][start:end])
                return rows[0] if self.offsets is None else rows
            start, end = start - length, end - length
        return self._files[-1][:0]

    @property
    def _files(self) -> Sequence[np.ndarray]:
        return [self.parts] if isinstance(self.parts, np.ndarray) else self.parts

    @property
    def _lengths(self) -> list[int]:
        """Rows per file, without a look at them."""
        return self._files.lengths if isinstance(self._files, Checked) else [len(part) for part in self._files]

    @cached_property
    def _at(self) -> dict[str, int]:
        return {id: i for i, id in enumerate(self.ids)}


class Checked(Sequence[np.ndarray]):
    """Memory-mapped arrays, each compared with its checksum when it is first asked for."""

    def __init__(self, arrays: Sequence[np.ndarray], checks: Sequence[Callable[[], None]]) -> None:
        self._arrays, self._checks = arrays, checks

    def __len__(self) -> int:
        """How many there are."""
        return len(self._arrays)

    @property
    def lengths(self) -> list[int]:
        """Rows per array."""
        return [len(array) for array in self._arrays]

    def __getitem__(self, place: Any) -> Any:
        """One of them, or some.

        Raises:
            InputError: it is not what was written.
        """
        for check in [*self._checks[place]] if isinstance(place, slice) else [self._checks[place]]:
            check()
        return self._arrays[place]

    def __iter__(self) -> Iterator[np.ndarray]:
        """One after the other."""
        return (self[i] for i in range(len(self)))


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
        self._lost: list[str] = []
        for part in manifest.all_parts(self.folder):
            damaged = manifest.broken(part)
            self._lost += [f"{part / name} {damaged[name]}" for name in _NEEDED if name in damaged]
            for line in manifest.lines(part):
                if not line.whole:
                    broken.append(line)
                    continue
                new = [i for i, id in enumerate(line.ids) if id not in taken]
                taken.update(line.ids)
                if new:
                    self._lines.append((line, None if len(new) == len(line.ids) else np.array(new)))
        self._broken = [line for line in broken if not taken.issuperset(line.ids)]
        for known in ("ids", "_metadata"):
            self.__dict__.pop(known, None)

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
        rows = {row["id"]: row for part in self._parts for row in records.read(part / manifest.SKIPPED)}
        return [row for id, row in rows.items() if id not in there]

    @property
    def runs(self) -> list[dict[str, Any]]:
        """What each finished run measured of itself (``hooks.meter.Meter.summary``), oldest first."""
        found = [run for part in self._parts for run in manifest.runs(part)]
        return sorted(found, key=lambda run: str(run.get("started")))

    @property
    def bytes(self) -> int:
        """Size of the activations on disk."""
        return sum(line.bytes for line, _ in self._lines)

    def metadata(self, id: str) -> dict[str, Any]:
        """What is known of a stimulus (``Stimulus.metadata``).

        Raises:
            InputError: nothing, or it is damaged.
        """
        if id not in self._metadata:
            raise InputError(
                f"Nothing is known of the stimulus '{id}' in {self.folder}: it is none of its own, or its line of {manifest.STIMULI} "
                f"is damaged. Expected one of .ids. {self._repair}"
            )
        return self._metadata[id]

    def read(self, site: str) -> Activations:
        """The rows of one site, memory-mapped: nothing is read from disk until it is looked at, and no other site at all.

        Raises:
            InputError: the site was not extracted, a file is missing or cut short, the manifest is damaged, or nothing is finished
                yet; and, when a number is first looked at, that it is not what was written.
        """
        if site not in self.sites:
            raise InputError(
                f"The site '{site}' was not extracted into {self.folder}; it holds {', '.join(self.sites)}. Extract it."
            )
        for _ in range(TRIES):
            self._refuse_broken()
            if not self._lines:
                raise InputError(f"{self.folder} holds no finished shard yet. Run the extraction again; it goes on.")
            try:
                found = [self._rows(line, site, rows) for line, rows in self._lines]
                break
            except FileNotFoundError:  # a process that still writes has just put small files together
                self._load()
        else:
            raise InputError(
                f"The files of {self.folder} are put together faster than they can be read. Expected a moment's rest. Read again, or wait "
                "for the extraction."
            )
        counts = [count for _, count, _ in found if count is not None]
        values = Checked([value for value, _, _ in found], [check for _, _, check in found])
        bounds = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64) if counts else None
        return Activations(self.ids, values, bounds, self._keeper)

    def verify(self) -> list[str]:
        """What is wrong with the files, one sentence each; empty if every checksum holds."""
        from hooks.damage import damages

        return [str(found) for found in damages(self.folder)]

    @property
    def _parts(self) -> list[Path]:
        return manifest.all_parts(self.folder)

    @cached_property
    def _metadata(self) -> dict[str, dict[str, Any]]:
        return {row["id"]: row for part in self._parts for row in records.read(part / manifest.STIMULI)}

    @property
    def _repair(self) -> str:
        return REPAIR.format(folder=self.folder)

    def _refuse_broken(self) -> None:
        for _ in range(TRIES):
            if not self._broken and not self._lost:
                return
            self._load()  # a process that still writes may just have put small files together
        if self._broken:
            line = self._broken[0]
            names = ", ".join(name for name in line.files)
            raise InputError(
                f"The shard {line.part / names} cannot be read: it is missing or cut short, and {_told(line.ids)} lie in it. Expected "
                f"the files as they were written. {self._repair}"
            )
        if self._lost:
            raise InputError(
                f"{self._lost[0]}: it is damaged, and stimuli may be missing. Expected the files as they were written. {self._repair}"
            )

    def _rows(
        self, line: Line, site: str, chosen: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None, Callable[[], None]]:
        """One line's rows of a site, how many each stimulus has where that differs, and what compares the rows with their checksum."""
        key = manifest.offsets(site)
        value, check = self._mapped(line, site)
        if chosen is None and key not in line.tensors:
            return value, None, check
        if key not in line.tensors:
            check()
            return value[chosen], None, _nothing
        bounds, check_bounds = self._mapped(line, key)
        check_bounds()
        if chosen is None:
            return value, np.diff(bounds), check
        check()
        return np.concatenate([value[bounds[i] : bounds[i + 1]] for i in chosen]), np.diff(bounds)[chosen], _nothing

    def _mapped(self, line: Line, name: str) -> tuple[np.ndarray, Callable[[], None]]:
        """A tensor, and what compares it with its checksum."""
        entry = line.tensors.get(name)
        if entry is None:
            raise InputError(
                f"The line of {_told(line.ids)} in {line.part} lacks the site '{name}', which {CONFIG} names. Expected every site. "
                f"{self._repair}"
            )
        path = line.part / entry["file"]
        with self._told(line, path):
            value = shards.mapped(path, name, entry)

        def check() -> None:
            with self._told(line, path):
                shards.check(value, path, name, entry)

        return value, check

    @contextmanager
    def _told(self, line: Line, path: Path) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise InputError(
                f"The shard {path} cannot be read ({error}); it holds {_told(line.ids)}. Expected it as it was written. {self._repair}"
            ) from error


def _nothing() -> None:
    """Where there is nothing left to compare."""


def _told(ids: Sequence[str]) -> str:
    """How many stimuli, and the first and the last of them."""
    return f"{len(ids)} stimuli ('{ids[0]}'" + (f" … '{ids[-1]}'" if len(ids) > 1 else "") + ")"


def recipe(folder: Path) -> dict[str, Any]:
    """What the activations of a folder are of.

    Raises:
        InputError: the folder holds no activations, those of another version of the format, or the recipe is damaged.
    """
    path = folder / CONFIG
    if not path.is_file() and not (folder / manifest.PARTS).is_dir():
        raise InputError(
            f"The folder {folder} holds no activations (no {CONFIG}). Expected a folder that sn.extract or "
            "`snellen extract --out` wrote. Check the path."
        )
    config = records.load(path)
    if config is None and damaged_recipe(path):
        state = "damaged: its checksum does not hold" if path.is_file() else "missing"
        raise InputError(
            f"{path} is {state}. Expected it as it was written. `snellen repair {folder}` writes it "
            "again from the copies beside the activations; so does the same extraction."
        )
    if config is None:
        config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("format") != FORMAT:
        raise InputError(
            f"The activations in {folder} have format {config.get('format', 1)}; this version of Snellen reads format {FORMAT}. "
            f"Extract them again into another folder. Their recipe: {json.dumps(config, ensure_ascii=False)}"
        )
    sites = config.get("sites")
    if not isinstance(sites, list) or not all(isinstance(site, str) for site in sites):
        raise InputError(f"{path} names the sites {sites!r:.200}. Expected a list of names. Do not trust it, or extract again.")
    return config


def damaged_recipe(path: Path) -> bool:
    """Whether a ``config.json`` without a sound checksum is damaged, rather than one of an early format, which had none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return records.CRC in found or found.get("format", 1) not in (1, 2)
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return True


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
