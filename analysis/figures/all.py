"""All figures of one exam, from its results alone."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from analysis.figures.answers import draw_confusion, draw_contact_sheet, draw_levels, draw_responses, draw_severity
from analysis.figures.cause import cause_figures
from analysis.figures.distance import draw_plane
from analysis.figures.distance_map import arrows_figure, distance_map
from analysis.figures.files import Made, Plan, bound, canvas
from analysis.figures.interview import interview_figures
from analysis.figures.movement import draw_movement
from analysis.figures.processed import draw_processed, shown_rows
from analysis.figures.survival import draw_survival, draw_survival_arms
from analysis.figures.tuning import COLUMNS, draw_training, draw_tuning
from stimuli.tables import Table

Results = Mapping[str, Any]


def exam_figures(results: Results) -> Plan:
    """Every figure of an exam.

    Args:
        results: what ``results.json`` holds.

    Returns:
        Name → what makes it; it makes nothing where there is no data.
    """
    cause = cause_figures(results.get("cause") or {})
    return {**bound(FIGURES, results), **interview_figures(results["perception"]), **cause}


def processed_figures(rows: Table) -> Plan:
    """The figure ``processed`` of a table of ``processed_survival``."""
    return bound({"processed": _processed_figure}, rows)


def _survival(results: Results) -> Made:
    figure, ax = canvas(8.2, 3.9)
    draw_survival(ax, results["survival"], results["perception"]["base"])
    return figure, results["survival"]["base"] + results["survival"].get("baselines", [])


def _processed(results: Results) -> Made:
    return _processed_figure(results["survival"].get("processed") or [])


def _processed_figure(rows: Table) -> Made:
    """The figure of a table of ``processed_survival`` and the rows that it shows; None without rows."""
    if not rows:
        return None
    shown = shown_rows(rows)
    kinds, processors = (len({row[key] for row in shown}) for key in ("type", "processor"))
    figure, axes = canvas(8.2, 1.3 + kinds * max(0.19, 0.07 * processors), 1, 2, narrow="keep", sharey=True)
    draw_processed(axes, rows)
    return figure, shown


def _survival_arms(results: Results) -> Made:
    if not results["tuning"].get("arms"):
        return None
    figure, ax = canvas(8.2, 3.7)
    draw_survival_arms(ax, results["survival"], results["tuning"])
    return figure, [{"arm": arm, **row} for arm, rows in results["survival"]["arms"].items() for row in rows]


def _tuning(results: Results) -> Made:
    if not results["tuning"].get("arms"):
        return None
    figure, axes = canvas(8.2, 2.7, 1, len(COLUMNS), sharey=True)
    draw_tuning(axes, results["tuning"], results["perception"]["base"]["chance"])
    keep = [c for column in COLUMNS for c in column[:3]]
    entries = {"base": results["tuning"]["base"], **results["tuning"]["arms"]}
    flat = {name: {**entry["captions"], **entry} for name, entry in entries.items()}
    return figure, [{"arm": name, **{k: entry.get(k) for k in keep}} for name, entry in flat.items()]


def _training(results: Results) -> Made:
    arms = results["tuning"].get("arms") or {}
    if not arms:
        return None
    figure, ax = canvas(4.2, 2.9)
    draw_training(ax, results["tuning"])
    return figure, [{"arm": name, **row} for name, arm in arms.items() for row in arm["history"]]


def _distance(results: Results) -> Made:
    distance = results["distance"]
    if not distance.get("compare"):
        return None
    arm = distance["shown_arm"]
    made = arrows_figure(distance["compare"][arm], results["perception"]["base"]["classes"], "projector", arm)
    return made and (made[0], [{"arm": arm, **row} for arm, rows in distance["compare"].items() for row in rows])


def _distance_map(results: Results) -> Made:
    distance = results["distance"]
    rows = (distance.get("compare") or {}).get(distance.get("shown_arm")) or []
    return (distance_map(rows, "margin"), [row for row in rows if row["measure"] == "margin"]) if rows else None


def _movement(results: Results) -> Made:
    layers = {name: arm["audit"].get("layers") or [] for name, arm in (results["tuning"].get("arms") or {}).items()}
    layers = {name: rows for name, rows in layers.items() if any(row["relative"] for row in rows)}
    if not layers:
        return None
    figure, ax = canvas(4.2, 2.9)
    draw_movement(ax, layers)
    return figure, [{"arm": name, **row} for name, rows in layers.items() for row in rows]


def _plane(results: Results) -> Made:
    found = results["distance"].get("plane")
    if not found:
        return None
    figure, axes = canvas(8.2, 3.6, 1, 2, sharex=True, sharey=True)
    draw_plane(axes, found, results["perception"]["base"]["classes"])
    return figure, found["points"] + [{"when": "word", **word} for word in found["words"]]


def _entries(results: Results) -> dict[str, Any]:
    """The base answers, and those of the arm shown."""
    entries = {"as loaded": results["perception"]["base"]}
    shown = results["distance"].get("shown_arm")
    if shown in results["perception"].get("arms", {}):
        entries[shown] = results["perception"]["arms"][shown]
    return entries


def _responses(results: Results) -> Made:
    figure, ax = canvas(4.2, 3.2)
    entries = _entries(results)
    draw_responses(ax, entries)
    return figure, [{"model": name, **entry["response_distribution"]} for name, entry in entries.items()]


def _confusion(results: Results) -> Made:
    entries = _entries(results)
    figure, axes = canvas(4.1 * len(entries), 3.4, 1, len(entries), squeeze=False)
    data: Table = []
    for ax, (name, entry) in zip(axes[0], entries.items(), strict=True):
        title = name if name == "as loaded" else f"{name} tuned"
        draw_confusion(ax, entry, f"{title}: {100 * entry['balanced_accuracy']:.1f} % right")
        columns = [*entry["classes"], "unparsed"]
        data += [
            {"model": name, "truth": truth, **dict(zip(columns, row, strict=True))}
            for truth, row in zip(entry["classes"], entry["confusion"], strict=True)
        ]
    return figure, data


def _levels(results: Results) -> Made:
    figure, ax = canvas(4.2, 2.9)
    entries = _entries(results)
    draw_levels(ax, entries)
    return figure, [{"model": name, **row} for name, entry in entries.items() for row in entry["by_level"]]


def _severity(results: Results) -> Made:
    rows = [row for row in results["stimuli"]["severity"] if row["psnr"] is not None]
    if not any(row["level"] is not None for row in rows):
        return None
    figure, ax = canvas(5.0, 2.9)
    draw_severity(ax, rows)
    return figure, rows


def _contact_sheet(results: Results) -> Made:
    examples = results["stimuli"]["examples"]
    if not examples:
        return None
    columns = 8
    rows = -(-len(examples) // columns)
    figure, axes = canvas(8.2, 1.45 * rows, rows, columns, narrow="flow", squeeze=False)
    draw_contact_sheet(list(axes.flat), [{**e, "image": _decode(e["png"])} for e in examples])
    return figure, [{k: v for k, v in example.items() if k != "png"} for example in examples]


def _decode(uri: str) -> Any:
    import numpy as np
    from PIL import Image

    with Image.open(BytesIO(base64.b64decode(uri.split(",", 1)[1]))) as image:
        return np.asarray(image.convert("RGB"))


FIGURES: dict[str, Callable[[Results], Made]] = {
    "survival": _survival,
    "processed": _processed,
    "survival_arms": _survival_arms,
    "tuning": _tuning,
    "distance": _distance,
    "distance_map": _distance_map,
    "plane": _plane,
    "responses": _responses,
    "confusion": _confusion,
    "levels": _levels,
    "training": _training,
    "movement": _movement,
    "severity": _severity,
    "stimuli": _contact_sheet,
}
