"""Two runs of the same kind, number by number, and in what they differ by what they say of themselves."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hooks.recipe import CONFIG
from hooks.store import Store
from snellen.runs import RECORD, RESULTS
from stimuli.errors import InputError
from stimuli.tables import Table

TIMES = frozenset({"seconds", "started", "finished", "made"})
"""Keys and columns that are never the same twice."""
ABOUT = "provenance"
MODEL = (
    "class",
    "checksum",
    "adapter_checksum",
    "quantization",
    "dtype",
    "device",
    "image_processor",
    "image_backend",
    "image_settings",
)
"""What of a model's provenance decides its numbers."""
MISSING = "(missing)"


@dataclass(frozen=True)
class Compared:
    """What two runs have in common."""

    first: Path
    second: Path
    tolerance: float
    equal: int
    """Values that are the same to the last bit."""
    table: Table = field(repr=False)
    """One row per value that is not: ``file``, ``key``, ``first``, ``second``, ``difference`` (None where one is no number) and
    ``status``, ``within`` or ``different``."""
    warnings: tuple[str, ...]
    """In what versions, machine, model and data differ, one sentence each."""

    @property
    def within(self) -> int:
        """Values that differ by no more than the tolerance."""
        return sum(row["status"] == "within" for row in self.table)

    @property
    def different(self) -> Table:
        """The rows of values that differ by more."""
        return [row for row in self.table if row["status"] == "different"]

    @property
    def same(self) -> bool:
        """Whether nothing is different."""
        return not self.different

    @property
    def sentence(self) -> str:
        """How many are equal, within the tolerance and different."""
        return (
            f"{self.equal:,} values are equal, {self.within:,} within {self.tolerance:g}, {len(self.different):,} different "
            f"({self.first} and {self.second})"
        )


def compare_folders(first: str | Path, second: str | Path, tolerance: float = 1e-6) -> Compared:
    """Compare all values of two finished runs but times and provenance.

    Of an exam these are the values of ``results.json``, of other runs those of all JSON and CSV files at the top of the folder and of its
    activations.

    Args:
        first: folder of a run.
        second: folder of the other.
        tolerance: two numbers a, b are the same if ``|a - b| <= tolerance * max(1, |a|, |b|)``; all else must be equal.

    Raises:
        InputError: a folder without a finished run, two kinds of run, or a tolerance below 0.
    """
    if not tolerance >= 0:
        raise InputError(f"Got a tolerance of {tolerance}; expected 0 or more, such as 1e-6. Change it.")
    paths = Path(first), Path(second)
    abouts = [made(path) for path in paths]
    values = [dict(_values(path)) for path in paths]
    if not {file for file, _ in values[0]} & {file for file, _ in values[1]}:
        raise InputError(
            f"{first} and {second} have no file of results in common, so there is nothing to compare. Expected two runs of the same command."
        )
    equal, table = 0, []
    for key in dict.fromkeys([*values[0], *values[1]]):
        a, b = (own.get(key, MISSING) for own in values)
        difference = _difference(a, b)
        if difference == 0:
            equal += 1
            continue
        near = difference is not None and difference <= tolerance
        table.append({"file": key[0], "key": key[1], "first": _told(a), "second": _told(b), "difference": difference,
                      "status": "within" if near else "different"})  # fmt: skip
    return Compared(*paths, tolerance, equal, table, tuple(_warnings(*abouts)))


