"""Damage to a store at random places: is it noticed, can a wrong number come of it, and is it mended.

python -m benchmarks.reliability.damage            # 2,000 places; writes the section of docs/reliability.md
python -m benchmarks.reliability.damage --quick

A store of three parts, one of a process that was killed, is copied, damaged at one place, and then verified, read in every
way that there is, repaired, and extracted again. The extraction is one of numbers that are known beforehand, so no model is needed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.reliability.page import arguments, table, written
from hooks import manifest, records, writer
from hooks.damage import damages
from hooks.ragged import Ragged
from hooks.repair import repair
from hooks.store import Store
from hooks.writer import Writer
from stimuli.errors import InputError

RECIPE = {"sites": ["a", "t"], "pool": "none", "model": {"checksum": "7c"}}
COUNT, BATCH, WIDTH = 48, 4, 16
IDS = [f"s{i:02d}" for i in range(COUNT)]


@cache
def true(site: str, id: str) -> np.ndarray:
    """The rows that a stimulus has at a site: one of 16 numbers at ``a``, one to three of 8 at ``t``."""
    i = int(id[1:])
    made = np.random.default_rng([i, ord(site)]).standard_normal((1 + i % 3, WIDTH // 2) if site == "t" else WIDTH)
    return made.astype(np.float32)


def extracted(folder: Path, ids: Sequence[str], close: bool = True) -> int:
    """Add those of some stimuli that are not there, in batches cut from the whole list; how many were computed."""
    into, count = Writer(folder, RECIPE), 0
    for start in range(0, COUNT, BATCH):
        own = [id for id in IDS[start : start + BATCH] if id in ids and id not in into.done]
        count += len(own)
        if own:
            values = {
                "a": torch.from_numpy(np.stack([true("a", id) for id in own])),
                "t": Ragged.of([torch.from_numpy(true("t", id)) for id in own]),
            }
            into.batch([{"id": id, "reference": f"r{id}"} for id in own], values)
    if close:
        into.close({"images": count})
    elif (
        into._tidier is not None
    ):  # a run that is killed while files are put together leaves more behind, which is no part of a store
        into._tidier.shutdown()
    return count


def original(folder: Path) -> Path:
    """The store: a third of it by a run whose files were put together, a third by one whose were not, a third by one that was killed."""
    third = COUNT // 3
    for at, (large, close) in enumerate(((writer.LARGE, True), (0, True), (writer.LARGE, False))):
        child = os.fork()  # of a process that still lives, a part without its end would be one that is being written
        if not child:
            with suppress(BaseException):
                writer.LARGE = large
                extracted(folder, IDS[at * third : (at + 1) * third], close=close)
                os._exit(0)
            os._exit(1)
        if os.waitpid(child, 0)[1]:
            raise RuntimeError(f"run {at} of the store did not end well")
    return folder


# ---- what is done to it ----------------------------------------------------------------------------------------------


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _named(folder: Path, end: str) -> list[Path]:
    return [path for path in _files(folder) if path.name.endswith(end)]


def flip(folder: Path, rng: random.Random) -> Path:
    """One bit of any file."""
    path = rng.choice(_files(folder))
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return path


def overwrite(folder: Path, rng: random.Random) -> Path:
    """Up to 64 neighbouring bytes of any file, by noise."""
    path = rng.choice(_files(folder))
    data = bytearray(path.read_bytes())
    at, noise = rng.randrange(len(data)), rng.randbytes(rng.randint(1, 64))
    data[at : at + len(noise)] = bytes(byte ^ (1 + other % 255) for byte, other in zip(data[at:], noise, strict=False))
    path.write_bytes(data)
    return path


def cut(folder: Path, rng: random.Random) -> Path:
    """Any file, shorter."""
    path = rng.choice(_files(folder))
    os.truncate(path, rng.randrange(path.stat().st_size))
    return path


def longer(folder: Path, rng: random.Random) -> Path:
    """Any file with something behind its end."""
    path = rng.choice(_files(folder))
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.randint(1, 32)))
    return path


def lose(folder: Path, rng: random.Random) -> Path:
    """Any file."""
    path = rng.choice(_files(folder))
    path.unlink()
    return path


def lose_shard(folder: Path, rng: random.Random) -> Path:
    """One shard."""
    path = rng.choice(_named(folder, ".safetensors"))
    path.unlink()
    return path


def lose_line(folder: Path, rng: random.Random) -> Path:
    """One line of a manifest or of the stimuli."""
    path = rng.choice(_named(folder, ".jsonl"))
    lines = path.read_text().splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    path.write_text("".join(lines))
    return path


def half_line(folder: Path, rng: random.Random) -> Path:
    """One line of a manifest or of the stimuli, with and without its line end."""
    path = rng.choice(_named(folder, ".jsonl"))
    lines = path.read_text().splitlines()
    at = rng.randrange(len(lines))
    end = rng.choice(("\n", ""))
    lines[at] = lines[at][: rng.randrange(1, len(lines[at]))]
    path.write_text("".join(line + (end if i == at else "\n") for i, line in enumerate(lines)))
    return path


def swap(folder: Path, rng: random.Random) -> Path:
    """The names of two shards, of one part or of two."""
    one, other = rng.sample(_named(folder, ".safetensors"), 2)
    spare = folder / "spare"
    one.rename(spare)
    other.rename(one)
    spare.rename(other)
    return one


def edit(folder: Path, rng: random.Random) -> Path:
    """A line of a manifest, by hand: ids exchanged or renamed, another checksum, shape, type, file or size."""
    path = rng.choice(_named(folder, manifest.MANIFEST))
    lines = path.read_text().splitlines()
    at = rng.choice([i for i, line in enumerate(lines) if '"ids"' in line])
    row = json.loads(lines[at])
    entry = row["tensors"][rng.choice(sorted(row["tensors"]))]
    changes: Sequence[Callable[[], Any]] = (
        lambda: row.update(ids=row["ids"][::-1]),
        lambda: row.update(ids=["s99", *row["ids"][1:]]),
        lambda: row.update(ids=row["ids"][:-1]),
        lambda: entry.update(crc32=entry["crc32"] ^ 1),
        lambda: entry.update(shape=[entry["shape"][0] + 1, *entry["shape"][1:]]),
        lambda: entry.update(dtype="F16" if entry["dtype"] == "F32" else "F64"),
        lambda: row["files"].update({next(iter(row["files"])): 9}),
        lambda: row.pop(records.CRC),
    )
    rng.choice(changes)()
    lines[at] = json.dumps(row)
    path.write_text("".join(line + "\n" for line in lines))
    return path


KINDS = (flip, overwrite, cut, longer, lose, lose_shard, lose_line, half_line, swap, edit)


# ---- what becomes of it ----------------------------------------------------------------------------------------------


def read(folder: Path) -> str:
    """What comes of reading all of a store: ``refused``, ``whole``, ``fewer`` stimuli, all right, or ``wrong``."""
    try:
        store = Store(folder)
        ids = store.ids
        rows = {site: store.read(site) for site in store.sites}
        for site, own in rows.items():
            flat = np.concatenate([np.atleast_2d(true(site, id)) for id in ids])
            same = np.array_equal(own.values, flat) and np.array_equal(own.tensor.numpy(), flat)
            if not same or any(not np.array_equal(own.of(id), true(site, id)) for id in ids):
                return "wrong"
        if any(store.metadata(id) != {"id": id, "reference": f"r{id}"} for id in ids) or set(ids) - set(IDS):
            return "wrong"
    except InputError:
        return "refused"
    return "whole" if set(ids) == set(IDS) else "fewer"


def trial(
    kind: Callable[[Path, random.Random], Path], rng: random.Random, source: Path, place: Path, before: Collection[str]
) -> dict[str, Any]:
    """Damage a copy at one place and see what becomes of it.

    Args:
        kind: of damage.
        rng: says where.
        source: what is copied.
        place: a folder to work in.
        before: what ``verify`` says of the source: that one process was killed.
    """
    folder = place / "store"
    shutil.copytree(source, folder)
    try:
        path = kind(folder, rng)
        found = [one for one in map(str, damages(folder)) if one not in before]
        told = " ".join(found)
        came = read(folder)
        lost = repair(folder, force=True).gone
        again = extracted(folder, IDS)
        return {
            "kind": kind.__name__,
            "file": path.name.split("-")[0],
            "noticed": bool(found),
            "file_named": _named_in(found, path.relative_to(folder)),
            "stimuli_named": path.suffix != ".safetensors" or any(f"'{id}'" in told for id in IDS),
            "read": came,
            "recomputed": again,
            "lost": len(lost),
            "mended": read(folder) == "whole" and not damages(folder),
        }
    finally:
        shutil.rmtree(folder)


def _named_in(found: Sequence[str], path: Path) -> bool:
    """Whether a sentence is about this file, about its part as a whole, or about a neighbour, with this file's name in it."""
    part = str(path.parent) if path.parent.name else str(path)
    return any(one.startswith((f"{path} ", f"{part} ")) or (one.startswith(f"{part}/") and path.name in one) for one in found)


