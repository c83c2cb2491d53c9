"""Probe and answers about the same stimuli, joined by id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.contingency import crossed, sample_and_resamples
from analysis.perception import Answers
from probes.intervals import group_counts
from probes.sweep import SweepResult
from stimuli.errors import InputError
from stimuli.tables import Row, Table
from stimuli.taxonomy import CLEAN


@dataclass(frozen=True)
class Joined:
    """The stimuli that both have, in the sweep's order."""

    rows: Table
    """Their answers."""
    labels: np.ndarray
    """True classes (n,), and as numbers ``strata``."""
    answers: np.ndarray
    """(n,)."""
    said: np.ndarray
    """Bool (n,), whether the answer is right."""
    sites: Mapping[str, Row]
    """Row of the sweep of every site on the way, in order; no baselines."""
    probes: Mapping[str, np.ndarray]
    """Site to the classes that the probe names (n,)."""
    certain: Mapping[str, np.ndarray]
    """Site to the probability that it gives them (n,)."""
    groups: np.ndarray
    """Number of the reference (n,), row of ``draws``."""
    draws: np.ndarray
    """How often each reference counts in the sample and its resamples: (references, 1 + n_boot)."""
    left_out: Mapping[str, int]

    @cached_property
    def strata(self) -> np.ndarray:
        """Number of the true class (n,)."""
        return np.unique(self.labels, return_inverse=True)[1]

    @cached_property
    def alike(self) -> np.ndarray:
        """Number of the class, type and level together (n,)."""
        names = [f"{row['label']}\n{row['type']}\n{row['level']}" for row in self.rows]
        return np.unique(names, return_inverse=True)[1]

    @cached_property
    def chance(self) -> float:
        """1 / classes."""
        return 1 / len(np.unique(self.labels))

    def hits(self, site: str) -> np.ndarray:
        """Bool (n,), whether the probe is right."""
        return np.asarray(self.probes[site] == self.labels)

    def tables(self, encoded: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """``contingency.crossed`` per class, of all stimuli or of some."""
        own = np.ones(len(self.rows), bool) if own is None else own
        return crossed(encoded[own], self.said[own], self.strata[own], self.groups[own], self.draws)

    def on_the_way(self, component: str) -> list[str]:
        """The sites of a component that the answer depends on, in order."""
        return [s for s, row in self.sites.items() if row["component"] == component and not row.get("dead_end")]

    def column(self, key: str) -> np.ndarray:
        """``type``, ``level`` or ``class`` (n,); clean stimuli are clean in each, None is unknown."""
        if key == "class":
            return self.labels.astype(object)
        return np.array([CLEAN if row["type"] is None else row[key] for row in self.rows], object)


def join(survival: SweepResult, answers: Answers, n_boot: int = 1000, seed: int = 0) -> Joined:
    """The stimuli that both have.

    Raises:
        InputError: labels that do not agree, an id answered twice, no stimulus in common, no site, or one reference alone.
    """
    by_id = {row["id"]: row for row in answers.table}
    if len(by_id) < len(answers.table):
        raise InputError(
            f"{len(answers.table)} answers are about {len(by_id)} stimuli. Expected one answer each. Give one per stimulus."
        )
    kept = [place for place, id in enumerate(survival.ids) if id in by_id]
    if not kept:
        raise InputError(
            f"The {len(survival.ids)} probed and the {len(by_id)} asked stimuli have none in common. Give the same set."
        )
    rows, labels = [by_id[survival.ids[place]] for place in kept], survival.labels[kept]
    _same_labels(rows, labels, survival.target)
    sites = {row["site"]: row for row in survival.table if row["component"] != "baseline"}
    if not sites:
        raise InputError("The sweep has baselines alone. Expected sites of the model. Sweep its store.")
    found = {site: survival.predictions[site] for site in sites}
    groups, n_groups = group_counts(survival.groups[kept])
    return Joined(
        rows, labels, np.array([row["answer"] for row in rows]), np.array([row["correct"] for row in rows], bool), sites,
        {site: own.predicted[kept] for site, own in found.items()},
        {site: own.probabilities[kept].max(1) for site, own in found.items()},
        groups, sample_and_resamples(n_groups, n_boot, seed),
        {"not asked": len(survival.ids) - len(kept), "not probed": len(by_id) - len(kept)},
    )  # fmt: skip


def _same_labels(rows: Table, labels: np.ndarray, target: str) -> None:
    for row, label in zip(rows, labels, strict=True):
        if row["label"] != label:
            raise InputError(
                f"The stimulus '{row['id']}' is '{label}' for the probe (target '{target}') and '{row['label']}' for the "
                "answers. Expected the same label. Probe for 'distortion' and ask with the same taxonomy."
            )
