"""What ``analysis.geometry`` measures at one site, or between two: every number with what its interval and a paired change need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.jackknife import jackknife
from analysis.reconstruction import Reconstruction, reconstruct
from analysis.shape import (
    effective_rank,
    modality_gap_left_out,
    participation_ratio,
    procrustes_chance,
    procrustes_left_out,
    spectra,
)
from analysis.similarity import Metric, knn_chance, linear_cka_chance, linear_cka_left_out, mutual_knn_left_out
from probes.intervals import Difference, Interval
from probes.resampled import score_change

MUTUAL_K, OVERLAP_KS = 10, (10, 50)
Key = tuple[str, int | None]
"""Measure and k."""


@dataclass(frozen=True)
class Measured:
    """A number with what is needed to compare it with another model's, pairwise."""

    found: Interval
    draws: np.ndarray = field(repr=False)
    folds: int | None = None
    """Of an out-of-fold score, whose draws are resamples; None for a jackknife."""
    groups: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    """Its references, (n,)."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """``chance`` and ``shuffled``, where there are such."""

    def change(self, after: Measured) -> Difference:
        """After less before."""
        draws = after.draws - self.draws
        return jackknife(draws) if self.folds is None else score_change(draws, self.folds, self.groups)


@dataclass(frozen=True)
class Design:
    """What all sites are measured with."""

    references: np.ndarray
    """(n,)."""
    blocks: np.ndarray
    """int (n,), of references, from 0 up."""
    pairings: np.ndarray
    """int (pairings, n), of ``analysis.pairings``."""
    n_boot: int
    seed: int


Named = Iterator[tuple[Key, Measured]]


def of_one(space: np.ndarray, words: np.ndarray | None, design: Design) -> Named:
    """Over how many directions a space (n, d) is spread, and with words (k, d) how far it is from them."""
    variances = spectra(space, design.blocks)
    for name, rank in (("effective_rank", effective_rank), ("participation_ratio", participation_ratio)):
        yield (name, None), _jackknifed(np.array([rank(own) for own in variances]), 1, space.shape[1])
    if words is not None:
        yield ("modality_gap", None), _jackknifed(modality_gap_left_out(space, words, design.blocks), 0, 2)


def of_both(first: np.ndarray, second: np.ndarray, design: Design) -> Named:
    """How alike two spaces of the same stimuli are, (n, d₁) and (n, d₂), each beside its chance."""
    cka, distance = (measured(first, second, design.pairings) for measured in (linear_cka_chance, procrustes_chance))
    yield ("cka", None), _jackknifed(linear_cka_left_out(first, second, design.blocks), -1, 1, chance=cka)
    yield from _overlaps("mutual_knn", first, second, design, (MUTUAL_K,), "cosine")
    yield ("procrustes", None), _jackknifed(procrustes_left_out(first, second, design.blocks), 0, 2, chance=distance)


def between(source: np.ndarray, space: np.ndarray, design: Design) -> Named:
    """What a space (n, d₂) keeps of another one (n, d₁) that it was computed from."""
    yield from _overlaps("overlap", source, space, design, OVERLAP_KS, "euclidean")
    for name, start, end in (("rebuilt", space, source), ("predicted", source, space)):
        yield from _r2(
            name, reconstruct(start, end, design.references, n_boot=design.n_boot, seed=design.seed), design.references
        )


def _overlaps(name: str, first: np.ndarray, second: np.ndarray, design: Design, ks: Sequence[int], metric: Metric) -> Named:
    """Among all neighbours, and among those of other references; k is at most half of the candidates without a block.

    Near all of the candidates, the overlap without a block is 1 whichever is left out, so that there would seem to be no error.
    """
    n, largest = len(design.blocks), int(np.bincount(design.blocks).max())
    same = int(np.unique(design.references, return_counts=True)[1].max())
    for suffix, own, taken in (("", None, 1), ("_others", design.references, same)):
        room = n - taken - largest
        for k in dict.fromkeys(min(k, max(1, room // 2)) for k in ks if room > 0):
            found = mutual_knn_left_out(first, second, design.blocks, k, metric, own)
            yield (name + suffix, k), _jackknifed(found, 0, 1, chance=knn_chance(n, k, own))


def _r2(name: str, found: Reconstruction, groups: np.ndarray) -> Named:
    more = {"chance": found.random, "shuffled": found.shuffled}
    yield (name, None), Measured(found.r2, found.draws, found.folds, groups, more)
    yield (f"{name}_above_random", None), Measured(found.above_random, found.above_draws, found.folds, groups)
    if np.isfinite(found.within.value):
        yield (f"{name}_within", None), Measured(found.within, found.within_draws, found.folds, groups)


def _jackknifed(left_out: np.ndarray, low: float, high: float, **more: float) -> Measured:
    return Measured(jackknife(left_out, low, high), left_out, more=more)
