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
