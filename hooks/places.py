"""Where in the image each token row of a site looks, measured: no axis and no order of tokens is ever guessed.

A base image is shown, and copies of it in which one cell of a grid is filled anew. Every vision block is made the identity for
the time being. Then nothing mixes places between the pixels and the language model, and a row changes with the cells it looks
at and no others, whatever crops, windows, merges and separators a family has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise, product
from typing import Any

import numpy as np
import torch
from torch import nn

from hooks.batch import run
from hooks.capture import Stop, capture, entering, features, rebuilt
from hooks.load import Mllm
from hooks.stages import Stages
from stimuli.errors import InputError

BATCH = 8
"""Images per forward pass, the base among them: rows are compared with those of the same pass."""
SEEDS = (0, 1)
"""Of the noise: two base images, as a place is one only if it stays where it is in another image."""
FAINT = 0.05
"""A row looks at the cells with this share of its largest response or more: resampling bleeds a little over a cell's border."""
SILENT = 1e-4
"""A row whose largest response is under this share of the site's looks nowhere: separators and padding."""
BARELY = 0.02
"""A cell with less than this share of the average cell's weight is cut away: bleeding is all that is left of it."""
SAME = 2 / 3
"""The typical row of a site that keeps places has this share, or more, of the cells it looks at in common in both images."""


def cells(mllm: Mllm, size: tuple[int, int], sites: Sequence[str], grid: int, prompt: str) -> dict[str, torch.Tensor]:
    """Which cells of a grid over the original image each row of each site looks at, and how much.

    A row's response to a cell is the squared norm of its change when the pixels of the cell change: of a linear patch embedding
    it is proportional to the area that patch and cell share. The model is left as it is.

    Args:
        mllm: the model.
        size: height and width of the image in pixels, each at least ``grid``.
        sites: names of sites. Those of the language model have the rows of ``llm.embed``, so that is where they are measured.
        grid: cells per side, at least 1; their areas are equal as far as whole pixels allow.
        prompt: the question asked with each image.

    Returns:
        Site to float32 (tokens of one stimulus, grid * grid) on the CPU, cells in raster order. A row is in [0, 1] and sums to
        one; a row that looks nowhere (a separator, padding) is zero.

    Raises:
        InputError: an unknown site, an image too small for the grid, a site without image positions or whose rows mix places,
            or cells that no row looks at.
    """
    if grid < 1 or min(size) < grid:
        raise InputError(
            f"Got a grid of {grid} x {grid} cells over an image of {size[0]} x {size[1]} pixels. Expected one cell or more, and at "
            "least one pixel per cell and side. Use a coarser grid, or leave the image out."
        )
    source = {site: _measured(mllm.stages, site) for site in mllm.stages.check(sites)}
    wanted = tuple(dict.fromkeys(source.values()))
    draws = [_responses(mllm, _batches(size, grid, seed), wanted, prompt) for seed in SEEDS]
    weights = {site: _weights(site, torch.stack([draw[site] for draw in draws]), grid) for site in wanted}
    for site, value in weights.items():
        _refuse_unseen(site, value, size, grid)
    return {site: weights[name] for site, name in source.items()}


def _measured(stages: Stages, site: str) -> str:
    """The site at which the places of a site's rows are measured.

    Raises:
        InputError: its rows are those of a decoder.
    """
    if stages.layouts[site] == "decoder":
        raise InputError(
            f"The site '{site}' belongs to a decoder that reads the image by cross-attention: none of its rows stands for a place "
            "in the image. Expected a site with image rows. Leave it out, or pool it with pool='last'."
        )
    return "llm.embed" if site.startswith("llm") else site


# ---- what the model makes of a changed cell ----------------------------------------------------------------------------


