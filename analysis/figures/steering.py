"""How answers follow a dose of steering, and what erasing a concept does to answers and to probes behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.figures.style import CLASS_COLOURS, CLASS_MARKERS
from stimuli.tables import Row, Table

ALL = "all"
CONTROL, BLACK = "#777777", "#000000"
NAMES = {
    "probability": "p(class steered to)",
    "share": "share of answers that are the class",
    "contrast": "log odds of the class against clean, nats",
    "accuracy": "share of right answers",
    "colour": "share of descriptions with the right colour",
    "shape": "share of descriptions with the right shape",
    "agreement": "token F1 with the description at dose 0",
    "relative_norm": "norm of steered tokens over their own",
}
HATCHED = {"random": "--", "shuffled": ":"}


def draw_dose_response(
    ax: Any, table: Table, kind: str = "means", *, value: str = "probability", classes: Sequence[str] | None = None
) -> None:
    """A measure over the dose: thin lines per class, the mean over classes in black, its controls in grey, with bands.

    Bands are 95 % intervals over references. Markers of the mean are filled where the change from dose 0 is more than noise (Holm-adjusted
    p < 0.05; of the probability alone). Doses at which most tokens have an unusual norm are shaded.

    Args:
        ax: axes.
        table: ``Steering.table``; of one site.
        kind: of the directions.
        value: a measure, of ``NAMES``.
        classes: those shown beside the mean; by default all, () for none.

    Raises:
        KeyError: nothing of the kind or measure is in the table.
    """
    own = [row for row in table if row.get("like") == kind and row.get(value) is not None]
    if not [row for row in own if row["kind"] == kind]:
        raise KeyError(f"{kind}, {value}")
    known = list(dict.fromkeys(row["class"] for row in own if row["class"] != ALL))
    for control in dict.fromkeys(row["kind"] for row in own if row["kind"] != kind):
        grey: dict[str, Any] = {"color": CONTROL, "ls": HATCHED.get(control, "-."), "lw": 1.2}
        _line(ax, _of(own, control, ALL), value, band=0.25, label=f"{control} directions", **grey)
    for at, name in enumerate(known):
        if classes is None or name in classes:
            style: dict[str, Any] = {
                "color": CLASS_COLOURS[at % len(CLASS_COLOURS)],
                "marker": CLASS_MARKERS[at % len(CLASS_MARKERS)],
            }
            _line(ax, _of(own, kind, name), value, label=name, lw=0.9, ms=3.5, **style)
    mean = _of(own, kind, ALL)
    _line(ax, mean, value, band=0.15, label="mean over classes", color=BLACK, lw=2.0)
    for row in mean if value == "probability" else []:
        clear = row.get("p_holm") is not None and row["p_holm"] < 0.05
        ax.plot([row["dose"]], [row[value]], "o", color=BLACK, mfc=BLACK if clear else "white", ms=5, zorder=5)
    _shaded(ax, _of(table, kind, ALL))
    ax.axvline(0, color="#BBBBBB", lw=0.8, zorder=0)
    ax.set_xticks([row["dose"] for row in mean], [f"{row['dose']:g}".replace("-", "\N{MINUS SIGN}") for row in mean])
    ax.set_xlabel(f"dose, in natural class differences ({kind})")
    ax.set_ylabel(NAMES.get(value, value))
    ax.legend(loc="best", fontsize=7)


def _of(table: Table, kind: str, label: str) -> Table:
    """The rows of one line, by dose; those of a control at dose 0 as well."""
    return sorted((row for row in table if row["kind"] == kind and row["class"] == label), key=lambda row: row["dose"])


def _line(ax: Any, rows: Table, value: str, *, band: float = 0.0, **style: Any) -> None:
    x = [row["dose"] for row in rows]
    ax.plot(x, [row[value] for row in rows], zorder=3, **style)
    if band and rows:
        low, high = (np.array([_number(row, f"{value}_{end}") for row in rows]) for end in ("low", "high"))
        ax.fill_between(x, low, high, color=style["color"], alpha=band, lw=0, zorder=1)


def _number(row: Row, name: str) -> float:
    return float("nan") if row.get(name) is None else float(row[name])


def _shaded(ax: Any, rows: Table) -> None:
    """Where most steered tokens have a norm that the model's own hardly have: from half-way to the last dose that has not."""
    far = [row for row in rows if _number(row, "outside") > 0.5]
    near = [row["dose"] for row in rows if row not in far]
    told = False
    for sign in (-1, 1):
        own = [row["dose"] for row in far if row["dose"] * sign > 0]
        if own:
            first, last = min(own, key=abs), max(own, key=abs)
            edge = (first + max((dose for dose in near if dose * sign >= 0), key=abs, default=0)) / 2
            label = None if told else "most norms unusual"
            ax.axvspan(*sorted((edge, last * 1.04)), color="#F0E442", alpha=0.25, lw=0, zorder=0, label=label)
            told = True


