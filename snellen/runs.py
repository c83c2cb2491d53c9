"""The whole exam: stimuli → answers → activations → probes → tuning → distances → verdict → report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hooks.alone import alone
from hooks.recipe import difference
from snellen.config import ExamConfig, build
from snellen.progress import Clock, expected
from stimuli.errors import InputError
from stimuli.tables import write_json

DEFAULT_OUT = "runs/exam"
RECORD, RESULTS, PARTIAL = "exam.json", "results.json", "results.partial.json"


@dataclass(frozen=True)
class Exam:
    """A finished exam."""

    folder: Path
    results: Mapping[str, Any] = field(repr=False)
    """What ``results.json`` holds: provenance, stimuli, perception, survival, tuning, distance, verdict."""

    @property
    def verdict(self) -> str:
        """The component where usable distortion information is lost, ``none`` or ``cannot tell``."""
        return str(self.results["verdict"]["component"])

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        return str(self.results["verdict"]["sentence"])

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / "report.html"


def exam(
    model: str | None = None,
    out: str | Path = DEFAULT_OUT,
    *,
    config: str | Path | None = None,
    progress: bool = True,
    **overrides: Any,
) -> Exam:
    """Examine a model and write results, tables, figures and a report.

    A killed exam goes on where it was: activations and tuned components are kept in ``out``. A finished exam with the same
    settings is returned as it is.

    Args:
        model: ``embedded``, ``embedded-template``, a folder or a hub id.
        out: folder of the run.
        config: YAML file of settings (``snellen.config.ExamConfig``).
        progress: show the step, rate and time left in one line; where nobody watches, print a line per step.
        **overrides: settings, over those of the file.

    Returns:
        The finished exam.

    Raises:
        InputError: unusable settings, model or images, or a folder that holds another run or in which another process is at one.
    """
    settings = build(config, {**overrides, "model": model})
    folder = Path(out)
    _refuse_foreign(folder)
    with alone(folder, "an exam"):
        done = _open(folder, settings)
        if done is not None:
            return done
        from snellen.examination import examine

        results = examine(settings, folder, Clock(not progress, expected(settings)), progress)
        return Exam(folder, results)


def unfinish(folder: Path) -> bool:
    """Make a finished exam one that goes on when it is run again, such as after its activations were damaged; whether it was finished."""
    if finished := (folder / RESULTS).is_file():
        (folder / RESULTS).replace(folder / PARTIAL)
    return finished


def finish_again(folder: Path) -> None:
    """Take ``unfinish`` back."""
    (folder / PARTIAL).replace(folder / RESULTS)


def _refuse_foreign(folder: Path) -> None:
    """Leave files alone that are no exam.

    Raises:
        InputError: there are some.
    """
    there = folder.exists() and (not folder.is_dir() or any(path.name[0] != "." for path in folder.iterdir()))
    if there and not (folder / RECORD).is_file():
        raise InputError(
            f"The output folder {folder} is not empty and holds no exam of Snellen's (no {RECORD}). "
            "Give a new folder as --out; nothing was overwritten."
        )


def _open(folder: Path, settings: ExamConfig) -> Exam | None:
    """Claim the folder for these settings; the finished exam if it holds one.

    Raises:
        InputError: the folder holds another run.
    """
    record, wanted = folder / RECORD, json.loads(settings.model_dump_json())
    begun = any(path.name[0] != "." and path != record for path in folder.iterdir())
    if record.is_file() and begun:  # else there is nothing but the claim of a start that was refused: it is taken over
        changed = difference(_read(record), wanted)
        if not changed:
            return _finished(folder)
        raise InputError(
            f"The folder {folder} holds another exam ({changed}). Give another --out, or the same settings to go on; "
            "nothing was overwritten."
        )
    write_json(wanted, record)
    return None


def _read(record: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(record.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"{record} is damaged ({error}), so nobody can tell whose exam {record.parent} holds. Expected the settings as they were "
            "written. Give another --out; nothing was overwritten."
        ) from error


def _finished(folder: Path) -> Exam | None:
    """The exam of a folder that holds a whole one; results that cannot be read are computed again."""
    if not (folder / RESULTS).is_file() or not (folder / "report.html").is_file():
        return None
    try:
        return Exam(folder, json.loads((folder / RESULTS).read_text(encoding="utf-8")))
    except (ValueError, RecursionError):
        return None
