"""What the environment check finds, also where something is wrong: by planting what is wrong."""

import json
import subprocess
import sys
import urllib.error
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from snellen import doctor, embedded
from snellen.doctor import Check, checks, digest, package, version
from tests.test_cli import here

FIRST = """
import importlib.abc, sys
class Told(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "transformers", "numpy", "sklearn", "matplotlib"):
            print("IMPORTS", name, flush=True)
            raise ImportError(f"{name} is broken here")
sys.meta_path.insert(0, Told())
sys.argv = ["snellen", "doctor"]
from snellen.cli import main
main()
"""


def by_name(found: Any) -> dict[str, Check]:
    return {check.name: check for check in found}


@pytest.fixture(scope="module")
def found() -> dict[str, Check]:
    return by_name(checks())


def test_here_nothing_is_broken_and_everything_is_looked_at(found: dict[str, Check]) -> None:
    assert not [check for check in found.values() if check.state == "broken"]
    wanted = {"python", "processor", "memory", "disk", "writing", "model embedded", "model embedded-template", "torch", "typer", "extra dev",
              "torchvision", "flash_attn", "datasets", "pandas", "browser", "git", "model hub", "device cpu", "transformers"}  # fmt: skip
    assert wanted <= set(found)
    assert found["model hub"].found == "not asked" and "float32" in found["device cpu"].found
    assert all(check.note.startswith("for ") for check in found.values() if check.name in doctor.OPTIONAL)


def test_every_dependency_of_the_metadata_is_held_against_its_range(found: dict[str, Check]) -> None:
    from importlib import metadata

    from packaging.requirements import Requirement

    needs = [Requirement(text) for text in metadata.requires("snellen") or ()]
    for need in needs:
        if need.marker is None:
            assert found[need.name].found and found[need.name].state == "ok"
    assert len([need for need in needs if need.marker is None]) > 15


def test_absent_and_unsuitable_versions_are_broken_and_say_what_to_install() -> None:
    from packaging.specifiers import SpecifierSet

    assert package("no-such-thing", SpecifierSet(">=2")) == Check(
        "no-such-thing", "broken", "not installed", "pip install 'no-such-thing>=2'"
    )
    old = package("typer", SpecifierSet(">=99"))
    assert (old.state, old.found) == ("broken", version("typer")) and "needed is >=99" in old.note
    assert package("typer", SpecifierSet(">=0.1")).state == "ok"


@pytest.mark.parametrize("name", embedded.PATIENTS)
def test_a_damaged_model_is_broken(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digests in the module have to be written anew when the packaged models are made anew: ``doctor.digest``."""
    assert digest(embedded.folder(name)) == doctor.DIGESTS[name]
    for path in embedded.folder(name).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(embedded, "folder", lambda name: tmp_path)
    assert by_name(checks_without_torch())[f"model {name}"].state == "ok"
    weights = tmp_path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    damaged = by_name(checks_without_torch())[f"model {name}"]
    assert damaged.state == "broken" and "is not as it was packaged" in damaged.found
    (tmp_path / "config.json").unlink()
    weights.unlink()
    assert by_name(checks_without_torch())[f"model {name}"].state == "broken"


def checks_without_torch() -> list[Check]:
    found = []
    for check in checks():
        if check.name == "accelerate":
            break
        found.append(check)
    return found


def test_little_memory_and_disk_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SimpleNamespace(total=4e9, available=1e9)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(total=9e9, free=1e8))
    found = by_name(checks_without_torch())
    assert found["memory"].state == "note" and "--batch-size" in found["memory"].note
    assert found["disk"].state == "note" and "0.1 GB of 9.0 GB free" in found["disk"].found


def test_a_folder_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(dir: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    writing = by_name(checks_without_torch())["writing"]
    assert writing.state == "note" and "Permission denied" in writing.found and "--out" in writing.note


def test_the_hub_is_asked_only_on_demand_and_may_be_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def unreachable(request: Any, timeout: float) -> None:
        asked.append(request.full_url)
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setattr(doctor, "_torch", lambda: iter(()))
    monkeypatch.setattr(doctor, "_transformers", lambda: Check("transformers", "ok", ""))
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    assert by_name(checks())["model hub"].state == "note" and not asked
    found = by_name(checks(online=True))["model hub"]
    assert found.state == "missing" and "no network" in found.found and asked == ["https://huggingface.co"]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert by_name(checks(online=True))["model hub"].found == "HF_HUB_OFFLINE is set" and len(asked) == 1


def test_a_gpu_that_torch_cannot_use_and_one_that_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    told = by_name(doctor._torch())["device cuda"]
    assert told.state == "note" and "finds no GPU" in told.found and "CUDA build" in told.note
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda index: (1e9, 8e9))
    about = SimpleNamespace(name="Eye 9000", major=9, minor=0)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda index: about)
    monkeypatch.setattr(doctor, "dtypes", lambda device: "float32")
    told = by_name(doctor._torch())["device cuda:1"]
    assert told.found == "Eye 9000, 1.0 GB of 8.0 GB free; float32" and "compute capability 9.0" in told.note

    def lost(index: int) -> None:
        raise RuntimeError("driver lost")

    monkeypatch.setattr("torch.cuda.mem_get_info", lost)
    assert by_name(doctor._torch())["device cuda:0"] == Check("device cuda:0", "broken", "RuntimeError: driver lost")
    assert torch.get_num_threads() > 0


def test_kinds_of_numbers_are_found_by_trying(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert doctor.dtypes("cpu").startswith("float32")
    ones = torch.ones

    def no_half(*size: int, dtype: torch.dtype, device: str) -> torch.Tensor:
        if dtype is torch.float16:
            raise RuntimeError('"addmm_impl_cpu_" not implemented for Half')
        return ones(*size, dtype=dtype, device=device)

    monkeypatch.setattr(torch, "ones", no_half)
    assert "float16" not in doctor.dtypes("cpu").split(", ")


def test_the_command_ends_with_1_if_something_is_broken_and_tells_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "checks", lambda online: iter([Check("eye", "ok", "sharp"), Check("lens", "broken", "gone", "buy one")])
    )
    text = here("doctor", code=1)
    assert "broken   lens                     gone  (buy one)" in text and text.endswith("Broken: lens.\n")
    told = json.loads(here("doctor", "--json", "--quiet", code=1))
    assert told["exit_code"] == 1 and told["result"]["broken"] == ["lens"]
    assert told["result"]["checks"][0] == {"name": "eye", "state": "ok", "found": "sharp", "note": ""}
    monkeypatch.setattr(doctor, "checks", lambda online: iter([Check("eye", "ok", "sharp")]))
    assert "Nothing that is needed is broken." in here("doctor")


def test_lines_come_before_anything_heavy_is_imported_and_a_broken_torch_is_found() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    imports = [index for index, line in enumerate(lines) if line.startswith("IMPORTS")]
    assert lines[0].startswith("ok       snellen") and imports and imports[0] > 30
    assert "Traceback" not in done.stderr and done.returncode == 1
    assert any(line.startswith("broken   device") and "torch is broken here" in line for line in lines)
