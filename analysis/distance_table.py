"""Means of distances per class with their resamples: all measures and classes share the resamples of references."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from analysis.distance_measures import ALL, BALANCED, Means, with_balanced
from analysis.token_transport import TOKEN_MEASURES
from probes.intervals import group_counts, holm, resamples, widening
from stimuli.tables import Table

SHARES = ("zero_shot", BALANCED, "token_zero_shot", "transport_zero_shot")
ENOUGH = 8
"""References, below which measures of single tokens, which are of a sample of the stimuli, have no interval."""


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
        self.n_boot = len(drawn)

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
        ``all`` or class → measure → (1 + n_boot,); over all also ``zero_shot_balanced``, the mean over the classes. Resamples of measures of
        single tokens are NaN where fewer than ``ENOUGH`` references have a value.
    """
    names, matrix = list(values), np.stack(list(values.values()), 1).astype(float)
    rows = {ALL: np.ones(len(labels), bool), **{label: labels == label for label in classes if (labels == label).any()}}
    found = {label: references.means(matrix, keep) for label, keep in rows.items()}
    for i, name in enumerate(names):
        for label in rows if name in TOKEN_MEASURES else ():
            if references.counts(rows[label] & np.isfinite(matrix[:, i])) < ENOUGH:
                found[label][1:, i] = np.nan
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
    """Rows by site and class; see ``analysis.distances.Distances.table``.

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
            if "token_cosine" in own:
                row["tokens_n"] = int(np.isfinite(own["token_cosine"][keep]).sum())
            if label == ALL and (BALANCED in row or "margin" in row):
                row |= {"chance": 1 / len(classes), **{name: number(p) for name, p in permuted[site].items()}}
            table.append(row)
    for name in ("margin_p", "zero_shot_p"):
        adjust([row for row in table if name in row], name, f"{name}_holm", twins(values))
    return table


def twins(*models: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, str]:
    """Sites that hold what an earlier one holds, as the projector's output and ``llm.embed`` may, and that one.

    They are told by equal values of every measure that both have, ``zero_shot`` not alone, in each of the models (site → measure → (n,)).
    """
    found: dict[str, str] = {}
    sites = [site for site in models[0] if all(site in own for own in models)]
    for i, site in enumerate(sites):
        same = (one for one in sites[:i] if one not in found and all(_equal(own[one], own[site]) for own in models))
        equal = next(same, None)
        if equal is not None:
            found[site] = equal
    return found


def _equal(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    names = [name for name in a if name in b and name not in TOKEN_MEASURES]
    return any(name not in SHARES for name in names) and all(np.array_equal(a[n], b[n], equal_nan=True) for n in names)


def adjust(rows: Table, name: str, adjusted: str, twin: Mapping[str, str]) -> None:
    """Put Holm's p over the rows into them; a twin is no test of its own, and has the adjusted p of the site that it equals.

    Args:
        rows: with ``site`` and ``class``; those whose p is None are left as they are.
        name: of the p.
        adjusted: the name to put it under.
        twin: of ``twins``.
    """
    tested = {(row["site"], row["class"]): row for row in rows if row[name] is not None}
    equal = {key: (twin.get(key[0], ""), key[1]) for key in tested}
    alone = [row for key, row in tested.items() if equal[key] not in tested]
    for row, p in zip(alone, holm([row[name] for row in alone]) if alone else [], strict=True):
        row[adjusted] = p
    for key, row in tested.items():
        row[adjusted] = tested.get(equal[key], row)[adjusted]


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
