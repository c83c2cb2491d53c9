"""The tuning matrix: components by budget, and the learning rates that were tried."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.figures.style import arms_in_order, look
from stimuli.tables import Table

BUDGETS = {"steps": "equal steps", "parameters": "equal parameters", "seconds": "equal time"}


def draw_matrix(ax: Any, rows: Table, base: float, chance: float) -> Any:
    """Balanced accuracy after teaching each component (rows) at each budget (columns), with its interval.

    Args:
        ax: axes.
        rows: ``Teaching.matrix``; a cell whose accuracy is null or NaN says that it was not measured.
        base: balanced accuracy before.
        chance: of the answers; where the colours begin.

    Returns:
        The image, for a colour bar.
    """
    components = arms_in_order(dict.fromkeys(row["component"] for row in rows))
    budgets = list(dict.fromkeys(row["budget"] for row in rows))
    values = np.full((len(components), len(budgets)), np.nan)
    for row in rows:
        values[components.index(row["component"]), budgets.index(row["budget"])] = _number(row["balanced_accuracy"])
    shown = ax.imshow(values, cmap=_gaps("cividis"), vmin=chance, vmax=1, aspect="auto")
    for row in rows:
        x, y = budgets.index(row["budget"]), components.index(row["component"])
        if not np.isfinite(values[y, x]):
            ax.text(x, y, "not\nmeasured", ha="center", va="center", fontsize=7.5, color="#555555")
            continue
        light = row["balanced_accuracy"] < chance + 0.5 * (1 - chance)
        star = "*" if row.get("p_holm") is not None and row["p_holm"] < 0.05 else ""
        text = (
            f"{100 * row['balanced_accuracy']:.0f} %{star}\n[{100 * row['balanced_low']:.0f}, {100 * row['balanced_high']:.0f}]"
        )
        ax.text(x, y, text, ha="center", va="center", fontsize=7.5, color="white" if light else "black")
    ax.set_xticks(range(len(budgets)), [BUDGETS.get(name, name) for name in budgets])
    ax.set_yticks(range(len(components)), components)
    ax.grid(visible=False)
    ax.set_title(
        f"Distortion answers after teaching\n(before {100 * base:.1f} %, chance {100 * chance:.1f} %; * change, after Holm)",
        fontsize=8.5,
    )
    return shown


def draw_rates(axes: Any, rows: Table) -> None:
    """Loss on watched references by learning rate, one panel per budget; filled where the rate was chosen.

    Args:
        axes: one per budget.
        rows: ``Teaching.rates``.
    """
    from matplotlib.ticker import LogLocator

    budgets = list(dict.fromkeys(row["budget"] for row in rows))
    for ax, budget in zip(np.atleast_1d(axes), budgets, strict=True):
        for name in arms_in_order(dict.fromkeys(row["component"] for row in rows)):
            own = sorted(
                (row for row in rows if (row["component"], row["budget"]) == (name, budget)), key=lambda row: row["rate"]
            )
            style = look(name)
            ax.plot([row["rate"] for row in own], [_number(row["loss"]) for row in own], mfc="white", label=name, **style)
            ax.plot(
                [row["rate"] for row in own if row["chosen"]],
                [row["loss"] for row in own if row["chosen"]],
                **{**style, "ls": ""},
            )
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter("")  # a narrow range would label every minor tick, one over the other
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        ax.set_xlabel("peak learning rate")
        ax.set_title(BUDGETS.get(budget, budget), fontsize=8.5)
    np.atleast_1d(axes)[0].set_ylabel("loss on watched references")
    np.atleast_1d(axes)[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _number(value: float | None) -> float:
    """A number, NaN for none: what was NaN or infinite comes back from JSON as null."""
    return float("nan") if value is None else float(value)


def _gaps(name: str) -> Any:
    """A colour map that shows what is missing in a pale grey."""
    from matplotlib import colormaps

    return colormaps[name].with_extremes(bad="#EEEEEE")
