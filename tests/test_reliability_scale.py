"""The proofs at scale, in small: what benchmarks/reliability measures must also hold here."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.parametrize("script", ["kills", "together", "soak"])
def test_a_quick_run_finds_nothing_wrong(script: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"benchmarks.reliability.{script}", "--quick", "--page", str(tmp_path / "page.md")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert f"benchmarks/reliability/{script}.py writes to here" in done.stdout and not (tmp_path / "page.md").exists()


@pytest.mark.heavy
@pytest.mark.slow
def test_the_damaged_activations_of_an_exam_are_computed_anew_and_it_comes_to_the_same(tmp_path: Path) -> None:
    import snellen as sn
    from benchmarks.reliability.kills import EXAM, _timeless
    from snellen.cli_repair import repair
    from snellen.steps import verify

    folder = tmp_path / "run"
    whole = _timeless(sn.exam("embedded", folder, **EXAM).results)
    shard = next((folder / "activations" / "base").rglob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1])
    told = repair(folder, compute=True, force=False, progress=False)
    assert told["computed"] and list(told["gone"].values()) == [told["computed"]] and len(told["found"]) == 1
    assert verify(folder) == ([], told["checked"])
    assert _timeless(sn.exam("embedded", folder, **EXAM).results) == whole
