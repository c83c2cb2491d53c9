"""Shares of a loss along a chain of components, from numbers: what exchanged features bring back, and what arms read of what reaches them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.perception import Answers
from hooks.stages import COMPONENTS
from probes.intervals import balanced_accuracies, difference, group_counts, holm, interval, resamples
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Row, Table

APART = 0.5
"""Of the way from one model's answers to the other's: where the two directions of an exchange are further apart, the features of one
mean nothing to the other, and nobody is named. A chain would have them alike."""


@dataclass(frozen=True, repr=False)
class Mediation(Result):
    """Shares of the loss between two models, by component."""

    table: Table
    """A row per component, in the order of the way (``processor`` only where the two make different inputs): ``site`` at its end,
    ``restored`` and ``spoilt`` (how far the answers have come from one model's to the other's with features exchanged there, 0 to 1),
    ``share`` of the loss that lies in it, the mean of both, with ``_low`` and ``_high`` over references, and ``beyond_next``: its share
    less the largest of the others', with interval and p. None where the two models answer alike."""
    total: Row
    """Probability of the right answer of ``patient`` and ``donor``, and their ``difference`` with interval."""
    component: str | None
    """The component with the largest share, if the interval of ``beyond_next`` is above 0, the donor answers better than the patient
    (the shares of one that answers worse tell where that one loses it), and ``restored`` and ``spoilt`` are nowhere further apart than
    ``APART``; else None."""
    ids: tuple[str, ...] = field(repr=False, default=())

    def row(self, component: str) -> Row:
        """The row of a component."""
        return next(row for row in self.table if row["component"] == component)


def shares(
    low: np.ndarray,
    high: np.ndarray,
    moved: Mapping[str, tuple[np.ndarray, np.ndarray]],
    ends: Mapping[str, str],
    groups: Sequence[str],
    n_boot: int = 1000,
    seed: int = 0,
    ids: tuple[str, ...] = (),
) -> Mediation:
    """The numbers of ``mediation``, from probabilities.

    Args:
        low: of the right answer, of the patient, (n,), 0 to 1.
        high: of the donor.
        moved: component to how much the patient's answer rises with the donor's features at its end, and how much the donor's falls with
            the patient's, (n,) each; in the order of the way, the last component left out.
        ends: component to site.
        groups: (n,) references.
        n_boot: resamples of them.
        seed: of these.
        ids: of the stimuli.
    """
    sums = _sums(groups, n_boot, seed)
    gap, size = sums(high - low), sums(np.ones(len(low)))
    whole = interval(float(gap[0] / size[0]), gap[1:] / size[1:])
    total = {"patient": float(low.mean()), "donor": float(high.mean()), "difference": whole.value, "difference_low": whole.low,
             "difference_high": whole.high, "n": len(low), "references": len(set(groups))}  # fmt: skip
    names = [*moved, next(name for name in COMPONENTS[::-1] if name not in moved)]
    if not (whole.low > 0 or whole.high < 0):
        return Mediation([_blank(name, ends.get(name)) for name in names], total, None, ids)
    reached = {name: [sums(values) / gap for values in own] for name, own in moved.items()}
    none, all_ = np.zeros(len(gap)), np.ones(len(gap))
    ways = [np.stack([none, *(own[side] for own in reached.values()), all_]) for side in (0, 1)]
    parts = np.mean([np.diff(way, axis=0) for way in ways], axis=0)  # (components, 1 + n_boot)
    rows = [
        _row(name, ends.get(name), reached.get(name, [all_, all_]), parts, i, len(set(groups))) for i, name in enumerate(names)
    ]
    sound = whole.low > 0 and all(abs(row["restored"] - row["spoilt"]) <= APART for row in rows)
    return Mediation(_adjusted(rows), total, _largest(rows) if sound else None, ids)


