"""Runs that are stopped at random moments, in every way there is, and gone on with: is anything lost, or done twice.

python -m benchmarks.reliability.kills            # about 120 strikes; writes the section of docs/reliability.md
python -m benchmarks.reliability.kills --quick

Every run is a process of its own, forked from one that holds the model, so that a strike may fall anywhere. It is struck until it dies,
run again and struck again, and at last run to its end; what is then on disk is compared with an uninterrupted run's. A full disk and one
that becomes read-only are small file systems in memory of their own, where this user may mount them; without that right they are left out.
A network file system's rename is one that copies half of the file and is then cut off, without hard links.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.reliability.page import arguments, table, written
from benchmarks.reliability.strikes import Task, child, faults
from hooks import records
from hooks.compact import manifest
from hooks.store import Store
from stimuli.errors import InputError

TASKS = ("extract", "ask", "tune", "exam")
SITES = ("vision.2", "projector", "llm.1")
EXAM: dict[str, Any] = {
    "references": 6, "train_references": 4, "steps": 6, "batch_size": 4, "levels": (5,), "n_boot": 20, "folds": 2, "arms": ("projector",),
    "interview": "off", "cause": 0, "plane": "pca", "random_baseline": False, "progress": False, "device": "cpu",
}  # fmt: skip
TIMES = {"seconds", "started", "finished", "command", "hostname", "host", "resources"}
"""Of results: what no two runs have in common."""


# ---- the runs, and what they leave -----------------------------------------------------------------------------------


def tasks(work: Path, strikes: Sequence[int]) -> list[Task]:
    """The four kinds of run, on the embedded model and a handful of stimuli, each ended once without a strike."""
    from hooks.asks import Ask
    from hooks.extract import extract
    from hooks.respond import respond
    from snellen import examination
    from snellen.models import load
    from snellen.runs import exam
    from stimuli.sets import exam_set
    from tuning.tune import tune

    torch.set_num_threads(1)
    mllm = load("embedded", device="cpu")
    shown, train = exam_set(4, levels=(3, 5), measure=False), exam_set(3, levels=(5,), split="train", measure=False)
    asks = [Ask("what", "What is wrong with this image?", max_new_tokens=4), Ask("blur", "Is it blurred?", ("yes", "no"))]
    quiet: dict[str, Any] = {"progress": False}

    def examined(out: Path) -> None:
        examination.written = lambda *_, **__: {}  # figures are drawn from what is compared here
        exam("embedded", out, **EXAM)

    made = [
        Task("extract", lambda out: extract(mllm, shown, SITES, out=out, batch_size=2, **quiet), _stored, strikes[0]),
        Task("ask", lambda out: respond(mllm, shown, asks, out, batch_size=2, **quiet), _answered, strikes[1]),
        Task("tune", lambda out: tune(mllm, train, "projector", steps=16, batch_size=4, replay_images=2, checkpoint_every=2, out=out, **quiet),
             _tuned, strikes[2]),
        Task("exam", examined, _examined, strikes[3]),
    ]  # fmt: skip
    for task in [task for task in made if task.strikes]:
        folder = work / f"{task.name}-whole"
        if task.name != "exam":  # what is imported and made at first use, once for all processes
            task.run(work / f"{task.name}-first")
        start = time.monotonic()
        code = child(partial(task.run, folder))
        assert code == 0, f"the uninterrupted {task.name} failed"
        task.seconds, task.whole = time.monotonic() - start, task.result(folder)
        task.size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{task.name}: {task.seconds:.1f} s, {task.size / 1e3:.0f} kB", file=sys.stderr)
    return made


def _stored(folder: Path) -> Any:
    """Every row of every site by stimulus."""
    store = Store(folder)
    assert store.verify() == [], store.verify()
    lines = [id for part in manifest.all_parts(folder) for line in manifest.lines(part) for id in line.ids]
    assert len(lines) == len(set(lines)), "a stimulus is there twice"
    found = {}
    for site in store.sites:
        rows = store.read(site)
        found[site] = {id: _digest(rows.of(id).tobytes()) for id in sorted(store.ids)}
    return found


def _answered(folder: Path) -> Any:
    rows = [row for path in folder.glob("answers-*.jsonl") for row in records.read(path) if "key" in row]
    assert len({row["key"] for row in rows}) == len(rows), "a question was asked twice"
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def _tuned(folder: Path) -> Any:
    record = json.loads((folder / "tuning.json").read_text())
    assert not (folder / "checkpoint.safetensors").exists()
    return [_digest((folder / "component.safetensors").read_bytes()), _timeless(record)]


def _examined(folder: Path) -> Any:
    for store in (folder / "activations").iterdir():
        _stored(store)
    for book in (folder / "answers").iterdir():
        _answered(book)
    return _timeless(json.loads((folder / "results.json").read_text()))


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _timeless(item) for key, item in value.items() if key not in TIMES}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ---- the strikes -----------------------------------------------------------------------------------------------------


def struck(
    task: Task, name: str, fault: Callable[[Task, Path, random.Random], int], work: Path, rng: random.Random
) -> dict[str, Any]:
    """Strike a kind of run in one way as often as its number says, begin anew whenever it came to its end, and compare at last.

    Returns:
        ``strikes`` that fell while it ran, ``states`` of the folder that they left, ``ends`` compared and how many were the ``same``, and
        what else is wrong.
    """
    found: dict[str, Any] = {"task": task.name, "fault": name, "strikes": 0, "ends": 0, "same": 0, "wrong": []}
    states: set[Any] = set()
    folder = work / f"{task.name}-{name.replace(' ', '-')}"
    for _ in range(task.strikes * 6):
        if found["strikes"] == task.strikes:
            break
        code = fault(task, folder, rng)
        if code:
            found["strikes"] += 1
            states.add(_state(folder))
            if code == 1:
                found["wrong"].append("ended in a traceback")
        if not code or rng.random() < 0.2:
            _ended(task, folder, found)
    _ended(task, folder, found)
    return {**found, "states": len(states)}


def _ended(task: Task, folder: Path, found: dict[str, Any]) -> None:
    """Run to the end, compare, and begin anew."""
    code = child(partial(task.run, folder))
    found["ends"] += 1
    try:
        assert code == 0, f"the last run ended with {code}"
        assert task.result(folder) == task.whole, "the results differ"
        found["same"] += 1
    except (AssertionError, InputError, OSError, ValueError) as error:
        found["wrong"].append(str(error)[:300])
    shutil.rmtree(folder, ignore_errors=True)


def _state(folder: Path) -> Any:
    return tuple(sorted(Counter(path.suffix for path in folder.rglob("*")).items())), sum(
        path.stat().st_size for path in folder.rglob("*") if path.is_file()
    )


def section(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of the page."""
    sums = {key: sum(row[key] for row in rows) for key in ("strikes", "states", "ends", "same")}
    wrong = _wrong(rows)
    return [
        "## Runs that are stopped",
        "",
        "Command: `python -m benchmarks.reliability.kills`. The embedded model and a handful of stimuli; every run is a process, struck at "
        "a random moment, gone on with and struck again, run to its end at last and compared with an uninterrupted run: rows of "
        "activations, answers and tuned weights to the last bit, `results.json` but for times; every stimulus and every answer there once. "
        "`strikes` fell while the run was at work, `states` are the different ones that they left on disk, `same` of `ends` came to the "
        "same. Of each kind 7, 6, 5 and 1 strikes are asked for; some rows are of calls of their own (`--tasks`, `--faults`, `--strikes`).",
        "",
        *table(
            ("run", "stopped by", "strikes", "states", "ends", "same"),
            [
                *([row[key] for key in ("task", "fault", "strikes", "states", "ends", "same")] for row in rows),
                ["all", "", *sums.values()],
            ],
        ),
        "",
        *([f"Wrong: {'; '.join(wrong)}."] if wrong else ["Nothing was lost, and nothing was there twice."]),
    ]


