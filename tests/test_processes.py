"""Real processes on one store: shared by torchrun, killed at random moments, gone on with, bit for bit the same."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))  # where this file is run as a program, to be killed

from hooks.compact import compact
from hooks.extract import extract
from hooks.store import Store
from snellen.models import load
from stimuli.sets import exam_set

ALL = bool(os.environ.get("SNELLEN_TEST_ALL"))
KILLS = 200 if ALL else 30
ROOT = Path(__file__).parent.parent
SITES = ["vision.2", "projector", "llm.1"]
pytestmark = pytest.mark.slow


def command(out: Path, *extra: str, references: int = 12) -> list[str]:
    shown = ["--references", str(references), "--levels", "3,5", "--sites", ",".join(SITES), "--batch-size", "4"]
    return ["snellen", "extract", "embedded", "--out", str(out), "--no-progress", *shown, *extra]


def torchrun(processes: int, out: Path, *extra: str, **options: Any) -> subprocess.Popen[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *launcher, *command(out, *extra, **options)], env=environment, cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip


def same(one: Store, other: Store) -> None:
    assert sorted(one.ids) == sorted(other.ids) and len(set(one.ids)) == len(one.ids)
    assert one.verify() == other.verify() == []
    for site in other.sites:
        a, b = one.read(site), other.read(site)
        assert all(np.array_equal(a.of(id), b.of(id)) for id in other.ids)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes: sums over several threads differ in the last bits
    out, shown = tmp_path_factory.mktemp("alone"), exam_set(12, levels=(3, 5), measure=False)
    yield extract(load("embedded", device="cpu"), shown, SITES, out=out, batch_size=4, progress=False)
    torch.set_num_threads(threads)


@pytest.mark.heavy
@pytest.mark.parametrize("processes", [2, 3])
def test_processes_of_torchrun_give_the_same_rows_as_one(processes: int, alone: Store, tmp_path: Path) -> None:
    run = torchrun(processes, tmp_path)
    out, _ = run.communicate(timeout=300)
    assert run.returncode == 0, out
    store = Store(tmp_path)
    same(store, alone)
    assert len(list((tmp_path / "parts").iterdir())) == processes and sum(run["images"] for run in store.runs) == len(alone.ids)
    assert min(run["images"] for run in store.runs) > 0
    same(compact(tmp_path, progress=False), alone)


@pytest.mark.heavy
def test_one_of_three_is_killed_half_way_and_a_rerun_completes(alone: Store, tmp_path: Path) -> None:
    run = torchrun(3, tmp_path)
    deadline = time.monotonic() + 200
    killed = None
    while killed is None and time.monotonic() < deadline and run.poll() is None:
        for part in (tmp_path / "parts").glob("*/manifest.jsonl"):  # the first that has stored something
            killed = json.loads((part.parent / "owner.json").read_text())["pid"]
        time.sleep(0.002)
    assert killed is not None, run.communicate()[0]
    os.kill(killed, signal.SIGKILL)
    out, _ = run.communicate(timeout=300)
    before = len(Store(tmp_path).ids)
    assert run.returncode != 0 and 0 < before < len(alone.ids), out
    again = torchrun(2, tmp_path)
    out, _ = again.communicate(timeout=300)
    assert again.returncode == 0, out
    same(Store(tmp_path), alone)
    rerun = [run for run in Store(tmp_path).runs if run["images"]][-2:]
    assert sum(run["images"] for run in rerun) <= len(alone.ids) - before + 4


@pytest.mark.heavy
def test_killed_again_and_again_it_completes_bit_for_bit(tmp_path: Path) -> None:
    """Every kill strikes a real extraction, forked from a process that holds the model, at a moment drawn at random."""
    done = subprocess.run([sys.executable, __file__, str(tmp_path), str(KILLS)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["kills"] >= KILLS and report["moments"] > 3, report
    for name in ("mean", "none"):
        same(Store(tmp_path / f"{name}-killed"), Store(tmp_path / f"{name}-whole"))


@pytest.mark.heavy
def test_memory_does_not_grow_with_the_number_of_stimuli() -> None:
    from benchmarks.extract import measured

    few, many = (measured(count=count, size="embedded", threads=1, workers=None)["peak_mb"] for count in (200, 3000))
    assert many < 1.05 * few


def kill_again_and_again(folder: Path, kills: int) -> None:
    """Extract whole, then in processes that are killed; prints how many kills struck, and at how many different states."""
    import random

    torch.set_num_threads(1)
    mllm, shown = load("embedded", device="cpu"), exam_set(12, levels=(3, 5), measure=False)
    draw, struck, states = random.Random(0), 0, set()
    for pool in ("mean", "none"):
        options = {"sites": SITES, "pool": pool, "batch_size": 2, "progress": False}
        work = partial(extract, mllm, shown, **options)
        start = time.monotonic()
        if child(work, folder / f"{pool}-whole", None):
            raise SystemExit("the uninterrupted run failed")
        whole = time.monotonic() - start
        out = folder / f"{pool}-killed"
        for _ in range(kills // 2 * 20):
            if struck >= (kills + 1) // 2 * (1 if pool == "mean" else 2):
                break
            if len(Store(out).ids if (out / "config.json").exists() else ()) > len(shown) * 0.9:
                out = fresh(out)
            struck += child(work, out, draw.uniform(0, whole / 2)) == -signal.SIGKILL
            if (out / "config.json").exists():
                store = Store(out)
                assert len(set(store.ids)) == len(store.ids)
                states.add((pool, len(store.ids)))
        assert child(work, out, None) == 0
    print(json.dumps({"kills": struck, "moments": len(states)}))


def fresh(out: Path) -> Path:
    """Begin anew once nearly everything is there, so that kills strike all of a run."""
    import shutil

    shutil.rmtree(out)
    return out


def child(work: Any, out: Path, kill_after: float | None) -> int:
    """Run ``work`` in a forked process, killed after some seconds; its exit status, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            work(out=out)
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    kill_again_and_again(Path(sys.argv[1]), int(sys.argv[2]))