@contextmanager
def no_waiting() -> Iterator[None]:
    """Without a wait for the disk, which has nothing to do with what is asked here."""
    fsync, os.fsync = os.fsync, lambda _: None
    try:
        yield
    finally:
        os.fsync = fsync


def trials(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """``count`` places, the kinds of damage in turn."""
    rng, memory = random.Random(seed), Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place, no_waiting():
        source = original(Path(place) / "original")
        before = set(map(str, damages(source)))
        return [trial(KINDS[i % len(KINDS)], rng, source, Path(place), before) for i in range(count)]


def counted(rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """A line per kind of damage, and one for all."""
    kinds: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        kinds[row["kind"].replace("_", " ")].append(row)
        kinds["all"].append(row)
    names = [*(name for name in kinds if name != "all"), "all"]
    return [
        [
            name,
            len(own := kinds[name]),
            *(sum(map(bool, (row[what] for row in own))) for what in ("noticed", "file_named", "stimuli_named")),
            *(sum(row["read"] == what for row in own) for what in ("refused", "whole", "fewer", "wrong")),
            sum(row["mended"] for row in own),
            f"{np.mean([row['recomputed'] for row in own]):.1f}",
        ]
        for name in names
    ]


HEADER = (
    "damage",
    "places",
    "noticed",
    "file named",
    "stimuli named",
    "read: refused",
    "whole",
    "fewer",
    "wrong",
    "mended",
    "recomputed",
)


def main() -> None:
    """Command line."""
    parser = arguments(__doc__)
    parser.add_argument("--places", type=int, help="how many; 2,000 by default")
    options = parser.parse_args()
    count = options.places or (100 if options.quick else 2000)
    rows = trials(count)
    lines = [
        "## Damaged activations",
        "",
        f"Command: `python -m benchmarks.reliability.damage`. A store of {COUNT} stimuli at two sites in three parts, of which one "
        f"was killed before its end, damaged at {count:,} random places, one at a time. `noticed`: by `snellen verify`, which names the file "
        "(and the stimuli, where it is a shard). `read`: what comes of opening the store and reading every number of it in every way: "
        "refused; whole, because what is damaged is not what is read; fewer stimuli than there were, all numbers right; a wrong number. "
        "`mended`: after `snellen repair` and the same extraction everything is as it was; `recomputed`: stimuli on average, of "
        f"{COUNT}.",
        "",
        *table(HEADER, counted(rows)),
    ]
    written("damage", rows, lines, options)


if __name__ == "__main__":
    main()