def draw_erased(ax: Any, table: Table) -> None:
    """Balanced accuracy of the answers as they are, with the concept erased and with each control erased, with 95 % intervals.

    Filled markers: more is lost than by noise (Holm-adjusted p < 0.05, paired).

    Args:
        ax: axes.
        table: ``Erased.table``.
    """
    for x, row in enumerate(table):
        colour = {"none": BLACK, "erased": CLASS_COLOURS[1]}.get(row["condition"], CONTROL)
        clear = row.get("p_holm") is not None and row["p_holm"] < 0.05
        ax.plot([x, x], [row["low"], row["high"]], color=colour, lw=1.6)
        marker = (
            CLASS_MARKERS[0]
            if row["condition"] == "none"
            else CLASS_MARKERS[2]
            if row["condition"] == "erased"
            else CLASS_MARKERS[1]
        )
        ax.plot([x], [row["balanced_accuracy"]], marker, color=colour, mfc=colour if clear or not x else "white", zorder=4)
    before = next((row for row in table if row["condition"] == "none"), None)
    if before is not None:
        ax.axhline(before["balanced_accuracy"], color=BLACK, lw=0.8, ls="--", zorder=0)
        ax.axhline(before["chance"], color="#999999", lw=0.9, ls=":", zorder=0, label=f"chance {100 * before['chance']:.1f} %")
        ax.legend(loc="best", fontsize=7)
    ax.set_xticks(
        range(len(table)), [_named(row["condition"]) for row in table], rotation=35, ha="right", rotation_mode="anchor"
    )
    ax.set_xlim(-0.5, len(table) - 0.5)
    ax.grid(visible=False, axis="x")
    ax.set_ylabel("balanced accuracy of the answers")


def _named(condition: str) -> str:
    return {"none": "nothing erased", "erased": "concept erased"}.get(condition, f"{condition} erased")


def draw_erased_probes(ax: Any, probes: Table) -> None:
    """What probes read at the erased site and behind it: before in dashes, the concept erased in colour, controls in grey.

    The band is the 95 % interval of the paired change, filled markers are changes that are more than noise (Holm-adjusted p < 0.05).

    Args:
        ax: axes.
        probes: ``Erased.probes``.
    """
    sites = list(dict.fromkeys(row["site"] for row in probes))
    conditions = sorted(dict.fromkeys(row["condition"] for row in probes), key=lambda name: name == "erased")
    before: dict[str, float] = {row["site"]: row["before"] for row in probes}
    x = range(len(sites))
    ax.plot(x, [before[site] for site in sites], color=BLACK, ls="--", lw=1.4, label="nothing erased", zorder=3)
    for condition in conditions:
        own = {row["site"]: row for row in probes if row["condition"] == condition}
        rows = [own[site] for site in sites]
        main, first = (
            condition == "erased",
            condition == next(name for name in conditions if name != "erased" or len(conditions) == 1),
        )
        colour = CLASS_COLOURS[1] if main else CONTROL
        label = "concept erased" if main else "as many other directions" if first else None
        ax.plot(x, [row["after"] for row in rows], color=colour, lw=1.8 if main else 0.9, label=label, zorder=4 if main else 2)
        if main:
            low, high = ([row["before"] + row[end] for row in rows] for end in ("low", "high"))
            ax.fill_between(x, low, high, color=colour, alpha=0.2, lw=0, zorder=1)
        for at, row in enumerate(rows):
            clear = row["p_holm"] is not None and row["p_holm"] < 0.05
            shape, size = (CLASS_MARKERS[2], 5) if main else (CLASS_MARKERS[1], 3)
            ax.plot(
                [at], [row["after"]], shape, ms=size, color=colour, mfc=colour if clear else "white", zorder=5 if main else 2
            )
    if probes:
        ax.axhline(probes[0]["chance"], color="#999999", lw=0.9, ls=":", label=f"chance {100 * probes[0]['chance']:.1f} %")
    ax.set_xticks(x, sites, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_ylabel("balanced accuracy of the probe")
    ax.legend(loc="best", fontsize=7)
