"""Minimum description length of the labels given the activations, by the online (prequential) code of Voita and Titov 2020.

Sender and receiver share the activations; the labels go over in blocks, each coded by a probe that was trained on the blocks before
it. A site from which few examples teach the probe costs few bits, so that the code weighs effort as well as final quality:

    L = t₁ log₂ K + Σᵢ −log₂ p(block i + 1 | probe trained on blocks 1 … i)        compression = n log₂ K / L

Whole references enter together, in random order: no label is ever predicted by a probe that saw its own reference. With R
references a published fraction f means ⌈f R⌉ of them; fractions that mean the same number are one block, so that with few references
the first block is larger than the published 0.1 %. The last block is coded by the probe before it: a probe trained on everything
codes nothing and is not fitted. Where all that has been sent is of one class, that class is expected, without a probe.

A label that the probe holds to be impossible would cost infinitely many bits; so every probability is mixed with the uniform one,
(1 − ``floor``) p + ``floor`` / K, which costs at most −log₂(1 − floor) bits per label. Classes not met so far live on that floor.

A code's length depends on the order, on the probe and on the penalties offered; it is no property of the data alone. Compare sites
under one code, and see what shuffled labels cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hooks.activations import Activations
from probes.controls import classes_of, shuffled_labels
from probes.intervals import Difference, Interval, group_bootstrap, group_counts, holm, interval, paired_difference, resamples
from probes.linear import fit_predict
from probes.over_sites import over_sites
from probes.splits import assert_no_leak
from probes.targets import Labels, Readable
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Row, Table

FRACTIONS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
"""As published."""
PENALTIES = (10.0, 100.0, 1000.0)
"""Candidates, chosen between by inner folds of what has been sent; the middle one where that is a single reference."""
FLOOR = 0.01
"""Weight of the uniform distribution in every coded probability."""


@dataclass(frozen=True)
class OnlineCode:
    """What the labels cost."""

    bits: np.ndarray = field(repr=False)
    """(n,) of each stimulus's label, mean over orders."""
    totals: np.ndarray
    """(orders,) of all labels."""
    uniform: float
    """n log₂ K."""
    starts: tuple[int, ...]
    """References sent before each block, the same in every order; the first is 0."""

    @property
    def total(self) -> float:
        """Bits of all labels, mean over orders."""
        return float(self.totals.mean())

    @property
    def compression(self) -> float:
        """``uniform`` / ``total``: 1 is no better than the uniform code."""
        return self.uniform / self.total


@dataclass(frozen=True, repr=False)
class DescriptionLength(Result):
    """The online code at every site."""

    target: str
    table: Table
    """One row per site: ``bits`` of all labels, ``bits_per_stimulus`` and ``compression`` with ``…_low`` and ``…_high``, ``uniform_bits``,
    ``order_spread`` (standard deviation of ``bits`` over orders), the same code of shuffled labels as ``control_bits`` and
    ``control_compression``, and ``saved``, bits per stimulus below the control, with interval, ``p`` and ``p_holm`` over sites."""
    codes: Mapping[str, OnlineCode] = field(repr=False)
    groups: np.ndarray = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    seed: int
    n_boot: int

    def row(self, site: str) -> Row:
        """The row of a site."""
        return next(row for row in self.table if row["site"] == site)

    def references(self, site: str) -> dict[str, float]:
        """Bits per reference at a site, mean over orders; they add up to the site's bits."""
        number, _ = group_counts(self.groups)
        names = [str(name) for name in np.unique(self.groups)]
        return dict(zip(names, np.bincount(number, self.codes[site].bits).tolist(), strict=True))

    def compare(self, a: str, b: str) -> Difference:
        """Change in bits per stimulus from site ``a`` to site ``b``, paired over references; negative where ``b`` is cheaper."""
        return paired_difference(self.codes[a].bits, self.codes[b].bits, self.groups, self.n_boot, self.seed)


def surprisal(probabilities: np.ndarray, targets: np.ndarray, floor: float = FLOOR) -> np.ndarray:
    """Bits of each true class under probabilities mixed with the uniform distribution.

    Args:
        probabilities: (n, k).
        targets: int (n,), the true classes.
        floor: weight of the uniform distribution, above 0 and below 1.

    Returns:
        (n,), from −log₂(1 − floor + floor / k) to log₂(k / floor).

    Raises:
        InputError: a floor of 0 or less, or of 1 or more.
    """
    if not 0 < floor < 1:
        raise InputError(
            f"Got a floor of {floor}; expected one above 0 and below 1, so that no label costs infinitely many bits. Set 0.01."
        )
    p = np.take_along_axis(probabilities, np.asarray(targets)[:, None], axis=1)[:, 0]
    return np.asarray(-np.log2((1 - floor) * p + floor / probabilities.shape[1]))


def block_starts(n_groups: int, fractions: Sequence[float] = FRACTIONS) -> tuple[int, ...]:
    """References that have been sent before each block: 0, then ⌈f R⌉ for every fraction below 1, each number once.

    Raises:
        InputError: fewer than two references, or fractions outside of 0 to 1.
    """
    if n_groups < 2 or not fractions or not all(0 < fraction <= 1 for fraction in fractions):
        raise InputError(
            f"An online code of {n_groups} references in fractions {list(fractions)} cannot be had. Expected at least 2 references and "
            "fractions above 0 to 1. Show more references, or leave the fractions as they are."
        )
    sent = {int(np.ceil(round(fraction * n_groups, 9))) for fraction in fractions}
    return (0, *sorted(sent - {n_groups}))


