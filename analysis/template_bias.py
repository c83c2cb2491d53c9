"""Does an answer follow the image, or the template that the model was trained on?

arXiv 2512.09573 says that models tuned for image quality overfit the templates of their training data and that this biases
their scores; no formula is public, so the measures here are ours. A responder that follows a template shows in three ways: its
answers are spread unlike the truth and like those it was trained on (``divergence``), they tell which prompt was used rather
than which image was shown (``analysis.answer_information``), and its scores depend on the distortion type at equal severity
(``score_residuals``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import rel_entr
from scipy.stats import entropy

from analysis.parsing import UNPARSED
from analysis.repeated import Resampled, resampled, same_length, strings, told
from probes.intervals import Interval, difference, holm
from stimuli.errors import InputError
from stimuli.tables import Table

SMOOTHING = 0.01
"""Share of an even distribution over all outcomes that is mixed into both sides before a Kullback–Leibler divergence: it stays
finite where only one side gives an outcome, is 0 between equal distributions, and, unlike added counts, does not grow with
n."""


@dataclass(frozen=True)
class Divergence:
    """How the answers are spread, beside what they might follow; intervals are over references.

    Divergences are biased upwards by sampling noise, ``kl`` by about categories / (2 n ln 2) bits (Miller 1955), and in
    resamples twice: near 0, a value is at the low end of its interval.
    """

    n: int
    references: int
    entropy: Interval
    """Of the answers, in bits, 0 to log₂(categories + 1); the plug-in value, too low by as much."""
    top: str
    """The most frequent answer."""
    top_share: Interval
    distribution: Table
    """One row per category and one for unparsed: ``answer, share, low, high, uniform, prior, truth`` (None where not given)."""
    against: Table
    """One row each for uniform, prior and truth where given: ``against``, and with ``_low`` and ``_high`` ``kl`` (Kullback and
    Leibler
    1951: D(answers ‖ other) in bits, both smoothed by ``SMOOTHING``), ``jensen_shannon`` (Lin 1991: bits, 0 to 1) and
    ``total_variation`` (half the sum of the absolute differences, 0 to 1: the share of answers that would have to change)."""

    def as_dict(self) -> dict[str, Any]:
        """Everything, JSON-able."""
        return asdict(self)


def divergence(
    answers: Sequence[str] | np.ndarray,
    categories: Sequence[str],
    groups: Sequence[str] | np.ndarray,
    prior: Mapping[str, float] | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    *,
    truth: Sequence[str] | np.ndarray | None = None,
) -> Divergence:
    """The response distribution against uniform, a prior and the truth.

    Args:
        answers: (n,), each a category or ``unparsed``, which no uniform distribution gives.
        categories: what could be answered.
        groups: (n,) references.
        prior: category → share or count, such as how often the training templates give each answer; a missing category has 0.
        n_boot: resamples of references.
        seed: of the resamples.
        truth: (n,) true categories; unlike the others, their distribution varies over resamples too.

    Raises:
        InputError: no categories; an answer, a true class or a name in the prior is none of them; a prior without mass; lengths
            that differ; fewer than two references.
    """
    if not len(categories):
        raise InputError("Got no categories. Expected what could be answered. Name them.")
    said, names = strings(answers, "answers"), [name for name in categories if name != UNPARSED] + [UNPARSED]
    sample = resampled(groups, len(said), n_boot, seed)
    shares = _shares(said, names, sample)
    others = {"uniform": np.r_[np.full(len(names) - 1, 1 / (len(names) - 1)), 0][None]}
    if prior is not None:
        others["prior"] = _prior(prior, names)[None]
    if truth is not None:
        same_length(truth, len(said), "true classes")
        others["truth"] = _shares(strings(truth, "true classes"), names, sample)
    found = [told(column) for column in shares.T]
    rows = [
        {"answer": name, "share": own.value, "low": own.low, "high": own.high,
         **{other: float(others[other][0, i]) if other in others else None for other in ("uniform", "prior", "truth")}}
        for i, (name, own) in enumerate(zip(names, found, strict=True))
    ]  # fmt: skip
    top = int(shares[0].argmax())
    against = [{"against": name, **_columns(_distances(shares, other))} for name, other in others.items()]
    return Divergence(
        len(said), sample.weights.shape[1], told(entropy(shares, base=2, axis=1)), names[top], found[top], rows, against
    )


def score_residuals(
    scores: Sequence[float] | np.ndarray,
    severity: Sequence[float] | np.ndarray,
    types: Sequence[str] | np.ndarray,
    groups: Sequence[str] | np.ndarray,
    n_boot: int = 1000,
    seed: int = 0,
) -> Table:
    """Whether some distortion types score better or worse than others of the same measured severity.

    The expected score is a falling function of severity, fitted by isotonic regression (Barlow et al. 1972) to all *other*
    types: left in, a type would draw the curve towards itself and seem less biased than it is. It is interpolated between
        severities and never
    extrapolated: images beyond the others' range are left out and counted. The fit is repeated in every resample.

    Args:
        scores: (n,), higher for better quality, in any unit; NaN where unparsed, which is left out and counted.
        severity: (n,), higher for more severe, such as −PSNR in dB or 1 − SSIM; infinite and NaN ones are left out.
        types: (n,) distortion types, at least two.
        groups: (n,) references.
        n_boot: resamples of references.
        seed: of the resamples.

    Returns:
        Rows ``type, n, references, unparsed`` (share), ``outside`` (share of n beyond the others' severities), ``residual``
        (mean of score − expected, in the score's unit; positive: scored better than its severity) with ``low, high, p``
        (two-sided bootstrap) and ``p_holm`` over types. NaN, with p = 1, where a type has no image in the others' range; no row
        where it has no score at all.

    Raises:
        InputError: lengths that differ, fewer than two types with scores, fewer than two references.
    """
    kind, score = strings(types, "types"), np.asarray(scores, float)
    same_length(score, len(kind), "scores")
    same_length(severity, len(kind), "severities")
    same_length(groups, len(kind), "groups")
    severe = np.asarray(severity, float)
    keep = np.isfinite(score) & np.isfinite(severe)
    names = [name for name in dict.fromkeys(kind.tolist()) if (keep & (kind == name)).any()]
    if len(names) < 2:
        raise InputError(f"Got scores and severities of {len(names)} distortion types. Expected at least 2. Score more types.")
    sample = resampled(np.asarray(groups)[keep], int(keep.sum()), n_boot, seed)
    rows: Table = []
    for name in names:
        own = kind[keep] == name
        draws, outside = _residuals(score[keep], severe[keep], own, sample)
        value, references = told(draws), len(np.unique(sample.number[own]))
        rows.append({
            "type": name, "n": int(own.sum()), "references": references,
            "unparsed": float(np.isnan(score[kind == name]).mean()), "outside": outside,
            "residual": value.value, "low": value.low, "high": value.high, "p": difference(draws[0], draws[1:], references).p,
        })  # fmt: skip
    return [{**row, "p_holm": p} for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True)]


def _shares(values: np.ndarray, names: Sequence[str], sample: Resampled) -> np.ndarray:
    """Share of each name under group weights, (1 + n_boot, names)."""
    _known(set(values.tolist()), names)
    counts = sample.sums((values[:, None] == np.array(names)).astype(float))
    return counts / counts.sum(1, keepdims=True)


def _prior(prior: Mapping[str, float], names: Sequence[str]) -> np.ndarray:
    _known(set(prior), names)
    mass = np.array([float(prior.get(name, 0)) for name in names])
    if not np.isfinite(mass).all() or (mass < 0).any() or mass.sum() <= 0:
        raise InputError(f"The prior is {dict(prior)}. Expected shares or counts of 0 or more, not all of them 0. Mend it.")
    return mass / mass.sum()


def _known(values: set[str], names: Sequence[str]) -> None:
    odd = sorted(values - set(names))
    if odd:
        raise InputError(f"'{odd[0]}' is no category. Expected {', '.join(names)}. Give what cannot be read as '{UNPARSED}'.")


def _distances(p: np.ndarray, q: np.ndarray) -> dict[str, np.ndarray]:
    """Of each row of p (resamples, k) from that of q, or from its only one."""
    even, middle = SMOOTHING / p.shape[1], (p + q) / 2
    smooth_p, smooth_q = ((1 - SMOOTHING) * side + even for side in (p, q))
    return {
        "kl": rel_entr(smooth_p, smooth_q).sum(1) / np.log(2),
        "jensen_shannon": (rel_entr(p, middle) + rel_entr(q, middle)).sum(1) / np.log(4),
        "total_variation": np.abs(p - q).sum(1) / 2,
    }


def _columns(draws: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Value, low and high of each named statistic, one column each."""
    columns: dict[str, float] = {}
    for name, values in draws.items():
        found = told(values)
        columns |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return columns


def _residuals(scores: np.ndarray, severity: np.ndarray, own: np.ndarray, sample: Resampled) -> tuple[np.ndarray, float]:
    """Mean residual of a type's rows in the sample and every resample, and the share of them beyond the others' range."""
    steps, place = np.unique(severity[~own], return_inverse=True)
    number, rest, values, at = sample.number[own], sample.number[~own], scores[own], severity[own]
    draws = np.full(len(sample.weights), np.nan)
    for i, weights in enumerate(sample.weights):
        count = np.bincount(place, weights[rest], len(steps))
        shown = count > 0
        if not shown.any():
            continue
        means = np.bincount(place, weights[rest] * scores[~own], len(steps))[shown] / count[shown]
        curve = isotonic_regression(means, weights=count[shown], increasing=False).x
        residual = values - np.interp(at, steps[shown], curve, left=np.nan, right=np.nan)
        known = np.isfinite(residual) & (weights[number] > 0)
        if known.any():
            draws[i] = np.average(residual[known], weights=weights[number][known])
    return draws, float(np.mean((at < steps[0]) | (at > steps[-1])))
