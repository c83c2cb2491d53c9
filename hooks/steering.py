"""Add vectors to chosen tokens of a batch at one site, and measure what that does to their norms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hooks.batch import Batch
from hooks.edit import edit
from hooks.load import Mllm
from hooks.token_sets import Shapes, axis, split_rows, survey, token_sets
from hooks.tokens import SEQUENCES
from stimuli.errors import InputError

TOKENS = ("image", "all", "last")
"""``image``: the image's tokens; ``all``: every token of the prompt (at vision and projector sites the image's); ``last``: the last
position of the prompt, of the language model alone. Answers' own tokens are never steered."""


@dataclass(frozen=True)
class Places:
    """Where the tokens of a batch lie at a site, firing by firing."""

    kind: str
    """The site's layout."""
    shapes: Shapes
    indices: tuple[tuple[torch.Tensor, ...] | None, ...]
    """Into each firing's dimensions without the features; None for nothing."""
    owners: tuple[torch.Tensor, ...]
    """Whose each of these rows is, int64."""

    @classmethod
    def of(cls, mllm: Mllm, batch: Batch, site: str, tokens: str) -> Places:
        """Found by one forward pass of the batch.

        Raises:
            InputError: the site has no such tokens.
        """
        seen = survey(mllm, batch, [site])
        kind, shapes = seen.layout.layouts[site], seen.shapes[site]
        sets = token_sets(seen.layout, site, shapes)
        wanted = "image" if tokens == "all" and kind not in SEQUENCES else tokens
        rows = sets.get(wanted)
        if rows is None:
            raise InputError(
                f"The site '{site}' has no tokens '{tokens}' to steer (its rows are laid out as '{kind}'). Expected one of "
                f"{', '.join(name for name in TOKENS if sets.get(name) is not None)}. Choose tokens= or another site."
            )
        counts = [int(np.prod(shape)) // shape[axis(kind, shape)] for shape in shapes] if kind not in SEQUENCES else []
        counts = counts or [shape[0] * shape[1] for shape in shapes]
        owner = torch.full((sum(counts),), -1)
        for stimulus, own in enumerate(rows):
            owner[own] = stimulus
        split = []
        for start, own in zip(np.cumsum([0, *counts[:-1]]).tolist(), torch.split(owner, counts), strict=True):
            at = (own >= 0).nonzero()[:, 0] + start
            split.append((at, own[own >= 0]))
        indices = split_rows(tuple(at for at, _ in split), kind, shapes)
        return cls(kind, shapes, tuple(indices), tuple(own for _, own in split))


class Meter:
    """The norms of the tokens of each stimulus, before and after."""

    def __init__(self, n: int, usual: tuple[float, float]) -> None:
        self._usual = usual
        self._sums = np.zeros((4, n))  # own norms, new norms, outside, tokens
        self._own: list[np.ndarray] = []

    def add(self, owners: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> None:
        """Some tokens (rows, d)."""
        old, new = (rows.float().norm(dim=1).double().cpu().numpy() for rows in (before, after))
        who = owners.numpy()
        outside = (new < self._usual[0]) | (new > self._usual[1])
        for total, values in zip(self._sums, (old, new, outside, np.ones(len(old))), strict=True):
            np.add.at(total, who, values)
        self._own.append(old)

    @property
    def own(self) -> np.ndarray:
        """Norms of all tokens, before."""
        return np.concatenate([*self._own, np.empty(0)])

    @property
    def relative(self) -> np.ndarray:
        """(n,): mean norm after over mean norm before; NaN where nothing was steered."""
        return _ratio(self._sums[1], self._sums[0])

    @property
    def outside(self) -> np.ndarray:
        """(n,): share of tokens whose norm after is not usual."""
        return _ratio(self._sums[2], self._sums[3])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0))


@contextmanager
def steered(
    mllm: Mllm, site: str, places: Places, vectors: torch.Tensor | None, meter: Meter | None = None, *, once: bool = False
) -> Iterator[None]:
    """Inside the block, a vector is added to the chosen tokens of each stimulus of a batch.

    Args:
        mllm: the model.
        site: where.
        places: of the batch's tokens.
        vectors: (n, d), or None to leave them as they are.
        meter: what measures the tokens' norms.
        once: whether only the first pass is about the prompt, and those behind it about the answer (generation).

    Raises:
        InputError: vectors of another width, or passes of another shape.
    """
    change = _Push(site, places, vectors, meter, once)

    def begin(*_: Any) -> None:
        change.count = change.count if once else 0

    with edit(mllm, {site: change}):
        handle = mllm.model.register_forward_pre_hook(begin, prepend=True)
        try:
            yield
        finally:
            handle.remove()


class _Push:
    """The edit: counts the firings of a pass and adds to the rows of each."""

    def __init__(self, site: str, places: Places, vectors: torch.Tensor | None, meter: Meter | None, once: bool) -> None:
        self.site, self.places, self.vectors, self.meter, self.once = site, places, vectors, meter, once
        self.count = 0

    def __call__(self, own: torch.Tensor) -> torch.Tensor:
        number, self.count = self.count, self.count + 1
        if number >= len(self.places.shapes) and self.once:
            return own
        index = self._checked(own, number)
        if index is None:
            return own
        at, owners = tuple(part.to(own.device) for part in index), self.places.owners[number]
        features = axis(self.places.kind, own.shape)
        before = own.movedim(features, -1)[at]
        rows = before.flatten(1)
        if self.vectors is None:
            self._measured(owners, rows, rows)
            return own
        if rows.shape[1] != self.vectors.shape[1]:
            raise InputError(
                f"The directions have {self.vectors.shape[1]} numbers, and the tokens at '{self.site}' {rows.shape[1]}. Expected as many. "
                "Fit them at this site."
            )
        after = (rows.float() + self.vectors.to(own.device)[owners.to(own.device)]).to(own.dtype)
        self._measured(owners, rows, after)
        new = own.clone()
        new.movedim(features, -1)[at] = after.reshape(before.shape)
        return new

    def _measured(self, owners: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> None:
        if self.meter is not None:
            self.meter.add(owners, before, after)

    def _checked(self, own: torch.Tensor, number: int) -> tuple[torch.Tensor, ...] | None:
        """Where the tokens are in this firing."""
        known = self.places.shapes[number] if number < len(self.places.shapes) else None
        index = None if known is None else self.places.indices[number]
        fits = known is not None and own.shape == known
        if known is not None and not fits and self.places.kind in SEQUENCES:  # the same prompts, with answers of another length
            needed = 0 if index is None else int(index[1].max()) + 1
            fits = own.shape[0] == known[0] and own.shape[1] >= needed and own.shape[2:] == known[2:]
        if not fits:
            raise InputError(
                f"At '{self.site}' a pass gives {tuple(own.shape)} as firing {number + 1}; expected "
                f"{None if known is None else tuple(known)}, as of the batch that the tokens were found in. Steer passes over whole prompts."
            )
        return index
