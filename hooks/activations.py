"""The rows of one site: memory-mapped, and compared with their checksums when they are first looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from stimuli.errors import InputError


@dataclass(frozen=True, eq=False)
class Activations:
    """The rows of one site."""

    ids: tuple[str, ...]
    parts: np.ndarray | Sequence[np.ndarray]
    """The rows as they lie in the files, memory-mapped: one array, or one per file; bfloat16 as its bits (uint16). What comes from a
    store is compared with its checksum when it is first looked at."""
    offsets: np.ndarray | None = None
    """int64 (n + 1,): where each stimulus's rows start, at a site with several rows per stimulus; else None."""
    keeper: Any = field(default=None, repr=False)
    """What keeps the files there while this is in use: a ``hooks.scratch.Scratch``, if anything."""

    @cached_property
    def values(self) -> np.ndarray:
        """Shape (n, d), or (all rows, d) with ``offsets``. Memory-mapped where one file holds them all; bfloat16 as float32."""
        found = [_widened(part) for part in self._files]
        return found[0] if len(found) == 1 else np.concatenate(found)

    @property
    def tensor(self) -> torch.Tensor:
        """The same as a tensor of the type that was stored; memory-mapped where one file holds them all."""
        files = self._files
        raw = files[0] if len(files) == 1 else np.concatenate(list(files))
        value = torch.from_numpy(raw if raw.flags.writeable else _private(raw))
        return value.view(torch.bfloat16) if raw.dtype == np.uint16 else value

    def of(self, id: str) -> np.ndarray:
        """The rows of one stimulus: (d,), or (rows, d) with ``offsets``; no other's are read.

        Raises:
            InputError: it is not among them.
        """
        if id not in self._at:
            raise InputError(f"The stimulus '{id}' is not among these {len(self.ids)}. Check its id against .ids.")
        at = self._at[id]
        start, end = (at, at + 1) if self.offsets is None else (int(self.offsets[at]), int(self.offsets[at + 1]))
        for number, length in enumerate(self._lengths):
            if start < length:
                rows = _widened(self._files[number][start:end])
                return rows[0] if self.offsets is None else rows
            start, end = start - length, end - length
        return self._files[-1][:0]

    @property
    def _files(self) -> Sequence[np.ndarray]:
        return [self.parts] if isinstance(self.parts, np.ndarray) else self.parts

    @property
    def _lengths(self) -> list[int]:
        """Rows per file, without a look at them."""
        return self._files.lengths if isinstance(self._files, Checked) else [len(part) for part in self._files]

    @cached_property
    def _at(self) -> dict[str, int]:
        return {id: i for i, id in enumerate(self.ids)}


class Checked(Sequence[np.ndarray]):
    """Memory-mapped arrays, each compared with its checksum when it is first asked for."""

    def __init__(self, arrays: Sequence[np.ndarray], checks: Sequence[Callable[[], None]]) -> None:
        self._arrays, self._checks = arrays, checks

    def __len__(self) -> int:
        """How many there are."""
        return len(self._arrays)

    @property
    def lengths(self) -> list[int]:
        """Rows per array."""
        return [len(array) for array in self._arrays]

    def __getitem__(self, place: Any) -> Any:
        """One of them, or some.

        Raises:
            InputError: it is not what was written.
        """
        for check in [*self._checks[place]] if isinstance(place, slice) else [self._checks[place]]:
            check()
        return self._arrays[place]

    def __iter__(self) -> Iterator[np.ndarray]:
        """One after the other."""
        return (self[i] for i in range(len(self)))


def _widened(raw: np.ndarray) -> np.ndarray:
    """bfloat16 as float32: its bits are the upper half of a float32's."""
    return (raw.astype(np.uint32) << 16).view(np.float32) if raw.dtype == np.uint16 else raw


def _private(raw: np.ndarray) -> np.ndarray:
    """A read-only array as one that torch takes without a warning: the same map, private to this process, or a copy."""
    if isinstance(raw, np.memmap) and not isinstance(raw.base, np.ndarray):  # the whole map, no slice of one
        return np.memmap(str(raw.filename), raw.dtype, "c", raw.offset, raw.shape)
    return raw.copy()
