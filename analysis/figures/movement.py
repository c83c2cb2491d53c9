"""How far each layer moved while it was tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.figures.style import COLOURS, MARKERS, arms_in_order, colour
from analysis.figures.survival import shown_ticks
from stimuli.tables import Table

WAY = ("vision", "projector", "llm")
"""The components in the order of the data's way."""
DASHES = ("-", "--", "-.", ":")


def draw_movement(ax: Any, layers: Mapping[str, Table] | Table) -> None:
    """Change of each layer's weights relative to their norm before, on a logarithmic axis where they differ by more than tenfold.

    An arm of several components has a line for each, in the component's colour; further arms of a component are told by dashes.

    Args:
        ax: axes.
        layers: rows of ``Audit.layers()``; or several of them by the name of the arm. Layers that did not move, or whose weights are
            packed, have no mark.
    """
    arms = dict(layers) if isinstance(layers, Mapping) else {"": layers}
    moved_rows = sorted((row for rows in arms.values() for row in rows if row["relative"]), key=_way)
    components = {_site(row): row["component"] for row in moved_rows}
    sites = list(components)
    place = {site: number for number, site in enumerate(sites)}
    drawn: list[tuple[str, str]] = []
    for arm in arms_in_order(arms):
        moved = [row for row in arms[arm] if row["relative"]]
        own_components = list(dict.fromkeys(row["component"] for row in moved))
        for component in own_components:
            own = sorted((row for row in moved if row["component"] == component), key=_way)
            style = _style(arm, component, drawn)
            drawn.append((style["color"], style["marker"]))
            label = arm or component if len(own_components) == 1 else f"{arm}: {component}" if arm else component
            ax.plot([place[_site(row)] for row in own], [row["relative"] for row in own], lw=0.8, label=label, **style)
    values = [row["relative"] for rows in arms.values() for row in rows if row["relative"]]
    if values and max(values) > 10 * min(values):
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0)
    ticks = shown_ticks(list(components.values()))
    ax.set_xticks(ticks, [sites[tick] for tick in ticks], rotation=45, ha="right", rotation_mode="anchor")
    ax.set_ylabel("change / norm before")
    ax.set_title("Movement of the weights by layer")
    if len(arms) > 1 or len(drawn) > 1:
        ax.legend()


def _style(arm: str, component: str, drawn: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Colour and marker of an arm that has its own, else of the component; dashes where another line has both already."""
    name = arm if arm in COLOURS else component
    shade, marker = colour(name), MARKERS.get(name, "o")
    before = drawn.count((shade, marker))
    return {"color": shade, "marker": marker, "ls": DASHES[before % len(DASHES)], "mfc": "white" if before else shade}


def _way(row: Mapping[str, Any]) -> tuple[int, float]:
    """Where a layer stands on the data's way, the rest of a component behind its layers."""
    name = str(row["site"]).rpartition(".")[2]
    return WAY.index(row["component"]), float(name) if name.isdecimal() else float("inf") if name == "other" else -1.0


def _site(row: Mapping[str, Any]) -> str:
    """The name of a layer; what lies between sites is told by its component."""
    return str(row["site"]) if row["site"] != "other" else f"{row['component']}, rest"
