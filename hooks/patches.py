"""Whose rows are whose in a vision tower and a projector: batched, tiled, packed, padded, or one image after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch

from hooks.processor import PIXELS

KINDS = ("image", "map", "packed", "each")
"""(crops, tokens, d); (crops, d, h, w); (all tokens, d), also with a leading 1; one firing per crop or stimulus."""


@dataclass(frozen=True)
class Patches:
    """The vision side of one batch of stimuli.

    A stimulus may be shown as several crops (tiles and a thumbnail). Every count is checked: what does not fit is no layout.
    """

    tokens: tuple[int, ...]
    """Image placeholders per stimulus in the language model's sequence."""
    crops: tuple[int, ...] = ()
    """Crops per stimulus; empty where they cannot be told."""
    grid: tuple[int, ...] = ()
    """Tower rows per stimulus, where the processor says so (packed towers); else empty."""
    mask: torch.Tensor | None = None
    """bool (crops, patches), (crops, tiles) or (crops, H, W): what of each crop is image, not padding."""
    cls: int = 0
    """How many leading tokens of a crop are no patches."""
    extra: int = 0
    """How many class or register tokens stand in front of each image in a packed tower."""

    @property
    def plain(self) -> bool:
        """Whether every stimulus is one crop with nothing padded."""
        return self.mask is None and self.crops == (1,) * len(self.tokens)

    def kind(self, firings: Sequence[torch.Tensor], width: int | None = None) -> str | None:
        """How the firings of one site in one forward pass are laid out.

        Args:
            firings: what the site gave, in order.
            width: features per token, where known (tells a map from a batch of grids).

        Returns:
            One of ``KINDS``, or None: nothing fits.
        """
        found = [kind for kind in (self._kind_of(value, width) for value in firings) if kind]
        if found:
            return found[-1]
        return "each" if len(firings) > 1 and len(firings) in (sum(self.crops), len(self.tokens)) else None

    def _kind_of(self, value: torch.Tensor, width: int | None) -> str | None:
        if value.ndim >= 3 and len(value) == sum(self.crops):
            first = value.ndim == 4 and width is not None and value.shape[1] == width != value.shape[-1]
            return "map" if first else "image"
        return "packed" if (flat := _flat(value)) is not None and self._spans(len(flat)) else None

    def split(self, kind: str, firings: Sequence[torch.Tensor], *, tower: bool = True) -> list[torch.Tensor] | None:
        """The rows of each stimulus: tensors (tokens, d); None where the firings do not fit the kind.

        Args:
            kind: how the site is laid out.
            firings: what it gave.
            tower: whether this is a site of the tower, whose crops may have leading tokens and padded patches; both are left out.
        """
        if kind == "each":
            return self._each(firings)
        if kind == "packed":
            flats = [flat for flat in map(_flat, firings) if flat is not None and self._spans(len(flat))]
            return [flats[-1][start:end] for start, end in self._spans(len(flats[-1]))] if flats else None
        fitting = [value for value in firings if self._kind_of(value, _width(kind, value)) == kind]
        if not fitting:
            return None
        value = fitting[-1]
        rows = value.flatten(2).mT if kind == "map" else value.flatten(1, -2)
        skip = self.cls if tower else 0
        keep = self._kept(rows.shape[1] - skip, tower)
        parts = [row[skip:] if keep is None else row[skip:][keep[i].to(row.device)] for i, row in enumerate(rows)]
        return _joined(parts, self.crops)

    def _each(self, firings: Sequence[torch.Tensor]) -> list[torch.Tensor] | None:
        counts = self.crops if len(firings) == sum(self.crops) else (1,) * len(self.tokens)
        if len(firings) != sum(counts):
            return None
        return _joined([value.reshape(-1, value.shape[-1]) for value in firings], counts)

    def _spans(self, rows: int) -> list[tuple[int, int]]:
        """Where each stimulus's rows start and end among so many packed ones; empty if they do not fit.

        As told by the processor, else in proportion to the placeholders.
        """
        n, total = len(self.tokens), sum(self.tokens)
        for extra in dict.fromkeys((self.extra, 0)):
            for known in (self.grid, self.tokens):
                if known and sum(known) + extra * n == rows:
                    return _spans(known, extra)
        if self.mask is not None and self.mask.ndim == 2 and self.crops == (1,) * len(self.mask) and not rows % n:
            slots = rows // n  # every image takes as many slots as the largest could need, its own first
            filled = (self.mask.sum(1) * slots / self.mask.shape[1]).tolist()
            if all(size.is_integer() for size in filled):
                return [(i * slots, i * slots + int(size)) for i, size in enumerate(filled)]
        for extra in dict.fromkeys((self.extra, 0)):
            left = rows - extra * n
            if total and left > 0 and not left % total:
                return _spans([left // total * count for count in self.tokens], extra)
        return []

    def ends(self, rows: int) -> list[int]:
        """Where each stimulus's rows end among so many packed ones."""
        return [end for _, end in self._spans(rows)]

    def _kept(self, tokens: int, tower: bool) -> torch.Tensor | None:
        """The tokens that are image, bool (crops, tokens), for towers that pad their crops with patches or with whole tiles."""
        if self.mask is None or (self.mask.ndim == 3 and not tower):
            return None
        if self.mask.ndim == 2:
            times, rest = divmod(tokens, self.mask.shape[1])
            return None if rest else self.mask.repeat_interleave(times, 1)
        height, width = self.mask.shape[1:]
        side = round(math.sqrt(height * width / tokens)) or 1
        if (height // side) * (width // side) != tokens:
            return None
        return torch.nn.functional.max_pool2d(self.mask.float()[:, None], side)[:, 0].flatten(1).bool()


def _spans(sizes: Sequence[int], extra: int = 0) -> list[tuple[int, int]]:
    """Start and end of consecutive runs of rows, each behind some extra rows that are no patches."""
    ends = accumulate(size + extra for size in sizes)
    return [(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def _flat(value: torch.Tensor) -> torch.Tensor | None:
    """Packed rows (tokens, d): dimensions of size one do not count."""
    rows = value.reshape([side for side in value.shape if side != 1]) if value.ndim > 2 else value
    if rows.ndim == 1 and value.ndim > 1:  # one row
        return value.reshape(1, -1)
    return rows if rows.ndim == 2 else None


def _width(kind: str, value: torch.Tensor) -> int | None:
    return int(value.shape[1]) if kind == "map" else None


def _joined(parts: Sequence[torch.Tensor], counts: Sequence[int]) -> list[torch.Tensor]:
    ends = list(accumulate(counts))
    return [torch.cat(list(parts[end - count : end])) for end, count in zip(ends, counts, strict=True)]


def patches(tensors: Mapping[str, Any], tokens: tuple[int, ...], cls: int = 0, extra: int = 0, side: int = 0) -> Patches:
    """Read the vision side of a batch off the model's inputs.

    Args:
        tensors: the inputs.
        tokens: image placeholders per stimulus.
        cls: leading tokens of a crop that the projector drops.
        extra: tokens in front of each image in a packed tower.
        side: of a patch in pixels, for towers that cut padded images down to their sizes.
    """
    n = len(tokens)
    tensors = {name: value for name, value in tensors.items() if isinstance(value, torch.Tensor)}
    grids = [v for k, v in tensors.items() if "grid" in k and v.ndim == 2 and len(v) == n]
    grid = tuple(int(size) for size in grids[0].prod(1)) if grids else ()
    images = next((v for k, v in tensors.items() if k in PIXELS), None)
    if images is None or (grid and images.ndim == 2):
        return Patches(tokens, (1,) * n, grid, None, cls, extra)
    if side and images.ndim == 4 and (sizes := tensors.get("image_sizes")) is not None and len(sizes) == n:
        return Patches(tokens, (1,) * n, tuple((sizes // side).prod(1).tolist()), None, cls, extra)
    if images.ndim == 6 and images.shape[1] == 1:  # (n, 1, tiles, 3, H, W), one row of tokens over all tiles, empty ones too
        return Patches(tokens, (1,) * n, grid, (images != 0).flatten(3).any(3)[:, 0], cls, extra)
    mask = _padding(tensors)
    if images.ndim == 5 and len(images) == n:  # (n, tiles, 3, H, W), padded with empty tiles
        real = (images != 0).flatten(2).any(2)
        kept = mask[real] if mask is not None and mask.ndim == 4 and mask.shape[:2] == real.shape else None
        return Patches(tokens, tuple(real.sum(1).tolist()), grid, None if kept is None else kept.bool(), cls, extra)
    sizes = tensors["spatial_shapes"].prod(1) if "spatial_shapes" in tensors else torch.ones(len(images))
    fits = mask is not None and len(mask) == len(images) and mask.ndim in (2, 3)
    return Patches(
        tokens, _shares(sizes.tolist(), tokens), grid, mask.bool() if fits and mask is not None else None, cls, extra
    )


def _padding(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    """What of each padded crop is image, as the processor says: a mask of pixels or patches, or places that are none."""
    for name in ("pixel_attention_mask", "pixel_mask"):
        if name in tensors:
            return tensors[name]
    places = tensors.get("image_position_ids")
    return None if places is None else (places >= 0).all(-1)


def _shares(sizes: Sequence[float], tokens: tuple[int, ...]) -> tuple[int, ...]:
    """How many of the crops in a row belong to each stimulus: as many patches as its placeholders ask for."""
    n, total = len(tokens), sum(tokens)
    if len(sizes) == n:
        return (1,) * n
    if not total:
        return ()
    ends = list(accumulate(sizes))
    wanted = [ends[-1] * share / total for share in accumulate(tokens)]
    cuts = [0, *(min(range(len(ends)), key=lambda i: abs(ends[i] - target)) + 1 for target in wanted)]
    counts = tuple(b - a for a, b in zip(cuts, cuts[1:], strict=False))
    even = len(set(sizes)) > 1 or all(abs(ends[cut - 1] - target) < 1e-6 for cut, target in zip(cuts[1:], wanted, strict=True))
    return counts if even and min(counts) > 0 else ()
