"""From the rows of a stimulus to what is kept of them, summed in float32, on the device where the rows are."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from hooks.patches import Patches
from hooks.processor import PIXELS
from hooks.ragged import Ragged, Rows
from hooks.tokens import TokenLayout
from stimuli.errors import InputError

POOLS = ("mean", "max", "last", "cls", "grid", "none", "random", "stride")
GRID = 8
"""Side of the grid to which the ``pixels`` and ``processed`` sites are averaged."""
DEFAULTS = {"grid": 4, "random": 64, "stride": 4}


@dataclass(frozen=True)
class Pooling:
    """What is kept of a stimulus's rows at a site.

    ``mean`` and ``max`` over the image's rows; the ``last`` prompt position; the ``cls`` row; the means over the cells of a
    ``grid`` of g × g; or rows as they are: all (``none``), so many drawn at ``random``, or every k-th (``stride``).
    """

    how: str
    number: int = 0
    """g, the number of rows, or k."""

    @property
    def ragged(self) -> bool:
        """Whether a stimulus keeps several rows, in the model's own precision."""
        return self.how in ("none", "random", "stride")

    def __str__(self) -> str:
        """As it was given, such as ``grid:4``."""
        return f"{self.how}:{self.number}" if self.number else self.how


def pooling(text: str | Pooling) -> Pooling:
    """Read ``mean``, ``max``, ``last``, ``cls``, ``none``, ``grid:4``, ``random:64`` or ``stride:4``.

    Raises:
        InputError: anything else.
    """
    if isinstance(text, Pooling):
        return text
    how, _, number = text.partition(":")
    if how not in POOLS or (number and how not in DEFAULTS):
        raise InputError(
            f"Unknown pooling '{text}'. Expected one of {', '.join(POOLS)}, the last but two with a number, such as grid:4 (cells "
            "per side), random:64 (rows per image) or stride:4 (every fourth row). Use one of these."
        )
    if number and not (number.isdecimal() and int(number) > 0):
        raise InputError(f"Got pooling '{text}'; expected a whole number above zero behind the colon, such as {how}:4.")
    return Pooling(how, int(number) if number else DEFAULTS.get(how, 0))


def pool(
    layout: TokenLayout,
    site: str,
    value: torch.Tensor | Sequence[torch.Tensor],
    how: str | Pooling,
    *,
    ids: Sequence[str] = (),
    seed: int = 0,
    places: Sequence[torch.Tensor] = (),
) -> Rows:
    """What is kept of each stimulus.

    Args:
        layout: the batch's bookkeeping.
        site: the site that gave ``value``.
        value: what it gave: a tensor, or every firing in order.
        how: see ``Pooling``; ``last`` is for llm sites, ``cls`` for vision sites.
        ids: the stimuli's ids; with ``seed`` they decide which rows are drawn at random, whatever batch a stimulus is in.
        seed: of the draw.
        places: for ``grid``, each stimulus's weights (rows, g * g) of rows in cells (``hooks.places``).

    Returns:
        One vector per stimulus, float32 (n, d), of a grid (n, g * g * d), cells in raster order; or, where rows are kept as
        they are, several rows (rows, d) per stimulus, in the type that the model computes in.

    Raises:
        InputError: unknown pooling, or one that the site does not have.
    """
    how = pooling(how)
    last = value if isinstance(value, torch.Tensor) else value[-1]
    if how.how == "last":
        return layout.last(site, last).float()
    if how.how == "cls":
        return layout.cls_row(site, last).to(torch.float32, copy=True)
    if how.how in ("mean", "max") and (block := layout.block(site, value)) is not None:
        return _over(block, how.how, 1)
    rows = layout.rows(site, value)
    if how.how == "grid":
        return torch.stack([_cells(row, weights) for row, weights in zip(rows, places, strict=True)])
    if not how.ragged:
        return torch.stack([_over(row, how.how, 0) for row in rows])
    if how.how == "random":
        drawn = zip(rows, ids, strict=True)
        return Ragged.of([row[_drawn(len(row), how.number, id, seed, row.device)] for row, id in drawn])
    return Ragged.of([row[:: how.number or 1] for row in rows])


def _over(rows: torch.Tensor, how: str, dim: int) -> torch.Tensor:
    return rows.mean(dim, dtype=torch.float32) if how == "mean" else rows.amax(dim).float()


def _cells(rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Means over cells: (rows, d) and (rows, cells) to (cells * d,)."""
    weights = weights.to(rows.device)
    return ((weights / weights.sum(0)).T @ rows.float()).flatten()


@lru_cache(maxsize=1024)
def _drawn(count: int, wanted: int, id: str, seed: int, device: torch.device) -> torch.Tensor:
    """Which rows of a stimulus are kept, in order: the same at every site with as many rows, so it is sent to a GPU once."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}/{id}".encode()))
    return torch.randperm(count, generator=generator)[:wanted].sort().values.to(device)


def pixel_rows(images: Sequence[np.ndarray]) -> torch.Tensor:
    """Images as they are, averaged to an 8 × 8 grid: uint8 (H, W, 3) each to float32 (n, 192), from 0 to 1."""
    planes = [torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32)) for image in images]
    return torch.stack([grid_of_pixels(plane) for plane in planes]) / 255


def grid_of_pixels(image: torch.Tensor) -> torch.Tensor:
    """An image averaged to an 8 × 8 grid: float (3, H, W) to (192,)."""
    return torch.nn.functional.adaptive_avg_pool2d(image.float()[None], GRID).flatten()


def processed_rows(tensors: Mapping[str, Any], patches: Patches) -> torch.Tensor:
    """What the processor made of each image, float32 (n, d).

    Images are averaged to an 8 × 8 grid, several crops of one image to their mean; packed or padded patches to the mean over
    the image's patches, which keeps the layout within a patch. What the processor padded is left out.
    """
    values = next(tensors[name] for name in PIXELS if name in tensors).float().cpu()
    if values.ndim in (2, 3):
        kind = "packed" if values.ndim == 2 else "image"
        rows = patches.split(kind, [values])
        return torch.stack([row.mean(0) for row in rows or values])
    n = len(patches.tokens)
    if values.ndim >= 5 and len(values) == n:
        crops = [image.flatten(0, -4) for image in values]
        crops = [image[(image != 0).flatten(1).any(1)] for image in crops]
    else:
        crops = list(torch.split(values, list(patches.crops) if sum(patches.crops) == len(values) else 1))
    sizes = tensors.get("image_sizes")
    if values.ndim == 4 and sizes is not None and bool((sizes.cpu() <= torch.tensor(values.shape[2:])).all()):
        crops = [crop[:, :, :height, :width] for crop, (height, width) in zip(crops, sizes.tolist(), strict=True)]
    return torch.stack([torch.stack([grid_of_pixels(image) for image in crop]).mean(0) for crop in crops])
