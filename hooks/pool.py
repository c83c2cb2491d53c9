"""From the rows of a stimulus to one vector, in float32, on the device where the rows are."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hooks.tokens import TokenLayout
from stimuli.errors import InputError

POOLS = ("mean", "max", "last", "cls")
GRID = 8
"""Side of the grid to which the ``pixels`` and ``processed`` sites are averaged."""


def pool(layout: TokenLayout, site: str, value: torch.Tensor | Sequence[torch.Tensor], how: str) -> torch.Tensor:
    """One vector per stimulus, float32 (n, d).

    Args:
        layout: the batch's bookkeeping.
        site: the site that gave ``value``.
        value: what it gave: a tensor, or every firing in order.
        how: ``mean`` or ``max`` over the image's tokens, ``last`` prompt position (llm sites), ``cls`` token (vision sites).

    Raises:
        InputError: unknown pooling, or one that the site does not have.
    """
    if how not in POOLS:
        raise InputError(f"Unknown pooling '{how}'. Expected one of {', '.join(POOLS)}. Use one of these.")
    last = value if isinstance(value, torch.Tensor) else value[-1]
    if how == "last":
        return layout.last(site, last).float()
    if how == "cls":
        return layout.cls_row(site, last).float()
    rows = layout.rows(site, value)
    return torch.stack([row.float().mean(0) if how == "mean" else row.float().amax(0) for row in rows])


def grid_of_pixels(image: torch.Tensor) -> torch.Tensor:
    """An image averaged to an 8 × 8 grid: float (3, H, W) to (192,)."""
    return torch.nn.functional.adaptive_avg_pool2d(image.float()[None], GRID).flatten()


def processed_rows(pixel_values: torch.Tensor, vision_rows: tuple[int, ...]) -> torch.Tensor:
    """What the processor made of each image, float32 (n, d).

    Images (n, 3, H, W) are averaged to an 8 × 8 grid; packed patches (rows, d) to the mean over the image's patches, which
    keeps the within-patch layout.
    """
    if pixel_values.ndim == 2:
        return torch.stack([part.float().mean(0) for part in torch.split(pixel_values, list(vision_rows))])
    if pixel_values.ndim == 5:  # tiles: (n, tiles, 3, H, W); the first is the whole image
        pixel_values = pixel_values[:, 0]
    return torch.stack([grid_of_pixels(image) for image in pixel_values])
