"""Which distortion types a site can tell from the clean image, and from which level on."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hooks.activations import Activations
from probes.controls import shuffled_labels
from probes.intervals import balanced_accuracies, group_counts, resamples
from probes.linear import PENALTIES, fit_predict
from probes.over_sites import over_sites
from probes.resampled import score_interval
from probes.splits import grouped_folds
from probes.targets import Readable, Target
from probes.weighted import auc
from stimuli.distortions import TYPES
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Table

LEAST = 5
"""References that show a type, below which it is not probed."""
DETECTED = 0.75
"""The area under the ROC curve from which on a level counts as detected: halfway between chance and certainty."""


@dataclass(frozen=True, repr=False)
class TypeResult(Result):
    """A binary probe per fine type at each site, against the clean images of the same references; intervals are over references."""

    table: Table
    """Rows with ``site``, ``type``, ``n`` (distorted stimuli), ``references``; ``auc`` and ``balanced`` accuracy with ``_low`` and
    ``_high``; ``control``, the AUC of shuffled labels, with its interval; ``chance``; ``signed``; and ``threshold``: the mildest level
    from which on every level shown has an AUC of ``DETECTED`` or more and an interval above chance. It is None where there is
    none, and for signed types, whose levels are not ordered by severity."""
    levels: Table
    """The same scores by ``level``, of the same probe: the stimuli of one level against the clean images."""
    left_out: Mapping[str, int]
    """Types shown on fewer than ``LEAST`` references with a clean image, and on how many."""
    scores: Mapping[tuple[str, str], tuple[tuple[str, ...], np.ndarray]] = field(repr=False)
    """(site, type) to stimulus ids and their out-of-fold probabilities of being distorted."""

    def row(self, site: str, type: str) -> dict[str, Any]:
        """The row of a site and type."""
        return next(row for row in self.table if (row["site"], row["type"]) == (site, type))


def type_sweep(
    store: Readable,
    seed: int = 0,
    *,
    types: Sequence[str] | None = None,
    folds: int = 5,
    sites: Sequence[str] | None = None,
    baselines: Mapping[str, Activations] | None = None,
    inputs: Mapping[str, Activations] | None = None,
    penalties: Sequence[float] = PENALTIES,
    n_boot: int = 1000,
    progress: bool = True,
) -> TypeResult:
    """Probe every site for every type alone.

    A probe sees all levels of one type and the clean images of the same references, so that content tells nothing. Its balanced
    accuracy is at the decision threshold that undoes the unequal numbers of the two: distorted where the probability exceeds
    the share of distorted images in training (by folds by reference).

    Args:
        store: activations with the stimuli's metadata.
        seed: of folds, shuffles and resamples.
        types: which; by default all that ``LEAST`` references or more show.
        folds: outer folds, by reference; fewer where a type is shown on fewer references.
        sites: which; all by default.
        baselines: further features by name, probed on the same folds.
        inputs: features that stand in for the store's at the sites of that name.
        penalties: candidates for the L2 penalty.
        n_boot: resamples of references.
        progress: show a progress bar.

    Raises:
        InputError: no type is shown on enough references that have a clean image, or an asked-for one is not.
    """
    about = [store.metadata(id) for id in store.ids]
    shown = _shown(about)
    counts = {type: len({about[row]["reference"] for row in rows}) for type, rows in shown.items()}
    enough = [type for type, count in counts.items() if count >= LEAST]
    _refuse_few(types, enough, counts)
    chosen = list(types or enough)
    groups = np.array([a["reference"] for a in about])
    everything = Target("type", "classes", np.array([_type(a) for a in about]), groups, groups, tuple(store.ids), 0)
    levels = np.array([a.get("level") or 0 for a in about])
    table: Table = []
    by_level: Table = []
    scores: dict[tuple[str, str], tuple[tuple[str, ...], np.ndarray]] = {}

    def measure(site: str, values: np.ndarray) -> dict[str, Any]:
        for type in chosen:
            rows = _with_clean(everything, shown[type])
            probe = _Probe(
                everything.values[rows] == type, everything.groups[rows], levels[rows], folds, penalties, seed, n_boot
            )
            row, own, found = probe(values[rows], type)
            table.append({"site": site, **row})
            by_level.extend({"site": site, **line} for line in own)
            scores[site, type] = (tuple(store.ids[i] for i in rows), found)
        return {}

    order = over_sites(store, everything, measure, sites=sites, baselines=baselines, inputs=inputs, progress=progress)
    about_site = {row["site"]: row for row in order}
    few = {type: counts[type] for type in sorted(counts) if type not in enough}
    return TypeResult(
        [{**about_site[row["site"]], **row} for row in table],
        [{**about_site[row["site"]], **row} for row in by_level],
        few,
        scores,
    )


@dataclass(frozen=True)
class _Probe:
    """Of the rows of one type and their clean counterparts."""

    distorted: np.ndarray
    groups: np.ndarray
    levels: np.ndarray
    folds: int
    penalties: Sequence[float]
    seed: int
    n_boot: int

    def __call__(self, values: np.ndarray, type: str) -> tuple[dict[str, Any], Table, np.ndarray]:
        labels = np.where(self.distorted, "distorted", "clean")
        number, count = group_counts(self.groups)
        weights = np.vstack([np.ones((1, count)), resamples(count, self.n_boot, self.seed)])
        found, hits, penalty = self._probed(values, labels, self.penalties)
        shuffled = shuffled_labels(labels, self.groups, zlib.crc32(f"{self.seed}/{type}".encode()))  # another of each type
        lost, _, _ = self._probed(values, shuffled, [penalty])
        control = self._columns("control", auc(lost, shuffled == "distorted", number, weights))
        signed = any(part in TYPES and TYPES[part].neutral is not None for part in type.split("+"))
        rows: Table = []
        for level in np.unique(self.levels[self.distorted]):
            own = np.flatnonzero(~self.distorted | (self.levels == level))
            scored = self._scored(found, hits, labels, number, weights, own)
            rows.append({"type": type, "level": int(level), "signed": signed, **scored})
        whole = self._scored(found, hits, labels, number, weights, np.arange(len(labels)))
        threshold = None if signed else _threshold(rows)
        row = {"type": type, **whole, **control, "chance": 0.5, "signed": signed, "threshold": threshold, "penalty": penalty}
        return row, rows, found

    def _probed(
        self, values: np.ndarray, labels: np.ndarray, penalties: Sequence[float]
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Probabilities of being distorted, whether each row is told right, and the middle penalty."""
        folds = min(self.folds, len(np.unique(self.groups)))
        split = grouped_folds(labels, self.groups, folds, self.seed)
        found = fit_predict(values, labels, self.groups, split, penalties=penalties, seed=self.seed)
        chance, p = np.empty(len(labels)), found.probabilities[:, found.classes.index("distorted")]
        for train, test in split:
            chance[test] = np.mean(labels[train] == "distorted")
        return p, (p > chance) == (labels == "distorted"), float(np.median(found.penalties))

    def _scored(
        self, p: np.ndarray, hits: np.ndarray, labels: np.ndarray, number: np.ndarray, weights: np.ndarray, own: np.ndarray
    ) -> dict[str, Any]:
        positive = labels[own] == "distorted"
        present, place = np.unique(number[own], return_inverse=True)
        weights = weights[:, present]
        counts = {"n": int(positive.sum()), "references": len(np.unique(self.groups[own][positive]))}
        areas, accuracies = auc(p[own], positive, place, weights), balanced_accuracies(hits[own], labels[own], place, weights)
        return {**counts, **self._columns("auc", areas), **self._columns("balanced", accuracies)}

    def _columns(self, name: str, draws: np.ndarray) -> dict[str, float]:
        found = score_interval(draws, min(self.folds, len(np.unique(self.groups))))
        return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _threshold(rows: Table) -> int | None:
    """The mildest level from which on all are detected."""
    found = None
    for row in sorted(rows, key=lambda row: -row["level"]):
        if row["auc"] < DETECTED or not row["auc_low"] > 0.5:
            break
        found = row["level"]
    return found


