"""What on disk is not as a store was written: every byte of it is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from hooks import manifest, records, shards
from hooks.manifest import Line
from hooks.recipe import CONFIG, damaged_recipe
from hooks.store import Store
from stimuli.errors import InputError


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong."""

    path: Path
    """Of the file, relative to the store."""
    what: str
    """What is wrong with it, in a few words."""
    ids: tuple[str, ...] = ()
    """Stimuli that it concerns."""
    line: Line | None = None
    """The group of stimuli that cannot be used any more."""

    def __str__(self) -> str:
        """File, what is wrong, and which stimuli."""
        if not self.ids:
            return f"{self.path} {self.what}."
        ids = f"'{self.ids[0]}'" + (f" … '{self.ids[-1]}'" if len(self.ids) > 1 else "")
        return f"{self.path} {self.what} ({len(self.ids)} stimuli: {ids})."


def stores(folder: str | Path) -> list[Path]:
    """The folders of activations at or below a folder, also those whose recipe is damaged.

    Raises:
        InputError: there are none.
    """
    folder = Path(folder)
    begun = {path.parent for path in folder.rglob(CONFIG) if b'"sites"' in path.read_bytes()}
    found = begun | {path.parents[2] for path in folder.rglob(f"{manifest.PARTS}/*/{manifest.OWNER}")}
    if not found:
        raise InputError(f"There are no activations at or below {folder} (no {CONFIG} of a store). Check the path.")
    return sorted(found)


def damages(folder: str | Path, *, progress: bool = False) -> list[Damage]:
    """Everything in a store that is not what was written; empty if every checksum holds.

    What a process on this machine is still writing is looked at only as far as it is finished.

    Raises:
        InputError: no store.
    """
    folder = Path(folder)
    found = []
    there = (folder / CONFIG).is_file()
    if manifest.all_parts(folder) and not there:
        found.append(Damage(Path(CONFIG), "is missing"))
    elif there and records.load(folder / CONFIG) is None and damaged_recipe(folder / CONFIG):
        found.append(Damage(Path(CONFIG), "does not match its checksum"))
    else:
        Store(folder)
    for path in sorted((folder / "jobs").glob("[!.]*.json")):
        if records.load(path) is None:
            found.append(Damage(path.relative_to(folder), "does not match its checksum"))
    parts = manifest.all_parts(folder)
    for part in parts:
        found += _beside(part, folder)
    lines = [line for part in parts for line in manifest.lines(part)]
    for line in tqdm(lines, desc="verify", unit="shard", disable=not progress):
        found += _shards(line, folder)
    return found


def _beside(part: Path, folder: Path) -> Iterator[Damage]:
    """Of a part, all but its shards."""
    if all(path.name == manifest.OWNER or path.name.startswith(".") for path in part.iterdir()):
        return  # of a process that ended before it wrote anything
    at, state, lines = part.relative_to(folder), manifest.writing(part), manifest.lines(part)
    broken = manifest.broken(part)
    known = manifest.known(part)
    here = {id for line in lines for id in line.ids}
    ids = {manifest.MANIFEST: tuple(sorted(known - here)), manifest.STIMULI: tuple(sorted(here - known))}
    for name in (manifest.MANIFEST, manifest.STIMULI, manifest.SKIPPED):
        bad = records.unsound(part / name)
        if bad and state is not True:
            broken[name] = f"has {len(bad)} lines that are not what was written, the first at {bad[0]}"
    if state is not True and manifest.MANIFEST not in broken and (gaps := manifest.gaps(part)):
        broken[manifest.MANIFEST] = f"lacks the line of {gaps[0]}"
    if state is not True and records.load(part / manifest.OWNER) is None:
        broken[manifest.OWNER] = "is not what was written"
    for name, what in broken.items():
        yield Damage(at / name, what, ids.get(name, ()))
    if state is not True and manifest.STIMULI not in broken and here - known:
        yield Damage(at / manifest.STIMULI, "lacks stimuli", ids[manifest.STIMULI])
    if state is None:
        yield Damage(at, "was begun on another machine and is not finished, or its seal is lost")
    elif not state and not manifest.sealed(part):
        yield Damage(at, "was not finished: its process was killed")
    if state is False:
        named = {name for line in lines for name in line.files}
        for file in sorted(part.glob("*.safetensors")):
            if file.name not in named:
                yield Damage(at / file.name, f"is named by no line of {manifest.MANIFEST}", ids[manifest.MANIFEST])


def _shards(line: Line, folder: Path) -> Iterator[Damage]:
    for file in line.files:
        entries = {name: entry for name, entry in line.tensors.items() if entry["file"] == file}
        at = (line.part / file).relative_to(folder)
        what = shards.beginning(line.part / file, entries)
        if what:
            yield Damage(at, what, line.ids, line)
            continue
        bad: dict[str, list[str]] = {}
        for name, entry in entries.items():
            wrong = shards.damage(line.part / file, name, entry)
            if wrong:
                bad.setdefault(wrong, []).append(name)
        for wrong, names in bad.items():
            where = "" if len(names) == len(entries) else f" at {', '.join(names)}"
            yield Damage(at, wrong + where, line.ids, line)
