"""What was known before tuning, and how much of it is left."""

from __future__ import annotations

from typing import Any

from analysis.figures.style import arms_in_order, colour, hatch
from stimuli.tables import Table

BEFORE, BASE = "#D9D9D9", "base"


def draw_forgetting(ax: Any, rows: Table) -> None:
    """Bars per measure: before in grey, after for every arm, with the interval of the paired change.

    Grey is the untuned model: the row of the arm ``base`` where there is one (its value before), else what the arms' rows say was
    before. Arms that were measured on other images have another value before: it is then a short grey line at the arm's own bar,
    which its change counts from, and the grey bar is of the row with most stimuli.

    Args:
        ax: axes.
        rows: of ``analysis.forgetting.forgotten`` with an ``arm``: measure, n, before, after, low, high (of the change).
    """
    measures = list(dict.fromkeys(row["measure"] for row in rows))
    arms = [arm for arm in arms_in_order(dict.fromkeys(row["arm"] for row in rows)) if arm != BASE]
    wide = 0.8 / (len(arms) + 1)
    told = False
    for number, measure in enumerate(measures):
        own = {row["arm"]: row for row in rows if row["measure"] == measure}
        known = own[BASE]["before"] if BASE in own else max(own.values(), key=lambda row: row.get("n") or 0)["before"]
        ax.bar(
            number - 0.4 + wide / 2,
            known,
            wide,
            color=BEFORE,
            edgecolor="#777777",
            lw=0.6,
            label="before" if not number else None,
        )
        for place, arm in enumerate(arms):
            if arm not in own:
                continue
            row, x = own[arm], number - 0.4 + (place + 1.5) * wide
            ax.bar(x, row["after"], wide, color=colour(arm), edgecolor="white", lw=0.6, hatch=hatch(arm),
                   label=f"after: {arm}" if not number else None)  # fmt: skip
            low, high = row["before"] + row["low"], row["before"] + row["high"]
            ax.plot([x, x], [low, high], color="#222222", lw=1.1, zorder=4)
            if abs(row["before"] - known) > 1e-9:
                label = None if told else "before, of the images of this arm"
                ax.plot([x - 0.45 * wide, x + 0.45 * wide], [row["before"]] * 2, color="#777777", lw=1.6, zorder=4, label=label)
                told = True
            star = "*" if row.get("p_holm") is not None and row["p_holm"] < 0.05 else ""
            ax.annotate(star, (x, max(high, row["after"], 0)), ha="center", va="bottom", fontsize=9)
    ax.axhline(0, color="#555555", lw=0.7)
    ax.set_xticks(range(len(measures)), [measure.replace(" ", "\n", 1) for measure in measures])
    ax.grid(visible=False, axis="x")
    ax.set_ylabel("share, or correlation (SRCC)")
    ax.set_ylim(top=1.12, bottom=min(0.0, *(row["before"] + row["low"] for row in rows)) * 1.08)
    ax.set_title("What is left of the rest (lines: 95 % interval of the paired change; * after Holm)")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
