"""Render ``report.html``: no external request, every value from the results, every text escaped."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from analysis.pictures import encoded
from analysis.report.curve import Series, curve
from analysis.report.inside import POLICY, SCRIPT, STYLE, TEMPLATES
from analysis.report.scatter import scatter
from analysis.report.seen import seen, with_less
from stimuli.tables import write_text

if TYPE_CHECKING:
    from jinja2 import Environment

SCALE = 0.66
"""CSS pixels per pixel of a PNG: figures across the page are 1,640 of them wide."""
MOST = 12_000_000
"""Characters of a page at most: beyond it pictures of stimuli are left out."""
LARGE = 6_000_000
"""Bytes of PNG figures beyond which they are packed tighter, without loss, which takes longer."""
DRAWN_HERE = ("survival", "plane")
"""Figures that the page draws itself, to be pointed at."""
ALT: Mapping[str, str] = {
    "survival": "Balanced accuracy of a linear probe at each site from pixels to the last language-model layer, with the "
    "answers' accuracy at the right end.",
    "processed": "Per distortion type, how much of its energy the model's processor leaves, and how well pixel statistics tell it "
    "from clean images before and after.",
    "survival_arms": "The same curve after tuning each component alone.",
    "tuning": "Distortion answers and kept content after tuning each component alone.",
    "movement": "Change of each layer's weights relative to their norm, one line per tuned component.",
    "distance_map": "Margin of the right word over the nearest wrong one, by site and class, before and after tuning, and the change.",
    "distance": "Distance of visual tokens to the word that names their distortion, before and after tuning, per class.",
    "plane": "Token features of every stimulus before and after tuning in one plane, with the distortion words.",
    "responses": "Share of each answer before and after tuning, beside the truth.",
    "confusion": "Confusion matrices of the answers.",
    "levels": "Accuracy of the answers by published distortion level.",
    "unsaid": "Shares of stimuli that are encoded and said, encoded and not said, not encoded but said, and neither, at each site.",
    "unsaid_types": "The same four shares per distortion type at one site.",
    "gallery": "Examples of stimuli in each of the four cells, with truth, probe and answer.",
    "protocols": "Balanced accuracy of the answers for each way of asking.",
    "reliability": "Accuracy of the answers against the confidence they were given with.",
    "types": "Accuracy of the answers per distortion type and per bin of measured severity.",
    "thresholds": "Share of images whose distortion is named against measured severity, with fitted curves, per type.",
    "controls": "Balanced accuracy with the image and with each control that hides it, and how many answers stay the same.",
    "agreement": "How far answers agree when drawn again, asked in other words, with options in other orders, and after invisible changes.",
    "bias": "Share of each answer beside the truth, and what an answer tells of the image and of the wording.",
    "templates": "The most frequent templates of generated descriptions.",
    "quality": "Quality scores against the truth, and their correlations by method.",
    "monotonicity": "Whether quality scores fall with severity, per distortion type.",
    "residuals": "Quality score of each distortion type above or below others of the same severity.",
    "contradictions": "How often descriptions of quality and quality levels of the same image agree or contradict each other.",
    "preference": "How often the better of two versions is named, and how often the one shown first.",
    "flips": "Quality levels of the same image when asked again.",
    "cause_patching": "How far answers follow when features are exchanged between the clean and the distorted image, by site and "
    "tokens, each beside its control with a stranger's features.",
    "cause_knockout": "Change of the right answer's probability when attention between parts of the prompt is cut, by layer and in "
    "all layers, beside as many pairs cut elsewhere.",
    "cause_lens": "Rank of the right word at each site read with the model's own output head, in the vocabulary and among the "
    "classes, beside shuffled labels.",
    "training": "Training loss on the distortion answers.",
    "severity": "Measured PSNR of the stimuli by class and level.",
    "stimuli": "Example stimuli of every class.",
}


def render(results: Mapping[str, Any], folder: str | Path, figures: Mapping[str, Mapping[str, Path]]) -> Path:
    """Write the page.

    Args:
        results: what ``results.json`` holds.
        folder: where ``report.html`` goes; the answers and pictures that the exam saved there go into the page.
        figures: name to format to file, as ``analysis.figures.written`` gives them; the PNGs are embedded.

    Returns:
        The path of the page.

    Raises:
        InputError: a table or the pictures of the exam cannot be read.
    """
    drawn = {name: paths["png"] for name, paths in figures.items() if "png" in paths and name not in DRAWN_HERE}
    many = sum(path.stat().st_size for path in drawn.values()) > LARGE
    embedded = {name: {"alt": ALT.get(name, name), **_figure(path, many)} for name, path in drawn.items()}
    survival, base = results["survival"], results["perception"]["base"]
    one = Series(results["provenance"]["model"]["name"], survival["base"], base)
    plane = results["distance"].get("plane")
    parts = {
        "r": results,
        "figures": embedded,
        "survival": curve([one], survival["chance"], survival["majority"], survival.get("baselines", ())),
        "points": scatter(plane, base["classes"]) if plane else None,
        "contents": contents(results),
    }
    found = seen(folder, results)
    page = write("report.html", seen=found, **parts)
    if found is not None and len(page) > MOST:
        page = write("report.html", seen=with_less(found, len(page) - MOST), **parts)
    return write_text(page, Path(folder) / "report.html")


def write(template: str, **parts: Any) -> str:
    """A page from its template, with styles and scripts inside and nothing from elsewhere."""
    from markupsafe import Markup

    return environment().get_template(template).render(policy=POLICY, style=Markup(STYLE), script=Markup(SCRIPT), **parts)


def contents(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The sections that the page of these results has, for its head: id and name."""
    perception = results["perception"]
    own = [("verdict", "Verdict"), ("evidence", "Evidence")]
    own += [("says", "What it says")] if perception.get("protocols") or perception.get("unsaid") else []
    own += [("cause", "Is it used?")] if results.get("cause") else []
    return [*own, ("detail", "Detail"), ("made", "How it was made")]


