"""From the scores and ranks that a lens gave to a table: where the right word stands, by reference, beside shuffled labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import softmax
from scipy.stats import rankdata

from probes.controls import shuffled_labels
from probes.intervals import (
    Interval,
    balanced_interval,
    group_bootstrap,
    group_counts,
    holm,
    interval,
    paired_difference,
    permutation_p,
    resamples,
)
from stimuli.tables import Row, Table

ALL = "all"
PERMUTATIONS = 499
"""Of the labels, within references, at least: the least p is 0.002."""
TESTED = ("p", "gain_p")


@dataclass(frozen=True)
class Reading:
    """What a lens read at one site and position."""

    logp: np.ndarray
    """float64 (n, k): log-probability of each class's token in the whole vocabulary, in nats."""
    rank: np.ndarray
    """float64 (n, k): its rank in the whole vocabulary, 1 the most probable; ties have their mean rank."""


@dataclass(frozen=True)
class Truth:
    """What is right, and how it is resampled and permuted; the same for all sites."""

    classes: tuple[str, ...]
    labels: np.ndarray
    """int (n,): column of each stimulus's class."""
    groups: np.ndarray
    """(n,): reference of each."""
    twins: np.ndarray
    """int (n,): the clean stimulus of the same reference, itself left out; -1 where there is none."""
    n_boot: int = 1000
    seed: int = 0
    permutations: int = PERMUTATIONS

    @cached_property
    def permuted(self) -> np.ndarray:
        """Int (permutations, n): labels permuted within references."""
        return np.stack([shuffled_labels(self.labels, self.groups, self.seed + 7919 * i) for i in range(self.permutations)])

    @cached_property
    def draws(self) -> np.ndarray:
        """Int (n_boot, n): how often each stimulus counts in each resample of references."""
        number, count = group_counts(self.groups)
        return resamples(count, self.n_boot, self.seed)[:, number].astype(int)


def class_ranks(logp: np.ndarray) -> np.ndarray:
    """Rank of each class among the classes, 1 the most probable, ties their mean rank: (n, k) to float64 (n, k)."""
    return np.asarray(rankdata(-logp, axis=1))


def hits(logp: np.ndarray) -> np.ndarray:
    """How right each class would be as the answer: 1 where it is the most probable, shared among ties: (n, k) to float64 (n, k)."""
    top = logp == logp.max(1, keepdims=True)
    return np.asarray(top / top.sum(1, keepdims=True))


def rows(reading: Reading, truth: Truth) -> Table:
    """The rows of one site and position: over all classes, then class by class.

    See ``analysis.lens.Lens.table`` for the columns.
    """
    ranks, own, shares = class_ranks(reading.logp), hits(reading.logp), softmax(reading.logp, axis=1)
    found = [_row(ALL, np.arange(len(truth.labels)), reading, truth, ranks, own, shares)]
    for column, label in enumerate(truth.classes):
        chosen = np.flatnonzero(truth.labels == column)
        if len(np.unique(truth.groups[chosen])) > 1:
            found.append(_row(label, chosen, reading, truth, ranks, own, shares))
    found[0] |= _permuted(reading, truth, ranks, own)
    return found


def _row(
    name: str, chosen: np.ndarray, reading: Reading, truth: Truth, ranks: np.ndarray, own: np.ndarray, shares: np.ndarray
) -> Row:
    label, group, k = truth.labels[chosen], truth.groups[chosen], len(truth.classes)
    place = reading.rank[chosen, label]
    how = (group, truth.n_boot, truth.seed)
    row: Row = {"class": name, "n": len(chosen), "references": len(np.unique(group))}
    row |= _spread("rank", median_interval(place, truth.draws[:, chosen]))
    row |= _spread("mrr", group_bootstrap(1 / place, *how))
    row |= _spread("class_rank", group_bootstrap(ranks[chosen, label], *how)) | {"class_rank_chance": (k + 1) / 2}
    row |= _spread("accuracy", balanced_interval(own[chosen, label], label, *how)) | {"chance": 1 / k}
    row |= _spread("probability", group_bootstrap(shares[chosen, label], *how))
    return row | _gain(chosen, reading, truth)


