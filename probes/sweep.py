"""The sweep: a probe at every site, with intervals over references, controls and baselines, on shared folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hooks.activations import Activations
from probes.controls import content_accuracy, shuffled_labels
from probes.differences import best_sites, site_differences
from probes.intervals import Difference, Interval, balanced_difference, balanced_interval, holm
from probes.linear import PENALTIES, Prediction, fit_predict
from probes.over_sites import best_site, over_sites
from probes.splits import Fold, repeated_folds
from probes.targets import Labels, Readable, Target, target_of
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Table

MANY = 10_000
"""Resamples for p-values that Holm multiplies by the number of sites: the smallest is 2 in their number."""


@dataclass(frozen=True, repr=False)
class SweepResult(Result):
    """What a linear probe finds at each site."""

    target: str
    table: Table
    """One row per site (and baseline): balanced accuracy ``score`` with ``low`` and ``high``, shuffled-label ``control``,
    ``content``, ``chance``, ``majority``, ``selectivity`` = score − control, sizes, and ``dead_end``: the model's answer does not
    depend on this site."""
    predictions: Mapping[str, Prediction] = field(repr=False)
    """Of the first repeat."""
    labels: np.ndarray = field(repr=False)
    groups: np.ndarray = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    dropped: int
    """Stimuli that the target has no label for."""
    seed: int
    n_boot: int
    folds: int | None = None
    """How many; None if nothing was trained."""
    repeated: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    """Site to the share of repeats that were right, (n,), where there were several."""

    def row(self, site: str) -> dict[str, Any]:
        """The row of a site."""
        return next(row for row in self.table if row["site"] == site)

    def hits(self, site: str) -> np.ndarray:
        """(n,): where the out-of-fold prediction is right, bool; the share of the repeats where there were several."""
        return self.repeated[site] if site in self.repeated else np.asarray(self.predictions[site].predicted == self.labels)

    def best(self, component: str | None = None) -> str | None:
        """The site of the highest score, of one component or of all; see ``probes.over_sites.best_site``."""
        return best_site(self.table, component)

    def compare(self, a: str, b: str) -> Difference:
        """Change in score from site ``a`` to site ``b``, paired over the same stimuli."""
        return balanced_difference(
            self.hits(a), self.hits(b), self.labels, self.groups, self.n_boot, self.seed, folds=self.folds
        )

    def differences(self, against: str = "best") -> Table:
        """Every site against another, paired, with Holm over sites; see ``probes.differences.site_differences``."""
        return site_differences({site: self.hits(site) for site in self.predictions}, self.labels, self.groups, against,
                                n_boot=max(self.n_boot, MANY), seed=self.seed, folds=self.folds)  # fmt: skip

    def best_sites(self) -> Table:
        """Which sites cannot be told from the best; see ``probes.differences.best_sites``."""
        return best_sites({site: self.hits(site) for site in self.predictions}, self.labels, self.groups,
                          n_boot=max(self.n_boot, MANY), seed=self.seed, folds=self.folds)  # fmt: skip


def sweep(
    store: Readable,
    target: str = "distortion",
    taxonomy: str | Path = "paper8",
    seed: int = 0,
    *,
    labels: Labels | None = None,
    folds: int = 5,
    repeats: int = 1,
    sites: Sequence[str] | None = None,
    baselines: Mapping[str, Activations] | None = None,
    inputs: Mapping[str, Activations] | None = None,
    penalties: Sequence[float] = PENALTIES,
    estimator: Any = None,
    n_boot: int = 1000,
    progress: bool = True,
) -> SweepResult:
    """Probe every site for the class that the target gives each stimulus.

    Args:
        store: activations with the stimuli's metadata; labels are joined by stimulus id.
        target: ``distortion`` (the taxonomy's classes), ``type``, ``level``, ``reference`` (which image it is, held out by type), or a
            column of classes (``probes.targets.target_of``). Numbers are ``severity_sweep``'s.
        taxonomy: name or file.
        seed: of folds, shuffles and resamples.
        labels: the user's own by stimulus id, or a CSV file with the columns ``id`` and ``target``.
        folds: outer folds, by reference.
        repeats: of the folds, each shared out anew; scores are their mean.
        sites: which; all by default.
        baselines: further features to probe on the same folds, by name (``pixel-statistics``, ``random-weights``).
        inputs: features that stand in for the store's at the sites of that name, such as pixel statistics at ``pixels`` and
            ``processed`` (``sn.input_statistics``); without ``sites``, also at sites that the store lacks.
        penalties: candidates for the probe's L2 penalty.
        estimator: a scikit-learn classifier in the place of the linear probe; it chooses its own settings.
        n_boot: resamples of references for the intervals.
        progress: show a progress bar.

    Returns:
        The result; every interval is over references, and wide enough for probes that were trained (``probes.intervals.widening``).

    Raises:
        InputError: unknown target, a target of numbers, too few references, or activations that are not finite (the site is named).
    """
    wanted = target_of(store, target, taxonomy, labels)
    if wanted.kind == "numbers":
        raise InputError(
            f"The target '{target}' has {len(np.unique(wanted.values))} different numbers; expected classes. Use sn.severity_sweep, which "
            "predicts numbers."
        )
    split = repeated_folds(wanted.values, wanted.held, folds, repeats, seed)
    probe = _Probe(wanted, split, penalties, estimator, seed, n_boot)
    predictions: dict[str, Prediction] = {}
    repeated: dict[str, np.ndarray] = {}

    def measure(site: str, values: np.ndarray) -> dict[str, Any]:
        found, row = probe(values)
        predictions[site] = found[0]
        if repeats > 1:
            repeated[site] = probe.hits(found)
        return row

    table = over_sites(store, wanted, measure, sites=sites, baselines=baselines, inputs=inputs, progress=progress)
    return SweepResult(target, table, predictions, wanted.values, wanted.groups, wanted.ids, wanted.dropped, seed, n_boot, folds,
                       repeated)  # fmt: skip


@dataclass(frozen=True)
class _Probe:
    """From the rows of a site to predictions and what they are worth."""

    target: Target
    repeats: Sequence[Sequence[Fold]]
    penalties: Sequence[float]
    estimator: Any
    seed: int
    n_boot: int

    def __call__(self, values: np.ndarray) -> tuple[list[Prediction], dict[str, Any]]:
        labels, groups = self.target.values, self.target.groups
        found = [self._predicted(values, labels, folds, self.penalties) for folds in self.repeats]
        middle = float(np.median([penalty for each in found for penalty in each.penalties]))
        shuffled = shuffled_labels(labels, self.target.held, self.seed)
        lost = self._predicted(values, shuffled, self.repeats[0], self.penalties if np.isnan(middle) else [middle])
        score, control = self._interval(self.hits(found), labels), self._interval(lost.predicted == shuffled, shuffled)
        content, content_chance = content_accuracy(values, groups, self.seed)
        counts = np.unique(labels, return_counts=True)[1]
        row = {
            "n": len(labels),
            "references": len(np.unique(groups)),
            "score": score.value,
            "low": score.low,
            "high": score.high,
            "accuracy": float(np.mean(self.hits(found))),
            "control": control.value,
            "control_low": control.low,
            "control_high": control.high,
            "selectivity": score.value - control.value,
            "content": content,
            "content_chance": content_chance,
            "chance": 1 / len(counts),
            "majority": float(counts.max() / counts.sum()),
            "penalty": middle,
        }
        return found, row

    def hits(self, found: Sequence[Prediction]) -> np.ndarray:
        """(n,): right or not, or the share of several repeats."""
        hits = [each.predicted == self.target.values for each in found]
        return hits[0] if len(hits) == 1 else np.mean(hits, axis=0)

    def _predicted(
        self, values: np.ndarray, labels: np.ndarray, folds: Sequence[Fold], penalties: Sequence[float]
    ) -> Prediction:
        more: dict[str, Any] = {"penalties": penalties, "seed": self.seed, "estimator": self.estimator}
        return fit_predict(values, labels, self.target.held, folds, **more)

    def _interval(self, hits: np.ndarray, labels: np.ndarray) -> Interval:
        return balanced_interval(hits, labels, self.target.groups, self.n_boot, self.seed, folds=len(self.repeats[0]))


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
                before.hits(site), after.hits(site), before.labels, before.groups, max(before.n_boot, MANY), before.seed,
                folds=before.folds,
            )  # fmt: skip
            scores = {"before": before.row(site)["score"], "after": after.row(site)["score"]}
            rows.append({"site": site, **scores, "change": change.value, "low": change.low, "high": change.high, "p": change.p})
    for row, p in zip(rows, holm([row["p"] for row in rows]) if rows else [], strict=True):
        row["p_holm"] = p
    return rows
