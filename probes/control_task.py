"""A control task (Hewitt and Liang 2019) for images: random labels that a probe can only have learnt by heart.

In their control task every word type has one random output, the same in training and test: a probe that does well on it has the
capacity to memorise, and only what the task scores beyond it (``selectivity``) speaks for the representation. For images the
part of the word type is played by a *key* that comes back on other references. It must: a key of its own for every image, or
for every reference, never comes back where folds are by reference, so that its control is at chance and selectivity is trivially
the greatest; such a key is refused.

* ``cell`` (distortion type × level; clean images are one cell) controls for learning cells by heart. Every class of a distortion
  taxonomy is a set of cells, so the site must tell cells apart for the task too. High selectivity: the site groups the cells as
  the classes do, and a random grouping is harder to read. Low selectivity at a high score: the cells are so far
  apart that any grouping of them can be read; the site then holds the distortion in full, but the score says nothing about the
  classes as such. Low selectivity is no sign of missing information.
* a content key (shape, colour, ``content_clusters``) controls for learning content by heart. It is independent of distortion by
  design, so that a high control score says how well this probe memorises whatever else the site holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hooks.activations import Activations
from probes.controls import classes_of
from probes.intervals import Difference, Interval, group_counts, holm
from probes.linear import fit_predict
from probes.over_sites import over_sites
from probes.resampled import accuracy_draws, score_change, score_interval
from probes.scale import scaled
from probes.splits import Fold, grouped_folds
from probes.targets import Labels, Readable, Target, target_of
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Row, Table

PENALTIES = (10.0, 100.0)
"""Candidates; two are enough for a comparison of tasks under one probe, and keep many assignments cheap."""
LEAST_RECURRING = 0.5
"""Share of held-out rows whose key a probe must have met in training."""


@dataclass(frozen=True)
class Selectivity:
    """A task against its control task, on the same rows, folds and resamples."""

    score: Interval
    """Balanced accuracy of the task."""
    control: Interval
    """Mean balanced accuracy over the random assignments."""
    spread: float
    """Standard deviation of the control over assignments."""
    selectivity: Difference
    """``score`` − ``control``, paired."""
    chance: float
    """Of the control: mean of 1 / its classes."""
    keys: int
    recurs: float
    """Share of held-out rows whose key stands in the training rows of their fold; no control score is due to keys beyond it."""


@dataclass(frozen=True, repr=False)
class ControlTaskResult(Result):
    """Selectivity at every site."""

    target: str
    key: str
    table: Table
    """One row per site: ``score``, ``control`` and ``selectivity`` with ``low`` and ``high``, ``control_spread``, ``control_chance``,
    ``p`` and ``p_holm`` of selectivity (over sites), ``keys``, ``recurs``, ``assignments``."""

    def row(self, site: str) -> Row:
        """The row of a site."""
        return next(row for row in self.table if row["site"] == site)


def control_labels(keys: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """A random class for every key, the same wherever the key stands, with the classes' shares as near as whole keys allow.

    Hewitt and Liang draw each key's output from the empirical distribution, independently. With few keys that leaves classes out
    and shifts the chance level, so the draw here is systematic: keys in random order cut the line from 0 to 1 by their number of
    rows, classes in random order cut it by theirs, and a key takes the class at its middle.

    Args:
        keys: (n,).
        labels: (n,) classes of the task.
        seed: of the assignment.

    Returns:
        (n,), classes of ``labels``, at least two of them.

    Raises:
        InputError: fewer than two keys.
    """
    rng = np.random.default_rng([seed, 66])
    _, key, rows = np.unique(keys, return_inverse=True, return_counts=True)
    classes, count = np.unique(labels, return_counts=True)
    if len(rows) < 2:
        raise InputError(f"A control task needs at least 2 keys, got {len(rows)}. Give a key that tells stimuli apart.")
    order, ranked = rng.permutation(len(rows)), rng.permutation(len(classes))
    middle = np.empty(len(rows))
    middle[order] = (np.cumsum(rows[order]) - rows[order] / 2) / len(key)
    ends = np.cumsum(count[ranked]) / len(key)
    at = np.minimum(np.searchsorted(ends, middle, side="right"), len(classes) - 1)
    if len(np.unique(at)) < 2:  # one key or one class fills nearly everything
        at[order[-1]] = (at[order[-1]] + 1) % len(classes)
    return np.asarray(classes[ranked][at][key])


def recurring(keys: np.ndarray, folds: Sequence[Fold]) -> float:
    """Share of held-out rows whose key stands in the training rows of their fold, from 0 (unlearnable) to 1."""
    keys = np.asarray(keys)
    return float(np.mean(np.concatenate([np.isin(keys[test], keys[train]) for train, test in folds])))


def content_clusters(features: np.ndarray, groups: np.ndarray, clusters: int = 8, seed: int = 0) -> np.ndarray:
    """A content key: references clustered by the mean of their standardised features (k-means, Lloyd 1982).

    Args:
        features: (n, d) what tells content apart, such as a semantic site or pixel statistics.
        groups: (n,) references; every stimulus of one gets the same key.
        clusters: how many; two references per cluster at least are needed for a key to come back.
        seed: of the starts.

    Returns:
        (n,) int, cluster of each row.

    Raises:
        InputError: more clusters than half the references.
    """
    from sklearn.cluster import KMeans

    number, n_groups = group_counts(groups)
    if not 2 <= clusters <= n_groups // 2:
        raise InputError(
            f"Got {clusters} content clusters for {n_groups} references. Expected 2 to {n_groups // 2}, so that a cluster comes back "
            "on other references. Set clusters accordingly, or show more references."
        )
    features = scaled(features)
    z = (features - features.mean(0)) / np.maximum(features.std(0), 1e-9)
    means = np.stack([z[number == group].mean(0) for group in range(n_groups)])
    return np.asarray(KMeans(clusters, n_init=10, random_state=seed).fit_predict(means)[number])


def selectivity(
    values: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    keys: np.ndarray,
    folds: Sequence[Fold],
    *,
    assignments: int = 5,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
    n_boot: int = 1000,
) -> Selectivity:
    """Score of a task minus the mean score of its control tasks, by the same probe on the same folds.

    Args:
        values: (n, d).
        labels: (n,) classes.
        groups: (n,) references.
        keys: (n,) what the control labels are a function of.
        folds: outer folds by reference.
        assignments: random assignments of classes to keys.
        penalties: candidates, chosen between anew for every task by inner folds.
        seed: of assignments, inner folds and resamples.
        n_boot: resamples of references, shared by task and controls.

    Raises:
        InputError: keys that do not come back on other references, or fewer than two of them.
    """
    recurs = recurring(keys, folds)
    if recurs < LEAST_RECURRING:
        raise InputError(
            f"The control key comes back in training for {recurs:.0%} of the held-out stimuli; expected at least {LEAST_RECURRING:.0%}. "
            "A control that cannot be learnt makes any score look selective. Use key='cell', or a column that several references share."
        )

    def scores(task: np.ndarray) -> np.ndarray:
        found = fit_predict(values, task, groups, folds, penalties=penalties, seed=seed)
        return accuracy_draws(found.predicted == task, task, groups, n_boot, seed)

    tasks = [control_labels(keys, labels, seed + 1000 * draw) for draw in range(assignments)]
    own, controls = scores(np.asarray(labels)), np.stack([scores(task) for task in tasks])  # (1 + b,), (assignments, 1 + b)
    control, k = controls.mean(0), len(folds)
    return Selectivity(
        score=score_interval(own, k),
        control=score_interval(control, k),
        spread=float(controls[:, 0].std(ddof=1)) if assignments > 1 else float("nan"),
        selectivity=score_change(own - control, k, groups),
        chance=float(np.mean([1 / len(np.unique(task)) for task in tasks])),
        keys=len(np.unique(keys)),
        recurs=recurs,
    )


def control_task(
    store: Readable,
    target: str = "distortion",
    taxonomy: str | Path = "paper8",
    *,
    labels: Labels | None = None,
    key: str | Mapping[str, Any] = "cell",
    assignments: int = 5,
    folds: int = 5,
    sites: Sequence[str] | None = None,
    baselines: Mapping[str, Activations] | None = None,
    inputs: Mapping[str, Activations] | None = None,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
    n_boot: int = 1000,
    progress: bool = True,
) -> ControlTaskResult:
    """Selectivity at every site.

    Args:
        store: activations with the stimuli's metadata.
        target: classes, as for the sweep.
        taxonomy: name or file.
        labels: the user's own, by stimulus id.
        key: ``cell`` (distortion type × level), a column of the metadata (as for ``target``), or stimulus id to key.
        assignments: random assignments of classes to keys.
        folds: outer folds, by reference.
        sites: which; all by default.
        baselines: further features by name.
        inputs: features that stand in for the store's at the sites of that name.
        penalties: candidates for the probe's L2 penalty.
        seed: of folds, assignments and resamples.
        n_boot: resamples of references.
        progress: show a progress bar.

    Raises:
        InputError: a target of numbers, a stimulus without a key, or keys that do not come back on other references.
    """
    wanted = classes_of(store, target, taxonomy, labels)
    keys = _keys(store, wanted, key)
    split = grouped_folds(wanted.values, wanted.held, folds, seed)

    def measure(site: str, values: np.ndarray) -> Row:
        found = selectivity(values, wanted.values, wanted.held, keys, split, assignments=assignments, penalties=penalties,
                            seed=seed, n_boot=n_boot)  # fmt: skip
        return {**_columns(found), "assignments": assignments}

    table = over_sites(
        store, wanted, measure, sites=sites, baselines=baselines, inputs=inputs, progress=progress, desc="control"
    )
    for row, p in zip(table, holm([row["p"] for row in table]), strict=True):
        row["p_holm"] = p
    return ControlTaskResult(target, key if isinstance(key, str) else "given", table)


def _columns(found: Selectivity) -> Row:
    row: Row = {}
    for name, value in (("score", found.score), ("control", found.control), ("selectivity", found.selectivity)):
        row |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
    row |= {"control_spread": found.spread, "control_chance": found.chance, "p": found.selectivity.p}
    return {**row, "keys": found.keys, "recurs": found.recurs}


def _keys(store: Readable, wanted: Target, key: str | Mapping[str, Any]) -> np.ndarray:
    """The key of every stimulus of the target."""
    if key == "cell":
        about = [store.metadata(id) for id in wanted.ids]
        return np.array(["clean" if row.get("type") is None else f"{row['type']}/{row.get('level')}" for row in about])
    if isinstance(key, str):
        column = target_of(store, key, kind="classes")
        given: Mapping[str, Any] = dict(zip(column.ids, column.values.tolist(), strict=True))
    else:
        given = key
    missing = [id for id in wanted.ids if given.get(id) is None]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(wanted.ids)} stimuli have no control key (first: {missing[0]}). Expected one each. Give them, or "
            "use key='cell'."
        )
    return np.array([str(given[id]) for id in wanted.ids])
