"""Encoded and said, crossed: two-by-two tables per class, their shares and their dependence, resampled over references.

Everything here is counts. Their last axis runs over ``draws``: the sample itself first, then its resamples, so that one pass
gives a value and its interval. Axis 1 of a table is whether the probe is right (encoded, not encoded), axis 2 whether the
answer is (said, not said).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_array

from probes.intervals import Difference, difference, resamples


def sample_and_resamples(n_groups: int, n_boot: int = 1000, seed: int = 0) -> np.ndarray:
    """How often each group counts: float (groups, 1 + n_boot), ones in the first column.

    Raises:
        InputError: fewer than two groups.
    """
    return np.ascontiguousarray(np.vstack([np.ones((1, n_groups)), resamples(n_groups, n_boot, seed)]).T)


def tally(numbers: np.ndarray, k: int, groups: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """How often each of the numbers 0 … k − 1 occurs in each draw.

    Args:
        numbers: int (n,).
        k: how many there are.
        groups: int (n,), row of ``draws``.
        draws: (groups, draws).

    Returns:
        float (k, draws).
    """
    counts = csr_array((np.ones(len(numbers)), (numbers, groups)), shape=(k, len(draws)))
    return np.asarray(counts @ draws)


def crossed(encoded: np.ndarray, said: np.ndarray, strata: np.ndarray, groups: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """The table of each stratum.

    Args:
        encoded: bool (n,), whether the probe is right.
        said: bool (n,), whether the answer is right.
        strata: int (n,), such as the number of the true class.
        groups: int (n,), row of ``draws``.
        draws: (groups, draws).

    Returns:
        float (strata, 2, 2, draws).
    """
    k = int(strata.max()) + 1
    cells = 4 * strata + 2 * ~encoded + ~said
    return tally(cells, 4 * k, groups, draws).reshape(k, 2, 2, -1)


def shares(tables: np.ndarray) -> np.ndarray:
    """Share of each cell within a stratum, averaged over the strata present: float (2, 2, draws); NaN where none is."""
    share, total = _within(tables)
    return _ratio(share.sum(0), np.broadcast_to((total > 0).sum(0), share.shape[1:]))


def independent_shares(tables: np.ndarray) -> np.ndarray:
    """The same shares if probe and answer were independent of each other within every stratum: products of its margins."""
    share, _ = _within(tables)
    return shares(share.sum(2, keepdims=True) * share.sum(1, keepdims=True))


def dependence(tables: np.ndarray, by_size: bool = False) -> dict[str, np.ndarray]:
    """How much likelier an answer is right where the probe is, among stimuli of the same stratum.

    With e and s the shares of encoded and said in a stratum and w its weight, P(said | encoded) and P(said | not encoded) are
    averaged over the strata with weights w e (1 − e), those of Mantel and Haenszel's risk difference (Greenland and Robins
    1985): a stratum without both kinds of stimuli says nothing. So a probe and a template answer that happen to favour the same
    class are no dependence. Phi is the pooled covariance over the root of the pooled variances.

    Args:
        tables: (strata, 2, 2, draws).
        by_size: weigh a stratum by its stimuli; otherwise all weigh the same.

    Returns:
        ``said_if_encoded``, ``said_if_not_encoded``, their difference ``dependence``, and ``phi``, each (draws,); NaN where
        undefined.
    """
    share, total = _within(tables)
    weight = total if by_size else (total > 0).astype(float)
    encoded, said = _portion(tables[:, 0].sum(1), total), _portion(tables[:, :, 0].sum(1), total)
    spread = (weight * encoded * (1 - encoded)).sum(0)
    known = _ratio((weight * (1 - encoded) * share[:, 0, 0]).sum(0), spread)
    unknown = _ratio((weight * encoded * share[:, 1, 0]).sum(0), spread)
    phi = (known - unknown) * np.sqrt(_ratio(spread, (weight * said * (1 - said)).sum(0)))
    return {"said_if_encoded": known, "said_if_not_encoded": unknown, "dependence": known - unknown, "phi": phi}


def same_class(
    labels: np.ndarray, probe: np.ndarray, answer: np.ndarray, k: int, groups: np.ndarray, draws: np.ndarray
) -> Mapping[str, np.ndarray]:
    """How often two wrong classes are the same, against what the two habits of erring alone would bring.

    Independence is taken within each true class: N⁻¹ Σ over classes c of n_c Σ over j of P(probe = j | c) P(answer = j | c).

    Args:
        labels: int (n,), true classes of stimuli that both got wrong.
        probe: int (n,), the classes that the probe named.
        answer: int (n,), those that the model named; what is not of the probe's classes has a number of its own.
        k: how many numbers there are.
        groups: int (n,), row of ``draws``.
        draws: (groups, draws).

    Returns:
        ``same``, ``expected`` and ``excess`` (their difference), each (draws,); NaN where nothing is wrong.
    """
    own, other = (tally(k * labels + named, k * k, groups, draws).reshape(k, k, -1) for named in (probe, answer))
    together = probe == answer
    same = tally(labels[together], k, groups[together], draws).sum(0)
    total = own.sum(1)
    by_habit = _portion((own * other).sum(1), total).sum(0)
    observed, expected = _ratio(same, total.sum(0)), _ratio(by_habit, total.sum(0))
    return {"same": observed, "expected": expected, "excess": observed - expected}


def share_of(part: np.ndarray, groups: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Share of the rows for which ``part``, bool (n,), holds, in each draw: (draws,); NaN where there is no row."""
    no, yes = tally(part.astype(int), 2, groups, draws)
    return _ratio(yes, no + yes)


def against_zero(values: np.ndarray, groups: np.ndarray) -> Difference:
    """A statistic over ``groups`` (n,) of each draw, (draws,), against 0: value, interval and the two-sided p of ``probes.intervals``."""
    return difference(values[0], values[1:], len(np.unique(groups)))


def _within(tables: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of each cell within its stratum, 0 in an empty one, and the strata's totals (strata, draws)."""
    total = tables.sum((1, 2))
    return _portion(tables, total[:, None, None]), total


def _portion(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    """A part of a total, 0 of an empty one."""
    return np.divide(part, total, out=np.zeros_like(part), where=np.broadcast_to(total > 0, part.shape))


def _ratio(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    """A part of a total, NaN of an empty one."""
    return np.divide(part, total, out=np.full_like(part, np.nan), where=total > 0)
