"""What is answered: response distribution, confusion, accuracy by level; and how severe the stimuli are."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.figures.style import CLASS_COLOURS, CLASS_MARKERS, MARKERS, colour, hatch, percent_axis


def draw_responses(ax: Any, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Share of each answer before and after, beside the truth.

    Args:
        ax: axes.
        entries: name → ``perception`` entry; the first one's confusion gives the truth.
    """
    first = next(iter(entries.values()))
    names = [*first["classes"], "unparsed"]
    truth = np.sum(first["confusion"], axis=1) / np.sum(first["confusion"])
    y = np.arange(len(names))
    height = 0.8 / (len(entries) + 1)
    ax.barh(y - 0.4 + height / 2, [*truth, 0], height, color="#DDDDDD", edgecolor="#888888", lw=0.5, label="truth")
    for i, (name, entry) in enumerate(entries.items(), start=1):
        shares = [entry["response_distribution"].get(c, 0) for c in names]
        ax.barh(y - 0.4 + height * (i + 0.5), shares, height, color=colour(name), label=name, edgecolor="white", lw=0.3,
                hatch=hatch(name if i > 1 else "base"))  # fmt: skip
    ax.set_yticks(y, names)
    ax.invert_yaxis()
    ax.set_xlabel("share of answers")
    ax.set_title("What is answered")
    percent_axis(ax.xaxis)
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, -0.16), ncols=3)


def draw_confusion(ax: Any, entry: Mapping[str, Any], title: str) -> None:
    """Confusion matrix: rows are the truth (each sums to 100 %), columns the answers."""
    counts = np.array(entry["confusion"], float)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    ax.imshow(shares, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    for i, j in np.ndindex(*shares.shape):
        if shares[i, j] >= 0.005:
            ax.text(j, i, f"{100 * shares[i, j]:.0f}", ha="center", va="center", fontsize=6.5,
                    color="white" if shares[i, j] > 0.55 else "black")  # fmt: skip
    ax.set_xticks(range(shares.shape[1]), [*entry["classes"], "unparsed"], rotation=55, ha="right")
    ax.set_yticks(range(len(entry["classes"])), entry["classes"])
    ax.set_xlabel("answer")
    ax.set_ylabel("truth")
    ax.set_title(title, fontsize=8.5)
    ax.grid(False)


def draw_levels(ax: Any, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Accuracy by published level, before and after (levels of signed types are not ordered by severity)."""
    for i, (name, entry) in enumerate(entries.items()):
        rows = entry["by_level"]
        x = np.arange(len(rows)) + 0.08 * i
        y = np.array([row["accuracy"] for row in rows])
        ends = [[row["accuracy"] if row[end] is None else row[end] for row in rows] for end in ("low", "high")]
        bars = [y - ends[0], ends[1] - y]
        shade = colour("base") if i == 0 else colour(name)
        ax.errorbar(
            x,
            y,
            yerr=np.maximum(bars, 0),
            color=shade,
            marker=MARKERS["base"] if i == 0 else MARKERS.get(name, "o"),
            capsize=2.5,
            ls="-" if i else "--",
            label=name,
        )
        ax.set_xticks(range(len(rows)), [str(row["level"]) for row in rows])
    chance = next(iter(entries.values()))["chance"]
    ax.axhline(chance, color="#999999", ls=":", lw=0.9)
    ax.set_ylim(0, 1.05)
    ax.set_xlabel("published level")
    ax.set_title("Accuracy by level")
    percent_axis(ax.yaxis)
    ax.legend()


def draw_severity(ax: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Measured PSNR by class and level."""
    classes = list(dict.fromkeys(row["class"] for row in rows if row["level"] is not None))
    for i, name in enumerate(classes):
        own = sorted((row for row in rows if row["class"] == name and row["psnr"] is not None), key=lambda row: row["level"])
        ax.plot(
            [row["level"] for row in own],
            [row["psnr"] for row in own],
            color=CLASS_COLOURS[i],
            marker=CLASS_MARKERS[i],
            label=name,
        )
    ax.set_xticks(sorted({row["level"] for row in rows if row["level"] is not None}))
    ax.set_xlabel("published level")
    ax.set_ylabel("mean PSNR, dB")
    ax.set_title("How severe the stimuli are")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def draw_contact_sheet(axes: Any, examples: Sequence[Mapping[str, Any]]) -> None:
    """Example stimuli, one axes each; ``image`` is an array."""
    for ax, example in zip(axes, examples, strict=False):
        ax.imshow(example["image"], interpolation="nearest")
        lines = [example["class"]]
        if example["type"] is not None:
            lines += textwrap.wrap(f"{example['type'].replace('_', ' ')}, level {example['level']}", 20)
        ax.set_title("\n".join(lines), fontsize=6, fontweight="normal")
    for ax in axes:
        ax.axis("off")
