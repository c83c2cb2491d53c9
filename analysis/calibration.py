"""Is a model right as often as it is sure?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from probes.intervals import group_counts, interval, resamples
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Row, Table

NAMED_BINS = ("equal-width", "equal-mass", "depictqa-wild")
DEPICTQA_WILD = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


@dataclass(frozen=True, repr=False)
class Calibration(Result):
    """Confidence against accuracy; intervals are over references and None where there are fewer than two."""

    n: int
    left_out: int
    """Answers without a confidence."""
    references: int
    confidence: float
    """Mean, 0 to 1."""
    accuracy: float
    over_confidence: float
    """Mean confidence − accuracy, -1 to 1."""
    over_confidence_low: float | None
    over_confidence_high: float | None
    ece: float
    """Expected calibration error, 0 to 1."""
    ece_low: float | None
    ece_high: float | None
    ece_floor: float
    """Mean ECE of a perfectly calibrated model with these confidences: what the number of answers alone brings."""
    ece_floor_high: float
    """In 95 % of such models the ECE is at most this."""
    mce: float
    """Maximum calibration error: the largest gap of a bin; the emptier the bins, the larger."""
    brier: float
    """Mean squared difference between confidence and being right (Brier 1950), of the option that was chosen."""
    bins: str
    table: Table = field(repr=False)
    """A row per bin (low, high]: ``low, high, n, confidence, accuracy, accuracy_low, accuracy_high``, None where empty."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def calibration(
    confidence: Sequence[float] | np.ndarray,
    hits: Sequence[bool] | np.ndarray,
    groups: Sequence[str] | np.ndarray,
    bins: str | Sequence[float] = "equal-width",
    n_bins: int = 10,
    n_boot: int = 1000,
    seed: int = 0,
) -> Calibration:
    """Calibration of the confidence in the answers given.

    ECE = Σ over bins of n_b / n · |accuracy_b − confidence_b| (Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017); MCE is the
    largest of these gaps. In a forced choice the confidence is the probability of the option that was chosen.

    A binned ECE is biased upwards when answers are few, because chance alone parts accuracy from confidence in every bin, and a
    resample adds to it once more. So read it, and its interval, beside ``ece_floor``: the same with every answer right with
    probability equal to its confidence, independently, by simulation (consistency resampling, Bröcker and Smith 2007).

    Args:
        confidence: float (n,), 0 to 1; NaN (none told) is left out and counted.
        hits: (n,), whether each answer is right.
        groups: (n,) references.
        bins: ``equal-width``; ``equal-mass`` (as many answers in each; equal confidences stay together); ``depictqa-wild``, the
            edges 0, .5, .6, .7, .8, .9, .95, 1 (You et al. 2024); or rising edges of your own from 0 to 1.
        n_bins: of ``equal-width`` and ``equal-mass``.
        n_boot: resamples of references, and simulations of the floor.
        seed: of both.

    Raises:
        InputError: no confidence at all, one outside 0 to 1, or unusable bins.
    """
    sure = np.asarray(confidence, float)
    keep = np.isfinite(sure)
    sure, right, own = sure[keep], np.asarray(hits, float)[keep], np.asarray(groups)[keep]
    _check(sure, len(keep))
    edges = _edges(sure, bins, n_bins)
    place = np.clip(np.searchsorted(edges, sure) - 1, 0, len(edges) - 2)
    number, references = group_counts(own)
    sums = [_sums(values, number, place, (references, len(edges) - 1)) for values in (np.ones(len(sure)), sure, right)]
    n, total_sure, total_right = (values.sum(0) for values in sums)
    weights = resamples(references, n_boot, seed) if references > 1 else np.zeros((0, references))
    drawn_n, drawn_sure, drawn_right = (weights @ values for values in sums)
    errors = np.abs(drawn_right - drawn_sure).sum(1) / drawn_n.sum(1)
    over = (drawn_sure - drawn_right).sum(1) / drawn_n.sum(1)
    gaps = np.abs(total_right - total_sure)
    floor = _floor(sure, place, total_sure, n_boot, seed)
    return Calibration(
        n=len(sure),
        left_out=int((~keep).sum()),
        references=references,
        confidence=float(sure.mean()),
        accuracy=float(right.mean()),
        over_confidence=float(sure.mean() - right.mean()),
        **_bounds("over_confidence", over),
        ece=float(gaps.sum() / n.sum()),
        **_bounds("ece", errors),
        ece_floor=float(floor.mean()),
        ece_floor_high=float(np.quantile(floor, 0.95)),
        mce=float((gaps[n > 0] / n[n > 0]).max()),
        brier=float(np.mean((sure - right) ** 2)),
        bins=bins if isinstance(bins, str) else "own",
        table=[
            _row(edges[i], edges[i + 1], n[i], total_sure[i], total_right[i], drawn_right[:, i], drawn_n[:, i])
            for i in range(len(edges) - 1)
        ],
    )


