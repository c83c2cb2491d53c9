"""From the rows of a stimulus to one vector, in float32, on the device where the rows are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from hooks.patches import Patches
from hooks.processor import PIXELS
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
