"""Means of distances per class with their resamples, and paired changes: all measures and classes share the resamples of references."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.distance_measures import ALL, BALANCED, RATIOS, Means, factor, left_out, measured_once, with_balanced
from probes.intervals import group_counts, holm, resamples, widening
from stimuli.errors import InputError
from stimuli.tables import Table

if TYPE_CHECKING:
    from analysis.semantic_distance import Distances

SHARES = ("zero_shot", BALANCED, "token_zero_shot", "transport_zero_shot")
RESAMPLES_PER_TEST = 100
"""Holm multiplies the smallest p by the number of tests, and a bootstrap p is at least 2 / resamples: with 100 resamples per test
the smallest adjusted p is 0.02."""
MEMORY = 200e6
"""Bytes that the weights of resamples may take."""


class References:
    """Resamples of references, drawn once and shared by everything that is measured of the same stimuli.

    Args:
        groups: (n,) references.
        n_boot: resamples; none where there is a single reference.
        seed: of the resamples.
    """

    def __init__(self, groups: np.ndarray, n_boot: int, seed: int) -> None:
        self._number, self._n = group_counts(groups)
        drawn = resamples(self._n, n_boot, seed) if self._n > 1 else np.empty((0, self._n))
        self._weights = np.vstack([np.ones((1, self._n)), drawn])

    def counts(self, keep: np.ndarray) -> int:
        """How many references the kept stimuli (bool, (n,)) are of."""
        return len(np.unique(self._number[keep]))

    def means(self, values: np.ndarray, keep: np.ndarray) -> np.ndarray:
        """Means over the kept stimuli, on all references and in each resample.

        Args:
            values: (n, m); NaN is left out.
            keep: bool (n,).

        Returns:
            (1 + n_boot, m); NaN where a resample holds no kept stimulus.
        """
        number, own = self._number[keep], values[keep]
        there = np.isfinite(own)
        totals = np.stack([np.bincount(number, column, self._n) for column in np.where(there, own, 0.0).T], 1)
        counts = np.stack([np.bincount(number, column, self._n) for column in there.T.astype(float)], 1)
        shown = self._weights @ (counts if (counts != counts[:, :1]).any() else counts[:, :1])
        return np.divide(
            self._weights @ totals, shown, out=np.full((len(self._weights), totals.shape[1]), np.nan), where=shown > 0
        )


def draws_by_class(
    values: Mapping[str, np.ndarray], labels: np.ndarray, classes: Sequence[str], references: References
) -> Means:
    """Mean of every measure over all stimuli and over each class, with resamples.

    Args:
        values: measure → (n,).
        labels: (n,).
        classes: in order; those without a stimulus are left out.
        references: the resamples.

    Returns:
        ``all`` or class → measure → (1 + n_boot,); over all also ``zero_shot_balanced``, the mean over the classes.
    """
    names, matrix = list(values), np.stack(list(values.values()), 1).astype(float)
    found = {ALL: references.means(matrix, np.ones(len(labels), bool))}
    found |= {label: references.means(matrix, labels == label) for label in classes if (labels == label).any()}
    return with_balanced({label: dict(zip(names, own.T, strict=True)) for label, own in found.items()})


def widened(draws: np.ndarray, by: float) -> np.ndarray:
    """Draws (1 + n_boot,) moved away from the first, the value; NaN, but for the value, by NaN."""
    return np.concatenate([draws[:1], draws[0] + by * (draws[1:] - draws[0])])


def bounds(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % percentile interval of draws (n_boot, m), those that are NaN left out: (m,) each."""
    ends = np.full((2, draws.shape[1]), np.nan)
    there = np.isfinite(draws).any(0)
    if there.any():
        quantile: Callable[..., Any] = np.quantile if np.isfinite(draws[:, there]).all() else np.nanquantile
        ends[:, there] = quantile(draws[:, there], [0.025, 0.975], axis=0)
    return ends[0], ends[1]


def number(value: float) -> float | None:
    """A number for a table: None for NaN."""
    return float(value) if np.isfinite(value) else None


