"""The numbers that only one protocol has: exact match, severity, area under the curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.protocols import Protocol, Reading
from analysis.ranking import areas
from probes.intervals import group_bootstrap
from stimuli.taxonomy import CLEAN
from stimuli.types import Stimulus


def own_numbers(
    stimuli: Sequence[Stimulus], labels: Sequence[str], found: Reading, by: Protocol, n_boot: int, seed: int
) -> dict[str, Any]:
    """The numbers that only one protocol has."""
    groups = np.array([s.reference for s in stimuli])
    if "exact" in found.columns:
        own = group_bootstrap(np.asarray(found.columns["exact"]) == np.asarray(labels), groups, n_boot, seed)
        return {"exact": vars(own)}
    if "severity" in found.columns:
        return {"severity": _severity(stimuli, labels, found, groups, n_boot, seed)}
    odds = {label: found.columns[f"odds_{label}"] for label in by.classes if f"odds_{label}" in found.columns}
    return {"auc": areas(odds, labels, groups, n_boot, seed)} if odds else {}


def _severity(
    stimuli: Sequence[Stimulus], labels: Sequence[str], found: Reading, groups: np.ndarray, n_boot: int, seed: int
) -> dict[str, Any]:
    """Of the distorted images whose class was named right, how many have the published level as severity; Q-Insight scores both."""
    named = [i for i, s in enumerate(stimuli) if s.level is not None and found.answers[i] == labels[i] != CLEAN]
    hits = np.array([found.columns["severity"][i] == stimuli[i].level for i in named], float)
    if len(set(groups[named])) < 2:
        return {"n": len(named), "value": float(hits.mean()) if named else None, "low": None, "high": None}
    return {"n": len(named), **vars(group_bootstrap(hits, groups[named], n_boot, seed))}
