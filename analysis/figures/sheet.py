"""A contact sheet of stimuli: one reference, its distortion types downwards, their levels across."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figures.style import style
from stimuli.distortions import TYPES
from stimuli.errors import InputError
from stimuli.tables import write_csv
from stimuli.types import Stimulus

ASPECT = 1.45
"""How tall a sheet may be for its width before its types go into another block of columns."""
SHOWN = 192
"""Larger images are cut to this many px about the middle, not scaled, as scaling would change the distortion."""
INCH, TALL, NAMES, TITLE = 1.05, 1.18, 1.0, 0.3
"""Width and height of a cell, width of the names, height of the title."""
Cell = Mapping[str, Any] | None


def draw_sheet(axes: Any, cells: Sequence[Sequence[Cell]]) -> None:
    """Pictures in a grid of axes.

    Args:
        axes: matplotlib axes, (rows, columns).
        cells: as many; ``image`` (H, W, 3), ``title`` (two short lines), and ``name`` at the left of a row where given; None for an
            empty cell.
    """
    for ax, cell in zip(np.ravel(axes), (c for row in cells for c in row), strict=True):
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set_visible(False)
        if cell is None:
            continue
        ax.imshow(cell["image"], interpolation="nearest")
        ax.set_title(cell["title"], fontsize=5.5, fontweight="normal", pad=1.5)
        if cell.get("name"):
            ax.set_ylabel(cell["name"], fontsize=6.5, rotation=0, ha="right", va="center", labelpad=4)


def contact_sheet(
    stimuli: Sequence[Stimulus], path: str | Path, *, reference: str | None = None, formats: Sequence[str] = ("png", "pdf")
) -> dict[str, Path]:
    """Draw a contact sheet of one reference and write it, with what is on it as CSV.

    Args:
        stimuli: of any set; those of the reference are drawn, one per type and level.
        path: without ending.
        reference: whose; by default the one with the most stimuli.
        formats: file endings.

    Returns:
        Format (and ``csv``) to path.

    Raises:
        InputError: no stimulus is of that reference.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    own = _own(stimuli, reference)
    cells, blocks = _grid(own)
    columns = len(cells[0]) // blocks
    wide = 0.15 + blocks * (NAMES + columns * INCH)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    written = {ending: path.with_suffix(f".{ending}") for ending in formats}
    with style():
        figure = Figure(figsize=(wide, TITLE + len(cells) * TALL))
        figure.set_layout_engine("none")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(cells), len(cells[0]), squeeze=False)
        _place(axes, columns)
        draw_sheet(axes, cells)
        title = f"{own[0].reference}: level, parameter and PSNR in dB"
        top = 1 - 0.06 / (TITLE + len(cells) * TALL)
        figure.suptitle(textwrap.shorten(title, int(12 * wide), placeholder=" …"), fontsize=9, x=0.01, ha="left", y=top)
        for ending, file in written.items():
            figure.savefig(file, dpi=190, metadata={"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(ending))
    return {**written, "csv": write_csv([s.metadata() for s in own], path.with_suffix(".csv"))}


def _own(stimuli: Sequence[Stimulus], reference: str | None) -> list[Stimulus]:
    counts: dict[str, int] = {}
    for stimulus in stimuli:
        counts[stimulus.reference] = counts.get(stimulus.reference, 0) + 1
    chosen = reference if reference is not None else max(counts, key=lambda name: counts[name])
    found = [s for s in stimuli if s.reference == chosen]
    if not found:
        raise InputError(f"No stimulus is of the reference '{chosen}'. Expected one of {', '.join(list(counts)[:5])} …")
    return found


def _grid(own: Sequence[Stimulus]) -> tuple[list[list[Cell]], int]:
    """The cells, a row per type below that of the clean image, and in how many blocks of columns they stand."""
    clean = next((s for s in own if s.type is None), None)
    types = list(dict.fromkeys(s.type for s in own if s.type is not None))
    levels = sorted({s.level for s in own if s.type is not None}, key=lambda level: (level is None, level)) or [None]
    blocks = 1
    while (-(-len(types) // blocks) + 1) * TALL > ASPECT * blocks * (NAMES + len(levels) * INCH):
        blocks += 1
    height = -(-len(types) // blocks)
    lines = [_line(own, type, levels) for type in types]
    lines += [[None] * len(levels)] * (blocks * height - len(types))
    rows = [[cell for block in range(blocks) for cell in lines[block * height + row]] for row in range(height)]
    if clean is not None:
        rows.insert(0, [_cell(clean, "clean"), *[None] * (blocks * len(levels) - 1)])
    return rows, blocks


def _line(own: Sequence[Stimulus], type: str, levels: Sequence[int | None]) -> list[Cell]:
    """The cells of one type; blank where there is no such level."""
    shown = {s.level: s for s in own if s.type == type}
    cells: list[Cell] = [_cell(shown[level]) if level in shown else None for level in levels]
    cells[0] = {**(cells[0] or {"image": np.full((2, 2, 3), 255, np.uint8), "title": ""}), "name": _wrapped(type)}
    return cells


def _wrapped(type: str) -> str:
    stand_in = f" ({TYPES[type].stand_in})" if type in TYPES and TYPES[type].stand_in else ""
    return "\n".join(textwrap.wrap(type.replace("_", " ").replace("+", " + ") + stand_in, 15, break_on_hyphens=False))


def _cell(stimulus: Stimulus, name: str = "") -> Mapping[str, Any]:
    level = "" if stimulus.level is None else f"{stimulus.level}"
    parameter = "" if stimulus.signed_param is None else f": {stimulus.signed_param:g}"
    psnr = (
        ""
        if stimulus.psnr is None or stimulus.type is None
        else " unchanged"
        if stimulus.psnr >= 100
        else f" ({stimulus.psnr:.1f})"
    )
    return {"image": _middle(stimulus.image), "title": level + parameter + psnr, "name": name}


def _middle(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    top, left = max(0, (height - SHOWN) // 2), max(0, (width - SHOWN) // 2)
    return image[top : top + SHOWN, left : left + SHOWN]


def _place(axes: Any, columns: int) -> None:
    """Pictures side by side, with room for the names at the left of every block."""
    wide, tall = axes[0, 0].figure.get_size_inches()
    for (row, column), ax in np.ndenumerate(axes):
        block, place = divmod(column, columns)
        left = 0.1 + (block + 1) * NAMES + (block * columns + place) * INCH
        bottom = tall - TITLE - (row + 1) * TALL
        ax.set_position((left / wide, bottom / tall, (INCH - 0.05) / wide, (TALL - 0.17) / tall))