def table_of(
    values: Mapping[str, Mapping[str, np.ndarray]],
    permuted: Mapping[str, Mapping[str, float]],
    factors: Mapping[str, Mapping[str, Mapping[str, float]]],
    labels: np.ndarray,
    groups: np.ndarray,
    classes: Sequence[str],
    mapped: Mapping[str, int],
    n_boot: int,
    seed: int,
) -> Table:
    """Rows by site and class; see ``analysis.semantic_distance.Distances.table``.

    Args:
        values: site → measure → (n,).
        permuted: site → p of permuted words.
        factors: site → class → measure → factor on the spread.
        labels: (n,).
        groups: (n,) references.
        classes: in order.
        mapped: site → folds, where features were mapped.
        n_boot: resamples of references.
        seed: of the resamples.
    """
    references = References(groups, n_boot, seed)
    table: Table = []
    for site, own in values.items():
        for label, draws in draws_by_class(own, labels, classes, references).items():
            keep = np.ones(len(labels), bool) if label == ALL else labels == label
            row: dict[str, Any] = {
                "site": site,
                "space": "ridge map" if site in mapped else "direct",
                "class": label,
                "n": int(keep.sum()),
            }
            by = factors[site].get(label, {})
            row |= _values(
                draws, {name: widening(mapped.get(site)) * by.get(name, 1.0) for name in draws}, references.counts(keep) > 1
            )
            if "transport" in own:
                row["tokens_n"] = int(np.isfinite(own["transport"][keep]).sum())
            if label == ALL and (BALANCED in row or "margin" in row):
                row |= {"chance": 1 / len(classes), **permuted[site]}
            table.append(row)
    for name in ("margin_p", "zero_shot_p"):
        rows = [row for row in table if name in row]
        for row, p in zip(rows, holm([row[name] for row in rows]) if rows else [], strict=True):
            row[f"{name}_holm"] = p
    return table


def _values(draws: Mapping[str, np.ndarray], by: Mapping[str, float], several: bool) -> dict[str, Any]:
    """Every measure's mean, with its interval if there are several references; shares within 0 and 1."""
    spread = np.stack([widened(draw, by[name]) for name, draw in draws.items()], 1)
    shares = np.array([name in SHARES for name in draws])
    low, high = bounds(np.where(shares, np.clip(spread, 0, 1), spread)[1:])
    row: dict[str, Any] = {}
    for i, name in enumerate(draws):
        row[name] = number(spread[0, i])
        row |= {f"{name}_low": number(low[i]), f"{name}_high": number(high[i])} if several else {}
    return row


def compare(before: Distances, after: Distances, n_boot: int = 1000, seed: int = 0) -> Table:
    """Change per site, class and measure, paired over the stimuli that both have.

    ``p`` is two-sided, from the resamples of references; ``p_holm`` is Holm's over the site × class rows of a measure. There are at least
    100 resamples per such row, as far as memory allows, since with fewer no adjusted p could be small. ``relative_change`` is
    change / |before|, given for distances whose zero means something (not for margins and shares) and only where the interval of the value
    before excludes 0 (only then is Fieller's interval of a ratio bounded, 1954); its interval is from the same resamples.

    Raises:
        InputError: they have no stimulus or no site in common, or measure words or classes of different kinds.
    """
    first, second, sites = _paired(before, after)
    labels, groups = before.labels[first], before.groups[first]
    classes = [label for label in before.classes if (labels == label).any()]
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        return []
    wanted = RESAMPLES_PER_TEST * len(sites) * (len(classes) + 1)
    references = References(groups, max(n_boot, min(wanted, int(MEMORY / 8 / n_groups))), seed)
    rows: Table = []
    for site in sites:
        names = [name for name in before.per_stimulus[site] if name in after.per_stimulus[site]]
        a = {name: before.per_stimulus[site][name][first] for name in names}
        b = {name: after.per_stimulus[site][name][second] for name in names}
        both = {name: np.isfinite(a[name]) & np.isfinite(b[name]) for name in names}
        old, new = (
            draws_by_class({name: np.where(both[name], own[name], np.nan) for name in names}, labels, classes, references)
            for own in (a, b)
        )
        by = _factors(before, after, site, a, b, labels, groups) if len(first) == len(before.ids) == len(after.ids) else None
        for label in (ALL, *classes):
            if label != ALL and references.counts(labels == label) < 2:
                continue
            own = by[label] if by else _larger(before, after, site, label)
            own = {name: widening(before.mapped.get(site)) * own.get(name, 1.0) for name in old[label]}
            rows += _changes({"site": site, "space": before.space(site), "class": label}, old[label], new[label], own)
    for name in dict.fromkeys(row["measure"] for row in rows):
        tested = [row for row in rows if row["measure"] == name and row["p"] is not None]
        for row, p in zip(tested, holm([row["p"] for row in tested]) if tested else [], strict=True):
            row["p_holm"] = p
    return rows


