"""From the pixels that a model is given back to the image: where each number of the processor's tensor stands, measured.

Processors resize, cut, tile and normalise, all of it linear in the pixels. A ramp from top to bottom, one from left to right, black and
white go through the processor, and each number's place is where it stands between black and white. No layout is guessed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from stimuli.errors import InputError

LEAST = 1e-3
"""A number that changes by less than this share of the largest change from black to white is padding."""


def owners(process: Callable[[np.ndarray], torch.Tensor], size: tuple[int, int], grid: int) -> torch.Tensor:
    """In which cell of a grid over the original image each number of a processor's tensor lies.

    Args:
        process: from an image uint8 (H, W, 3) to its tensor.
        size: height and width of the image in px.
        grid: cells per side, from 1 to the image's shorter side.

    Returns:
        int64 of the tensor's shape on the CPU: cells in raster order, -1 for padding. Places are exact to half a 255th of the side.

    Raises:
        InputError: a grid that does not fit, or a processor that does not tell black from white.
    """
    check_grid(size, grid)
    height, width = size
    black, white = (process(np.full((*size, 3), value, np.uint8)).double().cpu() for value in (0, 255))
    spread = white - black
    there = spread.abs() > LEAST * spread.abs().max()
    if not bool(there.any()):
        raise InputError("The processor makes the same of a black and a white image; expected another. Check its settings.")
    down, right = _ramp(height)[:, None].repeat(width, 1), _ramp(width)[None].repeat(height, 0)
    cell = torch.zeros(spread.shape, dtype=torch.long)
    for ramp in (down, right):
        place = (process(np.repeat(ramp[..., None], 3, 2)).double().cpu() - black) / torch.where(there, spread, 1.0)
        cell = cell * grid + (place * grid).floor().long().clamp(0, grid - 1)
    return torch.where(there, cell, -1)


def check_grid(size: tuple[int, int], grid: int) -> None:
    """Refuse a grid that an image cannot have.

    Raises:
        InputError: less than one cell, or more than one per pixel.
    """
    if not 1 <= grid <= min(size):
        raise InputError(
            f"Got a grid of {grid} x {grid} cells over an image of {size[0]} x {size[1]} px. Expected 1 to {min(size)} per side. Choose another."
        )


def _ramp(length: int) -> np.ndarray:
    return np.round((np.arange(length) + 0.5) / length * 255).astype(np.uint8)


def gathered(values: torch.Tensor, owner: torch.Tensor, grid: int, *, mean: bool = False) -> np.ndarray:
    """The sum (or mean) of numbers over each cell.

    Args:
        values: of the tensor's shape.
        owner: as ``owners`` gives it.
        grid: cells per side.
        mean: whether to divide by how many numbers lie in the cell.

    Returns:
        float32 (grid, grid), signed; 0 where the processor cuts the image away.
    """
    at, own = owner.flatten().numpy(), values.detach().double().cpu().flatten().numpy()
    keep = at >= 0
    total = np.bincount(at[keep], own[keep], grid * grid).astype(float)
    if mean:
        total = total / np.maximum(np.bincount(at[keep], minlength=grid * grid), 1)
    return total.reshape(grid, grid).astype(np.float32)


def cell_map(size: tuple[int, int], grid: int) -> np.ndarray:
    """In which cell each pixel of the image lies: int64 (H, W), raster order; a pixel belongs to the cell of its centre."""
    rows, columns = (((np.arange(side) + 0.5) / side * grid).astype(int) for side in size)
    return rows[:, None] * grid + columns[None]


def averaged(values: np.ndarray, grid: int) -> np.ndarray:
    """The mean of a map of pixels (H, W) over each cell, float32 (grid, grid)."""
    at = cell_map((values.shape[0], values.shape[1]), grid).ravel()
    total = np.bincount(at, values.ravel().astype(float), grid * grid) / np.bincount(at, minlength=grid * grid)
    return total.reshape(grid, grid).astype(np.float32)
