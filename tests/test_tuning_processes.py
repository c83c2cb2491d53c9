"""Two processes of torchrun learn what one does; a killed one goes on; sharded ones too."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow
WEIGHTS = ("component.safetensors", "adapter/adapter_model.safetensors")
HOW = ["--references", "4", "--levels", "2,5", "--batch-size", "32", "--micro-batch", "16", "--test", "0", "--no-progress"]


def tune(out: Path, processes: int, *extra: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"] if processes > 1 else ["-m"]
    )
    command = [sys.executable, *launcher, "snellen", "tune", *extra, *HOW, "--out", str(out)]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
    return subprocess.Popen(command, env=variables, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            start_new_session=True)  # fmt: skip


def finished(run: subprocess.Popen[str]) -> str:
    out, _ = run.communicate(timeout=400)
    assert run.returncode == 0, out[-3000:]
    return out


def curve(out: Path) -> dict[str, list[float]]:
    rows = list(csv.DictReader((out / "history.csv").read_text().splitlines()))
    return {name: [float(row[name]) for row in rows] for name in rows[0] if name != "seconds"}


def same(one: Path, other: Path, tolerance: float) -> None:
    first, second = curve(one), curve(other)
    assert first.keys() == second.keys() and len(first["loss"]) == len(second["loss"])
    for name in first:
        assert second[name] == pytest.approx(first[name], rel=tolerance, abs=1e-5), name
    a, b = (load_file(next(file for file in map(folder.joinpath, WEIGHTS) if file.exists())) for folder in (one, other))
    moved = json.loads((one / "tuning.json").read_text())["audit"]["moved"]
    assert a.keys() == b.keys()
    apart = sum(float((a[name] - b[name]).square().sum()) for name in a) ** 0.5
    assert apart < 0.03 * sum(value**2 for value in moved.values()) ** 0.5, "they differ by much less than they moved"


@pytest.mark.heavy
def test_two_processes_give_the_loss_curve_of_one(tmp_path: Path) -> None:
    what = ["vision", "--constraint", "align+keep+order+decorrelate", "--steps", "4"]
    finished(tune(tmp_path / "one", 1, *what))
    said = finished(tune(tmp_path / "two", 2, *what))
    assert said.count("by 2 processes; everything else is bit-identical") == 1
    same(tmp_path / "one", tmp_path / "two", 1e-3)


@pytest.mark.heavy
def test_a_killed_pair_goes_on_and_ends_as_one(tmp_path: Path) -> None:
    what = ["llm.2-3", "--method", "lora", "--steps", "12", "--checkpoint-every", "2"]
    finished(tune(tmp_path / "one", 1, *what))
    run = tune(tmp_path / "two", 2, *what)
    deadline = time.monotonic() + 200
    while not (tmp_path / "two" / "checkpoint.safetensors").exists() and time.monotonic() < deadline and run.poll() is None:
        time.sleep(0.02)
    launcher = psutil.Process(run.pid)
    for process in [*launcher.children(recursive=True), launcher]:  # workers have process groups of their own
        process.kill()
    run.communicate(timeout=60)
    assert not (tmp_path / "two" / "tuning.json").exists()
    finished(tune(tmp_path / "two", 2, *what))
    same(tmp_path / "one", tmp_path / "two", 1e-3)


@pytest.mark.heavy
@pytest.mark.parametrize("what", [["llm", "--method", "full"], ["vision", "--method", "lora"]])
def test_sharded_processes_learn_what_one_does(tmp_path: Path, what: list[str]) -> None:
    sharded = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
               "FSDP_TRANSFORMER_CLS_TO_WRAP": "LlamaDecoderLayer"}  # fmt: skip
    finished(tune(tmp_path / "one", 1, *what, "--steps", "3"))
    said = finished(tune(tmp_path / "two", 2, *what, "--steps", "3", environment=sharded))
    assert said.count("by 2 processes, each with a part of the weights") == 1
    same(tmp_path / "one", tmp_path / "two", 2e-3)
