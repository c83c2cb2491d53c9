"""Where a site says that an image is distorted: the image with its mask, and the maps beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stimuli.errors import InputError
from stimuli.types import Stimulus

COLOURS = "cividis"
"""Rises evenly in lightness, so that a map reads the same in grey and to the colour-blind (Nuñez et al. 2018)."""
OUTLINE = (("black", 2.6), ("white", 1.2))
"""The mask's outline, its wider line first: seen on light and on dark."""


def draw_maps(
    axes: Any,
    stimuli: Sequence[Stimulus],
    maps: Mapping[str, Sequence[np.ndarray]],
    scores: Mapping[str, Sequence[float]] | None = None,
) -> Any:
    """A row per stimulus: its image, and beside it the map of each site, the mask outlined on all of them.

    Args:
        axes: matplotlib axes, (stimuli, 1 + sites).
        stimuli: which.
        maps: site to a map per stimulus, (G, G) probabilities, all drawn on the scale from 0 to 1.
        scores: site to the AUC of each map, told above it; NaN is left out.

    Returns:
        What a colour bar is made of.

    Raises:
        InputError: not one row of axes per stimulus, one column per site and one more, or one map per stimulus.
    """
    grid = np.asarray(axes, dtype=object)
    counts = {site: len(own) for site, own in maps.items()}
    if grid.shape != (len(stimuli), 1 + len(maps)) or set(counts.values()) - {len(stimuli)}:
        raise InputError(
            f"Got axes of shape {grid.shape} and maps {counts} for {len(stimuli)} stimuli. Expected a row of axes per stimulus, a column for "
            "the image and one per site, and a map per stimulus. Make them so: figure.subplots(..., squeeze=False)."
        )
    shown = None
    for row, stimulus in enumerate(stimuli):
        image, mask = stimulus.image, stimulus.mask
        extent = (0, image.shape[1], image.shape[0], 0)
        grid[row, 0].imshow(image, interpolation="nearest", extent=extent)
        grid[row, 0].set_ylabel(_name(stimulus), fontsize=7)
        for column, (site, own) in enumerate(maps.items(), 1):
            ax = grid[row, column]
            shown = ax.imshow(own[row], cmap=COLOURS, vmin=0, vmax=1, interpolation="nearest", extent=extent)
            score = float("nan") if scores is None else float(scores[site][row])
            told = "" if np.isnan(score) else f"AUC {score:.2f}"
            ax.set_title("\n".join([*([site] if row == 0 else []), told]).rstrip(), fontsize=7)
        for ax in grid[row]:
            _plain(ax)
            if mask is not None:
                _outline(ax, mask)
    grid[0, 0].set_title("image and mask", fontsize=7)
    return shown


def maps_figure(
    stimuli: Sequence[Stimulus], maps: Mapping[str, Sequence[np.ndarray]], scores: Mapping[str, Sequence[float]] | None = None
) -> Any:
    """A figure of its own size with one colour bar; arguments and errors as of ``draw_maps``."""
    from analysis.figures.files import canvas

    figure, axes = canvas(1.35 * (1 + len(maps)) + 0.8, 1.45 * len(stimuli) + 0.35, len(stimuli), 1 + len(maps), squeeze=False)
    shown = draw_maps(axes, stimuli, maps, scores)
    if shown is not None:
        bar = figure.colorbar(shown, ax=axes, shrink=0.7 if len(stimuli) > 1 else 0.9, aspect=25, pad=0.015, ticks=[0, 0.5, 1])
        bar.set_label("probability of distortion", fontsize=7)
        bar.outline.set_visible(False)
    return figure


def _name(stimulus: Stimulus) -> str:
    """Type and level, on as few lines of 18 letters as they need."""
    if stimulus.type is None:
        return "clean"
    level = "" if stimulus.level is None else f", level {stimulus.level}"
    name = stimulus.type.replace("_", " ").replace("+", " + ")
    lines = textwrap.wrap(name, 18) if len(name + level) > 18 else [name]
    return "\n".join([*lines[:-1], lines[-1] + level]) if len(lines[-1] + level) <= 18 else "\n".join([*lines, level[2:]])


def _outline(ax: Any, mask: np.ndarray) -> None:
    """The border of a mask, bool (H, W), in pixels of the image."""
    height, width = mask.shape
    padded = np.pad(mask.astype(float), 1)  # a region that touches the image's edge is closed there
    x, y = np.arange(-0.5, width + 1), np.arange(-0.5, height + 1)
    for colour, wide in OUTLINE:
        ax.contour(np.clip(x, 0, width), np.clip(y, 0, height), padded, levels=[0.5], colors=[colour], linewidths=[wide])


def _plain(ax: Any) -> None:
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
