"""A folder of activations: what was captured of which stimuli, whole and checked, one site readable without the others.

Layout: ``config.json`` (format and recipe: what the activations are of) and one folder below ``parts/`` per process that
wrote: ``manifest.jsonl`` (``hooks.manifest``), ``stimuli.jsonl`` (what was shown), ``skipped.jsonl`` (what could not be, and
why) and ``shard-00000.safetensors`` …, one tensor per site. A line of the manifest is written after its files are whole. Every
row and every tensor has a checksum, which is compared before the first number is handed out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hooks import manifest, records, shards
from hooks.activations import Activations, Checked
from hooks.manifest import Line
from hooks.recipe import CONFIG, recipe
from stimuli.errors import InputError

TRIES = 20
"""How often a reader looks again where a writer has just put files together."""
_NEEDED = (manifest.SEAL, manifest.MANIFEST, manifest.STIMULI)
"""Without which nobody knows whether all stimuli are there, and what they are."""
REPAIR = "`snellen repair {folder}` takes out what is damaged, and the same extraction computes just that anew."


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


def _chosen(ids: Sequence[str], rows: np.ndarray | None) -> Sequence[str]:
    return ids if rows is None else [ids[i] for i in rows]
