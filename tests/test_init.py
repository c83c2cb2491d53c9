"""The front door is light and complete."""

import subprocess
import sys
from pathlib import Path

import pytest

import snellen as sn


def test_importing_snellen_imports_nothing_heavy() -> None:
    code = "import snellen, sys; print([m for m in ('torch','sklearn','transformers','matplotlib','umap','skimage') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_every_public_name_resolves() -> None:
    assert all(getattr(sn, name) is not None for name in sn.__all__)
    assert callable(sn.stimuli.exam_set) and "exam" in dir(sn)
    with pytest.raises(AttributeError, match="no attribute 'examine'; public names are"):
        _ = sn.examine


def test_no_module_of_the_front_door_hides_a_public_name() -> None:
    """Importing ``snellen.x`` would put the module in the place of a public ``sn.x``."""
    modules = {path.stem for path in Path(sn.__file__).parent.glob("*.py")}
    assert not modules & set(sn.__all__)
