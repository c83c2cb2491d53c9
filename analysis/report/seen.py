"""Stimulus by stimulus: what was shown and said, for the plane, the gallery and the slider, from the files that an exam saves."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stimuli.errors import InputError

PICTURES = "pictures.json"
MOST = 6000
"""Stimuli in the page, at most; spread evenly over more."""
FIELDS = ("id", "reference", "type", "level", "psnr", "label", "probe", "encoded", "confidence", "answers")
"""Of a row of ``rows``, in this order."""


def seen(folder: str | Path, results: Mapping[str, Any]) -> dict[str, Any] | None:
    """Data of the page's scripts.

    Args:
        folder: of the exam, with ``tables/answers_*.csv`` and, where they were saved, ``pictures.json`` and ``tables/unsaid_stimuli.csv``.
        results: what ``results.json`` holds.

    Returns:
        ``fields``; ``rows`` (a list per stimulus in the order of ``fields``; answers one per model, an empty text for one that names no
        class, None where it was not asked); ``models``; ``shown``, the place of the arm whose features are drawn, or 0; ``site`` of the
        probe; ``total`` of stimuli; ``form`` and ``pictures`` (id to WebP in base64), ``clean`` and ``pairs`` as of
        ``analysis.pictures``; ``without``, why there are no pictures. None where the answers were not saved.

    Raises:
        InputError: a file that cannot be read.
    """
    tables = Path(folder) / "tables"
    arms = [name for name in results["perception"].get("arms", {}) if (tables / f"answers_{name}.csv").is_file()]
    if not (tables / "answers_base.csv").is_file():
        return None
    said = {name: {row["id"]: row for row in read(tables / f"answers_{name}.csv")} for name in ("base", *arms)}
    probed = {row["id"]: row for row in read(tables / "unsaid_stimuli.csv")}
    shown = results["distance"].get("shown_arm")
    every = list(said["base"].values())
    rows = [_row(row, probed.get(row["id"], {}), said) for row in _spread(every)]
    unsaid = results["perception"].get("unsaid") or {}
    return {
        "fields": list(FIELDS),
        "models": ["as loaded", *arms],
        "shown": 1 + arms.index(shown) if shown in arms else 0,
        "site": unsaid.get("site"),
        "total": len(every),
        "rows": rows,
        **_pictures(Path(folder) / PICTURES, {row[0] for row in rows}),
    }


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a table that an exam wrote; none where there is no such table.

    Raises:
        InputError: it cannot be read.
    """
    if not path.is_file():
        return []
    try:
        with open(path, encoding="utf-8", newline="") as handle:
            return list(csv.DictReader(handle))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"The table {path} cannot be read ({error}). Expected the CSV that the exam wrote; run it again."
        ) from None


def _row(row: Mapping[str, str], probe: Mapping[str, str], said: Mapping[str, Mapping[str, Mapping[str, str]]]) -> list[Any]:
    answers = [_answer(own.get(row["id"])) for own in said.values()]
    cell = probe.get("cell", "")
    encoded = None if not cell else cell.startswith("encoded")
    about = [row["id"], row["reference"], row["type"] or "clean", row["level"] or None, _number(row.get("psnr"))]
    return [*about, row["label"], probe.get("probe") or None, encoded, _number(row.get("confidence")), answers]


def _answer(row: Mapping[str, str] | None) -> str | None:
    """The class that was named; an empty text for an answer that names none, None where it was not asked."""
    return None if row is None else "" if row["answer"] == "unparsed" else row["answer"]


def _number(text: str | None) -> float | None:
    return None if not text else round(float(text), 3)


def _spread(rows: Sequence[Any]) -> list[Any]:
    step = len(rows) / min(len(rows), MOST) if rows else 1
    return [rows[int(i * step)] for i in range(min(len(rows), MOST))]


def without_pictures(why: str) -> dict[str, Any]:
    """What stands in the place of the pictures, and why there are none."""
    return {"form": "", "without": why, "pictures": {}, "clean": {}, "pairs": []}


def with_less(found: Mapping[str, Any], over: int) -> dict[str, Any]:
    """The same with fewer pictures, spread evenly, so that the page is shorter by ``over`` characters; the pairs go first."""
    whole = {id: len(id) + len(text) + 8 for id, text in found["pictures"].items()}
    over -= len(json.dumps([found["pairs"], found["clean"]]))
    share = max(0.0, min(1.0, 0.98 * (1 - over / max(sum(whole.values()), 1))))
    kept = {id: found["pictures"][id] for i, id in enumerate(whole) if int((i + 1) * share) > int(i * share)}
    if not kept:
        return {**found, **without_pictures("with them, the page would be too large")}
    return {**found, "pictures": kept, "clean": {}, "pairs": []}


def _pictures(path: Path, ids: set[str]) -> dict[str, Any]:
    """The pictures of an exam that saved them (one of an older version did not)."""
    if not path.is_file():
        return without_pictures(f"the exam saved none ({PICTURES})")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        small = {id: text for id, text in found["small"].items() if id in ids}
        return {"form": found["form"], "without": "", "pictures": small, "clean": found["clean"], "pairs": found["pairs"]}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise InputError(
            f"The pictures {path} cannot be read ({type(error).__name__}: {error}). Expected what the exam wrote; without the file the "
            "report has no pictures, so delete it and render again."
        ) from None
