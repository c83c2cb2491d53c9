"""A folder for what nobody asked to keep."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path


class Scratch:
    """A new temporary folder; it goes when nothing refers to this object any more, and at the latest when its process ends."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="snellen-"))
        weakref.finalize(self, _remove, self.path, os.getpid())


def _remove(path: Path, owner: int) -> None:
    """Remove the folder, unless this is a process that was forked from the one that made it."""
    if os.getpid() == owner:
        shutil.rmtree(path, ignore_errors=True)
