"""Whether the same comes out again: from another process, after a kill, with other batches, workers, processes and threads.

python -m benchmarks.reliability.repeat             # writes the section of docs/reliability.md
python -m benchmarks.reliability.repeat --quick
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.reliability.page import arguments, table, written
from hooks.extract import extract
from hooks.store import Store
from probes.sweep import sweep
from snellen.models import load
from snellen.runcompare import compare_folders
from stimuli.sets import exam_set

SMOKE = ("references=4", "train_references=6", "steps=2", "batch_size=4", "levels=[5]", "few=2", "repeats=2", "cause=3", "folds=3",
         "n_boot=30", "arms=[vision]")  # fmt: skip
"""The smallest exam with every step."""
ROOT = Path(__file__).resolve().parents[2]


def snellen(*given: str, hash_seed: int, **how: Any) -> subprocess.Popen:
    """A command in a process of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    return subprocess.Popen([sys.executable, "-m", "snellen", *given, "--no-progress"], cwd=ROOT, env=environment, **how)


def exams(folder: Path, quick: bool) -> list[dict[str, Any]]:
    """An exam, the same again, and the same killed in the middle: values that are equal to the last bit, and that are not."""
    sets = [part for own in SMOKE for part in ("--set", own)]
    assert snellen("exam", *sets, "--out", str(folder / "first"), hash_seed=1).wait() == 0
    assert snellen("exam", *sets, "--out", str(folder / "again"), hash_seed=2).wait() == 0
    found = [compared("an exam, another process and hash seed", folder / "first", folder / "again")]
    if quick:
        return found
    run = snellen("exam", *sets, "--out", str(folder / "killed"), hash_seed=3)
    while not (folder / "killed" / "arms").is_dir() and run.poll() is None:
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert snellen("exam", *sets, "--out", str(folder / "killed"), hash_seed=4).wait() == 0
    return [*found, compared("an exam, killed while it tuned and gone on with", folder / "first", folder / "killed")]


def compared(name: str, first: Path, second: Path) -> dict[str, Any]:
    """One row of two exams."""
    found = compare_folders(first, second, 0)
    largest = max((row["difference"] if row["difference"] is not None else np.inf for row in found.table), default=0.0)
    return {"what": name, "values": found.equal + len(found.table), "equal": found.equal, "largest": largest, "score": None}


def extractions(folder: Path, references: int) -> list[dict[str, Any]]:
    """Activations of every site made in several ways, against those made sixteen at a time in one process of one thread."""
    mllm, shown = load("embedded"), exam_set(references, levels=(3, 5), measure=False)

    def made(name: str, threads: int = 1, processes: int = 1, **how: Any) -> Path:
        torch.set_num_threads(threads)
        for rank in range(processes):
            extract(mllm, shown, out=folder / name, progress=False, rank=rank, world_size=processes, job="j", **how)
        torch.set_num_threads(1)
        return folder / name

    plain = made("plain")
    ways: dict[str, Callable[[], Path]] = {
        "activations, once more": lambda: made("again"),
        "activations, images read by 2 workers": lambda: made("workers", workers=2),
        "activations, batches of 5": lambda: made("five", batch_size=5),
        "activations, batches of 1": lambda: made("one", batch_size=1),
        "activations, 2 processes": lambda: made("processes", processes=2),
        "activations, 2 threads": lambda: made("threads", threads=2),
    }
    return [against(name, plain, way()) for name, way in ways.items()]


def against(name: str, plain: Path, other: Path) -> dict[str, Any]:
    """One row of two stores: single values, and the probe's scores at all sites."""
    first, second = Store(plain), Store(other)
    order = [first.ids.index(id) for id in second.ids]
    values = equal = 0
    largest = 0.0
    for site in first.sites:
        a, b = np.asarray(first.read(site).values[order], float), np.asarray(second.read(site).values, float)
        values, equal = values + a.size, equal + int((a == b).sum())
        largest = max(largest, float(np.max(np.abs(a - b) / np.maximum(1, np.maximum(np.abs(a), np.abs(b))))))
    scores = [
        {row["site"]: row["score"] for row in sweep(own, folds=3, n_boot=20, progress=False).table} for own in (first, second)
    ]
    change = max(abs(scores[0][site] - scores[1][site]) for site in scores[0])
    return {"what": name, "values": values, "equal": equal, "largest": largest, "score": change}


def main() -> None:
    """Command line."""
    options = arguments(__doc__).parse_args()
    with TemporaryDirectory() as place:
        rows = [*extractions(Path(place), 4 if options.quick else 10), *exams(Path(place) / "exams", options.quick)]
    cells = [
        [row["what"], f"{row['values']:,}", f"{row['equal'] / row['values']:.4%}", f"{row['largest']:.1e}",
         "–" if row["score"] is None else f"{row['score']:.4f}"]
        for row in rows
    ]  # fmt: skip
    lines = [
        "## The same again",
        "",
        "Command: `python -m benchmarks.reliability.repeat`. The model is `embedded`; activations of all sites are compared with those that one "
        f"process of one thread made in batches of 16; exams are `snellen exam {' '.join(f'--set {own}' for own in SMOKE)}`, of which every "
        "value of `results.json` but times and provenance is compared. `largest`: difference of two values, as a share of the larger or of 1. "
        "`score`: the largest change of a probe's balanced accuracy at any site. One machine, processes of one thread unless said.",
        "",
        *table(["what", "values", "equal to the last bit", "largest", "score"], cells),
    ]
    written("repeat", rows, lines, options)


if __name__ == "__main__":
    main()
