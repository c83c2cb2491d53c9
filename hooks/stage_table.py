"""The map of a model's stages as a table: one row per site, or per run of like sites."""

from __future__ import annotations

import math
import re
from itertools import groupby
from typing import Any

from hooks.stages import COMPONENTS, Stages

SHAPES = {
    "image": "crops x tokens x {}",
    "map": "crops x {} x h x w",
    "packed": "tokens x {}",
    "each": "tokens x {}, one image at a time",
    "sequence": "n x positions x {}",
    "prefixed": "n x (image + text) x {}",
    "decoder": "n x answer x {}",
}
"""Layout to the shape of what a site gives; the blank is for its features."""


def rows(model: Any, stages: Stages) -> list[dict[str, Any]]:
    """One row per site: site, component, module, shape, width, parameters (of the module), times (fired) and note.

    Args:
        model: the model, also on the meta device.
        stages: its map; where it is proven, dead ends and repeated firings are what the self-test saw.
    """
    read, dead = int(stages.read_layer.rpartition(".")[2]), stages.proof.dead if stages.proof else None
    table = []
    for site, name in stages.sites.items():
        width, module = stages.widths.get(site), model.get_submodule(name)
        late = re.fullmatch(r"vision\.(\d+)", site)
        unread = site in dead if dead is not None else bool(late) and int(site.rpartition(".")[2]) > read
        times = stages.proof.firings[site].times if stages.proof else None
        note = "dead end: the answer does not depend on it" if unread else ""
        if site == stages.read_layer:
            note = "the projector reads this" if "projector" in stages.sites else "the language model reads this"
        if times is not None and times > 1:
            note = f"{note}; fires {times} times".removeprefix("; ")
        table.append(
            {
                "site": site,
                "component": stages.component(site),
                "module": name + (" (its input)" if site.endswith(".embed") else ""),
                "shape": SHAPES[stages.layouts[site]].format(width or "?"),
                "width": width,
                "parameters": 0 if site.endswith(".embed") else sum(map(size, module.parameters())),
                "times": times,
                "note": note,
            }
        )
    return table


def lines(table: list[dict[str, Any]], *, every: bool = False) -> list[str]:
    """The table as text, runs of like sites in one line each.

    Args:
        table: of ``rows``.
        every: one line per site.
    """
    runs = [[row] for row in table] if every else [list(run) for _, run in groupby(table, key=_alike)]
    cells = [("site", "module", "shape", "parameters", "note"), *(_cells(run) for run in runs)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]) - 1)]
    return ["  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in cells]


def totals(model: Any, stages: Stages) -> dict[str, int]:
    """Parameters per component, and of parts that belong to none (audio towers, image generators) as ``other``."""
    counts = {c: sum(map(size, stages.parameters(model, c).values())) for c in COMPONENTS}
    other = sum(map(size, model.parameters())) - sum(counts.values())
    return counts | ({"other": other} if other else {})


def size(parameter: Any) -> int:
    """How many numbers a parameter stands for; weights of 4 bits are stored packed."""
    return math.prod(getattr(getattr(parameter, "quant_state", None), "shape", parameter.shape))


def _alike(row: dict[str, Any]) -> tuple[Any, ...]:
    prefix, _, index = row["site"].rpartition(".")
    return (prefix if index.isdigit() else row["site"], row["shape"], row["note"])


def _cells(run: list[dict[str, Any]]) -> tuple[str, ...]:
    first, last = run[0], run[-1]
    several = len(run) > 1
    counts = sorted(row["parameters"] for row in run)
    amount = "-".join(dict.fromkeys(short(count) for count in (counts[0], counts[-1])))
    stem, _, index = last["module"].rpartition(".")
    end = index if first["module"].startswith(stem + ".") else last["module"]
    return (
        f"{first['site']} .. {last['site'].rpartition('.')[2]}" if several else first["site"],
        f"{first['module']} .. {end}" if several else first["module"],
        first["shape"],
        (f"{len(run)} x {amount}" if several else amount) if counts[-1] else "",
        first["note"],
    )


def short(count: int) -> str:
    """A count in three digits: 303 M."""
    for size, unit in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)
