"""Adds batches of activations to a store: each is on disk, whole, before the next is written."""

from __future__ import annotations

import json
import secrets
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hooks import manifest, records, shards
from hooks.manifest import Line
from hooks.ragged import Ragged, Rows
from hooks.recipe import CONFIG, FORMAT, damaged_recipe, recipe, refuse_other
from hooks.store import Store
from stimuli.tables import abandoned

MANY = 256
"""Files of single batches that are put together into one, if their size has not reached ``shards.BYTES`` before."""
LARGE = shards.BYTES // 16
"""Files of this size stay as they are: writing them twice would cost more than it saves."""


class Writer:
    """One process's way into a store; several may write to the same one."""

    def __init__(self, folder: str | Path, config: Mapping[str, Any], rank: int = 0) -> None:
        """Begin a store, or go on with one of the same recipe.

        Args:
            folder: of the store.
            config: the recipe: what the activations are of.
            rank: of this process among those that write now; puts its folder in order.

        Raises:
            InputError: the folder holds activations of another recipe or format.
        """
        self.folder, self._rank = Path(folder), rank
        _claim(self.folder, {"format": FORMAT, **config})
        _sweep(self.folder)
        self.done = set(Store(self.folder).ids)
        """Ids that need not be computed again."""
        self._part: Path | None = None
        self._small: list[Line] = []
        self._count = 0
        self._lock = threading.Lock()
        self._tidier: ThreadPoolExecutor | None = None
        self._tidying: Future[list[Line]] | None = None

    def batch(self, rows: Sequence[Mapping[str, Any]], values: Mapping[str, Rows]) -> int:
        """Write the activations of some stimuli; when this returns they outlast anything.

        Args:
            rows: the stimuli's metadata, each with its ``id``.
            values: site to a tensor (stimuli, d), or to several rows per stimulus.

        Returns:
            Bytes written.

        Raises:
            OSError: the disk is full; what was written before is whole.
        """
        part = self._begin()
        lines = [self._line(part, *group) for group in _groups([row["id"] for row in rows], values)]
        records.append(part / manifest.STIMULI, rows)
        self._append([line.record() for line in lines])
        self.done.update(row["id"] for row in rows)
        self._small += [line for line in lines if line.bytes < LARGE]
        busy = self._tidying is not None and not self._tidying.done()
        if self._tidier and not busy and (len(self._small) > MANY or sum(line.bytes for line in self._small) > shards.BYTES):
            self._small = self._tidied() + self._small
            self._tidying, self._small = self._tidier.submit(self._gathered, self._small), []
        return sum(line.bytes for line in lines)

    def skip(self, id: str, reason: str) -> None:
        """Record a stimulus that gave no activations."""
        records.append(self._begin() / manifest.SKIPPED, [{"id": id, "reason": reason}])

    def close(self, run: Mapping[str, Any] | None = None) -> None:
        """Put small files together and say that nothing more will come; ``run`` is what the run measured of itself."""
        if self._part is None:
            return
        with suppress(OSError):  # a full disk: the small files are as good, and the run's own figures can be missed
            self._gathered(self._tidied() + self._small)
            self._append([{"run": dict(run or {})}])
            manifest.seal(self._part)
        if self._tidier is not None:
            self._tidier.shutdown()
        self._part = self._tidier = None

    def _begin(self) -> Path:
        if self._part is None:
            found = manifest.all_parts(self.folder)
            number = 1 + max((int(part.name.split("-")[0]) for part in found), default=0)
            name = f"{number:05d}-rank{self._rank:05d}-{secrets.token_hex(4)}"
            self._part, self._small, self._count = self.folder / manifest.PARTS / name, [], 0
            self._tidier = ThreadPoolExecutor(1)
            manifest.own(self._part, recipe(self.folder))
        return self._part

    def _line(self, part: Path, ids: Sequence[str], tensors: Mapping[str, torch.Tensor]) -> Line:
        """Write one group of stimuli into as few files as hold it."""
        return write_group(part, tuple(ids), {name: shards.part(value) for name, value in tensors.items()}, self._name)

    def _name(self) -> str:
        with self._lock:
            self._count += 1
            return f"shard-{self._count - 1:05d}.safetensors"

    def _append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        assert self._part is not None
        with self._lock:
            records.append(self._part / manifest.MANIFEST, rows)

    def _tidied(self) -> list[Line]:
        """Wait until earlier files are put together; those that are still small."""
        tidying, self._tidying = self._tidying, None
        return [] if tidying is None else tidying.result()

    def _gathered(self, old: Sequence[Line]) -> list[Line]:
        """Put the files of earlier batches together, beside the writing of later ones; the last, if it is still small."""
        return [line for line in [self._replaced(group) for group in _runs(old)][-1:] if line.bytes < shards.BYTES // 2]

    def _replaced(self, old: Sequence[Line]) -> Line:
        """Several groups as one; the old files are removed once the manifest names the new one."""
        if len(old) == 1:
            return old[0]
        part = old[0].part
        line = gathered(part, [(one, None) for one in old], self._name)
        files = [name for one in old for name in one.files]
        self._append([line.record(replaces=files)])
        for name in files:
            (part / name).unlink(missing_ok=True)
        return line


def _runs(lines: Sequence[Line]) -> list[list[Line]]:
    """Neighbours that fit into one file together."""
    runs: list[list[Line]] = []
    for line in lines:
        fits = runs and sum(one.bytes for one in runs[-1]) + line.bytes <= shards.BYTES
        runs = [*runs[:-1], [*runs[-1], line]] if fits else [*runs, [line]]
    return runs


def write_group(part: Path, ids: tuple[str, ...], parts: Mapping[str, shards.Part], name: Any) -> Line:
    """Write tensors of one group of stimuli into as few files as hold them, none above ``shards.BYTES`` if it can be."""
    tensors: dict[str, Any] = {}
    files: dict[str, int] = {}
    for group in _packed(parts):
        file = name()
        tensors |= shards.write(part / file, group)
        files[file] = (part / file).stat().st_size
    return Line(part, ids, files, tensors)


Chosen = tuple[Line, np.ndarray | None]
"""A group, and which of its stimuli (all if None)."""


def gathered(part: Path, old: Sequence[Chosen], name: Any) -> Line:
    """Several groups as one, streamed from file to file."""
    ids = tuple(id for line, rows in old for id in (line.ids if rows is None else [line.ids[i] for i in rows]))
    return write_group(part, ids, {key: _joined(old, key) for key in old[0][0].tensors}, name)


def _joined(old: Sequence[Chosen], key: str) -> shards.Part:
    if key.endswith(manifest.offsets("")):
        steps = [np.diff(_map(line, key)) if rows is None else np.diff(_map(line, key))[rows] for line, rows in old]
        return shards.part(torch.from_numpy(np.concatenate([[0], np.cumsum(np.concatenate(steps))]).astype(np.int64)))
    first = old[0][0].tensors[key]
    count = sum(line.tensors[key]["shape"][0] if rows is None else len(_rows(line, key, rows)) for line, rows in old)
    return shards.Part(first["dtype"], (count, *first["shape"][1:]), _bytes(old, key))


def _bytes(old: Sequence[Chosen], key: str) -> Iterator[Any]:
    for line, rows in old:
        if rows is None:
            yield from shards.chunks(line.part / line.tensors[key]["file"], key, line.tensors[key])
        else:
            yield np.ascontiguousarray(_map(line, key)[_rows(line, key, rows)]).data.cast("B")


def _map(line: Line, key: str) -> np.ndarray:
    return shards.mapped(line.part / line.tensors[key]["file"], key, line.tensors[key])


def _rows(line: Line, key: str, rows: np.ndarray) -> np.ndarray:
    """The rows of a tensor that belong to the chosen stimuli."""
    bounds = manifest.offsets(key)
    if bounds not in line.tensors:
        return rows
    at = _map(line, bounds)
    return np.concatenate([np.arange(at[i], at[i + 1]) for i in rows])


def _packed(parts: Mapping[str, shards.Part]) -> Iterator[dict[str, shards.Part]]:
    """The tensors in order, in as few files of at most ``shards.BYTES`` as hold them."""
    group: dict[str, shards.Part] = {}
    for name, one in parts.items():
        if group and sum(other.size for other in group.values()) + one.size > shards.BYTES - 1024 * (len(group) + 1):
            yield group
            group = {}
        group[name] = one
    if group:
        yield group


def _groups(ids: Sequence[str], values: Mapping[str, Rows]) -> Iterator[tuple[Sequence[str], dict[str, torch.Tensor]]]:
    """The batch as it is, or in halves where one site alone would fill more than a file."""
    if len(ids) > 1 and max((value.nbytes for value in values.values()), default=0) > shards.BYTES - 1024**2:
        middle = len(ids) // 2
        yield from _groups(ids[:middle], {site: value[:middle] for site, value in values.items()})
        yield from _groups(ids[middle:], {site: value[middle:] for site, value in values.items()})
        return
    tensors: dict[str, torch.Tensor] = {}
    for site, value in values.items():
        if isinstance(value, Ragged):
            tensors |= {site: value.rows, manifest.offsets(site): value.ends()}
        else:
            tensors[site] = value
    yield ids, tensors


def _claim(folder: Path, config: Mapping[str, Any]) -> None:
    """Write the recipe, or compare with the one that is there; whoever comes first wins."""
    path, wanted = folder / CONFIG, json.loads(json.dumps(config))
    damaged = path.is_file() and records.load(path) is None and damaged_recipe(path)
    if damaged or not path.is_file():
        kept = manifest.recipes(folder) or [wanted]
        refuse_other(kept[0], wanted, folder)
        if damaged:  # half-written by a file system whose renames are copies
            path.unlink(missing_ok=True)
        records.write_once(path, wanted)
    refuse_other(recipe(folder), wanted, folder)


def _sweep(folder: Path) -> None:
    """Remove what killed processes of this machine left behind: half-written files, lines and files that no line names."""
    for part in manifest.all_parts(folder):
        if records.load(part / manifest.SEAL) is not None or manifest.writing(part) is not False:
            continue
        if any(records.read(part / name) for name in (manifest.MANIFEST, manifest.SKIPPED)):
            tidy(part, [line for line in manifest.lines(part) if manifest.known(part).issuperset(line.ids)])
        else:
            shutil.rmtree(part, ignore_errors=True)


def tidy(part: Path, keep: Sequence[Line]) -> None:
    """Leave of a part that nobody writes any more these lines and their files alone, and seal it.

    A kill in between costs nothing: without its seal the part is one that was killed.
    """
    (part / manifest.SEAL).unlink(missing_ok=True)
    ids, named = {id for line in keep for id in line.ids}, {name for line in keep for name in line.files}
    lines = [*(line.record() for line in keep), *({"run": run} for run in manifest.runs(part))]
    shown = [row for row in records.read(part / manifest.STIMULI) if row["id"] in ids]
    for name, rows in (
        (manifest.MANIFEST, lines),
        (manifest.STIMULI, shown),
        (manifest.SKIPPED, records.read(part / manifest.SKIPPED)),
    ):
        records.rewrite(part / name, rows)
    left = [file for file in part.glob(".*.tmp") if abandoned(file)]  # of other processes that tidy it, none
    for file in (*left, *part.glob("*.safetensors")):
        if file.name not in named:
            file.unlink(missing_ok=True)
    manifest.seal(part)
