"""Care for a store: put small files together, join stores."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from hooks import manifest, records, shards
from hooks.manifest import Line
from hooks.recipe import CONFIG, recipe, refuse_other
from hooks.store import Store
from hooks.writer import gathered
from stimuli.errors import InputError


def compact(folder: str | Path, *, force: bool = False, progress: bool = True) -> Store:
    """Put all files of a store together: one or more sites per file, at most 256 MB each, every stimulus once.

    Afterwards a site of up to 256 MB is one memory map. Memory stays flat; a run killed half-way leaves the store as it was.

    Args:
        folder: of the store.
        force: also where a part was written on another machine and never finished (make sure that it no longer runs).
        progress: show a progress bar.

    Raises:
        InputError: a process may still be writing, or files are damaged.
    """
    store = Store(folder)
    old = manifest.all_parts(store.folder)
    refuse_writing(old, force)
    store._refuse_broken()
    if not store.ids:
        raise InputError(f"{store.folder} holds no finished shard yet. Run the extraction again; it goes on.")
    runs, skipped = store.runs, store.skipped
    number = 1 + max(int(part.name.split("-")[0]) for part in old)
    for left in (store.folder / manifest.PARTS).glob(".*-compact-*"):  # of a run that was killed
        shutil.rmtree(left)
    part = store.folder / manifest.PARTS / f".{number:05d}-compact-{secrets.token_hex(4)}"
    manifest.own(part, store.config)
    names = iter(f"shard-{i:05d}.safetensors" for i in range(10**9))
    groups = list(_groups(store))
    lines = []
    for group in tqdm(groups, desc="compact", unit="group", disable=not progress):
        lines.append(gathered(part, group, lambda: next(names)))
    records.rewrite(part / manifest.STIMULI, [store.metadata(id) for id in store.ids])
    records.rewrite(part / manifest.SKIPPED, skipped)
    records.rewrite(part / manifest.MANIFEST, [*(line.record() for line in lines), *({"run": run} for run in runs or [{}])])
    manifest.seal(part)
    os.replace(part, part.with_name(part.name[1:]))  # from here on the new part counts, and the old ones hold nothing new
    shards.sync(part.parent)
    for one in old:
        gone = one.with_name(f".{number:05d}-compact-{secrets.token_hex(4)}")
        os.replace(one, gone)  # in one step for those who read
        shutil.rmtree(gone)
    return Store(folder)


def merge(folders: Sequence[str | Path], out: str | Path) -> Store:
    """Join stores of one recipe, such as those of several disks, into one; the sources stay as they are.

    Files are linked where the file system allows it, else copied. A stimulus that several hold is taken from the first.

    Raises:
        InputError: fewer than one source, different recipes (both are shown), or a process may still be writing.
    """
    if not folders:
        raise InputError("Got no folders to merge; expected at least one that `snellen extract --out` wrote.")
    sources, out = [Store(folder) for folder in folders], Path(out)
    for source in sources:
        refuse_other(sources[0].config, source.config, source.folder)
        refuse_writing(manifest.all_parts(source.folder), force=False)
        if source.folder.resolve() == out.resolve():
            raise InputError(f"Got {out} as source and as --out. Expected a folder of its own to merge into.")
    if (out / CONFIG).is_file():
        refuse_other(recipe(out), sources[0].config, out)
    (out / manifest.PARTS).mkdir(parents=True, exist_ok=True)
    number = max((int(part.name.split("-")[0]) for part in manifest.all_parts(out)), default=0)
    for source in sources:
        for part in manifest.all_parts(source.folder):
            number += 1
            name = f"{number:05d}-merged-{secrets.token_hex(4)}"
            shutil.copytree(part, out / manifest.PARTS / f".{name}", copy_function=_linked)
            os.replace(out / manifest.PARTS / f".{name}", out / manifest.PARTS / name)
    records.write(out / CONFIG, sources[0].config)
    return Store(out)


def _linked(source: str, target: str) -> Any:
    """Shards are never changed in place, so a second name is as good as a copy; manifests are copied."""
    if not source.endswith(".safetensors"):
        return shutil.copy2(source, target)
    try:
        return os.link(source, target)
    except OSError:
        return shutil.copy2(source, target)


def _groups(store: Store) -> Iterator[list[tuple[Line, np.ndarray | None]]]:
    """The lines in order, as many at a time as keep every site's share within one file."""
    group: list[tuple[Line, np.ndarray | None]] = []
    sizes: dict[str, int] = {}
    for line, rows in store._lines:
        own = {name: shards.size_of(entry) for name, entry in line.tensors.items()}
        total = {name: sizes.get(name, 0) + size for name, size in own.items()}
        if group and max(total.values()) > shards.BYTES - 1024**2:
            yield group
            group, total = [], own
        group.append((line, rows))
        sizes = total
    yield group


def refuse_writing(parts: Sequence[Path], force: bool) -> None:
    """Leave parts alone that somebody may be writing.

    Raises:
        InputError: a process on this machine is, or one on another may be (and not ``force``).
    """
    for part in parts:
        state = manifest.writing(part)
        if state or (state is None and not force):
            where = "is still being written by a process" if state else "was begun on another machine and never finished there"
            way = "" if state else " If nothing runs there any more, use --force."
            raise InputError(f"{part} {where}. Expected a store at rest: wait for the extraction or stop it.{way}")
