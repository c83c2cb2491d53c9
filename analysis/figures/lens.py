"""What a language model's states say on the way: the rank of the right word over the sites, and where in the image it is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.figures.files import canvas
from analysis.figures.maps import COLOURS, OUTLINE
from stimuli.errors import InputError
from stimuli.tables import Table

POSITIONS: Mapping[str, tuple[str, str]] = {"image": ("#D55E00", "o"), "image max": ("#CC79A7", "^"), "last": ("#000000", "s")}
"""Colour and marker."""
MEASURES: Mapping[str, tuple[str, str, bool]] = {
    "rank": ("right word: median rank in vocabulary", "rank_control", True),
    "class_rank": ("right word: mean rank among classes", "class_rank_chance", False),
    "mrr": ("right word: mean reciprocal rank", "mrr_control", False),
    "accuracy": ("right word first among classes", "chance", False),
}
"""Measure to what the axis says, the column of what knows nothing, and whether the axis is logarithmic."""


def draw_lens(ax: Any, table: Table, tuned: Table | None = None, measure: str = "rank", label: str = "all") -> None:
    """The right word's place over the sites, a line with its band per position; better is up.

    Solid lines are the logit lens, dashed ones with open markers the tuned lens. What knows nothing is dotted: chance, or of the
    vocabulary's ranks those of shuffled labels, in the colour of their position.

    Args:
        ax: axes.
        table: of ``analysis.lens.Lens``.
        tuned: the same of the tuned lens.
        measure: of ``MEASURES``.
        label: a class, or ``all``.

    Raises:
        InputError: unknown measure, or no row of that class.
    """
    if measure not in MEASURES or not any(row["class"] == label for row in table):
        raise InputError(
            f"Cannot draw the measure '{measure}' of the class '{label}'. Expected one of {', '.join(MEASURES)} and a class of the table "
            f"({', '.join(dict.fromkeys(str(row['class']) for row in table))}). Use these."
        )
    told, null, logarithmic = MEASURES[measure]
    sites = list(dict.fromkeys(str(row["site"]) for row in table))
    for name, rows in (("logit", table), ("tuned", tuned or [])):
        for position in dict.fromkeys(row["position"] for row in rows if row["lens"] == name):
            own = [row for row in rows if (row["class"], row["position"], row["lens"]) == (label, position, name)]
            own = [row for row in own if row["site"] in sites]
            _line(ax, own, sites, measure, position, name)
            if name == "logit" and null in ("rank_control", "mrr_control"):
                known = [row for row in own if row.get(null) is not None]
                ax.plot(
                    [sites.index(row["site"]) for row in known],
                    [row[null] for row in known],
                    ":",
                    lw=1,
                    color=_look(position)[0],
                )
    if null in ("class_rank_chance", "chance"):
        ax.axhline(next(row[null] for row in table if row["class"] == label), color="#777777", lw=1, ls="-.", label="chance")
    else:
        ax.plot([], [], ":", lw=1, color="#777777", label="shuffled labels")
    _axes(ax, sites, told, logarithmic, measure in ("rank", "class_rank"))


def _line(ax: Any, rows: Table, sites: Sequence[str], measure: str, position: str, name: str) -> None:
    rows = [row for row in rows if row[measure] is not None]
    at = [sites.index(row["site"]) for row in rows]
    colour, marker = _look(position)
    solid = name == "logit"
    ax.fill_between(
        at, [row[f"{measure}_low"] for row in rows], [row[f"{measure}_high"] for row in rows], color=colour, alpha=0.15, lw=0
    )
    ax.plot(
        at, [row[measure] for row in rows], "-" if solid else "--", color=colour, marker=marker, ms=4.5, lw=1.4,
        mfc=colour if solid else "white", label=f"{position}, {name} lens",
    )  # fmt: skip


def _look(position: str) -> tuple[str, str]:
    return POSITIONS.get(position, ("#555555", "D"))


def _axes(ax: Any, sites: Sequence[str], told: str, logarithmic: bool, inverted: bool) -> None:
    from matplotlib.ticker import ScalarFormatter

    if logarithmic:
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(ScalarFormatter())
    if inverted and not ax.yaxis_inverted():
        ax.invert_yaxis()
    step = max(1, len(sites) // 16)
    ax.set_xticks(range(0, len(sites), step), sites[::step], rotation=45, ha="right", rotation_mode="anchor", fontsize=7.5)
    ax.set_xlim(-0.4, len(sites) - 0.6)
    ax.set_ylabel(told)


def lens_figure(table: Table, tuned: Table | None = None, measures: Sequence[str] = ("rank", "class_rank")) -> Any:
    """A figure of its own size: a panel per measure, one legend; arguments and errors as of ``draw_lens``."""
    sites = len({row["site"] for row in table})
    figure, axes = canvas(max(3.2, 1.7 + 0.28 * min(sites, 18)) * len(measures), 3.7, 1, len(measures), squeeze=False)
    for ax, measure in zip(axes[0], measures, strict=True):
        draw_lens(ax, table, tuned, measure)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    if len(measures) > 1:
        more = zip(*axes[0, -1].get_legend_handles_labels(), strict=True)
        extra = [(h, text) for h, text in more if text not in labels]
        handles, labels = [*handles, *(h for h, _ in extra)], [*labels, *(text for _, text in extra)]
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), fontsize=7.5, frameon=False)
    return figure


def draw_patch_map(
    ax: Any, image: np.ndarray, values: np.ndarray, mask: np.ndarray | None = None,
    limits: tuple[float, float] | None = None, seen: float = 0.0,
) -> Any:  # fmt: skip
    """A map of what image tokens say, over the image, with the outline of the distorted part.

    Args:
        ax: axes.
        image: uint8 (H, W, 3).
        values: (G, G), such as a log-probability in nats.
        mask: bool (H, W).
        limits: of the colours; those of the values by default.
        seen: share of the image's brightness that is mixed into the colours, 0 to 1; colours can be read off a bar at 0 alone.

    Returns:
        What a colour bar is made of.

    Raises:
        InputError: a map that is no square grid, or a mask of another size.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    if values.ndim != 2 or (mask is not None and mask.shape != image.shape[:2]):
        raise InputError(
            f"Got a map of shape {values.shape} and a mask of shape {None if mask is None else mask.shape} for an image of shape "
            f"{image.shape}. Expected a grid of cells, and a mask of the image's height and width. Give one stimulus's own."
        )
    low, high = limits or (float(np.nanmin(values)), float(np.nanmax(values)))
    scale = ScalarMappable(Normalize(low, high if high > low else low + 1), colormaps[COLOURS])
    height, width = image.shape[:2]
    rows = (np.arange(height) * values.shape[0] // height)[:, None]
    colours = np.asarray(scale.to_rgba(values[rows, np.arange(width) * values.shape[1] // width]))[..., :3]
    light = (image.astype(float) @ [0.2126, 0.7152, 0.0722] / 255)[..., None]
    ax.imshow((1 - seen) * colours + seen * light, interpolation="nearest", extent=(0, width, height, 0))
    if mask is not None and mask.any() and not mask.all():
        padded = np.pad(mask.astype(float), 1)  # a region that touches the image's edge is closed there
        x, y = np.clip(np.arange(-0.5, width + 1), 0, width), np.clip(np.arange(-0.5, height + 1), 0, height)
        for colour, wide in OUTLINE:
            ax.contour(x, y, padded, levels=[0.5], colors=[colour], linewidths=[wide])
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    return scale


def patch_map_figure(
    images: Sequence[np.ndarray], maps: Mapping[str, Sequence[np.ndarray]], masks: Sequence[np.ndarray | None],
    names: Sequence[str], against: str = "clean",
) -> Any:  # fmt: skip
    """A row per image: the image, and the map of each site beside it, on a scale per site.

    Args:
        images: uint8 (H, W, 3) each.
        maps: site to a map (G, G) per image.
        masks: bool (H, W) per image, or None.
        names: what stands beside each image, such as the word whose map it is.
        against: what the word is held against, for the colour bar.
    """
    figure, axes = canvas(1.45 * (1 + len(maps)) + 0.5, 1.45 * len(images) + 0.75, len(images), 1 + len(maps), squeeze=False)
    limits = {site: (float(np.min(own)), float(np.max(own))) for site, own in maps.items()}
    for row, (image, mask, name) in enumerate(zip(images, masks, names, strict=True)):
        draw_patch_map(axes[row, 0], image, np.zeros((1, 1)), mask, seen=1.0)
        axes[row, 0].images[0].set_data(image)
        axes[row, 0].set_ylabel(name, fontsize=7.5)
        for ax, (site, own) in zip(axes[row, 1:], maps.items(), strict=True):
            shown = draw_patch_map(ax, image, own[row], mask, limits[site])
            if row == 0:
                ax.set_title(site, fontsize=7.5)
            if row == len(images) - 1:
                bar = figure.colorbar(
                    shown, ax=axes[:, list(maps).index(site) + 1].tolist(), location="bottom", aspect=14, pad=0.02
                )
                bar.ax.tick_params(labelsize=6.5, length=2)
                bar.outline.set_visible(False)
    figure.supxlabel(f"log-probability of the word less that of {against} (nats)", fontsize=7.5)
    return figure
