"""Whether the same is said twice: agreement against chance, and where a quality level goes when it is asked for again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.figures.style import PLAIN, percent_axis

Entries = Mapping[str, Mapping[str, Any]]
PANELS = (
    ("mode_share", "most frequent answer", "share of an image's answers", "{:.0%}"),
    ("kappa", "Fleiss' kappa", "0: chance, 1: always the same", "{:.2f}"),
    ("entropy", "entropy", "bits, 0: always the same", "{:.2f}"),
)
BY_CHANCE = {"kappa": {"value": 0.0, "low": 0.0, "high": 0.0}}
"""What independent answers give where it needs no computation."""


def draw_agreement(axes: Sequence[Any], entries: Entries) -> None:
    """One row per way of asking again, measured (filled) and by chance (open), with intervals over references.

    Args:
        axes: as many axes as ``PANELS``, sharing y.
        entries: name → ``Agreement.as_dict()``, for instance of repeats, paraphrases, option orders and tiny changes.
    """
    for ax, (key, title, label, written) in zip(axes, PANELS, strict=True):
        for y, entry in enumerate(entries.values()):
            _point(ax, y + 0.17, {**entry["chance"], **BY_CHANCE}[key], color="#777777", marker="D", mfc="white", ms=4)
            if _known(entry[key]):
                _point(ax, y - 0.1, entry[key], color=PLAIN, marker="o", ms=5.5)
                ax.annotate(written.format(entry[key]["value"]), (entry[key]["value"], y - 0.1), xytext=(0, 5), ha="center", fontsize=7,
                            textcoords="offset points")  # fmt: skip
            else:
                ax.annotate("not defined", (0.5, y - 0.1), xycoords=("axes fraction", "data"), ha="center", va="center",
                            fontsize=7, color="#777777")  # fmt: skip
        ax.set_title(title, fontsize=8.5)
        ax.set_xlabel(label)
        ax.grid(axis="y", visible=False)
    _limits(axes, entries)
    axes[0].set_yticks(range(len(entries)), [f"{name}\n{_asked(entry)}" for name, entry in entries.items()])
    axes[0].set_ylim(len(entries) - 0.5, -0.6)
    _legend(axes[0])


def draw_flips(ax: Any, entries: Entries) -> None:
    """Where each level goes when the image is asked again, a square of shares per entry; rows sum to 100 %.

    Args:
        ax: axes, of a figure about 1 + 1.8 inches per entry wide and 2.7 high.
        entries: name → ``Flips.as_dict()``.
    """
    levels = list(next(iter(entries.values()))["levels"])
    wide = len(levels) + 2.2
    for i, (name, entry) in enumerate(entries.items()):
        _square(ax, i * wide, entry["transitions"])
        ax.text(i * wide - 0.5, -1.1, f"{name}\n{_unstable(entry)}", fontsize=7.5, fontweight="bold", va="bottom")
    places = [i * wide + j for i in range(len(entries)) for j in range(len(levels))]
    ax.set_xticks(places, levels * len(entries), rotation=55, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(levels)), levels)
    ax.set_xlim(-0.6, wide * len(entries) - 0.6)
    ax.set_ylim(len(levels) - 0.4, -2.4)
    ax.set_aspect("equal")
    ax.set_xlabel("when asked again, % of n answers")
    ax.set_ylabel("first level", y=0.37)
    ax.grid(False)
    ax.tick_params(length=0)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)


def _point(ax: Any, y: float, found: Mapping[str, Any], **style: Any) -> None:
    if _known(found, "low"):
        ax.plot([found["low"], found["high"]], [y, y], color=style["color"], lw=1.2)
    if _known(found):
        ax.plot([found["value"]], [y], ls="", **style)


def _limits(axes: Sequence[Any], entries: Entries) -> None:
    share, kappa, entropy = axes
    share.set_xlim(0, 1.06)
    percent_axis(share.xaxis)
    lows = [entry["kappa"]["low"] for entry in entries.values() if _known(entry["kappa"], "low")]
    kappa.set_xlim(min([-0.08, *(low - 0.05 for low in lows)]), 1.06)
    most = entropy.get_xlim()[1]
    entropy.set_xlim(-0.06 * most, 1.04 * most)
    for ax in axes:
        ax.locator_params(axis="x", nbins=5)


def _legend(ax: Any) -> None:
    """Below the whole figure, so that it takes no width from the panels."""
    measured = ax.plot([], [], "o-", color=PLAIN, lw=1.2, ms=5.5, label="measured")
    chance = ax.plot([], [], "D-", color="#777777", mfc="white", lw=1.2, ms=4, label="if answers were independent of the image")
    ax.figure.legend(handles=[*measured, *chance], loc="outside lower center", ncols=2)


def _square(ax: Any, left: float, counts: Sequence[Sequence[int]]) -> None:
    """Shares of each row as grey cells; the same level is framed, the number of answers stands on the right."""
    middle = (len(counts) - 1) / 2
    _frame(ax, left + middle, middle, len(counts), color="#999999", lw=0.5)
    for y, row in enumerate(counts):
        total = sum(row)
        for x, count in enumerate(row):
            share = count / max(total, 1)
            ax.fill_between([left + x - 0.5, left + x + 0.5], y - 0.5, y + 0.5, color=str(1 - 0.85 * share), lw=0)
            if share >= 0.005:
                ax.text(left + x, y, f"{100 * share:.0f}", ha="center", va="center", fontsize=6.5,
                        color="white" if share > 0.55 else "black")  # fmt: skip
        _frame(ax, left + y, y, 1, color="#D55E00", lw=0.9)
        ax.text(left + len(row) - 0.35, y, f"{total}", fontsize=5.5, color="#555555", va="center")
    ax.text(left + len(counts) - 0.35, -0.62, "n", fontsize=5.5, color="#555555", va="bottom")


def _frame(ax: Any, x: float, y: float, size: float, **style: Any) -> None:
    half = size / 2
    ax.plot([x - half, x + half, x + half, x - half, x - half], [y - half, y - half, y + half, y + half, y - half], **style)


def _unstable(entry: Mapping[str, Any]) -> str:
    found = entry["unstable"]
    if not _known(found, "low"):
        return "stability not known"
    return f"{100 * found['value']:.0f} % unstable [{100 * found['low']:.0f}, {100 * found['high']:.0f}]"


def _asked(entry: Mapping[str, Any]) -> str:
    return f"{entry['images']} images × {entry['times']}"


def _known(found: Mapping[str, Any], key: str = "value") -> bool:
    value = found[key]
    return value is not None and value == value  # NaN is not known either
