"""The sweep: a probe at every site, with intervals over references, controls and baselines, on shared folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hooks.store import Activations
from probes.controls import content_accuracy, shuffled_labels
from probes.intervals import Difference, balanced_difference, balanced_interval, holm
from probes.linear import PENALTIES, Prediction, fit_predict
from probes.over_sites import COMPONENTS, over_sites
from probes.splits import Fold, grouped_folds
from probes.targets import Readable, target_of
from stimuli.errors import InputError
from stimuli.tables import Table


@dataclass(frozen=True)
class SweepResult:
    """What a linear probe finds at each site."""

    target: str
    table: Table
    """One row per site (and baseline): balanced accuracy ``score`` with ``low`` and ``high``, shuffled-label ``control``,
    ``content``, ``chance``, ``majority``, ``selectivity`` = score − control, sizes, and ``dead_end``: the model's answer does not
    depend on this site."""
    predictions: Mapping[str, Prediction] = field(repr=False)
    labels: np.ndarray = field(repr=False)
    groups: np.ndarray = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    dropped: int
    """Stimuli that the target has no label for."""
    seed: int
    n_boot: int

    def row(self, site: str) -> dict[str, Any]:
        """The row of a site."""
        return next(row for row in self.table if row["site"] == site)

    def hits(self, site: str) -> np.ndarray:
        """Bool (n,): where the out-of-fold prediction is right."""
        return np.asarray(self.predictions[site].predicted == self.labels)

    def best(self, component: str | None = None) -> str | None:
        """The site of the highest score, of one component or of all; dead ends do not count."""
        asked = COMPONENTS if component is None else (component,)
        rows = [r for r in self.table if r["component"] in asked and not r.get("dead_end")]
        return max(rows, key=lambda row: row["score"])["site"] if rows else None

    def compare(self, a: str, b: str) -> Difference:
        """Change in score from site ``a`` to site ``b``, paired over the same stimuli."""
        return balanced_difference(self.hits(a), self.hits(b), self.labels, self.groups, self.n_boot, self.seed)


def sweep(
    store: Readable,
    target: str = "distortion",
    taxonomy: str | Path = "paper8",
    seed: int = 0,
    *,
    folds: int = 5,
    sites: Sequence[str] | None = None,
    baselines: Mapping[str, Activations] | None = None,
    inputs: Mapping[str, Activations] | None = None,
    penalties: Sequence[float] = PENALTIES,
    n_boot: int = 1000,
    progress: bool = True,
) -> SweepResult:
    """Probe every site for one target.

    Args:
        store: activations with the stimuli's metadata; labels are joined by stimulus id.
        target: ``distortion`` (the taxonomy's classes), ``type`` or ``level`` (as classes).
        taxonomy: name or file.
        seed: of folds, shuffles and resamples.
        folds: outer folds, by reference.
        sites: which; all by default.
        baselines: further features to probe on the same folds, by name (``pixel-statistics``, ``random-weights``).
        inputs: features that stand in for the store's at the sites of that name, such as pixel statistics at ``pixels`` and
            ``processed`` (``sn.input_statistics``); without ``sites``, also at sites that the store lacks.
        penalties: candidates for the probe's L2 penalty.
        n_boot: resamples of references for the intervals.
        progress: show a progress bar.

    Returns:
        The result; every interval is over references.

    Raises:
        InputError: unknown target, too few references, or activations that are not finite (the site is named).
    """
    wanted = target_of(store, target, taxonomy)
    labels, groups, ids = wanted.values, wanted.groups, wanted.ids
    split = grouped_folds(labels, groups, folds, seed)
    predictions: dict[str, Prediction] = {}

    def measure(site: str, values: np.ndarray) -> dict[str, Any]:
        predictions[site], row = _probe(values, labels, groups, split, penalties, seed, n_boot)
        return row

    table = over_sites(store, wanted, measure, sites=sites, baselines=baselines, inputs=inputs, progress=progress)
    return SweepResult(target, table, predictions, labels, groups, ids, wanted.dropped, seed, n_boot)


def _probe(
    values: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    split: Sequence[Fold],
    penalties: Sequence[float],
    seed: int,
    n_boot: int,
) -> tuple[Prediction, dict[str, Any]]:
    found = fit_predict(values, labels, groups, split, penalties=penalties, seed=seed)
    middle = [float(np.median(found.penalties))]
    shuffled = shuffled_labels(labels, groups, seed)
    lost = fit_predict(values, shuffled, groups, split, penalties=middle, seed=seed)
    score = balanced_interval(found.predicted == labels, labels, groups, n_boot, seed)
    control = balanced_interval(lost.predicted == shuffled, shuffled, groups, n_boot, seed)
    content, content_chance = content_accuracy(values, groups, seed)
    counts = np.unique(labels, return_counts=True)[1]
    row = {
        "n": len(labels),
        "references": len(np.unique(groups)),
        "score": score.value,
        "low": score.low,
        "high": score.high,
        "accuracy": float(np.mean(found.predicted == labels)),
        "control": control.value,
        "control_low": control.low,
        "control_high": control.high,
        "selectivity": score.value - control.value,
        "content": content,
        "content_chance": content_chance,
        "chance": 1 / len(counts),
        "majority": float(counts.max() / counts.sum()),
        "penalty": middle[0],
    }
    return found, row


def lost(result: SweepResult, read_layer: str) -> Table:
    """Where the score changes along the way, as consecutive paired comparisons with Holm's correction.

    Three steps: best vision site → the one the projector reads; that one → the projector; the projector → the best site of
    the language model. Without a projector the last two are one.

    Args:
        result: a sweep.
        read_layer: the vision site that the projector reads.

    Returns:
        Rows with ``from``, ``to``, ``component``, ``change``, ``low``, ``high``, ``p``, ``p_holm``.
    """
    carried = "projector" if "projector" in result.predictions else read_layer
    steps = [
        (result.best("vision"), read_layer, "vision"),
        *([(read_layer, carried, "projector")] if carried != read_layer else []),
        (carried, result.best("llm"), "llm"),
    ]
    rows: Table = []
    for start, end, component in steps:
        if start in result.predictions and end in result.predictions and start is not None and end is not None:
            change = result.compare(start, end)
            row = {"from": start, "to": end, "component": component, "change": change.value}
            rows.append({**row, "low": change.low, "high": change.high, "p": 1.0 if start == end else change.p})
    for row, p in zip(rows, holm([row["p"] for row in rows]) if rows else [], strict=True):
        row["p_holm"] = p
    return rows


def compare_runs(before: SweepResult, after: SweepResult) -> Table:
    """Change in score per site between two runs on the same stimuli, paired over references, Holm over sites.

    Raises:
        InputError: the runs are not over the same stimuli and labels.
    """
    if before.ids != after.ids:
        raise InputError("The two runs are over different stimuli, so they cannot be paired. Extract both from the same set.")
    if before.target != after.target or not np.array_equal(before.labels, after.labels):
        raise InputError(
            f"The two runs have other labels (target '{before.target}' and target '{after.target}'), so they cannot be "
            "paired. Sweep both for the same target and taxonomy."
        )
    rows: Table = []
    for site in before.predictions:
        if site in after.predictions:
            change = balanced_difference(
                before.hits(site), after.hits(site), before.labels, before.groups, before.n_boot, before.seed
            )
            scores = {"before": before.row(site)["score"], "after": after.row(site)["score"]}
            rows.append({"site": site, **scores, "change": change.value, "low": change.low, "high": change.high, "p": change.p})
    for row, p in zip(rows, holm([row["p"] for row in rows]) if rows else [], strict=True):
        row["p_holm"] = p
    return rows
