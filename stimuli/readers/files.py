"""Where a dataset's files are: its root, and its files by name whatever the case."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from stimuli.errors import InputError


class Files:
    """The files of some folders by relative name, listed once and found whatever their case.

    Args:
        folders: where to look; of two files of one name the first folder's is found. One that does not exist is empty.
        deep: whether to list subfolders too.
    """

    def __init__(self, *folders: Path, deep: bool = False) -> None:
        self._where = ", ".join(map(str, folders)) or "no folder"
        self._exact: dict[str, Path] = {}
        for folder in folders:
            for name in sorted(_names(folder, deep)):
                self._exact.setdefault(name, folder)
        self._folded: dict[str, str] = {}
        for name in self._exact:
            self._folded.setdefault(name.casefold(), name)

    def name(self, wanted: str) -> str | None:
        """The name on the disk of a file; of two that differ by case alone the exact one. None where there is none."""
        return wanted if wanted in self._exact else self._folded.get(wanted.casefold())

    def find(self, wanted: str) -> Path | None:
        """The path of a file; None where there is none."""
        name = self.name(wanted)
        return None if name is None else self._exact[name] / name

    def need(self, wanted: str) -> Path:
        """The path of a file.

        Raises:
            InputError: there is none.
        """
        path = self.find(wanted)
        if path is None:
            raise InputError(f"There is no file {wanted} in {self._where}. Expected it there. Fetch the dataset again.")
        return path

    def __iter__(self) -> Iterator[str]:
        """Every name, sorted within its folder."""
        return iter(self._exact)

    def __len__(self) -> int:
        """How many files there are."""
        return len(self._exact)


def _names(folder: Path, deep: bool, prefix: str = "") -> Iterator[str]:
    """The relative names of the files of a folder."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file():
                yield prefix + entry.name
            elif deep and entry.is_dir():
                yield from _names(Path(entry.path), deep, f"{prefix}{entry.name}/")


def subfolders(folder: Path, *names: str) -> list[Path]:
    """Those subfolders of a folder that have one of the names, whatever the case, in the order of the names."""
    here = {path.name.casefold(): path for path in sorted(folder.iterdir(), reverse=True) if path.is_dir()}
    return [here[name.casefold()] for name in names if name.casefold() in here]


def root(path: str | Path, markers: Sequence[str], dataset: str, layout: str) -> Path:
    """The folder of a dataset: the one given, the one above it, or the only one right below it that holds a marker.

    Args:
        path: what the user gave: a folder, or one of the dataset's files.
        markers: files or folders of which the dataset's folder holds at least one, whatever the case.
        dataset: its name.
        layout: what the folder should look like, for the error.

    Raises:
        InputError: none of these is the dataset's folder, or several are.
    """
    given = Path(path).expanduser()
    if not given.exists():
        raise InputError(f"There is no folder {given}. Expected the folder of {dataset}: {layout}. Check the path.")
    given = given.parent if given.is_file() else given
    if _holds(given, markers):
        return given
    below = [folder for folder in sorted(given.iterdir()) if folder.is_dir() and _holds(folder, markers)]
    if len(below) > 1:
        listed = ", ".join(folder.name for folder in below)
        raise InputError(f"{given} holds {dataset} {len(below)} times ({listed}); expected it once. Give one of these folders.")
    if below or _holds(given.resolve().parent, markers):
        return below[0] if below else given.resolve().parent
    held = sorted(entry.name for entry in given.iterdir())
    shown = ", ".join(held[:8]) + (f" and {len(held) - 8} more" if len(held) > 8 else "")
    raise InputError(
        f"{given} is not the folder of {dataset}: it holds {shown or 'nothing'}, and none of {', '.join(markers)}. "
        f"Expected {layout}. Give the folder that holds these."
    )


def _holds(folder: Path, markers: Sequence[str]) -> bool:
    """Whether one of the markers is in a folder; False for a folder that may not be listed."""
    wanted = {marker.casefold() for marker in markers}
    try:
        return any(entry.name.casefold() in wanted for entry in folder.iterdir())
    except OSError:
        return False
