"""The figures of what a model says, from the ``perception`` part of the results alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from analysis.figures import agreement as again
from analysis.figures import psychometric, template_bias
from analysis.figures.calibration import draw_reliability
from analysis.figures.files import Made, Plan, bound, canvas
from analysis.figures.protocols import draw_accuracy_by, draw_controls, draw_protocols, draw_shares
from analysis.figures.quality import draw_correlations, draw_monotonicity, draw_quality
from analysis.figures.unsaid import draw_gallery, draw_unsaid, draw_unsaid_types

Part = Mapping[str, Any]


def interview_figures(part: Part) -> Plan:
    """Every figure of what a model says.

    Args:
        part: the ``perception`` part of an exam's results, or some of its keys.
    """
    return bound(FIGURES, part)


def _protocols(part: Part) -> Made:
    found = part.get("protocols") or {}
    if len(found) < 2:
        return None
    made, ax = canvas(6.2, 0.9 + 0.33 * len(found))
    draw_protocols(ax, found)
    keys = (
        "balanced_accuracy",
        "balanced_low",
        "balanced_high",
        "accuracy",
        "macro_f1",
        "unparsed",
        "chance",
        "n",
        "references",
    )
    return made, [{"protocol": name, **{key: entry[key] for key in keys}} for name, entry in found.items()]


def _controls(part: Part) -> Made:
    found = part.get("controls")
    if not found:
        return None
    made, axes = canvas(8.2, 2.9, 1, 2, sharey=True)
    draw_controls(axes, found)
    return made, found["table"]


def _agreement(part: Part) -> Made:
    found = part.get("consistency") or {}
    if not found:
        return None
    made, axes = canvas(8.2, 1.1 + 0.55 * len(found), 1, len(again.PANELS), sharey=True)
    named = {entry["what"]: entry for entry in found.values()}
    again.draw_agreement(axes, named)
    keys = [name for name, _, _, _ in again.PANELS]
    return made, [
        {"asked again": name, "times": entry["times"], "images": entry["images"], **_flat(entry, keys)}
        for name, entry in named.items()
    ]


def _flat(entry: Part, keys: Sequence[str]) -> dict[str, Any]:
    """Intervals as columns."""
    return {
        f"{key}{end}": entry[key][name] for key in keys for end, name in (("", "value"), ("_low", "low"), ("_high", "high"))
    }


def _reliability(part: Part) -> Made:
    found = {name: entry["calibration"] for name, entry in (part.get("protocols") or {}).items() if entry.get("calibration")}
    shown = dict([*found.items()][:1] + [item for item in found.items() if item[0] == "open"])
    if not shown:
        return None
    made, axes = canvas(4.1 * len(shown), 3.0, 1, len(shown), squeeze=False)
    for ax, (name, entry) in zip(axes[0], shown.items(), strict=True):
        draw_reliability(ax, entry, name)
    return made, [{"protocol": name, **row} for name, entry in shown.items() for row in entry["table"]]


def _types(part: Part) -> Made:
    found = part.get("base")
    if not found or not found.get("by_type"):
        return None
    tables = [(by, found[f"by_{by}"]) for by in ("type", "severity") if found.get(f"by_{by}")]
    made, axes = canvas(4.1 * len(tables), 1.2 + 0.19 * max(len(rows) for _, rows in tables), 1, len(tables), squeeze=False)
    for ax, (by, rows) in zip(axes[0], tables, strict=True):
        draw_accuracy_by(ax, rows, by, found["chance"])
    return made, [{"by": by, **row} for by, rows in tables for row in rows]


def _thresholds(part: Part) -> Made:
    found = part.get("thresholds")
    if not found or not found["table"]:
        return None
    rows, columns = psychometric.panels(found)
    made, axes = canvas(8.2, 0.6 + 1.25 * rows, rows, columns, narrow="flow", squeeze=False, sharex=True, sharey=True)
    psychometric.draw_psychometric(axes, found)
    return made, found["table"]


def _quality(part: Part) -> Made:
    found = part.get("quality") or {}
    name = next((name for name, entry in found.items() if entry["correlations"]["srcc"] is not None), None)
    if name is None:
        return None
    made, axes = canvas(8.2, max(3.2, 1.0 + 0.45 * len(found)), 1, 2)
    draw_quality(axes[0], {**found[name]["correlations"], "name": name})
    truth = {"mos": "opinion", "ssim": "SSIM", "psnr": "PSNR"}[found[name]["truth"]]
    axes[0].set_ylabel(truth)
    draw_correlations(axes[1], {own: each["correlations"] for own, each in found.items()})
    axes[1].set_title(f"Agreement of scores with {truth}", fontsize=8.5)
    axes[1].set_xlabel("correlation")
    return made, [{"method": own, "truth": each["truth"], **_numbers(each["correlations"])} for own, each in found.items()]


def _numbers(entry: Part) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if not isinstance(value, list)}


def _monotonicity(part: Part) -> Made:
    found = next((entry["monotonicity"] for entry in (part.get("quality") or {}).values() if entry.get("monotonicity")), None)
    if not found or all(row["tau"] is None for row in found["table"]):
        return None
    made, ax = canvas(8.2, 1.1 + 0.2 * len(found["table"]))
    draw_monotonicity(ax, found)
    return made, found["table"]


def _flips(part: Part) -> Made:
    found = {
        f"{kind} ({entry['method']})": entry["flips"]
        for kind, entry in (part.get("score_consistency") or {}).items()
        if entry["flips"]
    }
    if not found:
        return None
    made, ax = canvas(1 + 1.9 * len(found), 2.9)
    again.draw_flips(ax, found)
    return made, [
        {"asked again": name, "first": level, **dict(zip(entry["levels"], row, strict=True))}
        for name, entry in found.items()
        for level, row in zip(entry["levels"], entry["transitions"], strict=True)
    ]


def _bias(part: Part) -> Made:
    found = part.get("bias")
    if not found:
        return None
    entry = {"divergence": found["divergence"], "information": found["information"].get("paraphrases")}
    names = template_bias.panels(entry)
    made, axes = canvas(4.1 * len(names), 3.3, 1, len(names), squeeze=False)
    template_bias.draw_template_bias(axes[0], entry)
    told = [{"kind": kind, **row} for kind, own in found["information"].items() for row in own["table"]]
    return made, [{"kind": "response distribution", **row} for row in found["divergence"]["distribution"]] + told


def _residuals(part: Part) -> Made:
    rows = (part.get("bias") or {}).get("residuals")
    if not rows:
        return None
    made, ax = canvas(5.6, 1.1 + 0.2 * len(rows))
    template_bias.draw_residuals(ax, rows)
    return made, rows


def _templates(part: Part) -> Made:
    found = (part.get("bias") or {}).get("templates") or {}
    if not found:
        return None
    shown = [min(6, len(entry["templates"])) for entry in found.values()]
    made, axes = canvas(8.2, 0.8 * len(found) + 0.42 * sum(shown), len(found), 1, squeeze=False, height_ratios=shown)
    for ax, (name, entry) in zip(axes[:, 0], found.items(), strict=True):
        template_bias.draw_templates(ax, entry, most=6)
        ax.set_title(f"{name.capitalize()}: {ax.get_title(loc='left')}", fontsize=8.5)
    return made, [{"described": name, **row} for name, entry in found.items() for row in entry["templates"]]


def _contradictions(part: Part) -> Made:
    found = (part.get("bias") or {}).get("contradictions")
    if not found:
        return None
    names = {
        "consistent": "description and level agree", "praised": "praised, but poor or bad", "blamed": "blamed, but good or excellent",
        "fair": "level is fair", "mixed": "praised and blamed", "silent": "says nothing of quality",
    }  # fmt: skip
    rows = [{"what": names.get(row["outcome"], row["outcome"]), **row} for row in found["outcomes"]]
    made, ax = canvas(6.2, 2.6)
    draw_shares(ax, rows, f"Descriptions against levels ({found['n']} images)")
    return made, rows


def _preference(part: Part) -> Made:
    found = part.get("preference")
    if not found or found["accuracy"] is None:
        return None
    shown = {
        "accuracy": ("right", 0.5), "both_right": ("right in both orders", 0.25), "turns": ("turns with the order of the images", 0.5),
        "says_first": ("the image shown first", 0.5),
    }  # fmt: skip
    rows = [
        {"what": what, "share": found[key], "low": found[f"{key}_low"], "high": found[f"{key}_high"], "chance": chance}
        for key, (what, chance) in shown.items()
        if found[key] is not None
    ]
    made, ax = canvas(6.2, 2.1)
    draw_shares(ax, rows, f"Which of two versions is better? {found['n']} comparisons")
    return made, rows


def _unsaid(part: Part) -> Made:
    found = part.get("unsaid")
    if not found:
        return None
    made, ax = canvas(8.2, 3.6)
    draw_unsaid(ax, found)
    return made, found["table"]


def _unsaid_types(part: Part) -> Made:
    found = part.get("unsaid")
    if not found:
        return None
    rows = [row for row in found["by_type"] if row["site"] == found["site"]]
    made, ax = canvas(8.2, 1.3 + 0.19 * len(rows))
    draw_unsaid_types(ax, found)
    return made, found["by_type"]


def _gallery(part: Part) -> Made:
    found = part.get("gallery")
    if not found:
        return None
    most = max(sum(row["cell"] == cell for row in found) for cell in {row["cell"] for row in found})
    made, axes = canvas(8.2, 2.2 * most, most, 4, squeeze=False)
    draw_gallery(axes, found)
    return made, [{key: value for key, value in row.items() if key != "png"} for row in found]


FIGURES: dict[str, Callable[[Part], Made]] = {
    "protocols": _protocols,
    "controls": _controls,
    "types": _types,
    "thresholds": _thresholds,
    "reliability": _reliability,
    "agreement": _agreement,
    "bias": _bias,
    "templates": _templates,
    "contradictions": _contradictions,
    "quality": _quality,
    "monotonicity": _monotonicity,
    "residuals": _residuals,
    "flips": _flips,
    "preference": _preference,
    "unsaid": _unsaid,
    "unsaid_types": _unsaid_types,
    "gallery": _gallery,
}
