"""The whole exam: stimuli → answers → activations → probes → tuning → distances → verdict → report."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hooks.store import difference
from snellen.config import ExamConfig, build
from stimuli.errors import InputError
from stimuli.tables import write_json

DEFAULT_OUT = "runs/exam"


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


@dataclass
class Clock:
    """Says what is being done and remembers how long it took."""

    quiet: bool
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time one step and print a line when it is done."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)
        if not self.quiet:
            print(f"[{sum(self.seconds.values()):6.1f} s] {name}", flush=True)


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
        progress: print progress.
        **overrides: settings, over those of the file.

    Returns:
        The finished exam.

    Raises:
        InputError: unusable settings, model or images, or a folder that holds another run.
    """
    settings = build(config, {**overrides, "model": model})
    folder = Path(out)
    done = _open(folder, settings)
    if done is not None:
        return done
    from snellen.examination import examine

    results = examine(settings, folder, Clock(quiet=not progress), progress)
    return Exam(folder, results)


def _open(folder: Path, settings: ExamConfig) -> Exam | None:
    """Claim the folder for these settings; the finished exam if it holds one.

    Raises:
        InputError: the folder holds another run, or files that are no exam.
    """
    record, wanted = folder / "exam.json", json.loads(settings.model_dump_json())
    if record.is_file():
        changed = difference(json.loads(record.read_text()), wanted)
        if not changed:
            return _finished(folder)
        if len(list(folder.iterdir())) == 1:  # nothing but the claim of a start that was refused: take it over
            write_json(wanted, record)
            return None
        raise InputError(
            f"The folder {folder} holds another exam ({changed}). Give another --out, or the same settings to go on; "
            "nothing was overwritten."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"The output folder {folder} is not empty and holds no exam of Snellen's (no exam.json). "
            "Give a new folder as --out; nothing was overwritten."
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(wanted, record)
    return None


def _finished(folder: Path) -> Exam | None:
    results = folder / "results.json"
    if not results.is_file() or not (folder / "report.html").is_file():
        return None
    return Exam(folder, json.loads(results.read_text()))