def _batches(size: tuple[int, int], grid: int, seed: int) -> Iterator[list[np.ndarray]]:
    """Batches of images uint8 (height, width, 3): grey noise first, then copies with other noise in one cell, in raster order."""
    base, other = np.random.default_rng(seed).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    spans = [[slice(*span) for span in pairwise(side * i // grid for i in range(grid + 1))] for side in size]
    boxes = list(product(*spans))
    for start in range(0, len(boxes), BATCH - 1):
        images = [base]
        for box in boxes[start : start + BATCH - 1]:
            images.append(base.copy())
            images[-1][box] = other[box]
        yield images


def _responses(mllm: Mllm, batches: Iterator[list[np.ndarray]], sites: Sequence[str], prompt: str) -> dict[str, torch.Tensor]:
    """How much each row of each site changes with each cell: site to float32 (tokens, cells)."""
    found: dict[str, list[torch.Tensor]] = {site: [] for site in sites}
    with torch.inference_mode(), _identity(mllm.model, mllm.stages), capture(mllm, sites, stop=True) as seen:
        for images in batches:
            batch = mllm.inputs(images, [prompt] * len(images))
            seen.clear()
            try:
                run(mllm.model, batch.tensors)
            except Stop:
                pass  # the last wanted site has fired; nothing behind it needs to run
            for site in sites:
                base, *changed = batch.layout.rows(site, seen.all(site) or seen[site])
                found[site] += [(rows.float() - base.float()).square().sum(1).cpu() for rows in changed]
    return {site: torch.stack(columns, 1) for site, columns in found.items()}


@contextmanager
def _identity(model: nn.Module, stages: Stages) -> Iterator[None]:
    """Inside the block every vision block passes on what enters it, where the shapes agree."""
    with ExitStack() as stack:
        for site, name in stages.sites.items():
            if site.startswith("vision.") and site != "vision.embed":
                block = model.get_submodule(name)
                stack.callback(block.register_forward_hook(_passing(site), prepend=True, with_kwargs=True).remove)
        yield


def _passing(site: str) -> Any:
    def hook(module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> Any:
        own, before = features(output, site), entering(inputs, keywords, site)[1]
        return rebuilt(output, before.to(own), site) if before.shape == own.shape else output

    return hook


# ---- from responses to weights -----------------------------------------------------------------------------------------


def _weights(site: str, responses: torch.Tensor, grid: int) -> torch.Tensor:
    """Each row's share of each cell: float32 (tokens, cells), from the responses of every draw (draws, tokens, cells).

    Raises:
        InputError: no row responds, or the typical row looks at more than half of the cells, or elsewhere in another image.
    """
    total = responses.sum(0)
    largest = total.max(1).values
    rows = largest > SILENT * largest.max()
    if not bool(rows.any()):
        raise InputError(
            f"No row of '{site}' changes with the image: the model reads it elsewhere, by cross-attention. Expected a site with "
            "image rows. Leave it out, or pool it with pool='last'."
        )
    looks = _above(total) & rows[:, None]
    _refuse_mixed(site, looks[rows], _above(responses[:, rows]), grid)
    kept = torch.where(looks, total, 0.0)
    return kept / kept.sum(1, keepdim=True).clamp_min(torch.finfo(kept.dtype).tiny)


def _above(responses: torch.Tensor) -> torch.Tensor:
    """Which responses (…, cells) are more than faint: bool of the same shape."""
    return (responses > 0) & (responses >= FAINT * responses.max(-1, keepdim=True).values)


def _refuse_mixed(site: str, looks: torch.Tensor, each: torch.Tensor, grid: int) -> None:
    """Refuse rows without a place, by the median row.

    Attention of learned queries is either wide, and then a row looks at most cells, or narrow, and then it goes where the image
    draws it. Rows that keep places do neither.

    Args:
        site: the site.
        looks: bool (rows, cells), which cells a row looks at.
        each: bool (draws, rows, cells), the same in each image.
        grid: cells per side.

    Raises:
        InputError: the rows mix places.
    """
    count = float(looks.sum(1).float().median())
    common = float((each.all(0).sum(1) / each.any(0).sum(1).clamp_min(1)).median())
    if count > max(1, grid**2 / 2) or common < SAME:
        raise InputError(
            f"The rows of '{site}' mix places: the typical row looks at {count:.0f} of {grid**2} cells, and {common:.0%} of those it "
            f"looks at in one image or another are the same in both (expected {grid**2 / 2:g} cells at most, and {SAME:.0%}). A query "
            "transformer or resampler does so, or there are very few rows. Use a vision site, a coarser grid or pool='mean'."
        )


def _refuse_unseen(site: str, weights: torch.Tensor, size: tuple[int, int], grid: int) -> None:
    """Refuse cells that no row looks at.

    Raises:
        InputError: there are such cells; they are named.
    """
    covered = weights.sum(0)
    unseen = (covered < BARELY * covered.mean()).nonzero().flatten().tolist()
    if unseen:
        named = ", ".join(str(divmod(cell, grid)) for cell in unseen[:16])
        raise InputError(
            f"No row of '{site}' looks at {len(unseen)} of {grid**2} cells, (row, column) counted from 0: {named}"
            f"{', …' if len(unseen) > 16 else ''}. The model's processor cuts them away from an image of {size[0]} x {size[1]} pixels, or "
            "the rows are too few for them. Expected every cell to be seen. Give images of the shape the model takes (mostly square), "
            "or use a coarser grid."
        )
