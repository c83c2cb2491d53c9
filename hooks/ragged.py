"""Several rows per stimulus, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch


@dataclass(frozen=True)
class Ragged:
    """The rows of some stimuli at a site with several rows each."""

    rows: torch.Tensor
    """Shape (all rows, d)."""
    counts: tuple[int, ...]
    """Rows per stimulus."""

    @classmethod
    def of(cls, parts: Sequence[torch.Tensor]) -> Ragged:
        """From one tensor (rows, d) per stimulus; copied, so that nothing that the model does later changes them."""
        return cls(torch.cat(list(parts)), tuple(len(part) for part in parts))

    def __len__(self) -> int:
        """The number of stimuli."""
        return len(self.counts)

    def __getitem__(self, chosen: slice | Sequence[int]) -> Ragged:
        """The rows of some of the stimuli."""
        parts = torch.split(self.rows, self.counts)
        picked = parts[chosen] if isinstance(chosen, slice) else [parts[i] for i in chosen]
        return Ragged.of(picked)

    @property
    def nbytes(self) -> int:
        """Bytes of the rows."""
        return self.rows.nbytes

    def ends(self) -> torch.Tensor:
        """int64 (n + 1,): where each stimulus's rows start, and the end."""
        return torch.tensor([0, *self.counts]).cumsum(0)


Rows: TypeAlias = torch.Tensor | Ragged
"""What is kept of some stimuli at a site: (n, d), or several rows each."""


def joined(parts: Sequence[Rows]) -> Rows:
    """The rows of several lots of stimuli, one lot after the other."""
    if len(parts) == 1:
        return parts[0]
    plain = [part for part in parts if isinstance(part, torch.Tensor)]
    if plain:
        return torch.cat(plain)
    ragged = [part for part in parts if isinstance(part, Ragged)]
    return Ragged(torch.cat([part.rows for part in ragged]), tuple(c for part in ragged for c in part.counts))