def _factors(
    before: Distances, after: Distances, site: str, a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray], labels: np.ndarray,
    groups: np.ndarray,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """How much the spread of each change is to be widened, by class and measure; both models left out the same references."""
    blocks = left_out(groups, before.seed)
    old, new = before.anew.get(site, {}), after.anew.get(site, {})
    names = [name for name in a if name in old.get(ALL, {}) and name in new.get(ALL, {})]
    if before.seed != after.seed or not names or not blocks:
        return {label: {} for label in (ALL, *before.classes)}
    once = measured_once({name: b[name] - a[name] for name in names}, labels, before.classes, blocks)
    return {
        label: {name: factor(new[label][name] - old[label][name], own) for name, own in once[label].items()} for label in once
    }


def _larger(before: Distances, after: Distances, site: str, label: str) -> dict[str, float]:
    """The larger of the two models' own factors, where they are of different stimuli."""
    a, b = (found.factors.get(site, {}).get(label, {}) for found in (before, after))
    return {name: float(np.maximum(a[name], b.get(name, 1.0))) for name in a}  # NaN, where it could not be measured, stays


def _paired(before: Distances, after: Distances) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Rows of the stimuli that both have, and the sites that both have."""
    there = {id: row for row, id in enumerate(after.ids)}
    first = np.array([row for row, id in enumerate(before.ids) if id in there], int)
    if not len(first):
        raise InputError("The two distances are over different stimuli, so they cannot be paired. Measure both on one set.")
    second = np.array([there[before.ids[row]] for row in first])
    if before.classes != after.classes or (before.labels[first] != after.labels[second]).any():
        raise InputError("The two distances have different classes. Expected one taxonomy. Measure both with the same.")
    if before.words != after.words:
        raise InputError(
            f"Got distances to words of the kind '{before.words}' and of the kind '{after.words}'. Expected one kind. Measure both with the "
            "same words=."
        )
    sites = [site for site in before.per_stimulus if site in after.per_stimulus]
    if not sites:
        raise InputError(
            f"The two distances have no site in common: {', '.join(before.per_stimulus)}; {', '.join(after.per_stimulus)}. Expected one "
            "model before and after. Measure both at the same sites."
        )
    return first, second, sites


def _changes(
    about: dict[str, Any], old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray], by: Mapping[str, float]
) -> Table:
    """One row per measure."""
    names = [name for name in old if np.isfinite(old[name][0])]
    if not names:
        return []
    a, b = (np.stack([widened(draws[name], by[name]) for name in names], 1) for draws in (old, new))
    change = b - a
    low, high = bounds(change[1:])
    start_low, start_high = bounds(a[1:])
    rarer = np.minimum((~(change[1:] > 0)).sum(0), (~(change[1:] < 0)).sum(0))
    p = np.where(np.isfinite(low), np.minimum(1.0, 2 * (rarer + 1) / len(change)), np.nan)
    rows: Table = []
    for i, name in enumerate(names):
        ratio: dict[str, float | None] = dict.fromkeys(("relative_change", "relative_low", "relative_high"))
        if name in RATIOS and (start_low[i] > 0 or start_high[i] < 0):
            with np.errstate(divide="ignore", invalid="ignore"):
                share = change[:, i] / np.abs(a[:, i])
            ends = bounds(np.where(np.isfinite(share[1:]), share[1:], np.nan)[:, None])
            ratio = {
                "relative_change": float(share[0]),
                "relative_low": number(ends[0][0]),
                "relative_high": number(ends[1][0]),
            }
        rows.append({
            **about, "measure": name, "before": float(a[0, i]), "after": float(b[0, i]), "change": float(change[0, i]),
            "low": number(low[i]), "high": number(high[i]), "p": number(p[i]), **ratio,
        })  # fmt: skip
    return rows