def _check(sure: np.ndarray, asked: int) -> None:
    if not len(sure):
        raise InputError(
            f"None of the {asked} answers has a confidence. Expected some between 0 and 1. Use a protocol that tells one."
        )
    if sure.min() < 0 or sure.max() > 1 + 1e-6:
        wrong = sure.min() if sure.min() < 0 else sure.max()
        raise InputError(
            f"A confidence is {wrong:g}. Expected 0 to 1. Give probabilities, not log-probabilities or percentages."
        )


def _edges(sure: np.ndarray, bins: str | Sequence[float], n_bins: int) -> np.ndarray:
    """Edges of the bins, rising."""
    if not isinstance(bins, str):
        return _checked(np.asarray(bins, float))
    if bins not in NAMED_BINS:
        raise InputError(f"Unknown bins '{bins}'. Expected {', '.join(NAMED_BINS)} or a list of edges. Use one of these.")
    if n_bins < 1:
        raise InputError(f"{n_bins} bins cannot hold anything. Expected at least 1. Give n_bins=10.")
    if bins == "equal-mass":
        return np.unique([0, *np.quantile(sure, np.arange(1, n_bins) / n_bins), 1])
    return np.linspace(0, 1, n_bins + 1) if bins == "equal-width" else np.array(DEPICTQA_WILD)


def _checked(edges: np.ndarray) -> np.ndarray:
    if len(edges) < 2 or edges[0] != 0 or edges[-1] != 1 or (np.diff(edges) <= 0).any():
        raise InputError(
            f"The edges {edges.tolist()} do not part 0 to 1. Expected rising numbers from 0 to 1, such as [0, 0.5, 1]."
        )
    return edges


def _sums(values: np.ndarray, number: np.ndarray, place: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Sum of the values per reference and bin."""
    return np.bincount(number * shape[1] + place, values, shape[0] * shape[1]).reshape(shape)


def _floor(sure: np.ndarray, place: np.ndarray, total_sure: np.ndarray, n_boot: int, seed: int) -> np.ndarray:
    """ECE of each simulated model that is right with probability ``sure``."""
    rng = np.random.default_rng([seed, 96])
    bins = len(total_sure)
    right = (np.bincount(place[rng.random(len(sure)) < sure], minlength=bins) for _ in range(n_boot))
    return np.array([np.abs(own - total_sure).sum() / len(sure) for own in right])


def _bounds(name: str, draws: np.ndarray) -> dict[str, Any]:
    found = interval(0, draws)
    return {f"{name}_low": found.low, f"{name}_high": found.high} if len(draws) else {f"{name}_low": None, f"{name}_high": None}


def _row(low: float, high: float, n: float, sure: float, right: float, drawn_right: np.ndarray, drawn_n: np.ndarray) -> Row:
    shares = np.divide(drawn_right, drawn_n, out=np.full_like(drawn_n, np.nan), where=drawn_n > 0)
    known = bool(np.isfinite(shares).any())
    row: Row = {"low": float(low), "high": float(high), "n": int(n)}
    row |= {"confidence": float(sure / n) if n else None, "accuracy": float(right / n) if n else None}
    return row | (_bounds("accuracy", shares) if known else {"accuracy_low": None, "accuracy_high": None})
