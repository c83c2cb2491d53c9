"""One page of several exams side by side: verdicts, curves on shared axes, answers, tuning and distances. Draws, computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.report.curve import Series, curve
from analysis.report.dots import Dot, dots
from analysis.report.render import write
from stimuli.tables import write_text

Results = Mapping[str, Any]
CONTENTS = [("verdict", "Verdicts"), ("evidence", "Evidence"), ("detail", "Detail"), ("made", "How they were made")]
BALANCED = ("balanced_accuracy", "balanced_low", "balanced_high")
ASKED = (("base", "forced choice"), ("open", "open question"), ("blind", "forced choice, blank image"))


def render_comparison(
    runs: Mapping[str, Results],
    pairs: Sequence[Mapping[str, Any]],
    differences: Sequence[Mapping[str, Any]],
    path: str | Path,
) -> Path:
    """Write the page.

    Args:
        runs: name of a model to what its ``results.json`` holds; all about the same stimuli.
        pairs: each other model against the first: ``name`` and what ``snellen.compared.compare_files`` tells.
        differences: settings that differ: ``setting``, and by the name of each run its value.
        path: of the page.

    Returns:
        The path.
    """
    names = list(runs)
    first = runs[names[0]]
    survival = first["survival"]
    series = [Series(name, found["survival"]["base"], found["perception"]["base"]) for name, found in runs.items()]
    arms = list(dict.fromkeys(arm for found in runs.values() for arm in found["tuning"].get("arms", {})))
    said = [(title, [_dot(found["perception"].get(key)) for found in runs.values()]) for key, title in ASKED]
    tuned = [("nothing", [_dot(found["tuning"]["base"]) for found in runs.values()])]
    tuned += [(arm, [_dot(found["tuning"]["arms"].get(arm)) for found in runs.values()]) for arm in arms]
    classes = first["perception"]["base"]["classes"]
    page = write(
        "compare.html",
        seen=None,
        contents=CONTENTS,
        figures={},
        runs=runs,
        names=names,
        classes=classes,
        pairs=pairs,
        differences=differences,
        survival=curve(series, survival["chance"], survival["majority"]),
        said=dots(said, names, survival["chance"]),
        tuned=dots(tuned, names, survival["chance"]),
        arms=arms,
        sites=[(name, _landmarks(found)) for name, found in runs.items()],
        distances={name: _distances(found) for name, found in runs.items()},
    )
    return write_text(page, path)


def _dot(entry: Mapping[str, Any] | None) -> Dot | None:
    if not entry or entry.get("balanced_accuracy") is None:
        return None
    return Dot(*(entry[key] for key in BALANCED))


def _landmarks(found: Results) -> dict[str, Any]:
    """The probe where the projector reads, behind it and at the end, and the best one."""
    rows = {row["site"]: row for row in found["survival"]["base"]}
    llm = [row for row in rows.values() if row["component"] == "llm"]
    read = rows.get(found["survival"].get("read_layer"))
    return {
        "best": found["tuning"]["base"].get("best_probe"),
        "read": read,
        "projector": rows.get("projector"),
        "last": llm[-1] if llm else None,
    }


def _distances(found: Results) -> dict[str, Mapping[str, Any]]:
    """Rows at the projector by class."""
    return {row["class"]: row for row in found["distance"].get("base", []) if row["site"] == "projector"}
