"""The figures of one tuned component, and of several at matched budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.figures.files import Made, Plan, bound, canvas
from analysis.figures.forgetting import draw_forgetting
from analysis.figures.matrix import draw_matrix, draw_rates
from analysis.figures.movement import draw_movement
from analysis.figures.tuning import draw_training
from stimuli.tables import Table

Results = Mapping[str, Any]


def taught_figures(results: Results) -> Plan:
    """The figures of one run.

    Args:
        results: ``component``, ``history``, ``validation``, ``layers`` and ``forgotten`` rows.
    """
    return bound({"training": _training, "movement": _movement, "forgetting": _forgetting}, results)


def matched_figures(results: Results) -> Plan:
    """The figures of components at matched budgets.

    Args:
        results: ``Teaching.as_dict()``.
    """
    forgets = {f"forgetting_{name}": _of_budget(name) for name in dict.fromkeys(row["budget"] for row in results["forgotten"])}
    return bound({"matrix": _matrix, "rates": _rates, **forgets}, results)


def _training(results: Results) -> Made:
    figure, ax = canvas(5.2, 3.2)
    draw_training(ax, {"arms": {results["component"]: {"history": results["history"]}}})
    watched = results["validation"]
    if watched:
        ax.plot(
            [row["step"] for row in watched], [row["loss"] for row in watched], "k--", marker=".", label="watched references"
        )
        ax.legend()
    return figure, results["history"]


def _movement(results: Results) -> Made:
    if not any(row["relative"] for row in results["layers"]):
        return None
    figure, ax = canvas(max(4.5, 1.8 + 0.24 * len(results["layers"])), 3.2)
    draw_movement(ax, results["layers"])
    return figure, results["layers"]


def _forgetting(results: Results) -> Made:
    rows = [{"arm": results["component"], **row} for row in results["forgotten"]]
    return _bars(rows)


def _of_budget(budget: str) -> Any:
    def made(results: Results) -> Made:
        return _bars([{"arm": row["component"], **row} for row in results["forgotten"] if row["budget"] == budget])

    return made


def _bars(rows: Table) -> Made:
    if not rows:
        return None
    figure, ax = canvas(8.2, 3.3)
    draw_forgetting(ax, rows)
    return figure, rows


def _matrix(results: Results) -> Made:
    rows = results["matrix"]
    figure, ax = canvas(2.6 + 1.3 * len({row["budget"] for row in rows}), 1.4 + 0.55 * len({row["component"] for row in rows}))
    shown = draw_matrix(ax, rows, results["base"]["balanced_accuracy"], results["base"]["chance"])
    figure.colorbar(shown, ax=ax, label="balanced accuracy")
    return figure, rows


def _rates(results: Results) -> Made:
    budgets = len({row["budget"] for row in results["rates"]})
    figure, axes = canvas(2.2 + 2.3 * budgets, 2.9, 1, budgets, sharey=True)
    draw_rates(axes, results["rates"])
    return figure, results["rates"]