def online_code(
    values: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    fractions: Sequence[float] = FRACTIONS,
    orders: int = 3,
    penalties: Sequence[float] = PENALTIES,
    floor: float = FLOOR,
    seed: int = 0,
) -> OnlineCode:
    """What it costs to send the labels to somebody who has the activations.

    Args:
        values: (n, d).
        labels: (n,) classes; their names and number are known beforehand.
        groups: (n,) references.
        fractions: of the references, sent before the next block.
        orders: random orders of the references.
        penalties: candidates; a fresh probe and a fresh choice for each block.
        floor: see ``surprisal``.
        seed: of the orders and inner folds.

    Raises:
        InputError: fewer than two references, or see ``surprisal``.
    """
    classes, targets = np.unique(labels, return_inverse=True)
    number, n_groups = group_counts(groups)
    starts, uniform = block_starts(n_groups, fractions), float(np.log2(len(classes)))
    bits = np.full((orders, len(targets)), uniform)
    for order in range(orders):
        place = np.random.default_rng([seed, 55, order]).permutation(n_groups)[number]  # when each row's reference is sent
        for start, end in zip(starts[1:], (*starts[2:], n_groups), strict=True):
            train, test = np.flatnonzero(place < start), np.flatnonzero((place >= start) & (place < end))
            assert_no_leak(number, train, test)
            if len(np.unique(targets[train])) > 1:
                found = fit_predict(values, labels, groups, [(train, test)], penalties=penalties, seed=seed)
                probabilities = found.probabilities[test]
            else:
                probabilities = np.tile(np.eye(len(classes))[targets[train[0]]], (len(test), 1))
            bits[order, test] = surprisal(probabilities, targets[test], floor)
    return OnlineCode(bits.mean(0), bits.sum(1), uniform * len(targets), starts)


def description_length(
    store: Readable,
    target: str = "distortion",
    taxonomy: str | Path = "paper8",
    *,
    labels: Labels | None = None,
    fractions: Sequence[float] = FRACTIONS,
    orders: int = 3,
    sites: Sequence[str] | None = None,
    baselines: Mapping[str, Activations] | None = None,
    inputs: Mapping[str, Activations] | None = None,
    penalties: Sequence[float] = PENALTIES,
    floor: float = FLOOR,
    seed: int = 0,
    n_boot: int = 1000,
    progress: bool = True,
) -> DescriptionLength:
    """The online code at every site, beside the code of labels shuffled within references.

    Args:
        store: activations with the stimuli's metadata.
        target: classes, as for the sweep.
        taxonomy: name or file.
        labels: the user's own, by stimulus id.
        fractions: of the references.
        orders: random orders of the references, the same at all sites.
        sites: which; all by default.
        baselines: further features by name.
        inputs: features that stand in for the store's at the sites of that name.
        penalties: candidates for the probe's L2 penalty.
        floor: see ``surprisal``.
        seed: of orders, shuffle and resamples.
        n_boot: resamples of references; the codes stay as they are, so the intervals are of the stimuli, not of the orders.
        progress: show a progress bar.

    Raises:
        InputError: a target of numbers, or see ``online_code``.
    """
    wanted = classes_of(store, target, taxonomy, labels)
    groups = wanted.held
    shuffled = shuffled_labels(wanted.values, groups, seed)
    codes: dict[str, OnlineCode] = {}

    def measure(site: str, values: np.ndarray) -> Row:
        own, control = (
            online_code(values, task, groups, fractions=fractions, orders=orders, penalties=penalties, floor=floor, seed=seed)
            for task in (wanted.values, shuffled)
        )
        codes[site] = own
        return _columns(own, control, groups, n_boot, seed)

    table = over_sites(
        store, wanted, measure, sites=sites, baselines=baselines, inputs=inputs, progress=progress, desc="online code"
    )
    for row, p in zip(table, holm([row["p"] for row in table]), strict=True):
        row["p_holm"] = p
    return DescriptionLength(target, table, codes, groups, wanted.ids, seed, n_boot)


def _columns(own: OnlineCode, control: OnlineCode, groups: np.ndarray, n_boot: int, seed: int) -> Row:
    n = len(own.bits)
    each = group_bootstrap(own.bits, groups, n_boot, seed)
    saved = paired_difference(own.bits, control.bits, groups, n_boot, seed)
    row: Row = {"n": n, "references": len(np.unique(groups)), "uniform_bits": own.uniform, "bits": own.total}
    row |= {"bits_per_stimulus": each.value, "bits_per_stimulus_low": each.low, "bits_per_stimulus_high": each.high}
    row |= {"order_spread": float(own.totals.std(ddof=1)) if len(own.totals) > 1 else float("nan"), "orders": len(own.totals)}
    for name, code in (("compression", own), ("control_compression", control)):
        found = _compression(code, groups, n_boot, seed)
        row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    row |= {
        "control_bits": control.total,
        "saved": saved.value,
        "saved_low": saved.low,
        "saved_high": saved.high,
        "p": saved.p,
    }
    return {**row, "blocks": len(own.starts)}


def _compression(code: OnlineCode, groups: np.ndarray, n_boot: int, seed: int) -> Interval:
    """Compression with its interval: the ratio of the two sums in every resample of references."""
    number, n_groups = group_counts(groups)
    weights = resamples(n_groups, n_boot, seed)
    uniform = weights @ np.bincount(number) * (code.uniform / len(code.bits))
    return interval(code.compression, uniform / (weights @ np.bincount(number, code.bits)))
