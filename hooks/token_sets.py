"""Named sets of a stimulus's token rows at a site: its image, the distorted part of it, the question, the last position.

Which rows are whose is asked of ``TokenLayout.rows`` itself: it is shown tensors of the shapes that a site gives, filled with the
numbers of their rows. So batched, tiled, packed and padded towers need nothing of their own here, and no axis is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from hooks.ahead import placed
from hooks.batch import Batch, run
from hooks.capture import Stop, capture
from hooks.load import Mllm
from hooks.places import cells
from hooks.tokens import SEQUENCES, TokenLayout
from stimuli.errors import InputError
from stimuli.regions import cell_shares

SETS = ("all", "image", "region", "outside", "question", "last")
"""``all``: all of a vision or projector site, CLS and registers too; of the language model all positions of the prompt.
``image``: the image's tokens. ``region``: those of them that look at the distorted part of the image with at least half of their
weight; ``outside``: the others. ``question``: what else the prompt consists of (the template's words too) but for ``last``, its last
position, which predicts the answer."""
HALF = 0.5
GRID = 8
"""Cells per side by which it is told where a token looks."""

Shapes = tuple[torch.Size, ...]
"""Of every firing of a site in one forward pass, in order."""
Rows = tuple[torch.Tensor, ...]
"""Per stimulus the numbers of its rows, int64 (k,), counted through all firings of a site in the order of their features."""


@dataclass(frozen=True)
class Survey:
    """What a batch gives at sites, without the features."""

    layout: TokenLayout
    shapes: Mapping[str, Shapes]
    sizes: Mapping[str, int]
    """Bytes by site."""


def survey(mllm: Mllm, batch: Batch, sites: Sequence[str]) -> Survey:
    """The shapes that sites give for a batch, by one forward pass.

    Args:
        mllm: the model.
        batch: its inputs.
        sites: names of sites.
    """
    seen = passed(mllm, batch, sites, lambda site, value: (value.shape, value.numel() * value.element_size()))
    return Survey(
        batch.layout,
        {site: tuple(shape for shape, _ in own) for site, own in seen.items()},
        {site: sum(size for _, size in own) for site, own in seen.items()},
    )


def passed(
    mllm: Mllm, batch: Batch, sites: Sequence[str], keep: Callable[[str, torch.Tensor], Any]
) -> dict[str, tuple[Any, ...]]:
    """What ``keep`` makes of every firing of sites in one forward pass, which ends behind the last of them.

    Raises:
        InputError: a site did not fire.
    """
    with torch.no_grad(), capture(mllm, sites, stop=True, keep=keep) as seen:
        try:
            run(mllm.model, placed(batch, mllm.device), keep=1)
        except Stop:
            pass  # the last wanted site has fired
        return {site: seen.all(site) or (seen[site],) for site in seen}


def axis(kind: str, shape: torch.Size) -> int:
    """Which dimension holds the features: the second of a map, else the last.

    Args:
        kind: the site's layout.
        shape: of a firing.
    """
    return 1 if kind == "map" and len(shape) == 4 else len(shape) - 1


def row_shape(kind: str, shape: torch.Size) -> tuple[int, ...]:
    """The shape without the features: what numbers the rows. Of a sequence, stimuli and positions."""
    if kind in SEQUENCES:
        return tuple(shape[:2])
    own = axis(kind, shape)
    return tuple(side for i, side in enumerate(shape) if i != own)


def numbers(kind: str, shapes: Shapes) -> list[torch.Tensor]:
    """Tensors of a site's shapes that hold the number of each row in all of its features: views, which take no memory."""
    found, start = [], 0
    for shape in shapes:
        rows = row_shape(kind, shape)
        own = torch.arange(start, start + int(np.prod(rows))).reshape(rows)
        start += own.numel()
        if kind in SEQUENCES:
            found.append(own.reshape(*rows, *([1] * (len(shape) - 2))).expand(shape))
        else:
            found.append(own.unsqueeze(axis(kind, shape)).expand(shape))
    return found


def token_sets(
    layout: TokenLayout, site: str, shapes: Shapes, shares: Sequence[torch.Tensor | None] | None = None
) -> dict[str, Rows | None]:
    """The sets that a site has, by name.

    Args:
        layout: of the batch.
        site: name of a site.
        shapes: what it gives for the batch (``survey``).
        shares: per stimulus how much of the weight of each of its image rows lies in the distorted region (``Regions.shares``), or
            None; without any there is no ``region`` and no ``outside``.

    Returns:
        Set to rows per stimulus, none for a stimulus that has none. ``all`` is None at vision and projector sites: everything, whoever
        owns it.

    Raises:
        InputError: the rows do not fit the layout, or not the shares.
    """
    kind, value = layout.layouts[site], numbers(layout.layouts[site], shapes)
    found: dict[str, Rows | None] = {}
    if kind not in SEQUENCES or kind == "prefixed" or (kind == "sequence" and bool(layout.image.any())):
        image = tuple(own[:, 0].clone() for own in layout.rows(site, value))
        found["image"] = image
        if shares is not None and any(own is not None for own in shares):
            found |= _parted(site, image, shares)
    if kind not in SEQUENCES:
        return {"all": None, **found}
    found |= _spoken(layout, site, kind, value[-1])
    whole = [
        [*own] for own in zip(*(found[name] or () for name in ("image", "question", "last") if name in found), strict=True)
    ]
    return {"all": tuple(torch.cat(own).unique() for own in whole), **found}


def _parted(site: str, image: Rows, shares: Sequence[torch.Tensor | None]) -> dict[str, Rows]:
    """Image rows in and outside the region."""
    none = torch.empty(0, dtype=torch.int64)
    inside, outside = [], []
    for own, share in zip(image, shares, strict=True):
        if share is not None and len(share) != len(own):
            raise InputError(
                f"The site '{site}' gave {len(own)} image rows, and where {len(share)} of them look was measured. Expected as many. "
                "Leave the sets 'region' and 'outside' out."
            )
        inside.append(none if share is None else own[share >= HALF])
        outside.append(none if share is None else own[share < HALF])
    return {"region": tuple(inside), "outside": tuple(outside)}


def _spoken(layout: TokenLayout, site: str, kind: str, value: torch.Tensor) -> dict[str, Rows]:
    """The question's rows and the last one."""
    last = layout.last(site, value)[:, 0].clone()
    found: dict[str, Rows] = {"last": tuple(last[:, None])}
    if kind != "decoder":
        front = value.shape[1] - layout.image.shape[1]
        prompt = ~layout.padding & ~layout.image
        prompt = prompt if layout.encoder_decoder else prompt & ~layout.answer
        positions = value.flatten(2)[:, front:, 0]
        found["question"] = tuple(
            own[said & (own != end)] for own, said, end in zip(positions, prompt.cpu(), last, strict=True)
        )
    return found


@dataclass
class Regions:
    """How much of each image row of a site lies in a region of the image; what was measured is kept."""

    mllm: Mllm
    prompt: str
    """The question asked with each image."""
    grid: int = GRID
    _known: dict[tuple[str, tuple[int, int]], torch.Tensor | InputError] = field(default_factory=dict, repr=False)

    def shares(self, site: str, mask: np.ndarray) -> torch.Tensor:
        """The share of each row's weight that lies in a mask: float (tokens,), 0 to 1; 0 for a row that looks nowhere.

        Args:
            site: a site; a part of a block has the rows of its block.
            mask: bool (H, W), as large as the image.

        Raises:
            InputError: the site's rows have no place in the image (``hooks.places.cells``).
        """
        source = site.rpartition(".")[0] if site.endswith((".attention", ".mlp")) else site
        size = (int(mask.shape[0]), int(mask.shape[1]))
        if (source, size) not in self._known:
            self._learn(source, size)
        weights = self._known[source, size]
        if isinstance(weights, InputError):
            raise weights
        inside = torch.from_numpy(cell_shares(mask, self.grid, self.grid).reshape(-1)).to(weights.dtype)
        return weights @ inside

    def _learn(self, site: str, size: tuple[int, int]) -> None:
        """Measure all sites of a component together; those that refuse, by themselves."""
        stages = self.mllm.stages
        whole = [name for name in stages.sites if not name.endswith((".attention", ".mlp"))]
        own = [name for name in whole if stages.component(name) == stages.component(site)]
        try:
            found = cells(self.mllm, size, own, self.grid, self.prompt)
            self._known |= {(name, size): found[name] for name in own}
        except InputError:
            try:
                self._known[site, size] = cells(self.mllm, size, [site], self.grid, self.prompt)[site]
            except InputError as error:
                self._known[site, size] = error


def split_rows(rows: Rows, kind: str, shapes: Shapes) -> list[tuple[torch.Tensor, ...] | None]:
    """Where the rows of a set lie, per firing: an index into its dimensions without the features, None where there is nothing."""
    chosen = torch.cat([*rows, torch.empty(0, dtype=torch.int64)])
    counts = [int(np.prod(row_shape(kind, shape))) for shape in shapes]
    found: list[tuple[torch.Tensor, ...] | None] = []
    for shape, count, end in zip(shapes, counts, accumulate(counts), strict=True):
        own = chosen[(chosen >= end - count) & (chosen < end)] - (end - count)
        found.append(torch.unravel_index(own, row_shape(kind, shape)) if len(own) else None)
    return found
