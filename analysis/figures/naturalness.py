"""How near the built-in reference images are to photographs."""

from __future__ import annotations

from typing import Any

from analysis.figures.style import CLASS_COLOURS, CLASS_MARKERS
from analysis.naturalness import KINDS, naturalness_summary
from stimuli.tables import Table

PANELS = (
    ("slope", "spectral slope", "s in P(f) ∝ 1/fˢ", "linear"),
    ("kurtosis", "kurtosis of gradients", "3 is Gaussian", "log"),
    ("correlation", "channels vary together", "mean correlation of R, G, B", "linear"),
    ("chroma", "chroma", "mean CIELAB chroma", "linear"),
)


def draw_naturalness(axes: Any, rows: Table) -> None:
    """One panel per statistic: a point per image, a bar at each mean, and the range of the photographs as a band.

    Args:
        axes: as many axes as ``PANELS``, sharing y.
        rows: what ``analysis.naturalness.naturalness_table`` gives.
    """
    summary = {(row["kind"], row["statistic"]): row for row in naturalness_summary(rows)}
    kinds = [kind for kind in KINDS if (kind, PANELS[0][0]) in summary]
    for ax, (name, title, unit, scale) in zip(axes, PANELS, strict=True):
        band = summary["photographs", name]
        ax.axvspan(band["low"], band["high"], color="#DDDDDD", lw=0, zorder=0)
        for i, kind in enumerate(kinds):
            y = len(kinds) - 1 - i
            own = [row[name] for row in rows if row["kind"] == kind]
            ax.plot(own, [y] * len(own), CLASS_MARKERS[i], color=CLASS_COLOURS[i], ms=4, alpha=0.55, mew=0)
            ax.plot([summary[kind, name]["mean"]] * 2, [y - 0.3, y + 0.3], color="black", lw=1.4)
        ax.set_xscale(scale)
        ax.set_title(title, fontsize=8.5)
        ax.set_xlabel(unit)
        ax.margins(x=0.08)
        _few_ticks(ax, scale)
    axes[0].set_ylim(-0.6, len(kinds) - 0.4)
    axes[0].set_yticks(range(len(kinds)), list(reversed(kinds)))


def _few_ticks(ax: Any, scale: str) -> None:
    """At most five ticks; plain numbers on a logarithmic axis."""
    from matplotlib.ticker import FixedLocator, NullFormatter, ScalarFormatter

    if scale == "linear":
        ax.locator_params(axis="x", nbins=4)
        return
    ax.xaxis.set_major_locator(FixedLocator([3, 10, 30, 100]))
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())
