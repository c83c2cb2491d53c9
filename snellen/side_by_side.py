"""Finished exams side by side: whether they can be compared, what differs besides the results, and their answers pair by pair."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.report.seen import read
from snellen.compared import compare_files
from stimuli.errors import InputError
from stimuli.tables import read_json

PARTS = ("provenance", "stimuli", "perception", "survival", "tuning", "distance", "verdict")
SHOWN = ("images", "taxonomy", "references", "levels", "seed")
"""Settings that decide which images are shown."""
ANSWERS = Path("tables") / "answers_base.csv"


@dataclass(frozen=True)
class SideBySide:
    """Exams about the same stimuli."""

    runs: Mapping[str, Mapping[str, Any]]
    """Name to what ``results.json`` holds."""
    pairs: list[dict[str, Any]]
    """Each other run against the first: ``name`` and what ``compare_files`` tells of the forced choice."""
    differences: list[dict[str, Any]]
    """Settings, weights and versions that differ: ``setting``, and by the name of each run its value."""


def side_by_side(folders: Sequence[Path], names: Sequence[str] = ()) -> SideBySide:
    """Read exams and check that they can be compared.

    Args:
        folders: of finished exams, two or more.
        names: what they are called; by default as their models, or as their folders where models have the same name.

    Raises:
        InputError: a folder without a finished exam, exams about other classes or images, or names that do not fit.
    """
    found = [results_of(folder) for folder in folders]
    called = _names(folders, found, names)
    for folder, other in zip(folders[1:], found[1:], strict=True):
        _check(folders[0], found[0], folder, other)
    runs = dict(zip(called, found, strict=True))
    boot, seed = (found[0]["provenance"]["config"].get(key, default) for key, default in (("n_boot", 1000), ("seed", 0)))
    pairs = [
        {"name": name, **compare_files(folders[0] / ANSWERS, folder / ANSWERS, boot, seed)}
        for name, folder in list(zip(called, folders, strict=True))[1:]
    ]
    return SideBySide(runs, pairs, _differences(runs))


def results_of(folder: Path) -> dict[str, Any]:
    """What ``results.json`` of a finished exam holds.

    Raises:
        InputError: there is none, or it is not an exam's.
    """
    file = folder / "results.json"
    if not file.is_file():
        raise InputError(f"{folder} holds no finished exam (no results.json). Run `snellen exam --out DIR` and give DIR.")
    found = read_json(file, "what `snellen exam` wrote")
    missing = [part for part in PARTS if part not in found]
    if missing:
        raise InputError(f"{file} lacks {', '.join(missing)}. Expected the results of an exam; run `snellen exam` again.")
    return found


def _names(folders: Sequence[Path], found: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    if len(set(path.resolve() for path in folders)) < len(folders) or len(folders) < 2:
        raise InputError(f"Got {', '.join(map(str, folders))}. Expected two or more different folders of exams to compare.")
    if names:
        if len(names) != len(folders) or len(set(names)) < len(names):
            raise InputError(
                f"Got {len(names)} names ({', '.join(names)}) for {len(folders)} exams. Expected one --name each, all different."
            )
        return list(names)
    ways = (
        [one["provenance"]["model"]["name"] for one in found],
        [path.resolve().name for path in folders],
        [str(path) for path in folders],
    )
    return next(list(way) for way in ways if len(set(way)) == len(way))


def _check(first: Path, one: Mapping[str, Any], second: Path, other: Mapping[str, Any]) -> None:
    """Refuse exams that are not about the same images and classes, and say which settings differ."""
    rows = []
    for folder in (first, second):
        rows.append({row["id"]: (row["reference"], row["label"]) for row in read(folder / ANSWERS)})
        if not rows[-1]:
            raise InputError(
                f"{folder} has no {ANSWERS}, so its answers cannot be paired. Expected it beside results.json; run the exam again."
            )
    classes = [found["perception"]["base"]["classes"] for found in (one, other)]
    prints = [found["provenance"].get("data", {}).get("exam", {}).get("checksum") for found in (one, other)]
    if classes[0] != classes[1]:
        why = f"their classes differ ({', '.join(classes[0])}; {', '.join(classes[1])})"
    elif rows[0] != rows[1]:
        common = sum(rows[1].get(id) == row for id, row in rows[0].items())
        why = f"of {len(rows[0])} and {len(rows[1])} images they have {common} in common"
    elif all(prints) and prints[0] != prints[1]:
        why = "their images have the same names and other pixels"
    else:
        return
    config = [found["provenance"]["config"] for found in (one, other)]
    told = [
        f"{key}: {config[0].get(key)} and {config[1].get(key)}" for key in SHOWN if config[0].get(key) != config[1].get(key)
    ]
    raise InputError(
        f"{first} and {second} cannot be compared: {why}{f' ({chr(59).join(told)})' if told else ''}. Expected exams about the same images and "
        f"classes; run both with the same {', '.join(SHOWN)}."
    )


def _differences(runs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Settings, weights and versions of which not all runs have the same."""
    flat = {name: _about(found["provenance"]) for name, found in runs.items()}
    keys = dict.fromkeys(key for own in flat.values() for key in own)
    rows = [{"setting": key, **{name: own.get(key, "–") for name, own in flat.items()}} for key in keys]
    return [row for row in rows if len({row[name] for name in flat}) > 1]


def _about(provenance: Mapping[str, Any]) -> dict[str, str]:
    model, config = provenance["model"], provenance["config"]
    own = {f"model: {key}": model.get(key) for key in ("name", "class", "revision", "checksum", "adapter", "dtype", "quantization", "device",
                                                       "image_processor", "image_backend")}  # fmt: skip
    own |= {key: value for key, value in config.items() if key != "model"}
    own |= {"Snellen": provenance.get("snellen"), "commit": provenance.get("commit"), "platform": provenance.get("platform")}
    own |= {f"version of {name}": value for name, value in (provenance.get("versions") or {}).items()}
    return {key: _short(value) for key, value in own.items()}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{text[:12]}…" if len(text) == 64 and set(text) <= set("0123456789abcdef") else text
