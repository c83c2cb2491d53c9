"""Put what one forward pass computed at chosen tokens into another: activation patching (Vig et al. 2020; Meng et al. 2022).

A donor's features are captured once (``donated``) and exchanged for the receiver's own in any forward pass inside ``exchange``. The
donor may be another model of the same architecture. Donors and receivers stand in the same places of batches of the same shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from hooks.batch import Batch
from hooks.edit import edit
from hooks.load import Mllm
from hooks.token_sets import Rows, axis, passed, split_rows
from hooks.tokens import SEQUENCES, TokenLayout
from stimuli.errors import InputError

ROOM = 2**30
"""Bytes of features that are held at a time."""


@dataclass(frozen=True)
class Donation:
    """What the sites of a donor gave for a batch."""

    layout: TokenLayout
    firings: Mapping[str, tuple[torch.Tensor, ...]] = field(repr=False)
    """Every firing of each site, in order."""

    def shapes(self, site: str) -> tuple[torch.Size, ...]:
        """Of the firings of a site.

        Raises:
            InputError: the site was not captured.
        """
        if site not in self.firings:
            raise InputError(
                f"The donor gave nothing at '{site}'; it was captured at {', '.join(self.firings)}. Give the site to `donated` too."
            )
        return tuple(value.shape for value in self.firings[site])


def donated(mllm: Mllm, batch: Batch, sites: Sequence[str]) -> Donation:
    """A donor's features at sites, by one forward pass.

    Args:
        mllm: the donor.
        batch: its inputs, padded on the right; of ``Choice.prepared`` the first of its batches.
        sites: names of sites; ``chunks`` cuts them so that their features take no more than ``ROOM``.

    Raises:
        InputError: an unknown site, or one that did not fire.
    """
    return Donation(batch.layout, passed(mllm, batch, sites, lambda site, value: value.clone()))


def chunks(sizes: Mapping[str, int], room: int = ROOM) -> list[tuple[str, ...]]:
    """Sites in order, cut into runs whose features take at most so many bytes; a larger site stands alone.

    Args:
        sizes: site to bytes (``Survey.sizes``).
        room: bytes.
    """
    found: list[list[str]] = []
    left = -1
    for site, size in sizes.items():
        if size > left or not found:
            found.append([])
            left = room
        found[-1].append(site)
        left -= size
    return [tuple(own) for own in found]


@contextmanager
def exchange(mllm: Mllm, donation: Donation, chosen: Mapping[str, Rows | None]) -> Iterator[None]:
    """Inside the block, forward passes of the receiver compute with the donor's features at the chosen rows.

    Any number of passes about the batch may follow one another, with other answers behind the same prompts.

    Args:
        mllm: the receiver.
        donation: of a donor, for a batch in which each stimulus stands for the receiver's in its place (``unlike``).
        chosen: site to the rows per stimulus (``hooks.token_sets.token_sets`` of the donor's batch), or None for everything.

    Raises:
        InputError: the donor gave nothing at a site, or the receiver gives another shape or more firings than it.
    """
    swaps = {site: _Swap(site, donation, rows) for site, rows in chosen.items()}

    def begin(*_: Any) -> None:
        for own in swaps.values():
            own.count = 0

    with edit(mllm, swaps):
        handle = mllm.model.register_forward_pre_hook(begin, prepend=True)
        try:
            yield
        finally:
            handle.remove()


def unlike(one: TokenLayout, other: TokenLayout) -> int | None:
    """The first stimulus that has other tokens in one batch than in the other, None if none has."""
    if one.n != other.n:
        return min(one.n, other.n)
    sides = [(own.patches.crops or (1,) * own.n, own.patches.grid or (0,) * own.n) for own in (one, other)]
    for i in range(one.n):
        tokens = [(crops[i : i + 1], grid[i : i + 1]) for crops, grid in sides]
        places = [(own.image[i].nonzero().tolist(), int(own.padding[i].logical_not().sum())) for own in (one, other)]
        if tokens[0] != tokens[1] or places[0] != places[1]:
            return i
    return None


class _Swap:
    """The edit of one site: counts the firings of a pass and puts the donor's rows of each into it."""

    def __init__(self, site: str, donation: Donation, rows: Rows | None) -> None:
        shapes = donation.shapes(site)
        self.site, self.kind = site, donation.layout.layouts[site]
        self.given = donation.firings[site]
        self.places = None if rows is None else split_rows(rows, self.kind, shapes)
        self.count = 0

    def __call__(self, own: torch.Tensor) -> torch.Tensor:
        number, self.count = self.count, self.count + 1
        given = self._checked(own, number)
        if self.places is None:
            return given.to(own)
        place = self.places[number]
        if place is None:
            return own
        at = tuple(index.to(own.device) for index in place)
        new, features = own.clone(), axis(self.kind, own.shape)
        new.movedim(features, -1)[at] = given.to(own).movedim(features, -1)[at]
        return new

    def _checked(self, own: torch.Tensor, number: int) -> torch.Tensor:
        if number >= len(self.given):
            raise InputError(
                f"The site '{self.site}' fires more than {len(self.given)} times in a pass of the receiver, but did so in the donor's. "
                "Expected batches of as many images of the same sizes, and forward passes over whole prompts."
            )
        given = self.given[number]
        fits = own.shape == given.shape
        if self.kind in SEQUENCES and self.places is not None and not fits:
            place = self.places[number]
            needed = 0 if place is None else int(place[1].max()) + 1
            fits = own.shape[0] == given.shape[0] and own.shape[1] >= needed and own.shape[2:] == given.shape[2:]
        if not fits:
            raise InputError(
                f"At '{self.site}' the receiver gives {tuple(own.shape)} and the donor gave {tuple(given.shape)}. Expected the same "
                "image sizes in the same places of both batches, prompts padded on the right, and a donor of the same architecture."
            )
        return given
