"""What tuning each component brings, and what it makes the model forget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.figures.style import MARKERS, arms_in_order, colour, look, percent_axis

COLUMNS = (
    ("balanced_accuracy", "balanced_low", "balanced_high", "distortion answers"),
    ("colour", "colour_low", "colour_high", "colour named"),
    ("shape", "shape_low", "shape_high", "shape named"),
    ("quality", "quality_low", "quality_high", "quality level"),
    ("agreement", "agreement_low", "agreement_high", "same description\nas before"),
)


def draw_tuning(axes: Any, tuning: Mapping[str, Any], chance: float) -> None:
    """One panel per measure, one row per arm, with intervals over references.

    Args:
        axes: as many axes as ``COLUMNS``, sharing y.
        tuning: the ``tuning`` part of the results.
        chance: of the distortion answers.
    """
    entries = {"base": tuning["base"], **tuning["arms"]}
    order = arms_in_order(entries)
    for ax, (key, low, high, title) in zip(axes, COLUMNS, strict=True):
        for y, name in enumerate(reversed(order)):
            values = {**entries[name]["captions"], **entries[name]}
            if values.get(key) is None:
                continue
            left, right = max(0, values[key] - values[low]), max(0, values[high] - values[key])
            ax.errorbar(
                [values[key]],
                [y],
                xerr=[[left], [right]],
                color=colour(name),
                marker=MARKERS.get(name, "o"),
                capsize=2.5,
                ls="",
            )
            ax.annotate(f"{100 * values[key]:.0f}", (values[key], y), xytext=(0, 5), textcoords="offset points", ha="center",
                        fontsize=7)  # fmt: skip
        if key == "balanced_accuracy":
            ax.axvline(chance, color="#999999", ls=":", lw=0.9)
        ax.set_xlim(-0.04, 1.08)
        ax.set_ylim(-0.6, len(order) - 0.3)
        ax.set_title(title, fontsize=8.5)
        percent_axis(ax.xaxis)
    axes[0].set_yticks(range(len(order)), [f"{n} tuned" if n != "base" else "as loaded" for n in reversed(order)])


def draw_training(ax: Any, tuning: Mapping[str, Any]) -> None:
    """Loss on the distortion answers per step and arm, averaged over a tenth of the steps."""
    for name in arms_in_order(tuning["arms"]):
        history = tuning["arms"].get(name, {}).get("history") or []
        if history:
            width = max(1, len(history) // 10)
            losses = [row["answer"] for row in history]
            smooth = [sum(losses[max(0, i - width + 1) : i + 1]) / (i + 1 - max(0, i - width + 1)) for i in range(len(losses))]
            ax.plot([row["step"] for row in history], smooth, **{**look(name), "marker": ""}, label=name)
    ax.set_xlabel("step")
    ax.set_ylabel("loss of the answer, nats per token")
    ax.set_title("Training curves")
    ax.legend()
