"""Paired changes of distances from one model to another: all sites, measures and classes share the resamples of references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.distance_measures import ALL, BALANCED, RATIOS, UNCENTRED, factor, left_out, measured_once
from analysis.distance_table import References, adjust, bounds, draws_by_class, number, twins, widened
from probes.intervals import least_p, widening
from stimuli.errors import InputError
from stimuli.tables import Table

if TYPE_CHECKING:
    from analysis.distances import Distances

RESAMPLES_PER_TEST = 100
"""Holm multiplies the smallest p by the number of tests, and a bootstrap p is at least 2 / resamples: with 100 resamples per test
the smallest adjusted p is 0.02."""
MEMORY = 200e6
"""Bytes that the weights of resamples may take."""


def compare(before: Distances, after: Distances, n_boot: int = 1000, seed: int = 0) -> Table:
    """Change per site, class and measure, paired over the stimuli that both have.

    ``p`` is two-sided, from ``n_boot`` resamples of ``references`` and no smaller than so many can give (``least_p``); ``p_holm`` is
    Holm's over the site × class rows of a measure, sites of equal values in both models (``twins``) counted once. There are at least 100
    resamples per such row, as far as memory allows (``MEMORY``), since with fewer no adjusted p could be small; ``n_boot`` in the rows is
    how many there were. ``relative_change`` is change / |before|, given for distances whose zero means something (not for margins and
    shares, nor for ``whitened``, whose unit moves) and only where the interval of the value before excludes 0 (only then is Fieller's
    interval of a ratio bounded, 1954); its interval is from the same resamples. Each model's vision sites are mapped by its own map, so
    that their change is also the map's.

    Centred and whitened values rest on all the stimuli measured, so that where the two are of different stimuli only ``cosine`` and
    ``token_cosine`` are compared.

    Raises:
        InputError: they have no stimulus, no site or no comparable measure in common, or measure words, classes, maps or tokens of
            different kinds.
    """
    first, second, sites = _paired(before, after)
    whole = len(first) == len(before.ids) == len(after.ids)
    shared = _shared(before, after, sites, whole)
    labels, groups = before.labels[first], before.groups[first]
    classes = [label for label in before.classes if (labels == label).any()]
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        return []
    twin = twins(before.per_stimulus, after.per_stimulus)
    wanted = RESAMPLES_PER_TEST * len(set(shared) - set(twin)) * (len(classes) + 1)
    references = References(groups, max(n_boot, min(wanted, int(MEMORY / 8 / n_groups))), seed)
    rows: Table = []
    for site, names in shared.items():
        a = {name: before.per_stimulus[site][name][first] for name in names}
        b = {name: after.per_stimulus[site][name][second] for name in names}
        both = {name: np.isfinite(a[name]) & np.isfinite(b[name]) for name in names}
        old, new = (
            draws_by_class({name: np.where(both[name], own[name], np.nan) for name in names}, labels, classes, references)
            for own in (a, b)
        )
        by = _factors(before, after, site, a, b, labels, groups) if whole and before.seed == after.seed else None
        for label in (ALL, *classes):
            keep = np.ones(len(labels), bool) if label == ALL else labels == label
            if references.counts(keep) < 2:
                continue
            own = by[label] if by else _larger(before, after, site, label)
            start = before.factors.get(site, {}).get(label, {})
            factors = [
                {name: widening(before.mapped.get(site)) * f.get(name, 1.0) for name in old[label]} for f in (start, own)
            ]
            kept = {name: keep & both["zero_shot" if name == BALANCED else name] for name in old[label]}
            about = {"site": site, "space": before.space(site), "class": label}
            for row in _changes(about, old[label], new[label], *factors):
                there = kept[row["measure"]]
                count = references.counts(there)
                p = row["p"] if row["p"] is None else max(row["p"], least_p(count))
                rows.append({**row, "p": p, "n": int(there.sum()), "references": count, "n_boot": references.n_boot})
    for name in dict.fromkeys(row["measure"] for row in rows):
        adjust([row for row in rows if row["measure"] == name], "p", "p_holm", twin)
    return rows


def _shared(before: Distances, after: Distances, sites: list[str], whole: bool) -> dict[str, list[str]]:
    """Sites and their measures that can be compared.

    Raises:
        InputError: there is none.
    """
    both = {site: [name for name in before.per_stimulus[site] if name in after.per_stimulus[site]] for site in sites}
    found = {site: [name for name in names if whole or name in UNCENTRED] for site, names in both.items()}
    if any(both.values()) and not any(found.values()):
        raise InputError(
            f"Got distances of {len(before.ids)} and of {len(after.ids)} stimuli that are not the same set, by measures that are centred on "
            f"each one's own. Expected one set for all but {' and '.join(UNCENTRED)}. Measure both models on the stimuli that both have."
        )
    if not any(found.values()):
        raise InputError(
            "The two distances have no measure in common. Expected one at least. Measure both with the same measures=."
        )
    return {site: names for site, names in found.items() if names}


def _factors(
    before: Distances, after: Distances, site: str, a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray], labels: np.ndarray,
    groups: np.ndarray,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """How much the spread of each change is to be widened, by class and measure; both models left out the same references."""
    blocks = left_out(groups, before.seed)
    old, new = before.anew.get(site, {}), after.anew.get(site, {})
    names = [name for name in a if name in old.get(ALL, {}) and name in new.get(ALL, {})]
    if not names or not blocks:
        return {label: {} for label in (ALL, *before.classes)}
    once = measured_once({name: b[name] - a[name] for name in names}, labels, before.classes, blocks)
    return {
        label: {name: factor(new[label][name] - old[label][name], own) for name, own in once[label].items()} for label in once
    }


def _larger(before: Distances, after: Distances, site: str, label: str) -> dict[str, float]:
    """The larger of the two models' own factors, where they left out different references."""
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
    if before.target and after.target and before.target != after.target:
        raise InputError(
            f"Got vision sites mapped onto the {before.target} and onto the {after.target}. Expected one map. Measure both with the same "
            "vision=."
        )
    if before.tokens and after.tokens and replace(before.tokens, memory=0) != replace(after.tokens, memory=0):
        raise InputError(
            f"Got token measures by {before.tokens} and {after.tokens}. Expected one. Measure both with the same tokens=."
        )
    sites = [site for site in before.per_stimulus if site in after.per_stimulus]
    if not sites:
        raise InputError(
            f"The two distances have no site in common: {', '.join(before.per_stimulus)}; {', '.join(after.per_stimulus)}. Expected one "
            "model before and after. Measure both at the same sites."
        )
    return first, second, sites


def _changes(
    about: dict[str, Any],
    old: Mapping[str, np.ndarray],
    new: Mapping[str, np.ndarray],
    start: Mapping[str, float],
    by: Mapping[str, float],
) -> Table:
    """One row per measure; the spread of the value before is widened by ``start``, that of the change by ``by``."""
    names = [name for name in old if np.isfinite(old[name][0])]
    if not names:
        return []
    a = np.stack([widened(old[name], start[name]) for name in names], 1)
    change = np.stack([widened(new[name] - old[name], by[name]) for name in names], 1)
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
            **about, "measure": name, "before": float(a[0, i]), "after": float(new[name][0]), "change": float(change[0, i]),
            "low": number(low[i]), "high": number(high[i]), "p": number(p[i]), **ratio,
        })  # fmt: skip
    return rows