def made(run: Path) -> Mapping[str, Any]:
    """How a run was made, as it says itself: its provenance.

    Raises:
        InputError: no finished run there, or one of a version that did not say so.
    """
    files = [run / RESULTS] if (run / RESULTS).is_file() else sorted(run.glob("*.json")) if not (run / RECORD).is_file() else []
    for file in files:
        about = _read(file).get(ABOUT)
        if isinstance(about, Mapping):
            return about
    raise InputError(
        f"{run} holds no finished run that says how it was made (no {RESULTS}, and no JSON file with '{ABOUT}'). Expected the folder that "
        "`snellen exam` or another command was given as --out. Check the folder, or finish the run first: the same command goes on."
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is damaged ({error}). Expected JSON as it was written. Make the run again.") from error
    return found if isinstance(found, dict) else {"": found}


def _values(run: Path) -> Iterator[tuple[tuple[str, str], Any]]:
    """Every value of a run by its file and key."""
    if (run / RESULTS).is_file():
        yield from _leaves(RESULTS, "", _read(run / RESULTS))
        return
    store = (run / CONFIG).is_file() and (run / "parts").is_dir()
    for file in sorted(run.glob("*.json")):
        yield from _leaves(file.name, "", _read(file))
    for file in sorted(run.glob("*.csv")):
        with open(file, encoding="utf-8", newline="") as handle:
            rows = [{name: _cell(text) for name, text in row.items()} for row in csv.DictReader(handle)]
            yield from _leaves(file.name, "", rows)
    if store:
        opened = Store(run)
        order = np.argsort(np.array(opened.ids))
        yield ("activations", "ids"), sorted(opened.ids)
        for site in opened.sites:
            found = opened.read(site)
            yield ("activations", site), found.values[order] if found.offsets is None else found.values


def _leaves(file: str, key: str, value: Any) -> Iterator[tuple[tuple[str, str], Any]]:
    """The values inside of mappings and lists by the path to them, but times and provenance."""
    inside = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
    if inside is None:
        yield (file, key), value
        return
    yield (file, f"{key} (length)".strip()), len(value)
    for name, own in inside:
        if name not in TIMES and (key, name) != ("", ABOUT):
            yield from _leaves(file, f"{key}.{name}" if key else str(name), own)


def _difference(a: Any, b: Any) -> float | None:
    """0 for what is the same; between two numbers the difference as a share of the larger, or of 1; None for what cannot be subtracted."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.shape != b.shape:
            return None
        one, other = a.astype(np.float64), b.astype(np.float64)
        unequal = ~((one == other) | (np.isnan(one) & np.isnan(other)))
        one, other = one[unequal], other[unequal]
        if not np.isfinite([one, other]).all():
            return None
        return float(np.max(np.abs(one - other) / np.maximum(1, np.maximum(np.abs(one), np.abs(other))), initial=0.0))
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return None
    if type(a) is type(b) and a == b:
        return 0.0
    x, y = _number(a), _number(b)
    if x is None or y is None:
        return None
    return abs(x - y) / max(1.0, abs(x), abs(y))


def _number(value: Any) -> float | None:
    """A finite number; None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if np.isfinite(value) else None


def _cell(text: str | None) -> Any:
    """A cell of a CSV file, as a number where it is one."""
    try:
        return float(text or "")
    except ValueError:
        return text


def _told(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return f"array {value.shape}"
    return f"{value[:60]}…" if isinstance(value, str) and len(value) > 60 else value


def _warnings(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[str]:
    """In what two provenances differ that may change numbers."""
    for name in ("snellen", "commit", "platform", "threads", "seed"):
        yield from _changed(name, first.get(name), second.get(name))
    versions = [own.get("versions", {}) for own in (first, second)]
    for name in dict.fromkeys([*versions[0], *versions[1]]):
        yield from _changed(name, *(own.get(name) for own in versions))
    models = [own.get("model") or {} for own in (first, second)]
    for name in MODEL:
        yield from _changed(f"the model's {name}", *(own.get(name) for own in models))
    data = [own.get("data") or {} for own in (first, second)]
    for name in dict.fromkeys([*data[0], *data[1]]):
        yield from _changed(f"the data ({name})", *((own.get(name) or {}).get("checksum") for own in data))


def _changed(name: str, first: Any, second: Any) -> Iterator[str]:
    if first != second:
        yield f"{name}: {first} in the first, {second} in the second"