def _wrong(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{row['task']}, {row['fault']}: {text}" for row in rows for text in row["wrong"]]


def kept(options: Any) -> list[dict[str, Any]]:
    """Rows of earlier calls about others than are struck now."""
    old = options.rows / "kills.json"
    if options.quick or not (options.tasks or options.faults) or not old.is_file():
        return []
    again = [(task, fault) for task in options.tasks or TASKS for fault in options.faults or faults()]
    return [row for row in json.loads(old.read_text(encoding="utf-8")) if (row["task"], row["fault"]) not in again]


def main() -> None:
    """Command line."""
    parser = arguments(__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, help="all by default; what the page says of the others stays")
    parser.add_argument("--strikes", type=int, help="of each kind; 7, 6, 5 and 1 by default")
    parser.add_argument("--faults", nargs="+", help="as the page names them; all by default; what it says of the others stays")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    strikes = (1, 1, 1, 0) if options.quick else (options.strikes,) * 4 if options.strikes else (7, 6, 5, 1)
    if options.tasks:
        strikes = tuple(count if name in options.tasks else 0 for count, name in zip(strikes, TASKS, strict=True))
    rng, rows = random.Random(options.seed), kept(options)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        known = tasks(Path(place), strikes)
        ways = {name: fault for name, fault in faults().items() if name in (options.faults or faults())}
        for task in known:
            for name, fault in ways.items() if task.strikes else ():
                rows.append(struck(task, name, fault, Path(place), rng))
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    rows.sort(key=lambda row: (TASKS.index(row["task"]), [*faults()].index(row["fault"])))
    written("kills", rows, section(rows), options)
    raise SystemExit(1 if _wrong(rows) else 0)


if __name__ == "__main__":
    main()
