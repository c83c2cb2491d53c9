"""The figures of a folder that a command wrote: from its saved results alone, without a model."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from analysis.figures.all import exam_figures, processed_figures
from analysis.figures.cause import attribution_figures, knockout_figures, lens_figures, overlay_figures, steering_figures
from analysis.figures.distance_map import distance_figures
from analysis.figures.files import Made, Plan
from analysis.figures.geometry import geometry_figures
from analysis.figures.interview import interview_figures
from analysis.figures.patching import patching_figures
from analysis.figures.probing import probing_figures
from analysis.figures.teaching import matched_figures, taught_figures
from stimuli.errors import InputError
from stimuli.result_files import load_result
from stimuli.tables import Table

OVERLAYS = "overlays.json"
"""Images, maps and masks that ``snellen attribute`` keeps to draw them again."""
Record = Mapping[str, Any]


def saved_figures(folder: str | Path) -> Plan:
    """Every figure of the results in a folder.

    Args:
        folder: of an exam, or of ``probe``, ``ask``, ``rate``, ``tune``, ``distance``, ``processed``, ``patch``, ``knockout``, ``lens``,
            ``attribute`` or ``steer``; several of them may have written there.

    Returns:
        Name → what makes it; it makes nothing where there is no data.

    Raises:
        InputError: there are no such results, or they cannot be read.
    """
    root = Path(folder)
    plan: dict[str, Any] = {}
    there = [name for name in RECORDS if (root / name).is_file()]
    for name in there:
        with _told(root / name):
            made = RECORDS[name](_read(root / name), root)
        plan |= {figure: partial(_drawn, make, root / name) for figure, make in made.items()}
    if not there:
        what = "holds no results" if root.is_dir() else "is a file" if root.exists() else "does not exist"
        unfinished = " Its exam is not finished: the same command goes on." if (root / "exam.json").is_file() else ""
        raise InputError(
            f"{root} {what}. Expected a folder with one of {', '.join(RECORDS)}, which the commands write with --out.{unfinished}"
        )
    return plan


def _drawn(make: Callable[[], Made], source: Path) -> Made:
    with _told(source):
        return make()


@contextmanager
def _told(source: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise InputError(
            f"{source} is not what this version writes ({type(error).__name__}: {error}). Expected the results of a finished "
            "command. Run it again with this version."
        ) from error


def _read(path: Path) -> Any:
    """What a JSON file holds; of a saved result the result.

    Raises:
        InputError: it is damaged.
    """
    if path.name == OVERLAYS:
        return load_result(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}). Expected JSON. Run the command that wrote it again.") from error


def _distance(found: Record, _: Path) -> Plan:
    return {**distance_figures(found, found["classes"]), **geometry_figures(found.get("geometry") or [])}


def _probe(found: Record, _: Path) -> Plan:
    return probing_figures(found["tables"], found["settings"]["target"])


def _taught(found: Record, folder: Path) -> Plan:
    """``report.json`` holds what was gained and lost; the curves stand in their CSV files."""
    return taught_figures(
        {
            "component": found["config"]["component"],
            "forgotten": found["forgotten"],
            "history": numbers(folder / "history.csv"),
            "validation": numbers(folder / "validation.csv"),
            "layers": numbers(folder / "movement.csv"),
        }
    )


def numbers(path: Path) -> Table:
    """The rows of a CSV file, numbers as numbers, and None where nothing stands; none without the file."""
    if not path.is_file():
        return []
    with open(path, encoding="utf-8", newline="") as handle:
        return [{key: _value(text) for key, text in row.items()} for row in csv.DictReader(handle)]


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None


RECORDS: Mapping[str, Callable[[Any, Path], Plan]] = {
    "results.json": lambda found, _: exam_figures(found),
    "summary.json": lambda found, _: interview_figures(found),
    "probe.json": _probe,
    "report.json": _taught,
    "teaching.json": lambda found, _: matched_figures(found),
    "distance.json": _distance,
    "processed.json": lambda found, _: processed_figures(found["table"]),
    "patching.json": lambda found, _: patching_figures(found),
    "knockout.json": lambda found, _: knockout_figures(found),
    "lens.json": lambda found, _: lens_figures({name: found.get(name) for name in ("lens", "tuned_lens")}),
    "attribution.json": lambda found, _: attribution_figures(found),
    "steering.json": lambda found, _: steering_figures(found["steering"]),
    OVERLAYS: lambda found, _: overlay_figures(**found),
}
"""Name of a file of results → its figures."""
