"""The rows of a spatial probe: which cells of a grid each looks at, and how much of it is distorted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from hooks.activations import Activations
from probes.targets import Readable, Target
from stimuli.errors import InputError
from stimuli.regions import cell_shares
from stimuli.taxonomy import taxonomy as load_taxonomy
from stimuli.types import Stimulus

DISTORTED, CLEAN = 0.5, 0.1
"""A row of which more than the first lies in the mask is distorted, one of which less than the second does is clean."""


@dataclass(frozen=True)
class Cells:
    """What is known of the cells of every stimulus."""

    target: Target
    """The stimuli; its values are what their distorted cells are called, ``clean`` for a clean stimulus."""
    types: np.ndarray = field(repr=False)
    """(n,) type of each stimulus, ``clean`` of a clean one."""
    levels: np.ndarray = field(repr=False)
    """(n,) level of each as a word, ``clean`` of a clean one."""
    grid: int
    """Cells per side."""
    shares: np.ndarray = field(repr=False)
    """(n, grid, grid): how much of each cell is distorted."""
    sites: tuple[str, ...]
    places: Mapping[str, np.ndarray] = field(repr=False)
    """Of sites with a row per token, (tokens, grid²): which cells each looks at; rows sum to one, or are zero."""
    inputs: Mapping[str, Activations] = field(repr=False)
    """Their activations, one long row per stimulus."""

    @property
    def flat(self) -> np.ndarray:
        """(n, grid²): the shares."""
        return self.shares.reshape(len(self.shares), -1)

    @property
    def masked(self) -> np.ndarray:
        """Bool (n,): stimuli with both distorted and clean cells."""
        return np.asarray((self.flat.max(1) > DISTORTED) & (self.flat.min(1) < CLEAN))

    @cached_property
    def counterparts(self) -> np.ndarray:
        """Int (n,): the clean stimulus of the same reference, or -1."""
        clean = {self.target.groups[i]: i for i in np.flatnonzero(self.types == "clean")[::-1]}
        return np.array([clean.get(name, -1) for name in self.target.groups])

    @property
    def strata(self) -> np.ndarray:
        """(n,) that folds are balanced over: with a mask or not."""
        return np.where(self.masked, "masked", "whole")

    def row_shares(self, places: np.ndarray | None) -> np.ndarray:
        """How much of what each row looks at is distorted, (n, rows); rows that look nowhere are neither one nor the other."""
        if places is None:
            return self.flat
        found = self.flat @ places.T
        found[:, places.sum(1) == 0] = (DISTORTED + CLEAN) / 2
        return np.asarray(found)

    def on_grid(self, places: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
        """Of rows (n, rows), the mean over those that look at each cell, (n, grid²)."""
        return rows if places is None else np.asarray(rows @ (places / places.sum(0)))

    def drawn(self, shares: np.ndarray, chosen: np.ndarray, most: int, seed: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Clear rows of some stimuli, of each place as many distorted as clean, so that place tells nothing.

        Masks lie wholly in the image and so more often in its middle, and activations know where they are: without this a probe
        learns where masks lie instead of what distortion is.

        Args:
            shares: (n, rows).
            chosen: numbers of the stimuli.
            most: rows in all; about as many or fewer are drawn, each place equally thinned.
            seed: of the draw.

        Returns:
            The stimulus and the row of each, int (drawn,).
        """
        rng, own = np.random.default_rng(list(seed)), shares[chosen]
        pairs = [
            (np.flatnonzero(own[:, place] > DISTORTED), np.flatnonzero(own[:, place] < CLEAN)) for place in range(own.shape[1])
        ]
        equal = [min(len(distorted), len(clean)) for distorted, clean in pairs]
        kept = min(1.0, most / max(1, 2 * sum(equal)))
        stimulus, row = [], []
        for place, (both, count) in enumerate(zip(pairs, equal, strict=True)):
            for rows in both:
                drawn = chosen[rng.permutation(rows)[: int(np.ceil(count * kept))]]
                stimulus.append(drawn)
                row.append(np.full(len(drawn), place))
        return np.concatenate(stimulus), np.concatenate(row)