def _gain(chosen: np.ndarray, reading: Reading, truth: Truth) -> Row:
    """By how much the distorted image raises the word of its class over the clean one of the same reference, in nats."""
    twin = truth.twins[chosen]
    there, other = chosen[twin >= 0], twin[twin >= 0]
    if len(np.unique(truth.groups[there])) < 2:
        return {"gain": None, "gain_low": None, "gain_high": None, "gain_p": None, "pairs": len(there)}
    label = truth.labels[there]
    found = paired_difference(
        reading.logp[other, label], reading.logp[there, label], truth.groups[there], truth.n_boot, truth.seed
    )
    return _spread("gain", found) | {"gain_p": found.p, "pairs": len(there)}


def _permuted(reading: Reading, truth: Truth, ranks: np.ndarray, own: np.ndarray) -> Row:
    """What labels that mean nothing score; ``p`` is of the class rank."""
    at, index = np.arange(len(truth.labels)), truth.permuted
    counts = np.bincount(truth.labels, minlength=len(truth.classes))
    weights = 1 / np.maximum(counts, 1) / np.sum(counts > 0)  # of a hit, for the mean of the classes' recalls
    null, accuracy = ranks[at, index].mean(1), (own[at, index] * weights[index]).sum(1)
    low, high = np.quantile(accuracy, [0.025, 0.975])
    return {
        "p": permutation_p(-float(ranks[at, truth.labels].mean()), -null),
        "class_rank_control": float(null.mean()),
        "accuracy_control": float(accuracy.mean()),
        "accuracy_control_low": float(low),
        "accuracy_control_high": float(high),
        "rank_control": float(np.median(reading.rank[at, index])),
        "mrr_control": float((1 / reading.rank[at, index]).mean()),
    }


def median_interval(values: np.ndarray, draws: np.ndarray) -> Interval:
    """The median with its interval.

    Args:
        values: (n,).
        draws: int (n_boot, n), how often each value counts in each resample.
    """
    order = np.argsort(values, kind="stable")
    own, counted = values[order], np.cumsum(draws[:, order], axis=1)
    total = counted[:, -1:]
    with_any = total[:, 0] > 0
    lower = own[np.argmax(2 * counted >= total, axis=1)]
    upper = own[np.argmax(2 * counted > total, axis=1)]
    return interval(float(np.median(values)), np.where(with_any, (lower + upper) / 2, np.nan))


def _spread(name: str, found: Interval) -> Row:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def corrected(table: Table) -> Table:
    """The same rows with ``p_holm`` and ``gain_p_holm``: Holm's correction (1979) over the sites of a position and class."""
    found = [dict(row) for row in table]
    for name in TESTED:
        for key in dict.fromkeys((row["position"], row["class"]) for row in found):
            tested = [row for row in found if (row["position"], row["class"]) == key and row.get(name) is not None]
            for row, p in zip(tested, holm([row[name] for row in tested]) if tested else [], strict=True):
                row[f"{name}_holm"] = p
        for row in found:
            row.setdefault(name, None)
            row.setdefault(f"{name}_holm", None)
    return found


def compared(before: Reading, after: Reading, truth: Truth) -> Table:
    """Paired changes of a lens's measures on the same stimuli, a row per measure; see ``analysis.lens.compare_lenses``."""
    table: Table = []
    at = np.arange(len(truth.labels))
    for measure in ("mrr", "class_rank", "accuracy"):
        one, other = (_measured(reading, measure)[at, truth.labels] for reading in (before, after))
        found = paired_difference(one, other, truth.groups, truth.n_boot, truth.seed)
        row: Row = {"measure": measure, "before": float(one.mean()), "after": float(other.mean()), "change": found.value}
        table.append(row | {"low": found.low, "high": found.high, "p": found.p})
    return table


def _measured(reading: Reading, measure: str) -> np.ndarray:
    if measure == "mrr":
        return 1 / reading.rank
    return class_ranks(reading.logp) if measure == "class_rank" else hits(reading.logp)
