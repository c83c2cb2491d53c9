"""Packed patches, as the towers of many families take an image, put back where they stood in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from stimuli.errors import InputError

Tiles = list[np.ndarray]
"""The images of one stimulus, float32 (h, w, 3) each: one, or several crops and an overview."""
ORDERS = ("ctyx", "tcyx", "tyxc", "yxtc")
"""How the numbers of a packed patch may be ordered: channels, frames, rows, columns."""
FRAMES = (1, 2)
"""How often a still image may be repeated within a patch."""
Places = list[list[tuple[np.ndarray, tuple[int, int] | np.ndarray]]]
"""Per image and tile: which rows its patches are, and rows and columns of the grid, or the place (row, column) of each."""


@dataclass(frozen=True)
class Layout:
    """How packed patches are laid out."""

    order: str
    """One of ``ORDERS``."""
    merge: int
    """Patches come in blocks of so many by so many; 1 where they come row by row."""


def packed(tensors: Mapping[str, Any], values: np.ndarray, n: int) -> tuple[np.ndarray, Places] | None:
    """The patches (patches, d) of all images and where they belong, as the processor says; None where there are no patches."""
    if values.ndim == 3 and len(values) == n:
        rows = np.arange(n * values.shape[1]).reshape(n, -1)
        flat = values.reshape(-1, values.shape[2])
        if "spatial_shapes" in tensors:
            shapes = array(tensors["spatial_shapes"]).tolist()
            return flat, [[(own[: h * w], (h, w))] for own, (h, w) in zip(rows, shapes, strict=True)]
        if "image_position_ids" in tensors:
            places = array(tensors["image_position_ids"])[..., ::-1]  # column first; -1 is padding
            return flat, [[(own[at[:, 0] >= 0], at[at[:, 0] >= 0])] for own, at in zip(rows, places, strict=True)]
    named = [array(v) for k, v in tensors.items() if "grid" in k or k == "target_sizes"]
    grids = next((grid for grid in named if grid.ndim == 2 and grid.dtype.kind in "iu"), None)
    if grids is None or len(grids) < n or (len(grids) > n > 1) or values.ndim not in (2, 4):
        return None
    sizes = [(int(h), int(w)) for h, w in grids[:, -2:]]
    ends = np.cumsum([h * w for h, w in sizes])
    flat = _strip(values, int(ends[-1]))
    if len(flat) != ends[-1]:
        return None
    found = [(np.arange(end - h * w, end), (h, w)) for end, (h, w) in zip(ends, sizes, strict=True)]
    return flat, [[one] for one in found] if len(found) == n else [list(found)]


def _strip(values: np.ndarray, count: int) -> np.ndarray:
    """So many patches (patches, d): packed, as small images, or side by side in one long strip (1, 3, p, p * patches)."""
    if values.ndim == 4 and len(values) == 1 and values.shape[3] == count * values.shape[2]:
        values = values.reshape(3, values.shape[2], count, -1).transpose(2, 0, 1, 3)
    return values.reshape(len(values), -1)


def assembled(patches: np.ndarray, places: Places, layout: Layout) -> list[Tiles]:
    """The tiles of each image, float32 (h, w, 3), of all patches (patches, d) and their places."""
    return [[_image(patches[rows], where, layout) for rows, where in own] for own in places]


def _image(patches: np.ndarray, where: tuple[int, int] | np.ndarray, layout: Layout) -> np.ndarray:
    """One image (h, w, 3) of its patches (patches, d)."""
    frames, side = _patch(patches.shape[1])
    sides = {"c": 3, "t": frames, "y": side, "x": side}
    blocks = patches.reshape(-1, *(sides[axis] for axis in layout.order))
    blocks = blocks.transpose(0, *(1 + layout.order.index(axis) for axis in "tyxc"))[:, 0]
    places = _raster(*where, layout.merge) if isinstance(where, tuple) else where
    rows, columns = places.max(0) + 1
    canvas = np.zeros((rows, columns, side, side, 3), np.float32)
    canvas[places[:, 0], places[:, 1]] = blocks
    return canvas.transpose(0, 2, 1, 3, 4).reshape(rows * side, columns * side, 3)


def _raster(rows: int, columns: int, merge: int) -> np.ndarray:
    """Row and column of each patch (patches, 2), block by block."""
    merge = merge if not rows % merge and not columns % merge else 1
    places = np.moveaxis(np.mgrid[:rows, :columns], 0, -1).reshape(rows // merge, merge, columns // merge, merge, 2)
    return np.asarray(places.swapaxes(1, 2).reshape(-1, 2))


def _patch(numbers: int) -> tuple[int, int]:
    """Frames and side of a patch of so many numbers.

    Raises:
        InputError: no square of three channels has so many.
    """
    for frames in FRAMES:
        side = round((numbers / 3 / frames) ** 0.5)
        if 3 * frames * side**2 == numbers:
            return frames, side
    raise InputError(
        f"Got patches of {numbers} numbers; expected a square of three channels, once or twice. This processor does more than cut "
        "an image into patches, so the image cannot be put back together. Leave it out."
    )


def array(value: Any) -> np.ndarray:
    """A tensor, or whatever a processor gives instead of one, as an array; of no whole shape as an empty one."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().float().numpy() if value.is_floating_point() else value.detach().cpu().numpy()
    try:
        return np.asarray(value)
    except ValueError:
        return np.empty(0, object)
