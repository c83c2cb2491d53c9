"""Who computes which batches, when several processes share an extraction; no message passes between them.

Batches are cut from the whole list of stimuli, so that a stimulus is in the same batch whatever the number of processes and
however often the run was killed. Those that are left are dealt out in turn. For this all processes must mean the same ones:
the first of a job writes down what was left when it came, and the others go by that.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from hooks import records
from stimuli.errors import InputError

JOBS = ("TORCHELASTIC_RUN_ID", "SLURM_ARRAY_JOB_ID", "SLURM_JOB_ID")
"""Where launchers say which processes belong together."""


@dataclass(frozen=True)
class Share:
    """One process among those that share an extraction."""

    rank: int = 0
    world_size: int = 1
    job: str | None = None
    """The same for all processes that were started together, another for the next start."""
    device: str | None = None
    """Where this process computes; None leaves it to ``sn.load``."""


def share(rank: int | None = None, world_size: int | None = None, job: str | None = None) -> Share:
    """This process's share, from the command line, else as torchrun tells it, else everything.

    Args:
        rank: from 0.
        world_size: how many processes there are.
        job: see ``Share``; by default as torchrun or SLURM names it.

    Raises:
        InputError: one of rank and world size without the other, or a rank that is not below the world size.
    """
    job = job or next((os.environ[name] for name in JOBS if os.environ.get(name, "none") != "none"), None)
    if (rank is None) != (world_size is None):
        raise InputError(
            f"Got rank {rank} and world size {world_size}; expected both or neither, such as --rank 0 --world-size 8."
        )
    if rank is not None and world_size is not None:
        return checked(rank, world_size, job)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Share()
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available())
    return Share(state.process_index, state.num_processes, job, str(state.device))


def checked(rank: int, world_size: int, job: str | None) -> Share:
    """A share given by hand.

    Raises:
        InputError: a rank that is not below the world size.
    """
    if not 0 <= rank < world_size:
        raise InputError(f"Got rank {rank} of {world_size}; expected 0 to {world_size - 1}. Ranks count from zero.")
    return Share(rank, world_size, job)


def blocks(folder: Path, mine: Share, ids: Sequence[str], done: Collection[str], size: int) -> list[list[int]]:
    """The batches that this process computes: places in ``ids``, in order.

    Args:
        folder: of the store.
        mine: this process's share.
        ids: of all stimuli.
        done: ids that need not be computed.
        size: stimuli per batch.
    """
    count = -(-len(ids) // size)
    left = [b for b in range(count) if any(ids[i] not in done for i in range(b * size, min((b + 1) * size, len(ids))))]
    if mine.world_size == 1:
        chosen = left
    elif mine.job is None:  # no way to know what the others found: dealt out from the whole list
        chosen = [b for b in left if b % mine.world_size == mine.rank]
    else:
        dealt = _agreed(folder, mine, ids, left, size)
        still = set(left)
        chosen = [b for b in dealt[mine.rank :: mine.world_size] if b in still]
    cut = [range(b * size, min((b + 1) * size, len(ids))) for b in chosen]
    return [[i for i in block if ids[i] not in done] for block in cut]


def _agreed(folder: Path, mine: Share, ids: Sequence[str], left: Sequence[int], size: int) -> list[int]:
    """What was left when the first process of the job came."""
    of = {"stimuli": len(ids), "ids_crc32": zlib.crc32("\n".join(ids).encode()), "batch_size": size}
    name = "".join(c if c.isalnum() else "-" for c in f"{mine.job}-{mine.world_size}")
    path = folder / "jobs" / f"{name}.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        records.write_once(path, {**of, "left": _spans(left)})
    plan = records.needed(path, "Remove it, or name another --job.")
    changed = {name: (plan[name], value) for name, value in of.items() if plan[name] != value}
    if changed:
        raise InputError(
            f"The other processes of job {mine.job} were started with other stimuli or batch sizes: {changed} (theirs, ours). Start "
            "all with the same settings, or name another --job."
        )
    return [b for start, end in plan["left"] for b in range(start, end)]


def _spans(numbers: Sequence[int]) -> list[list[int]]:
    """Sorted numbers as spans: [0, 1, 2, 5] as [[0, 3], [5, 6]]."""
    runs = [list(run) for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    return [[run[0][1], run[-1][1] + 1] for run in runs]
