"""Is the score lower when the same image is more distorted? Within each reference, so that content does not count.

A ladder is all images of one reference and one distortion type, in order of measured severity. Levels as published are no order:
KADID-10k's mean shift and contrast change go both ways, and their middle level is the identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from analysis.quality_scores import flat, mean_interval
from probes.intervals import holm, paired_difference
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Row, Table

ALL = "all"
"""Stands for all types together in the column ``type``."""


@dataclass(frozen=True, repr=False)
class Monotonicity(Result):
    """How far scores fall with severity; intervals are over references, None where only one of them has a value."""

    overall: Row
    """The row of all types together, with the table's columns; its p is not adjusted."""
    table: Table
    """One row per distortion type, in order of appearance: ``type``, ``n`` images, ``references``, then, with ``_low`` and
    ``_high``:

    * ``tau``: mean over ladders of (concordant − discordant) / pairs, over the pairs of different severity that both have a score;
      −1 where every more distorted image scores lower. Kendall's τ; equal scores count as neither, so a constant scorer has 0,
      where τ-b knows nothing (Somers's d, 1962);
    * ``violations``, ``ties``, ``unparsed``: shares of the pairs of neighbours in severity of which the more distorted one scores
      higher, both score the same, or one has no score; the rest is in order;
    * ``violations_with_clean``: as ``violations``, the clean original being the least severe image of each ladder;

    and ``p`` of ``tau`` against 0, with ``p_holm`` over types."""
    n: int
    """Images, clean ones too."""
    without_score: int
    without_severity: int
    """Distorted images of unknown severity, which are left out."""
    n_boot: int
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """Everything, JSON-able."""
        return {**vars(self), "overall": dict(self.overall), "table": [dict(row) for row in self.table]}


@dataclass(frozen=True)
class _Pairs:
    """Pairs of images of one ladder that differ in severity; one entry per pair in each array."""

    step: np.ndarray
    """1 where the more distorted image scores higher, −1 where lower, 0 where the same, NaN where a score is missing."""
    neighbours: np.ndarray
    """Whether no image of the ladder is between them in severity."""
    clean: np.ndarray
    """Whether one of them is the clean original."""
    type: np.ndarray
    reference: np.ndarray

    def only(self, kept: np.ndarray) -> _Pairs:
        return _Pairs(*(column[kept] for column in vars(self).values()))


def monotonicity(
    scores: np.ndarray,
    types: Sequence[str | None] | np.ndarray,
    severity: np.ndarray,
    references: Sequence[str] | np.ndarray,
    n_boot: int = 1000,
    seed: int = 0,
) -> Monotonicity:
    """How far scores fall as images of the same reference and type get worse.

    Args:
        scores: (n,), higher is better; NaN is unparsed.
        types: (n,) distortion types; None for the clean originals, which may be missing.
        severity: (n,), higher is worse, as measured on the pixels: −PSNR in dB, or 1 − SSIM. −inf is an identity. NaN is
            unknown: left out and counted. What stands at clean images is not looked at.
        references: (n,).
        n_boot: resamples of references.
        seed: of the resamples.

    Raises:
        InputError: lengths differ, or no two images differ in severity alone.
    """
    s, x, kinds, names = _checked(scores, types, severity, references)
    clean = np.array([kind is None for kind in kinds], bool)
    x = np.where(clean, -np.inf, x)
    known = ~np.isnan(x)
    shown = [kind for kind in dict.fromkeys(kinds) if kind is not None and (known & (kinds == kind)).any()]
    pairs = _pairs(s, x, kinds, names, clean, known)
    rows = [_row(kind, names[known & (kinds == kind)], pairs.only(pairs.type == kind), n_boot, seed) for kind in shown]
    tested = [row for row in rows if row["p"] is not None]
    for row, adjusted in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = adjusted
    overall = _row(ALL, names[known & ~clean], pairs, n_boot, seed)
    return Monotonicity(overall, rows, len(s), int(np.isnan(s).sum()), int((~known).sum()), n_boot, seed)


def _pairs(s: np.ndarray, x: np.ndarray, kinds: np.ndarray, names: np.ndarray, clean: np.ndarray, known: np.ndarray) -> _Pairs:
    """The pairs of every ladder, its clean original among them."""
    ladders: dict[tuple[str, str], list[int]] = {}
    originals: dict[str, list[int]] = {}
    for i in np.flatnonzero(known):
        (originals.setdefault(names[i], []) if clean[i] else ladders.setdefault((kinds[i], names[i]), [])).append(int(i))
    found = []
    for (kind, name), own in ladders.items():
        rows = np.array([*originals.get(name, []), *own])
        rank = rankdata(x[rows], "dense")
        mild, severe = np.nonzero(rank[:, None] < rank)
        step, near = np.sign(s[rows[severe]] - s[rows[mild]]), rank[severe] - rank[mild] == 1
        found.append((step, near, clean[rows[mild]], np.full(len(step), kind, object), np.full(len(step), name, object)))
    columns = [np.concatenate(column) for column in zip(*found, strict=True)] if found else [np.zeros(0)]
    if not len(columns[0]):
        raise InputError(
            f"No two of the {len(s)} images differ in severity alone. Expected images of one reference and one distortion type at "
            "several levels, or with their clean original, and the severity that was measured. Show more levels."
        )
    return _Pairs(*columns)


def _row(kind: str, images: np.ndarray, pairs: _Pairs, n_boot: int, seed: int) -> Row:
    """A row of the table from the references of its images and its pairs."""
    distorted = pairs.only(~pairs.clean)
    near, with_clean = distorted.only(distorted.neighbours), pairs.only(pairs.neighbours)
    taus, own = _taus(distorted)
    found = {
        "tau": mean_interval(taus, own, n_boot, seed),
        "violations": mean_interval(near.step > 0, near.reference, n_boot, seed),
        "ties": mean_interval(near.step == 0, near.reference, n_boot, seed),
        "unparsed": mean_interval(np.isnan(near.step), near.reference, n_boot, seed),
        "violations_with_clean": mean_interval(with_clean.step > 0, with_clean.reference, n_boot, seed)
        if pairs.clean.any()
        else None,
    }
    row: Row = {"type": kind, "n": len(images), "references": len(set(images.tolist()))}
    for name, value in found.items():
        row |= flat(name, value)
    several = len(set(own.tolist())) > 1
    return row | {"p": paired_difference(np.zeros(len(taus)), taus, own, n_boot, seed).p if several else None, "p_holm": None}


def _taus(pairs: _Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Mean step of each ladder that has a pair with both scores, and the ladder's reference."""
    told = pairs.only(~np.isnan(pairs.step))
    ladders = np.array([f"{kind}\0{name}" for kind, name in zip(told.type, told.reference, strict=True)])
    _, first, number = np.unique(ladders, return_index=True, return_inverse=True)
    return np.bincount(number, told.step) / np.bincount(number), told.reference[first]


def _checked(
    scores: np.ndarray, types: Sequence[str | None] | np.ndarray, severity: np.ndarray, references: Sequence[str] | np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    columns = np.asarray(scores, float), np.asarray(severity, float), np.array(types, object), np.asarray(references)
    shapes = [column.shape for column in columns]
    if len(set(shapes)) > 1 or columns[0].ndim != 1:
        raise InputError(
            f"Got scores, severities, types and references of shapes {', '.join(map(str, shapes))}. Expected one of each per "
            "image. Give arrays of one length."
        )
    return columns
