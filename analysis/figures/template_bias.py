"""Image or template: how answers are spread, what they tell, how types are scored, which templates descriptions are made of."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.figures.style import PLAIN, percent_axis

Entry = Mapping[str, Any]
PANELS = ("divergence", "information", "residuals")
BARS = (
    ("plug_in", "plug-in", "#DDDDDD", ""),
    ("permuted", "permuted", "#999999", "////"),
    ("corrected", "corrected", PLAIN, ""),
)


def panels(entry: Entry) -> list[str]:
    """Which panels of ``draw_template_bias`` an entry has data for."""
    return [name for name in PANELS if entry.get(name)]


def draw_template_bias(axes: Sequence[Any], entry: Entry) -> None:
    """The panels that there is data for.

    Args:
        axes: one per name in ``panels(entry)``.
        entry: ``divergence`` and ``information`` as dictionaries, ``residuals`` as rows; ``class_information`` joins
            ``information``.
    """
    for ax, name in zip(axes, panels(entry), strict=True):
        if name == "divergence":
            draw_spread(ax, entry[name])
        elif name == "information":
            draw_information(ax, *[entry[key] for key in (name, "class_information") if entry.get(key)])
        else:
            draw_residuals(ax, entry[name])


def draw_spread(ax: Any, entry: Entry) -> None:
    """Share of each answer, beside the truth, a prior and uniform.

    Args:
        ax: axes.
        entry: ``Divergence`` as a dictionary.
    """
    rows, y = entry["distribution"], np.arange(len(entry["distribution"]))
    apart = {row["against"]: f" (JS {row['jensen_shannon']:.2f} bits)" for row in entry["against"]}
    if "truth" in apart:
        ax.barh(
            y,
            [row["truth"] for row in rows],
            0.86,
            color="#DDDDDD",
            edgecolor="#AAAAAA",
            lw=0.5,
            label="truth" + apart["truth"],
        )
    ax.barh(y, [row["share"] for row in rows], 0.42, color=PLAIN, label="answers")
    for place, row in zip(y, rows, strict=True):
        if _known(row["low"]):
            ax.plot([row["low"], row["high"]], [place, place], color="black", lw=0.9, solid_capstyle="butt")
    if "prior" in apart:
        ax.plot(
            [row["prior"] for row in rows], y, "D", color="#D55E00", mec="black", mew=0.5, ms=4, label="prior" + apart["prior"]
        )
    ax.axvline(rows[0]["uniform"], color="#555555", lw=0.9, ls=":", label="uniform" + apart["uniform"])
    ax.set_yticks(y, [_plain(row["answer"]) for row in rows], fontsize=7.5 if len(rows) < 16 else 6)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(0, None)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("share of answers")
    ax.set_title("How answers are spread")
    percent_axis(ax.xaxis)
    _legend(ax)


def draw_information(ax: Any, *entries: Entry) -> None:
    """What an answer tells of the image, the prompt and the class: as estimated, of permuted answers, and corrected.

    Args:
        ax: axes.
        *entries: ``Information`` as dictionaries, of ``information`` and of ``information_with_labels``, about the same
        answers.
    """
    rows = [row for entry in entries for row in entry["table"]]
    for i, (key, label, shade, hatch) in enumerate(BARS):
        x = np.arange(len(rows)) + 0.27 * (i - 1)
        values = [row[key] if _known(row[key]) else 0 for row in rows]
        ax.bar(x, values, 0.25, color=shade, edgecolor="#444444", lw=0.5, hatch=hatch, label=label)
        if key == "corrected":
            _of_corrected(ax, x, rows)
    whole = entries[0]["entropy"]["value"]
    ax.axhline(whole, color="black", lw=0.9, ls=":", label=f"all that answers vary by, {whole:.2f} bits")
    ax.axhline(0, color="#444444", lw=0.6)
    ax.set_xticks(range(len(rows)), [row["about"].replace(" ", "\n") for row in rows], fontsize=7)
    ax.grid(axis="x", visible=False)
    ax.set_ylabel("information, bits")
    ax.set_title("What an answer tells of the …")
    lowest = min((row["corrected_low"] for row in rows if _known(row["corrected_low"])), default=0.0)
    ax.set_ylim(min(-0.01, 1.2 * lowest), 1.08 * max(0.1, whole))
    _legend(ax)


def _of_corrected(ax: Any, x: np.ndarray, rows: Sequence[Entry]) -> None:
    for place, row in zip(x, rows, strict=True):
        if not _known(row["corrected"]):
            ax.text(place, 0, " unknown", rotation=90, ha="center", va="bottom", fontsize=6.5, color="#444444")
        elif _known(row["corrected_low"]):
            ax.plot([place, place], [row["corrected_low"], row["corrected_high"]], color="black", lw=1.2, marker="_", ms=4)


def draw_residuals(ax: Any, rows: Sequence[Entry]) -> None:
    """Per distortion type how much better or worse it is scored than others as severe; open where it could be chance.

    Args:
        ax: axes.
        rows: of ``score_residuals``.
    """
    ordered = sorted(rows, key=lambda row: row["residual"] if _known(row["residual"]) else np.inf)
    ax.axvline(0, color="#555555", lw=0.9, ls=":")
    for sure, label in ((True, "p < 0.05 (Holm)"), (False, "could be chance")):
        own = [(y, row) for y, row in enumerate(ordered) if _known(row["residual"]) and (row["p_holm"] < 0.05) == sure]
        for y, row in own:
            if _known(row["low"]):
                ax.plot([row["low"], row["high"]], [y, y], color=PLAIN, lw=1.1, solid_capstyle="butt")
        points = [row["residual"] for _, row in own], [y for y, _ in own]
        ax.plot(*points, "o", color=PLAIN, mfc=PLAIN if sure else "white", label=label)
    for y, row in enumerate(ordered):
        if not _known(row["residual"]):
            ax.text(
                0.02,
                y,
                "no type as severe",
                fontsize=6.5,
                color="#555555",
                va="center",
                transform=ax.get_yaxis_transform(),
            )
    ax.set_yticks(range(len(ordered)), [_plain(row["type"]) for row in ordered], fontsize=7.5 if len(ordered) < 16 else 6)
    ax.set_ylim(-0.7, len(ordered) - 0.3)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("score above that of other types as severe")
    ax.set_title("How types are scored")
    _legend(ax)


def draw_templates(ax: Any, entry: Entry, most: int = 8, width: int = 76) -> None:
    """The most frequent templates of descriptions with their counts, each above its bar.

    Args:
        ax: axes, at least 0.45 inch tall per template.
        entry: ``TemplateCounts`` as a dictionary.
        most: how many templates.
        width: letters per line; what does not fit into two lines is cut.
    """
    rows = entry["templates"][:most]
    y = np.arange(len(rows))
    ax.barh(y + 0.3, [row["share"] for row in rows], 0.28, color=PLAIN)
    longest = max((row["share"] for row in rows), default=1.0)
    for place, row in zip(y, rows, strict=True):
        text = textwrap.shorten(row["template"] or "(nothing is said)", 2 * width - 8, placeholder=" …")
        ax.text(0.004 * longest, place + 0.12, textwrap.fill(text, width), fontsize=6.5, va="bottom", linespacing=1.05)
        ax.text(
            row["share"] + 0.01 * longest, place + 0.3, f"{row['n']} ({100 * row['share']:.1f} %)", fontsize=6.5, va="center"
        )
    ax.set_yticks([])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(0, 1.2 * longest)
    ax.set_xticks([tick for tick in ax.get_xticks() if tick <= longest])
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("share of descriptions")
    percent_axis(ax.xaxis)
    ax.set_title(
        f"{entry['n']} descriptions: {entry['unmasked']['distinct']} different texts, {entry['masked']['distinct']} templates"
    )


def _legend(ax: Any) -> None:
    """One column below the label of the x axis."""
    from matplotlib.transforms import offset_copy

    below = offset_copy(ax.transAxes, ax.figure, y=-0.5, units="inches")
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, 0.0), bbox_transform=below, borderpad=0)


def _known(value: float | None) -> bool:
    return value is not None and value == value  # NaN is not known either


def _plain(name: str) -> str:
    return name.replace("_", " ")
