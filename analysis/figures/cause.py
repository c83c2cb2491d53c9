"""Figures of causes: what exchanging, cutting, reading, attributing and steering showed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from analysis.figures.attribution import draw_conductance, draw_leaders, draw_overlay, draw_sanity
from analysis.figures.files import Made, Plan, bound, canvas
from analysis.figures.knockout import draw_attention, draw_knockout
from analysis.figures.lens import lens_figure
from analysis.figures.patching import patching_map
from analysis.figures.steering import draw_dose_response
from stimuli.tables import Table

Tables = Mapping[str, Table]


def cause_figures(part: Mapping[str, Any]) -> Plan:
    """What an exam found about causes: exchange, knock-out and lens, as far as they could be measured.

    Args:
        part: the ``cause`` part of an exam's results, or some of its keys.
    """
    makers: dict[str, Callable[[Tables], Made]] = {"patching": _patching, "knockout": _knockout, "lens": _lens}
    tables = {name: part[name]["table"] for name in makers if part.get(name) and part[name].get("table")}
    return bound({f"cause_{name}": makers[name] for name in tables}, tables)


def knockout_figures(tables: Tables) -> Plan:
    """Edges over layers, and where heads look, of the tables ``knockout`` and ``attention``."""
    makers: dict[str, Callable[[Any], Made]] = {"knockout": _knockout}
    looked = tables.get("attention", [])
    for of in ("image", "region"):
        if any(row.get(of) is not None for row in looked):
            makers[f"attention_{of}"] = _attention(of)
    return bound(makers, tables)


def lens_figures(tables: Tables) -> Plan:
    """Rank of the right word over sites, of the tables ``lens`` and ``tuned_lens``."""
    return bound({"lens": _lens} if tables.get("lens") else {}, tables)


def attribution_figures(tables: Tables) -> Plan:
    """Leaders, conductance and sanity, of the tables ``attribution``, ``conductance`` and ``sanity``."""
    parts = {"attribution": draw_leaders, "conductance": draw_conductance, "sanity": draw_sanity}
    return bound({name: _panel(name, draw) for name, draw in parts.items() if tables.get(name)}, tables)


def overlay_figures(
    images: Sequence[np.ndarray],
    maps: Mapping[str, Sequence[np.ndarray]],
    masks: Sequence[np.ndarray | None],
    names: Sequence[str],
) -> Plan:
    """A row per image, a column per method; the border is that of the distorted part.

    Args:
        images: uint8 (H, W, 3) each.
        maps: method to (n, rows, columns), signed.
        masks: bool (H, W) each.
        names: what stands beside each image.
    """

    def made() -> Made:
        figure, axes = canvas(1.25 * len(maps) + 0.9, 1.25 * len(images) + 0.5, len(images), len(maps), squeeze=False)
        for row, (image, mask, name) in enumerate(zip(images, masks, names, strict=True)):
            for ax, (method, heat) in zip(axes[row], maps.items(), strict=True):
                draw_overlay(ax, image, heat[row], mask, title="" if row else method.replace("-", "\n"))
            axes[row][0].text(
                -0.06, 0.5, name.replace(" ", "\n"), transform=axes[row][0].transAxes, fontsize=6, ha="right", va="center"
            )
        return figure, [{"image": name, "column": i, "method": method} for name in names for i, method in enumerate(maps)]

    return {"overlays": made}


def steering_figures(table: Table) -> Plan:
    """Dose and response by kind of direction, of ``Steering.table``."""
    kinds = list(dict.fromkeys(row["like"] for row in table if row["like"] == row["kind"]))
    return bound({f"dose_response_{kind}": _dose(kind) for kind in kinds}, {"steering": table})


def _patching(tables: Tables) -> Made:
    """Recoveries; where donor and receiver answer alike everywhere, effects."""
    rows = tables["patching"]
    known = any(row["recovery"] is not None for row in rows)
    return patching_map(rows, "recovery" if known else "effect"), rows


def _lens(tables: Tables) -> Made:
    return lens_figure(tables["lens"], tables.get("tuned_lens")), tables["lens"]


def _knockout(tables: Tables) -> Made:
    figure, ax = canvas(5.2, 3.2)
    draw_knockout(ax, tables["knockout"])
    return figure, tables["knockout"]


def _attention(of: str) -> Callable[[Tables], Made]:
    def made(tables: Tables) -> Made:
        figure, ax = canvas(4.6, 3.2)
        shown = draw_attention(ax, tables["attention"], of)
        figure.colorbar(shown, ax=ax, label=f"share of attention to the {of}")
        return figure, tables["attention"]

    return made


def _panel(name: str, draw: Callable[[Any, Table], None]) -> Callable[[Tables], Made]:
    def made(tables: Tables) -> Made:
        figure, ax = canvas(5.6, 3.4)
        draw(ax, tables[name])
        return figure, tables[name]

    return made


def _dose(kind: str) -> Callable[[Tables], Made]:
    def made(tables: Tables) -> Made:
        figure, ax = canvas(5.2, 3.4)
        draw_dose_response(ax, tables["steering"], kind)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7)
        return figure, tables["steering"]

    return made