def cells_of(
    store: Readable,
    stimuli: Sequence[Stimulus],
    target: str,
    taxonomy: str | Path,
    places: Mapping[str, np.ndarray] | None,
    sites: Sequence[str] | None,
) -> Cells:
    """The cells of the stimuli that a store has; see ``probes.spatial.distortion_maps``.

    Raises:
        InputError: no grid, no stimulus of the target, none with a mask, or tokens that differ in number.
    """
    given = {site: np.asarray(value, float) for site, value in (places or {}).items()}
    grid = _grid(store, given)
    there = set(store.ids)
    chosen = [s for s in stimuli if s.id in there and _wanted(s, target, taxonomy)]
    shares = np.array([_shares(s, grid) for s in chosen]).reshape(-1, grid, grid)
    kind = np.array(["clean" if s.type is None or s.is_identity else s.type for s in chosen])
    levels = np.array(["clean" if k == "clean" else str(s.level) for k, s in zip(kind, chosen, strict=True)])
    told = load_taxonomy(taxonomy)
    label = np.array([k if k == "clean" else told.label(s) or k for k, s in zip(kind, chosen, strict=True)])
    groups = np.array([s.reference for s in chosen])
    wanted = Target(target, "classes", label, groups, groups, tuple(s.id for s in chosen), len(stimuli) - len(chosen))
    named = tuple(sites or store.sites)
    rows = {site: _rows(store, site, given[site], wanted.ids) for site in named if site in given}
    found = Cells(wanted, kind, levels, grid, shares, named, {site: given[site] for site in rows}, rows)
    if len(np.unique(groups[found.masked])) < 2:
        raise InputError(
            f"A map is scored against masks; of {len(chosen)} stimuli ('{target}') {int(found.masked.sum())} have distorted and "
            f"clean cells on a grid of {grid} x {grid}. Expected two or more references. Show local distortions: "
            "sn.stimuli.exam_set(region='any')."
        )
    return found


def _wanted(stimulus: Stimulus, target: str, taxonomy: str | Path) -> bool:
    if target == "any" or stimulus.type is None or stimulus.is_identity:
        return True
    return target in (stimulus.type, load_taxonomy(taxonomy).label(stimulus))


def _shares(stimulus: Stimulus, grid: int) -> np.ndarray:
    """How much of each cell is distorted: all of it where a distortion has no mask."""
    if stimulus.type is None or stimulus.is_identity:
        return np.zeros((grid, grid))
    mask = stimulus.mask
    return np.ones((grid, grid)) if mask is None else cell_shares(mask, grid, grid)


def _grid(store: Readable, places: Mapping[str, np.ndarray]) -> int:
    """Cells per side, of the places or of the store's pooling."""
    how = str(getattr(store, "config", {}).get("pool", ""))
    counts = {value.shape[1] for value in places.values()} or {
        int(how.partition(":")[2] or 4) ** 2 if how.startswith("grid") else 0
    }
    side = round(max(counts) ** 0.5)
    if len(counts) > 1 or side < 2 or side**2 not in counts:
        raise InputError(
            f"A distortion map needs cells: got activations with pool='{how or 'unknown'}' and places of {sorted(counts)} cells. "
            "Extract with pool='grid:8', or with pool='none' and give places (hooks.places.cells) of one square grid."
        )
    return side


def _rows(store: Readable, site: str, places: np.ndarray, ids: Sequence[str]) -> Activations:
    """The token rows of each stimulus end to end, as one long row."""
    own = store.read(site)
    found = [own.of(id) for id in ids]
    other = next((id for id, rows in zip(ids, found, strict=True) if rows.ndim != 2 or len(rows) != len(places)), None)
    if other is not None:
        raise InputError(
            f"At site '{site}' the stimulus '{other}' has activations of shape {own.of(other).shape}, but the places are of "
            f"{len(places)} tokens. Expected that many rows for every stimulus. Give images of one size, extracted with pool='none'."
        )
    return Activations(tuple(ids), np.stack(found).reshape(len(found), -1))
