"""What doses of steering did to the answers, in numbers: dose rows and slopes, with intervals over references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from probes.intervals import Interval, difference, group_counts, holm, interval, resamples
from stimuli.tables import Row, Table

ALL = "all"
"""In the place of a class: the mean over all (stimulus, class) pairs."""

NORMS = ("relative_norm", "outside")
"""Measures of what was done, not of answers: no change is told of them."""


@dataclass(frozen=True)
class Series:
    """One way of steering to a class, over its doses; the same stimuli at every dose."""

    label: str
    kind: str
    like: str
    doses: tuple[float, ...]
    """Ascending; 0 among them."""
    norm: float
    """Length of dose 1."""
    groups: np.ndarray = field(repr=False)
    """(n,) references."""
    measured: Mapping[str, np.ndarray] = field(repr=False)
    """Measure to float64 (doses, n): ``probability`` of the class, ``contrast`` (its log odds against clean,
    nats; NaN of clean itself), ``share`` (whether it is the answer), ``accuracy`` (whether the
    answer is right), ``relative_norm``, ``outside``; ``colour``, ``shape``, ``agreement`` with NaN rows where they were not asked."""

    def slopes(self, name: str = "probability") -> np.ndarray:
        """Least-squares slope of each stimulus's measure over dose, (n,)."""
        dose, own = np.array(self.doses) - np.mean(self.doses), self.changes(name)
        return np.asarray(dose @ own / (dose @ dose))

    def changes(self, name: str) -> np.ndarray:
        """A measure less that at dose 0, (doses, n): exactly 0 where a dose does nothing."""
        own = self.measured[name]
        return np.asarray(own - own[self.doses.index(0.0)])


def together(series: Sequence[Series]) -> Series:
    """The pairs of all classes as one series, of class ``all``; for series of one kind with the same doses."""
    first = series[0]
    return replace(
        first,
        label=ALL,
        norm=float(np.mean([own.norm for own in series])),
        groups=np.concatenate([own.groups for own in series]),
        measured={name: np.concatenate([own.measured[name] for own in series], axis=1) for name in first.measured},
    )


@dataclass(frozen=True)
class Bootstrap:
    """Resampled references."""

    n_boot: int
    seed: int

    def means(self, values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means of the columns of (n, m), and resampled ones (n_boot, m); what is NaN is left out.

        Where a column is known of fewer than two references, its draws are NaN.
        """
        number, count = group_counts(groups)
        known = np.isfinite(values)
        total, shown = np.zeros((count, values.shape[1])), np.zeros((count, values.shape[1]))
        np.add.at(total, number, np.where(known, values, 0.0))
        np.add.at(shown, number, known.astype(float))
        weights = resamples(count, self.n_boot, self.seed)
        drawn = _ratio(weights @ total, weights @ shown)
        return _ratio(total.sum(0), shown.sum(0)), np.where((shown > 0).sum(0) > 1, drawn, np.nan)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0))


def dose_rows(series: Series, how: Bootstrap) -> Table:
    """A row per dose; changes are from dose 0, paired."""
    zero, names = series.doses.index(0.0), list(series.measured)
    levels = {name: how.means(own.T, series.groups) for name, own in series.measured.items()}
    changes = {name: how.means(series.changes(name).T, series.groups) for name in names}
    table: Table = []
    for at, dose in enumerate(series.doses):
        row: Row = {
            "class": series.label,
            "kind": series.kind,
            "like": series.like,
            "dose": dose,
            "norm": abs(dose) * series.norm,
        }
        row |= {"n": len(series.groups), "references": len(set(series.groups.tolist()))}
        for name in names:
            value, draws = levels[name][0][at], levels[name][1][:, at]
            row |= _spread(name, interval(float(value), draws) if np.isfinite(value) else None)
            if name in NORMS:
                continue
            value, draws = changes[name][0][at], changes[name][1][:, at]
            told = at != zero and bool(np.isfinite(draws).any())
            own = difference(float(value), draws, row["references"]) if told else None
            if name == "probability":
                row |= {**_spread("change", own, short=True), "p": None if own is None else own.p}
            else:
                row |= _spread(f"{name}_change", own)
        table.append(row)
    return table


def slope_row(series: Series, controls: Sequence[Series], how: Bootstrap) -> Row:
    """The dose–response of one class: slope, how steadily it rises, and how much steeper than the controls it is.

    ``monotone`` is Spearman's correlation of the mean probability with the dose, ``rising`` the share of steps between neighbouring doses
    at which the mean rises.
    """
    count = len(set(series.groups.tolist()))
    value, draws = how.means(series.slopes()[:, None], series.groups)
    found = difference(float(value[0]), draws[:, 0], count)
    contrast, odds = how.means(series.slopes("contrast")[:, None], series.groups)
    mean, means = how.means(series.changes("probability").T, series.groups)
    row: Row = {"class": series.label, "kind": series.kind, "like": series.like, "n": len(series.groups), "references": count}
    row |= {"norm": series.norm, **_spread("slope", found, short=True), "p": found.p}
    told = interval(float(contrast[0]), odds[:, 0]) if np.isfinite(odds).any() else None
    row |= _spread("contrast_slope", told)
    row |= _spread("monotone", interval(float(_ranked(mean[None])[0]), _ranked(means)))
    row["rising"] = float(np.mean(np.diff(mean) > 0))
    for control in controls:
        value, draws = how.means((series.slopes() - control.slopes())[:, None], series.groups)
        beyond = difference(float(value[0]), draws[:, 0], count)
        row |= {f"{control.kind}_slope": float(control.slopes().mean()), **_spread(f"beyond_{control.kind}", beyond)}
        row[f"beyond_{control.kind}_p"] = beyond.p
    return row


def _ranked(means: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each row (m, doses) with its order; 0 where nothing varies."""
    from scipy.stats import rankdata

    ranks = rankdata(means, axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    order = np.arange(means.shape[1]) - (means.shape[1] - 1) / 2
    size = np.linalg.norm(ranks, axis=1) * np.linalg.norm(order)
    return np.asarray(np.divide(ranks @ order, size, out=np.zeros(len(means)), where=size > 0))


def _spread(name: str, found: Interval | None, *, short: bool = False) -> Row:
    values = (None, None, None) if found is None else (found.value, found.low, found.high)
    ends = ("low", "high") if short else (f"{name}_low", f"{name}_high")
    return dict(zip((name, *ends), values, strict=True))


def corrected(table: Table, names: Sequence[str]) -> Table:
    """The same rows with ``…_holm`` of each p: Holm's correction (1979) over classes and doses of a kind; the rows of ``all`` apart."""
    rows = [dict(row) for row in table]
    for name in names:
        families = dict.fromkeys((row["kind"], row["like"], row["class"] == ALL) for row in rows)
        for family in families:
            own = [r for r in rows if (r["kind"], r["like"], r["class"] == ALL) == family and r.get(name) is not None]
            for row, p in zip(own, holm([row[name] for row in own]) if own else [], strict=True):
                row[f"{name}_holm"] = p
        for row in rows:
            row.setdefault(name, None)
            row.setdefault(f"{name}_holm", None)
    return rows
