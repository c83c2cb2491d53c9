"""What an exchange of features did to the answers, in numbers: effect, recovery and controls, by reference.

Recovery is the share of the way from the receiver's own answer to the donor's that the exchange goes: (p_patched − p_low) / (p_high −
p_low) where the receiver is the low one (Meng et al. 2022; Zhang and Nanda 2024 on why it is normalised), and (p_high − p_patched) /
(p_high − p_low) the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from probes.intervals import Difference, Interval, difference, group_counts, holm, interval, resamples
from stimuli.tables import Row, Table

TESTED = ("p", "beyond_p")
"""Columns that are corrected over the rows of a direction (Holm 1979)."""


@dataclass(frozen=True)
class Resampling:
    """How intervals are made."""

    n_boot: int = 1000
    seed: int = 0


def exchange_row(
    receiver: np.ndarray,
    donor: np.ndarray,
    patched: np.ndarray,
    control: np.ndarray | None,
    groups: Sequence[str] | np.ndarray,
    how: Resampling,
) -> Row:
    """One row: means, effect, recovery and what both are beyond a control.

    Args:
        receiver: probability of the right answer in the receiver's own pass, (n,), 0 to 1.
        donor: in the donor's own.
        patched: with the exchange; NaN where the stimulus has no such rows.
        control: with an exchange from a donor that has nothing to do with the answer; None for no control, NaN where there is none.
        groups: reference of each pair, (n,).
        how: the resampling of references.

    Returns:
        ``n`` and ``references`` that count; means ``receiver``, ``donor``, ``patched``, ``control``; ``effect`` (patched less receiver),
        ``recovery``, ``effect_control``, ``recovery_control``, ``beyond`` (effect less the control's), with ``_low`` and ``_high``;
        ``p`` of the effect and ``beyond_p``; ``reason`` for a recovery that is None.
    """
    keep = np.isfinite(patched)
    own, given, now, names = receiver[keep], donor[keep], patched[keep], np.asarray(groups)[keep]
    row: Row = {"n": int(keep.sum()), "references": len(set(names.tolist()))}
    if row["references"] < 2:
        return row | _nothing(f"{row['references']} references have such tokens, an interval needs 2")
    row |= {"receiver": float(own.mean()), "donor": float(given.mean()), "patched": float(now.mean())}
    effect = _mean(now - own, names, how)
    gap = _mean(given - own, names, how)
    row |= _spread("effect", effect) | {"p": effect.p}
    reason = (
        ""
        if gap.low > 0 or gap.high < 0
        else f"donor and receiver answer alike: {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"
    )
    row |= _spread("recovery", None if reason else ratio(now - own, given - own, names, how)) | {"reason": reason or None}
    return row | _control(own, given, now, None if control is None else control[keep], names, reason, how)


def _control(
    own: np.ndarray,
    given: np.ndarray,
    now: np.ndarray,
    control: np.ndarray | None,
    names: np.ndarray,
    reason: str,
    how: Resampling,
) -> Row:
    there = np.zeros(len(own), bool) if control is None else np.isfinite(control)
    if control is None or len(set(names[there].tolist())) < 2:
        return _without_control()
    own, given, now, names, other = own[there], given[there], now[there], names[there], control[there]
    found = None if reason else ratio(other - own, given - own, names, how)
    beyond = _mean(now - other, names, how)
    row: Row = {"control": float(other.mean()), **_spread("effect_control", _mean(other - own, names, how))}
    return row | _spread("recovery_control", found) | _spread("beyond", beyond) | {"beyond_p": beyond.p}


def _nothing(reason: str) -> Row:
    row: Row = dict.fromkeys(("receiver", "donor", "patched"))
    row |= _spread("effect", None) | {"p": None} | _spread("recovery", None) | {"reason": reason}
    return row | _without_control()


def _without_control() -> Row:
    row: Row = {"control": None}
    return (
        row | _spread("effect_control", None) | _spread("recovery_control", None) | _spread("beyond", None) | {"beyond_p": None}
    )


def ratio(part: np.ndarray, whole: np.ndarray, groups: Sequence[str] | np.ndarray, how: Resampling) -> Interval:
    """Mean of ``part`` over mean of ``whole``, (n,) each, with its percentile interval over groups.

    The ratio of means, not the mean of ratios, which a single pair whose answers hardly differ would rule.
    """
    first, second = (_sums(values, groups, how) for values in (part, whole))
    return interval(float(part.mean() / whole.mean()) + 0.0, first / second + 0.0)


def _mean(values: np.ndarray, groups: Sequence[str] | np.ndarray, how: Resampling) -> Difference:
    draws = _sums(values, groups, how) / _sums(np.ones(len(values)), groups, how)
    return difference(float(values.mean()) + 0.0, draws, len(set(np.asarray(groups).tolist())))


def _sums(values: np.ndarray, groups: Sequence[str] | np.ndarray, how: Resampling) -> np.ndarray:
    """Sums over resampled groups, (n_boot,)."""
    number, count = group_counts(groups)
    return np.asarray(_weights(count, how) @ np.bincount(number, values, count))


@lru_cache(maxsize=2)
def _weights(count: int, how: Resampling) -> np.ndarray:
    return resamples(count, how.n_boot, how.seed)


def _spread(name: str, found: Interval | None) -> Row:
    values = (None, None, None) if found is None else (found.value, found.low, found.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def corrected(table: Table, by: str = "direction") -> Table:
    """The same rows with ``p_holm`` and ``beyond_p_holm``: Holm's correction over those that have the same ``by``."""
    rows = [dict(row) for row in table]
    for name in TESTED:
        for own in dict.fromkeys(row[by] for row in rows):
            tested = [row for row in rows if row[by] == own and row[name] is not None]
            for row, p in zip(tested, holm([row[name] for row in tested]) if tested else [], strict=True):
                row[f"{name}_holm"] = p
        for row in rows:
            row.setdefault(f"{name}_holm", None)
    return rows