def _type(about: Mapping[str, Any]) -> str:
    """The type; ``clean`` of a clean image, ``identity`` of a distortion that changes nothing."""
    return "identity" if about.get("is_identity") else "clean" if about.get("type") is None else str(about["type"])


def _shown(about: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Type to the rows that show it on a reference with a clean image."""
    clean = {a["reference"] for a in about if _type(a) == "clean"}
    names = np.array([_type(a) if a["reference"] in clean else "" for a in about])
    return {str(type): np.flatnonzero(names == type) for type in np.unique(names) if type not in ("", "clean", "identity")}


def _with_clean(everything: Target, rows: np.ndarray) -> np.ndarray:
    """The rows of a type and those of the clean images of the same references, in order."""
    beside = (everything.values == "clean") & np.isin(everything.groups, everything.groups[rows])
    return np.sort(np.concatenate([rows, np.flatnonzero(beside)]))


def _refuse_few(types: Sequence[str] | None, enough: Sequence[str], counts: Mapping[str, int]) -> None:
    few = [type for type in types or () if type not in enough]
    if few or not enough:
        told = ", ".join(f"{type}: {counts.get(type, 0)}" for type in few or sorted(counts)[:5]) or "no distorted image at all"
        raise InputError(
            f"A type is probed against the clean images of {LEAST} or more of its own references; got {told}. Show more references "
            "with their clean images, such as sn.stimuli.exam_set(references=40, design='crossed')."
        )
