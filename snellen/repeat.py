"""A run repeated from its own config, and its numbers compared with those of the repetition."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snellen.config import ExamConfig
from snellen.runcompare import Compared, compare_folders, made
from snellen.runs import RECORD, RESULTS, exam
from stimuli.errors import InputError
from stimuli.tables import read_json

PROGRAMS = ("snellen", "snellen.exe", "__main__.py")
"""How a command is called that can be repeated: itself, or as ``python -m snellen``."""


def rerun(run: str | Path, out: str | Path | None = None, *, tolerance: float = 1e-6, progress: bool = True) -> Compared:
    """Repeat a finished run and compare.

    An exam is repeated with the settings that its ``exam.json`` holds, another run with the command line that its provenance holds,
    from the current folder. A repetition that was stopped goes on; one that is finished is compared without being made again.

    Args:
        run: folder of the run.
        out: folder of the repetition; by default beside it, its name with ``-again``.
        tolerance: see ``snellen.runcompare.compare_folders``.
        progress: show the repetition's progress.

    Returns:
        What is equal, what is within the tolerance and what is different, and in what the two runs differ by their provenance.

    Raises:
        InputError: no finished run, one that was made otherwise than by an exam or a command, the run itself as ``out``, or a command
            that fails.
    """
    first = Path(run)
    second = Path(out) if out is not None else first.resolve().with_name(f"{first.resolve().name}-again")
    if first.resolve() == second.resolve():
        raise InputError(f"Got {second} for the run and for its repetition; expected two folders. Give another --out.")
    about = made(first)
    if (first / RESULTS).is_file():
        _again(first, second, progress)
    else:
        _command(first, arguments(first, about), second, progress)
    return compare_folders(first, second, tolerance)


def arguments(run: Path, about: Mapping[str, Any]) -> list[str]:
    """What was typed behind ``snellen``, without the folder that was written to.

    Args:
        run: the folder, for the message.
        about: its provenance.

    Raises:
        InputError: the run was made by another program, such as a notebook.
    """
    program, *rest = shlex.split(str(about.get("command", ""))) or [""]
    if program not in PROGRAMS or not rest:
        raise InputError(
            f"{run} was made by '{program}', not by a command of snellen's. Expected a run that says how to repeat it. Repeat it as you made "
            "it, into another folder, and compare the two with sn.compare_folders."
        )
    kept: list[str] = []
    told = iter(rest)
    for part in told:
        if part == "--out":
            next(told, None)
        elif part != "--json" and not part.startswith("--out="):
            kept.append(part)
    return kept


def _again(first: Path, second: Path, progress: bool) -> None:
    """The exam once more; of the record, what this version knows, so that one of an older version is told by its settings."""
    settings = read_json(first / RECORD, "the settings of an exam")
    unknown = sorted(set(settings) - set(ExamConfig.model_fields))
    if unknown:
        raise InputError(
            f"{first / RECORD} has the settings {', '.join(unknown)}, which this version does not know. Expected an exam of this version. "
            "Repeat it with the version that its provenance names."
        )
    exam(settings.pop("model", None), second, progress=progress, **settings)


def _command(first: Path, given: list[str], second: Path, progress: bool) -> None:
    """The command once more, in a process of its own."""
    command = [sys.executable, "-m", "snellen", *given, "--out", str(second)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=None if progress else subprocess.PIPE, text=True)
    if done.returncode:
        said = (done.stderr or "").strip().splitlines()
        told = f": {said[-1]}" if said else ""
        raise InputError(
            f"Repeating {first} failed with exit code {done.returncode} ({shlex.join(['snellen', *command[3:]])}){told}. Expected it to run "
            "from this folder as it did. Go to the folder that it was given in, or mend what it says."
        )
