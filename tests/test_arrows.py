"""Rooms import only what stands before them, and each can be imported alone."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "stimuli": set(),
    "hooks": {"stimuli"},
    "probes": {"stimuli", "hooks"},
    "tuning": {"stimuli", "hooks"},
    "analysis": {"stimuli", "hooks", "probes", "tuning"},
    "snellen": {"stimuli", "hooks", "probes", "tuning", "analysis"},
}
DRAWING = {"stimuli", "analysis"}
"""Figures and report draw from results: they know no model, no probe and no tuning."""


def imported(file: Path) -> set[str]:
    """Names of the top-level packages that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("room", ALLOWED)
def test_arrows_point_one_way(room: str) -> None:
    files = list((ROOT / room).rglob("*.py"))
    assert files
    wrong = {
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in imported(file) & (set(ALLOWED) - {room}) - ALLOWED[room]
    }
    assert not wrong


def test_drawing_meets_no_computation() -> None:
    files = [*(ROOT / "analysis" / "figures").rglob("*.py"), *(ROOT / "analysis" / "report").rglob("*.py")]
    assert files and not {name for file in files for name in imported(file) & set(ALLOWED)} - DRAWING


def test_no_room_imports_tests_or_benchmarks() -> None:
    files = [file for room in ALLOWED for file in (ROOT / room).rglob("*.py")]
    assert not {name for file in files for name in imported(file) & {"tests", "benchmarks", "notebooks"}}


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_is_importable_alone_and_lightly(room: str) -> None:
    code = f"import {room}, sys; assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