def loss_by_arms(base: Answers, arms: Mapping[str, Sequence[Answers]], n_boot: int = 1000, seed: int = 0) -> Table:
    """What each component costs, with the tuned models as readers of what reaches them.

    The answers of the model as it is tell what is said; those of its tuned language model, what can be said of what comes out of the
    projector; those of the tuned projector, of what comes out of the encoder; those of the tuned encoder, of the image. What can be said of
    a point is no less than of those behind it. The rises along the way, as shares of the whole, are the components' shares of the loss that
    tuning can repair.

    Args:
        base: of the untuned model.
        arms: component to the answers of the models of which it was tuned alone; the best of each counts.
        n_boot: resamples of references.
        seed: of these.

    Returns:
        A row per component that was tuned, as in ``Mediation.table`` (without exchanges), ``accuracy`` being the balanced one that its best
        arm has. Shares are None where no arm is better than the model.

    Raises:
        InputError: answers about different stimuli.
    """
    ids = [row["id"] for row in base.table]
    for one in (one for own in arms.values() for one in own):
        if [row["id"] for row in one.table] != ids:
            raise InputError(
                "An arm was asked about other stimuli than the model, so they cannot be paired. Ask both the same."
            )
    labels, groups = (np.array([row[key] for row in base.table]) for key in ("label", "reference"))
    count = len(set(groups.tolist()))
    weights = np.vstack([np.ones((1, count)), resamples(count, n_boot, seed)])
    draws = [_balanced(base, labels, groups, weights)]
    names = [name for name in COMPONENTS[::-1] if arms.get(name)]
    best = {}
    for name in names:
        best[name] = max((_balanced(one, labels, groups, weights) for one in arms[name]), key=lambda own: float(own[0]))
        draws.append(best[name] if best[name][0] > draws[-1][0] else draws[-1])
    gap = draws[-1] - draws[0]
    whole = interval(float(gap[0]), gap[1:])
    if not whole.low > 0:
        return [{**_blank(name, None), "accuracy": float(best[name][0])} for name in names[::-1]]
    parts = np.diff(np.stack(draws), axis=0) / np.where(gap > 0, gap, np.nan)
    rows = [{**_row(name, None, [], parts, i, count), "accuracy": float(best[name][0])} for i, name in enumerate(names)]
    return _adjusted(rows)[::-1]


def _sums(groups: Sequence[str], n_boot: int, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Sums over all references and over each resample of them: (n,) → (1 + n_boot,)."""
    number, count = group_counts(groups)
    weights = np.vstack([np.ones((1, count)), resamples(count, n_boot, seed)])
    return lambda values: weights @ np.bincount(number, values, count)


def _balanced(answers: Answers, labels: np.ndarray, groups: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return balanced_accuracies(np.array([row["correct"] for row in answers.table]), labels, groups, weights)


def _adjusted(rows: Table) -> Table:
    return [{**row, "p_holm": p} for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True)]


def _largest(rows: Table) -> str | None:
    best = max(rows, key=lambda row: float(row["share"]))
    return str(best["component"]) if best["beyond_next_low"] > 0 else None


def _blank(name: str, site: str | None) -> Row:
    columns = dict.fromkeys(("restored", "spoilt", *_spread("share", None), *_spread("beyond_next", None), "p", "p_holm"))
    return {"component": name, "site": site, **columns}


def _row(name: str, site: str | None, reached: Sequence[np.ndarray], parts: np.ndarray, i: int, references: int) -> Row:
    others = np.delete(parts, i, 0)
    ahead = parts[i] - (others.max(0) if len(others) else 0.0)
    restored, spoilt = (float(own[0]) for own in reached) if reached else (None, None)
    p = difference(float(ahead[0]), ahead[1:], references).p
    about: Row = {"component": name, "site": site, "restored": restored, "spoilt": spoilt}
    return {**about, **_spread("share", parts[i]), **_spread("beyond_next", ahead), "p": p}


def _spread(name: str, draws: np.ndarray | None) -> Row:
    if draws is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    found = interval(float(draws[0]), draws[1:])
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
