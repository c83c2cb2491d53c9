"""Several processes at the same files: safe, or refused in words.

python -m benchmarks.reliability.together          # writes the section of docs/reliability.md
python -m benchmarks.reliability.together --quick
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability import damage
from benchmarks.reliability.kills import tasks
from benchmarks.reliability.page import arguments, table, written
from benchmarks.reliability.strikes import REFUSED, Task
from hooks import writer
from hooks.compact import compact
from hooks.repair import repair
from hooks.store import Store
from stimuli.errors import InputError

Row = dict[str, Any]
NOTHING_YET = ("no finished shard yet", "holds no activations")


def at_once(works: Sequence[Callable[[], Any]]) -> list[int]:
    """Run several things in processes of their own that begin at one moment; their exit codes."""
    gate, open_gate = os.pipe()
    pids = []
    for work in works:
        pid = os.fork()
        if pid == 0:
            os.close(open_gate)
            os.read(gate, 1)  # ends when the parent closes its side
            os._exit(child_code(work))
        pids.append(pid)
    os.close(gate)
    os.close(open_gate)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def child_code(work: Callable[[], Any]) -> int:
    """0, or 7 for what was refused in words, or 1 for a traceback."""
    try:
        work()
    except InputError as error:
        return REFUSED if "is under way in" in str(error) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        return 1
    return 0


def runs(task: Task, count: int, times: int, work: Path, refused: bool) -> Row:
    """The same run several times at once into one folder: all end with the same, or all but one are refused."""
    found: Row = {"what": f"{count} × {task.name} into one folder", "times": times, "expected": "one runs, the others are refused" if refused
                  else "all run", "as_expected": 0, "same": 0}  # fmt: skip
    for i in range(times):
        folder = work / f"together-{task.name}-{i}"
        codes = sorted(at_once([partial(task.run, folder)] * count))
        wanted = [0, *[REFUSED] * (count - 1)] if refused else [0] * count
        found["as_expected"] += codes == wanted
        if task.name == "extract":
            left = _rows(folder)
        else:
            left = task.result(folder) if task.name != "ask" else sorted(set(_answers(folder)))
        found["same"] += left == (_rows(work / "extract-whole") if task.name == "extract" else task.whole)
        shutil.rmtree(folder)
    return found


def _rows(folder: Path) -> Any:
    store = Store(folder)
    assert store.verify() == [] and len(set(store.ids)) == len(store.ids), "a stimulus is there twice"
    rows = {site: store.read(site) for site in store.sites}
    return {(site, id): rows[site].of(id).tobytes() for site in store.sites for id in sorted(store.ids)}


def _answers(folder: Path) -> list[str]:
    """Each answer, as often as it was given: processes that ask the same at the same moment both do."""
    import json

    from hooks import records

    rows = [row for path in folder.glob("answers-*.jsonl") for row in records.read(path) if "key" in row]
    return [json.dumps(row, sort_keys=True) for row in rows]


def reading(write: Callable[[Path], Any], folder: Path, least: int) -> Row:
    """Read everything again and again while another process works on a store; every number must be the right one."""
    pid = os.fork()
    if pid == 0:
        os._exit(child_code(partial(write, folder)))
    found: Row = {"reads": 0, "refused": 0, "wrong": 0, "sizes": set()}
    code = None
    while code is None or found["reads"] < least:
        if code is None:
            ended, status = os.waitpid(pid, os.WNOHANG)
            code = os.waitstatus_to_exitcode(status) if ended else None
        try:
            store = Store(folder)
            rows = {site: store.read(site) for site in store.sites}
            for site, own in rows.items():
                flat = np.concatenate([np.atleast_2d(damage.true(site, id)) for id in own.ids])
                found["wrong"] += not np.array_equal(own.values, flat)
            found["reads"] += 1
            found["sizes"].add(len(store.ids))
        except InputError as error:
            found["refused" if any(part in str(error) for part in NOTHING_YET) else "wrong"] += 1
            if not any(part in str(error) for part in NOTHING_YET):
                print(error, file=sys.stderr)
    return {**found, "sizes": len(found["sizes"]), "code": code}


def small_writes(folder: Path) -> None:
    """Write a store in small batches whose files are put together all the time."""
    writer.MANY = 3
    damage.BATCH = 1
    damage.extracted(folder, damage.IDS)


def readers(times: int, work: Path) -> list[Row]:
    """Readers while a store is written, and while it is compacted."""
    rows = []
    for what, act in (
        ("a reader while files are written and put together", small_writes),
        ("a reader during `compact`", _compacted),
    ):
        total: Row = {"what": what, "times": times, "expected": "every number right", "as_expected": 0, "same": 0, "reads": 0}
        for i in range(times):
            folder = work / f"read-{i}"
            if act is _compacted:
                damage.original(folder)
            found = reading(act, folder, 1)
            total["as_expected"] += found["code"] == 0 and found["wrong"] == 0
            total["same"] += damage.read(folder) == "whole"
            total["reads"] += found["reads"]
            shutil.rmtree(folder)
        rows.append(total)
    return rows


def _compacted(folder: Path) -> None:
    compact(folder, progress=False)


def refusals(work: Path) -> list[Row]:
    """What must not be done to a store that is being written."""
    rows = []
    for name, act in (("compact", partial(compact, progress=False)), ("repair", repair)):
        folder = work / f"refuse-{name}"
        pid = os.fork()
        if pid == 0:
            damage.extracted(folder, damage.IDS[:4], close=False)
            signal.pause()
        while not list(folder.glob("parts/*/manifest.jsonl")):
            time.sleep(0.005)
        time.sleep(0.1)
        if name == "repair":  # something to mend
            shard = next(folder.rglob("*.safetensors"))
            shard.write_bytes(shard.read_bytes()[:-1])
        try:
            act(folder)
            said = ""
        except InputError as error:
            said = str(error)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        told = "is still being written by a process" in said
        rows.append(
            {
                "what": f"`{name}` while a process writes",
                "times": 1,
                "expected": "refused",
                "as_expected": int(told),
                "same": "–",
            }
        )
    return rows


def _command(times: Sequence[int], options: Any) -> str:
    more = "" if options.quick or tuple(times) == (5, 5, 5, 2) else f" --times {' '.join(map(str, times))}"
    return f"python -m benchmarks.reliability.together{more}"


def main() -> None:
    """Command line."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--times", type=int, nargs=4, default=(5, 5, 5, 2), help="of extract, ask, tune, exam; 5 5 5 2 by default"
    )
    options = parser.parse_args()
    times = (1, 1, 1, 0) if options.quick else options.times
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        work = Path(place)
        with damage.no_waiting():
            rows = readers(2 if options.quick else 20, work) + refusals(work)
        known = tasks(work, times)
        for task, many, refused in zip(known, times, (False, False, True, True), strict=True):
            if many:
                rows.append(runs(task, 2 if refused else 3, many, work, refused))
    bad = [row for row in rows if not row["as_expected"] == row["same"] == row["times"] and row["expected"] != "refused"]
    bad += [row for row in rows if row["expected"] == "refused" and not row["as_expected"]]
    lines = [
        "## Several processes at once",
        "",
        f"Command: `{_command(times, options)}`. Processes forked from one that holds the model, which begin at the same moment; "
        "`as expected` of `times`, and how often what was left on disk was the `same` as one process alone leaves.",
        "",
        *table(
            ("what", "expected", "times", "as expected", "same", "reads"),
            [
                [row["what"], row["expected"], row["times"], row["as_expected"], row["same"], row.get("reads", "")]
                for row in rows
            ],
        ),
    ]
    written("together", rows, lines, options)
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