def environment() -> Environment:
    """What templates are read with: everything is escaped, and what is not there is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {"pct": percent, "interval": interval, "num": number, "plain": plain}
    return made


def percent(value: float | None) -> str:
    """A share as a percentage; a dash where there is none."""
    return "–" if value is None else f"{_hundredths(value)} %"


def interval(row: Mapping[str, Any], key: str = "accuracy", low: str = "low", high: str = "high") -> str:
    """``81.2 % [77.0, 85.1]``."""
    value = row.get(key)
    if value is None:
        return "–"
    if row.get(low) is None:
        return percent(value)
    return f"{percent(value)} [{_hundredths(row[low])}, {_hundredths(row[high])}]"


def plain(row: Mapping[str, Any], key: str) -> str:
    """``0.123 [0.1, 0.146]``, of a value with ``…_low`` and ``…_high``."""
    low, high = row.get(f"{key}_low"), row.get(f"{key}_high")
    return number(row.get(key)) if low is None else f"{number(row.get(key))} [{number(low)}, {number(high)}]"


def ours(path: str | Path) -> bool:
    """Whether a file is a page that ``write`` made."""
    try:
        with open(path, encoding="utf-8") as handle:
            head = handle.read(1000)
    except (OSError, UnicodeDecodeError):
        return False
    return head.startswith("<!doctype html>") and '<meta name="generator" content="Snellen">' in head


def _hundredths(value: float) -> str:
    """One decimal, without the sign of a zero."""
    return f"{round(100 * value, 1) + 0.0:.1f}"


def number(value: Any) -> str:
    """Three significant figures for numbers, a dash for nothing, anything else as it is."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def _figure(path: Path, tighter: bool = False) -> dict[str, Any]:
    """A figure as a data URI and its size in the page: all at one scale, so that their text has one size."""
    with Image.open(path) as image:
        size = {"width": round(image.width * SCALE), "height": round(image.height * SCALE)}
        if tighter:
            return {"src": f"data:image/webp;base64,{encoded(np.asarray(image.convert('RGB')), None)}", **size}
    return {"src": "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode(), **size}
