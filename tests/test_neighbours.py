"""A package that shadows a room is named."""

import subprocess
import sys
from pathlib import Path

import pytest

from snellen.neighbours import check


def test_the_rooms_are_neighbours() -> None:
    check()


def test_a_missing_room_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match="needs its own package 'stimuli'"):
        check(tmp_path)


def test_a_shadowing_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "__init__.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import snellen"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    assert "needs its own package 'hooks'" in done.stderr and str(tmp_path) in done.stderr
