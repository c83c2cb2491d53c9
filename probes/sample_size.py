"""The sample-size curve: would more references raise the score?

A score that still climbs at the largest training set is limited by the data, and a low one then says little about the site. The
subsets are nested, so that steps of the curve compare a probe with itself on more of the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hooks.activations import Activations
from probes.controls import classes_of
from probes.intervals import Difference, Interval, holm
from probes.linear import fit_predict
from probes.over_sites import over_sites
from probes.resampled import accuracy_draws, score_change, score_interval
from probes.splits import Fold, grouped_folds
from probes.targets import Labels, Readable
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Row, Table

PENALTIES = (10.0, 100.0)
FRACTIONS = (0.125, 0.25, 0.5, 1.0)
"""Of the training references; each step doubles them."""


@dataclass(frozen=True)
class Step:
    """The score at one number of training references."""

    fraction: float
    references: float
    """In training, mean over folds."""
    score: Interval
    """Mean over draws; the interval is over held-out references."""
    spread: float
    """Standard deviation of the score over draws of training references; 0 where all of them are taken."""
    gain: Difference | None
    """Paired change from the step before; None at the first."""


@dataclass(frozen=True, repr=False)
class SampleSizeResult(Result):
    """The sample-size curve of every site."""

    target: str
    table: Table
    """Rows per site and size: ``fraction``, ``references`` in training, ``score``, ``low``, ``high``, ``spread``, and ``gain`` from the
    step before with ``gain_low``, ``gain_high`` and ``gain_p``."""
    last: Table
    """One row per site: the last step's ``gain`` with interval, ``p`` and ``p_holm`` over sites, and ``limited``: a gain with ``p_holm``
    below 0.05, so that more references would probably help. Such a p needs more than 40 resamples per site."""

    def curve(self, site: str) -> Table:
        """The rows of a site, from few references to all."""
        return [row for row in self.table if row["site"] == site]


def subset(train: np.ndarray, groups: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Training rows of the first references in a random order; a larger fraction of the same seed contains a smaller one.

    Args:
        train: row numbers.
        groups: (n,) references of all rows.
        fraction: of the training references, above 0 to 1; rounded up.
        seed: of the order.

    Returns:
        Row numbers, those of whole references.
    """
    names = np.unique(np.asarray(groups)[train])
    order = np.random.default_rng([seed, 88]).permutation(len(names))
    kept = names[order[: max(1, int(np.ceil(round(fraction * len(names), 9))))]]
    return train[np.isin(np.asarray(groups)[train], kept)]


def learning_curve(
    values: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    folds: Sequence[Fold],
    *,
    fractions: Sequence[float] = FRACTIONS,
    draws: int = 3,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
    n_boot: int = 1000,
) -> list[Step]:
    """Balanced accuracy on the same held-out rows by probes on more and more training references.

    Args:
        values: (n, d).
        labels: (n,) classes.
        groups: (n,) references.
        folds: outer folds by reference; every row is held out once.
        fractions: of each fold's training references, ascending.
        draws: orders of the references; their scores are averaged.
        penalties: candidates, chosen between inside each subset.
        seed: of draws, inner folds and resamples.
        n_boot: resamples of held-out references, shared by all sizes.

    Returns:
        A step per fraction.

    Raises:
        InputError: fractions that do not ascend from above 0 to at most 1.
    """
    if list(fractions) != sorted(set(fractions)) or not fractions or not 0 < fractions[0] <= fractions[-1] <= 1:
        raise InputError(
            f"Got the fractions {list(fractions)}; expected ascending ones above 0 to 1. Give some like {list(FRACTIONS)}."
        )
    steps: list[Step] = []
    before: np.ndarray | None = None
    for fraction in fractions:
        sizes, drawn = [], []
        for draw in range(1 if fraction == 1 else draws):
            part = [(subset(train, groups, fraction, seed + 1000 * draw), test) for train, test in folds]
            found = fit_predict(values, labels, groups, part, penalties=penalties, seed=seed)
            drawn.append(accuracy_draws(found.predicted == labels, labels, groups, n_boot, seed))
            sizes += [len(np.unique(groups[train])) for train, _ in part]
        scores = np.stack(drawn)
        mean = scores.mean(0)
        gain = None if before is None else score_change(mean - before, len(folds), groups)
        spread = float(scores[:, 0].std(ddof=1)) if len(scores) > 1 else 0.0 if fraction == 1 else float("nan")
        steps.append(Step(fraction, float(np.mean(sizes)), score_interval(mean, len(folds)), spread, gain))
        before = mean
    return steps


def sample_size(
    store: Readable,
    target: str = "distortion",
    taxonomy: str | Path = "paper8",
    *,
    labels: Labels | None = None,
    fractions: Sequence[float] = FRACTIONS,
    draws: int = 3,
    folds: int = 5,
    sites: Sequence[str] | None = None,
    baselines: Mapping[str, Activations] | None = None,
    inputs: Mapping[str, Activations] | None = None,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
    n_boot: int = 1000,
    progress: bool = True,
) -> SampleSizeResult:
    """The sample-size curve at every site.

    Args:
        store: activations with the stimuli's metadata.
        target: classes, as for the sweep.
        taxonomy: name or file.
        labels: the user's own, by stimulus id.
        fractions: of the training references, ascending.
        draws: orders of the references.
        folds: outer folds, by reference.
        sites: which; all by default.
        baselines: further features by name.
        inputs: features that stand in for the store's at the sites of that name.
        penalties: candidates for the probe's L2 penalty.
        seed: of folds, draws and resamples.
        n_boot: resamples of references.
        progress: show a progress bar.

    Raises:
        InputError: a target of numbers, or fractions that do not ascend.
    """
    wanted = classes_of(store, target, taxonomy, labels)
    split = grouped_folds(wanted.values, wanted.held, folds, seed)
    curves: dict[str, list[Step]] = {}

    def measure(site: str, values: np.ndarray) -> Row:
        curves[site] = learning_curve(values, wanted.values, wanted.held, split, fractions=fractions, draws=draws,
                                      penalties=penalties, seed=seed, n_boot=n_boot)  # fmt: skip
        return {}

    about = over_sites(
        store, wanted, measure, sites=sites, baselines=baselines, inputs=inputs, progress=progress, desc="sample size"
    )
    table = [{**row, **_columns(step)} for row in about for step in curves[row["site"]]]
    return SampleSizeResult(target, table, _last(about, curves))


def _columns(step: Step) -> Row:
    score, gain = step.score, step.gain
    row: Row = {
        "fraction": step.fraction,
        "references": step.references,
        "score": score.value,
        "low": score.low,
        "high": score.high,
    }
    told = (None,) * 4 if gain is None else (gain.value, gain.low, gain.high, gain.p)
    return {**row, "spread": step.spread, **dict(zip(("gain", "gain_low", "gain_high", "gain_p"), told, strict=True))}


def _last(about: Table, curves: Mapping[str, list[Step]]) -> Table:
    """The last gain of every site that has one."""
    rows: Table = []
    for row in about:
        gain = curves[row["site"]][-1].gain
        if gain is not None:
            numbers = {"gain": gain.value, "low": gain.low, "high": gain.high, "p": gain.p}
            rows.append(
                {
                    "site": row["site"],
                    "component": row["component"],
                    **numbers,
                }
            )
    for row, p in zip(rows, holm([row["p"] for row in rows]) if rows else [], strict=True):
        row |= {"p_holm": p, "limited": row["gain"] > 0 and p < 0.05}
    return rows
