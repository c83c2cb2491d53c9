"""How much of a number can be read at each site: measured severity, opinion score, level, or a column of the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hooks.activations import Activations
from probes import linear, ordinal, ridge, weighted
from probes.controls import content_accuracy, shuffled_labels
from probes.intervals import Difference, Interval, group_counts, resamples
from probes.over_sites import best_site, over_sites
from probes.resampled import score_change, score_interval
from probes.splits import Fold, grouped_folds
from probes.targets import Labels, Readable, Target, target_of
from probes.weighted import Statistic
from stimuli.distortions import TYPES
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Table

STATISTICS: Mapping[str, Statistic] = {
    "score": weighted.spearman, "plcc": weighted.pearson, "rmse": weighted.rmse, "r2": weighted.r2,
}  # fmt: skip
BOUNDS = {"rmse": (0.0, np.inf), "r2": (-np.inf, 1.0)}
"""Of the statistics that are no correlations."""
LEAST = 4
"""Stimuli of a type below which it has no correlation of its own."""


@dataclass(frozen=True, repr=False)
class SeverityResult(Result):
    """How well numbers are predicted out of fold at each site; intervals are over references."""

    target: str
    table: Table
    """One row per site (and baseline): ``score``, the SRCC with ``low`` and ``high``; ``plcc``, ``rmse`` (in the target's unit) and
    ``r2`` with theirs; ``within_type``, the mean over types of the SRCC among the stimuli of one type; ``control``, the SRCC of a
    probe of numbers shuffled within each reference; ``type_only``, the SRCC of what the type alone tells; ``chance``, ``content``,
    ``selectivity`` = score − control, sizes, ``penalty`` and ``dead_end``."""
    by_type: Table
    """Rows with ``site``, ``type``, ``n``, ``score``, ``low`` and ``high``: the SRCC among the stimuli of one type."""
    predictions: Mapping[str, np.ndarray] = field(repr=False)
    """Site to (n,)."""
    truth: np.ndarray = field(repr=False)
    types: np.ndarray = field(repr=False)
    """(n,), ``clean`` for a clean image."""
    groups: np.ndarray = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    dropped: int
    """Stimuli that have no such number."""
    seed: int
    n_boot: int
    folds: int

    def row(self, site: str) -> dict[str, Any]:
        """The row of a site."""
        return next(row for row in self.table if row["site"] == site)

    def best(self, component: str | None = None) -> str | None:
        """The site of the highest score, of one component or of all; see ``probes.over_sites.best_site``."""
        return best_site(self.table, component)

    def compare(self, a: str, b: str) -> Difference:
        """Change in SRCC from site ``a`` to site ``b``, paired over the same stimuli."""
        number, weights = _weights(self.groups, self.n_boot, self.seed)
        before, after = (weighted.spearman(self.predictions[site], self.truth, number, weights) for site in (a, b))
        return score_change(after - before, self.folds, self.groups)


def severity_sweep(
    store: Readable,
    target: str = "severity",
    seed: int = 0,
    *,
    labels: Labels | None = None,
    folds: int = 5,
    sites: Sequence[str] | None = None,
    baselines: Mapping[str, Activations] | None = None,
    inputs: Mapping[str, Activations] | None = None,
    penalties: Sequence[float] | None = None,
    n_boot: int = 1000,
    progress: bool = True,
) -> SeverityResult:
    """Probe every site for a number.

    Between types, type and severity go together: a probe that knows the type alone predicts some of the severity. ``within_type``
    is free of that, and ``type_only`` says how much it is.

    Args:
        store: activations with the stimuli's metadata.
        target: ``severity`` (measured: SSIM, or PSNR without the clean images), ``psnr``, ``ssim``, ``mos`` or a column of numbers, by
            ridge regression; or ``level``, by proportional odds: 0 for a clean image, and no signed types, whose levels have no
            order of severity.
        seed: of folds, shuffles and resamples.
        labels: the user's own numbers by stimulus id, or a CSV file with the columns ``id`` and ``target``.
        folds: outer folds, by reference.
        sites: which; all by default.
        baselines: further features by name, probed on the same folds.
        inputs: features that stand in for the store's at the sites of that name.
        penalties: candidates for the L2 penalty; by default those of ``probes.ridge`` or, for levels, of ``probes.linear``.
        n_boot: resamples of references.
        progress: show a progress bar.

    Raises:
        InputError: the stimuli have no such number, too few references, or activations that are not finite (the site is named).
    """
    by_level = target == "level" and labels is None
    wanted = target_of(store, target, labels=_levels(store) if by_level else labels, kind="numbers")
    types = np.array([_type(store.metadata(id)) for id in wanted.ids])
    split = grouped_folds(
        wanted.strata if not by_level else wanted.values.astype(str), wanted.groups, folds, seed, strict=False
    )
    probe = _Probe(wanted, types, split, by_level, penalties, seed, n_boot)
    predictions: dict[str, np.ndarray] = {}
    by_type: Table = []

    def measure(site: str, values: np.ndarray) -> dict[str, Any]:
        predictions[site], row, own = probe(values)
        by_type.extend({"site": site, **line} for line in own)
        return row

    table = over_sites(store, wanted, measure, sites=sites, baselines=baselines, inputs=inputs, progress=progress)
    return SeverityResult(
        target,
        table,
        by_type,
        predictions,
        wanted.values,
        types,
        wanted.groups,
        wanted.ids,
        wanted.dropped,
        seed,
        n_boot,
        folds,
    )


@dataclass(frozen=True)
class _Probe:
    """From the rows of a site to predictions and what they are worth."""

    target: Target
    types: np.ndarray
    split: Sequence[Fold]
    by_level: bool
    penalties: Sequence[float] | None
    seed: int
    n_boot: int

    def __call__(self, values: np.ndarray) -> tuple[np.ndarray, dict[str, Any], Table]:
        truth, groups = self.target.values, self.target.groups
        shuffled = shuffled_labels(truth, groups, self.seed)
        found, lost, penalty = self._by_order(values, shuffled) if self.by_level else self._by_ridge(values, shuffled)
        number, weights = _weights(groups, self.n_boot, self.seed)
        row: dict[str, Any] = {"n": len(truth), "references": len(np.unique(groups))}
        for name, statistic in STATISTICS.items():
            row |= _columns(name, self._interval(statistic(found, truth, number, weights), *BOUNDS.get(name, (-1.0, 1.0))))
        by_type, mean = self._within_types(found, number, weights)
        control = self._interval(weighted.spearman(lost, shuffled, number, weights))
        content, content_chance = content_accuracy(values, groups, self.seed)
        row |= {**_columns("within_type", mean), "types": len(by_type), **_columns("control", control)}
        row |= {"selectivity": row["score"] - control.value, "type_only": self._type_only(number, weights), "chance": 0.0}
        return found, {**row, "content": content, "content_chance": content_chance, "penalty": penalty}, by_type

    def _by_ridge(self, values: np.ndarray, shuffled: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Predictions, those of the control, and the middle penalty; both share the decompositions."""
        both = np.stack([self.target.values, shuffled], 1)
        found = ridge.fit_predict(values, both, self.target.groups, self.split, penalties=self.penalties or ridge.PENALTIES)
        return found.predicted[:, 0], found.predicted[:, 1], float(np.median(found.penalties[:, 0]))

    def _by_order(self, values: np.ndarray, shuffled: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """The same of levels, as the mean level under the predicted probabilities."""
        truth, groups, candidates = self.target.values, self.target.groups, self.penalties or linear.PENALTIES
        found = ordinal.fit_predict(values, truth, groups, self.split, penalties=candidates, seed=self.seed)
        middle = float(np.median(found.penalties))
        lost = ordinal.fit_predict(values, shuffled, groups, self.split, penalties=[middle], seed=self.seed)
        return found.expected, lost.expected, middle

    def _within_types(self, found: np.ndarray, number: np.ndarray, weights: np.ndarray) -> tuple[Table, Interval]:
        """The SRCC within each type whose numbers differ, and its mean over these types in every resample that has it."""
        rows: Table = []
        draws = []
        for type in np.unique(self.types):
            own = np.flatnonzero(self.types == type)
            truth = self.target.values[own]
            if type != "clean" and len(own) >= LEAST and np.ptp(truth) > 0 and np.ptp(found[own]) > 0:
                draws.append(weighted.spearman(found[own], truth, number[own], weights))
                rows.append({"type": str(type), "n": len(own), **_columns("score", self._interval(draws[-1]))})
        if not draws:
            return rows, Interval(*[float("nan")] * 3)
        known = np.isfinite(draws)
        total = np.where(known, draws, 0.0).sum(0)
        return rows, self._interval(np.divide(total, known.sum(0), out=np.full(len(total), np.nan), where=known.any(0)))

    def _interval(self, draws: np.ndarray, least: float = -1.0, most: float = 1.0) -> Interval:
        return score_interval(draws, len(self.split), least, most)

    def _type_only(self, number: np.ndarray, weights: np.ndarray) -> float:
        """The SRCC of the training references' mean number of each type."""
        truth, guess = self.target.values, np.empty(len(self.types))
        for train, test in self.split:
            means = {t: truth[train][self.types[train] == t].mean() for t in np.unique(self.types[train])}
            guess[test] = [means.get(t, truth[train].mean()) for t in self.types[test]]
        return float(weighted.spearman(guess, truth, number, weights[:1])[0])


def _levels(store: Readable) -> dict[str, int | None]:
    """The level of each stimulus: 0 where nothing was changed, None of a signed type or without a level."""
    found: dict[str, int | None] = {}
    for id in store.ids:
        about = store.metadata(id)
        parts = (about["type"] or "").split("+")
        signed = any(part in TYPES and TYPES[part].neutral is not None for part in parts)
        found[id] = 0 if about["type"] is None or about.get("is_identity") else None if signed else about.get("level")
    if len({level for level in found.values() if level is not None}) < 2:
        raise InputError(
            "The target 'level' needs two or more levels of types that are not signed (0 is a clean image). Show more levels, or "
            "take the measured severity: target='severity'."
        )
    return found


def _type(about: Mapping[str, Any]) -> str:
    return "clean" if about.get("type") is None or about.get("is_identity") else str(about["type"])


def _weights(groups: np.ndarray, n_boot: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Group numbers, and how often each group counts: once in the first row, then in every resample."""
    number, count = group_counts(groups)
    return number, np.vstack([np.ones((1, count)), resamples(count, n_boot, seed)])


def _columns(name: str, found: Interval) -> dict[str, float]:
    ends = ("low", "high") if name == "score" else (f"{name}_low", f"{name}_high")
    return {name: found.value, ends[0]: found.low, ends[1]: found.high}
