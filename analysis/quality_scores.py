"""Quality scores out of the likelihoods of level words, and how well scores agree with people's opinion.

Truth is an opinion score of which higher is better (negate a DMOS); nothing assumes that scores rise with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import softmax
from scipy.stats import kendalltau, rankdata

from analysis.quality_fit import Fit, fit_logistic, refit
from probes.intervals import Difference, Interval, difference, group_bootstrap, interval, resampled_rows
from stimuli.errors import InputError

STATISTICS = ("srcc", "krcc", "plcc", "plcc_fitted", "rmse_fitted")
CURVE_POINTS = 61


@dataclass(frozen=True)
class Levels:
    """Words for levels of quality, best first, and what each level is worth."""

    name: str
    words: tuple[tuple[str, ...], ...]
    """The synonyms of each level."""
    weights: tuple[float, ...]
    temperature: float
    source: str

    def merge(self, loglik: np.ndarray) -> np.ndarray:
        """Mean over the synonyms of each level: (n, all words, level by level) → (n, levels).

        Raises:
            InputError: not one column per word.
        """
        found, sizes = np.asarray(loglik, float), [len(own) for own in self.words]
        if found.ndim != 2 or found.shape[1] != sum(sizes):
            raise InputError(
                f"Got likelihoods of shape {found.shape} for '{self.name}'. Expected one row per image and {sum(sizes)} columns, "
                f"one per word: {', '.join(word for own in self.words for word in own)}. Ask for these words in this order."
            )
        parts = np.split(found, np.cumsum(sizes)[:-1], axis=1)
        return np.stack([part.mean(1) for part in parts], axis=1)


Q_BENCH = Levels("q-bench", (("good",), ("poor",)), (1.0, 0.0), 100.0,
                 "Wu et al. 2023, arXiv 2309.14181; Q-Future/Q-Bench divides the logits by 100")  # fmt: skip
"""With two words the temperature is monotone: it changes the PLCC alone."""
Q_BOOST = Levels("q-boost", (("good", "high", "fine"), ("average", "medium", "acceptable"), ("poor", "low", "bad")),
                 (1.0, 0.5, 0.0), 1.0, "Zhang et al. 2023, arXiv 2312.15300; Q-Future/Q-Instruct")  # fmt: skip
FIVE = (("excellent",), ("good",), ("fair",), ("poor",), ("bad",))
Q_ALIGN = Levels("q-align", FIVE, (1.0, 0.75, 0.5, 0.25, 0.0), 1.0, "Wu et al. 2023, arXiv 2312.17090; Q-Future/Q-Align")
DEQA = Levels("deqa", FIVE, (5.0, 4.0, 3.0, 2.0, 1.0), 1.0, "You et al. 2025, arXiv 2501.11561; zhiyuanyou/DeQA-Score")


def level_score(loglik: np.ndarray, weights: Sequence[float], temperature: float = 1.0) -> np.ndarray:
    """Expected worth of the level under the model: Σ softmax(loglik / temperature) · weights (Wu et al. 2023, arXiv 2312.17090).

    Args:
        loglik: (n, k) log-likelihoods of the level words in nats, or their raw logits, which give the same score.
        weights: (k,), the worth of each level.
        temperature: above 1 flattens the distribution over levels.

    Returns:
        float (n,), between the least and the greatest weight; NaN where a likelihood is NaN.

    Raises:
        InputError: no column for each weight, or a temperature of 0 or less.
    """
    return _distribution(loglik, weights, temperature) @ np.asarray(weights, float)


def level_spread(loglik: np.ndarray, weights: Sequence[float], temperature: float = 1.0) -> np.ndarray:
    """Standard deviation of the worth under the distribution over levels, float (n,): how undecided the model is.

    0 where all is on one level; half the range of the weights where it is shared between the two ends. Arguments and errors are
    those of ``level_score``.
    """
    shares, worth = _distribution(loglik, weights, temperature), np.asarray(weights, float)
    return np.asarray(np.sqrt(np.sum(shares * (worth - (shares @ worth)[:, None]) ** 2, axis=1)))


def _distribution(loglik: np.ndarray, weights: Sequence[float], temperature: float) -> np.ndarray:
    found = np.asarray(loglik, float)
    if found.ndim != 2 or found.shape[1] != len(weights):
        raise InputError(
            f"Got likelihoods of shape {found.shape} for {len(weights)} weights. Expected one row per image and one column per "
            "level. Merge synonyms first (Levels.merge)."
        )
    if not temperature > 0:
        raise InputError(f"Got a temperature of {temperature}. Expected more than 0; 1 leaves the likelihoods as they are.")
    return np.asarray(softmax(found / temperature, axis=1))


@dataclass(frozen=True)
class Correlations:
    """Agreement of scores with truth; intervals are over references, without ends where one alone has scores.

    Correlations are None where all scores, or all true scores, are equal; ``note`` says so.
    """

    n: int
    """Images with a score."""
    references: int
    unparsed: Interval | None
    """Share of images without a score; the correlations are over the others."""
    srcc: Interval | None
    """Spearman's rank correlation."""
    krcc: Interval | None
    """Kendall's τ-b."""
    plcc: Interval | None
    """Pearson's correlation of the raw scores."""
    plcc_fitted: Interval | None
    """Pearson's correlation after the fitted curve; negative when the curve falls."""
    rmse_fitted: Interval | None
    """Root mean squared error after the fitted curve, in units of truth."""
    fit: Fit | None
    note: str
    scores: np.ndarray = field(repr=False)
    """(all images,); NaN is unparsed."""
    truth: np.ndarray = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Flat and JSON-able: ``srcc, srcc_low, srcc_high`` and so on, the points and the fitted curve."""
        return {
            "n": self.n,
            "references": self.references,
            **flat("unparsed", self.unparsed),
            **{key: value for name in STATISTICS for key, value in flat(name, getattr(self, name)).items()},
            "fit": self.fit.kind if self.fit else None,
            "fit_parameters": list(self.fit.parameters) if self.fit else [],
            "note": self.note,
            "scores": [None if np.isnan(s) else float(s) for s in self.scores],
            "truth": [float(q) for q in self.truth],
            **self._curve(),
        }

    def _curve(self) -> dict[str, list[float]]:
        if self.fit is None:
            return {"curve_scores": [], "curve_truth": []}
        at = np.linspace(np.nanmin(self.scores), np.nanmax(self.scores), CURVE_POINTS)
        return {"curve_scores": at.tolist(), "curve_truth": self.fit.predict(at).tolist()}


def correlations(
    scores: np.ndarray, truth: np.ndarray, groups: Sequence[str] | np.ndarray, n_boot: int = 1000, seed: int = 0
) -> Correlations:
    """How well scores agree with truth.

    Args:
        scores: (n,) in any unit; NaN is unparsed, left out and counted.
        truth: (n,) opinion scores, higher is better.
        groups: (n,) references.
        n_boot: resamples of references; the curve is fitted again in each.
        seed: of the resamples.

    Raises:
        InputError: lengths differ, an infinite score, or a truth that is not finite.
    """
    s, q, g = _checked(scores, truth, groups)
    kept = ~np.isnan(s)
    shown, references = int(kept.sum()), len(np.unique(g[kept]))
    unparsed = mean_interval(~kept, g, n_boot, seed)
    note = _hindrance(s[kept], q[kept])
    if note:
        return Correlations(shown, references, unparsed, None, None, None, None, None, None, note, s, q)
    s_kept, q_kept = s[kept], q[kept]
    fit = fit_logistic(s_kept, q_kept)
    whole = _statistics(s_kept, q_kept, fit)
    draws = [_resampled(s_kept[rows], q_kept[rows], fit) for rows in _resamples(g[kept], n_boot, seed)]
    by_name = np.reshape(draws, (-1, len(STATISTICS))).T
    found = {name: interval(value, own) for name, value, own in zip(STATISTICS, whole, by_name, strict=True)}
    return Correlations(shown, references, unparsed, fit=fit, note=fit.note, scores=s, truth=q, **found)


@dataclass(frozen=True)
class CorrelationChange:
    """What one scorer has over another on the images that both scored: b − a, over references."""

    n: int
    left_out: int
    """Images that only one of them, or neither, scored."""
    srcc: Difference | None
    plcc: Difference | None
    note: str

    def as_dict(self) -> dict[str, Any]:
        """Flat and JSON-able: ``srcc, srcc_low, srcc_high, srcc_p`` and so on."""
        plain: dict[str, Any] = {"n": self.n, "left_out": self.left_out, "note": self.note}
        for name, own in (("srcc", self.srcc), ("plcc", self.plcc)):
            plain |= flat(name, own) | {f"{name}_p": own.p if own else None}
        return plain


def compare_correlations(
    scores_a: np.ndarray,
    scores_b: np.ndarray,
    truth: np.ndarray,
    groups: Sequence[str] | np.ndarray,
    n_boot: int = 1000,
    seed: int = 0,
) -> CorrelationChange:
    """Paired difference b − a of the signed SRCC and PLCC on the same images, with interval and two-sided bootstrap p.

    Arguments and errors are those of ``correlations``; images that one of the two did not score are left out and counted.
    """
    (a, q, g), (b, _, _) = _checked(scores_a, truth, groups), _checked(scores_b, truth, groups)
    kept = ~np.isnan(a) & ~np.isnan(b)
    a, b, q, g = a[kept], b[kept], q[kept], g[kept]
    left_out, note = int((~kept).sum()), _hindrance(a, q) or _hindrance(b, q)
    if note:
        return CorrelationChange(len(a), left_out, None, None, note)
    whole = _change(a, b, q)
    draws = np.reshape([_change(a[rows], b[rows], q[rows]) for rows in _resamples(g, n_boot, seed)], (-1, 2))
    srcc, plcc = (difference(value, own, len(np.unique(g))) for value, own in zip(whole, draws.T, strict=True))
    return CorrelationChange(len(a), left_out, srcc, plcc, "")


def mean_interval(values: np.ndarray, groups: Sequence[str] | np.ndarray, n_boot: int = 1000, seed: int = 0) -> Interval | None:
    """Mean of ``values`` (n,) over groups, NaN left out: None without a value, and no ends where one group alone has values."""
    found, own = np.asarray(values, float), np.asarray(groups)
    kept = ~np.isnan(found)
    if not kept.any():
        return None
    if len(set(own[kept].tolist())) < 2:
        return Interval(float(found[kept].mean()), float("nan"), float("nan"))
    return group_bootstrap(found, own, n_boot, seed)


def flat(name: str, found: Interval | None) -> dict[str, float | None]:
    """An interval as ``name, name_low, name_high``; None where it is unknown."""
    ends = (found.value, found.low, found.high) if found else (None, None, None)
    known = [None if end is None or np.isnan(end) else float(end) for end in ends]
    return dict(zip((name, f"{name}_low", f"{name}_high"), known, strict=True))


def _resampled(s: np.ndarray, q: np.ndarray, fit: Fit) -> tuple[float, ...]:
    return (float("nan"),) * len(STATISTICS) if _constant(s) or _constant(q) else _statistics(s, q, refit(fit, s, q))


def _statistics(s: np.ndarray, q: np.ndarray, fit: Fit) -> tuple[float, ...]:
    """The values of ``STATISTICS``."""
    fitted = (1 if fit.rises else -1) * _pearson(fit.predict(s), q)
    return _spearman(s, q), float(kendalltau(s, q, method="asymptotic")[0]), _pearson(s, q), fitted, fit.rmse(s, q)


def _change(a: np.ndarray, b: np.ndarray, q: np.ndarray) -> tuple[float, float]:
    return _spearman(b, q) - _spearman(a, q), _pearson(b, q) - _pearson(a, q)


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    return float("nan") if _constant(x) or _constant(y) else float(np.corrcoef(x, y)[0, 1])


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    return _pearson(rankdata(x), rankdata(y))


def _constant(x: np.ndarray) -> bool:
    return bool(np.ptp(x) <= 1e-13 * np.abs(x).max())


def _hindrance(scores: np.ndarray, truth: np.ndarray) -> str:
    """Why there is no correlation, or nothing."""
    if not len(scores):
        return "no image has a score"
    if _constant(scores):
        return "all scores are equal"
    return "all true scores are equal" if _constant(truth) else ""


def _resamples(groups: np.ndarray, n_boot: int, seed: int) -> Iterable[np.ndarray]:
    """Rows of each resample; none of a single reference."""
    return resampled_rows(groups, n_boot, seed) if len(set(groups.tolist())) > 1 else ()


def _checked(
    scores: np.ndarray, truth: np.ndarray, groups: Sequence[str] | np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    s, q, g = np.asarray(scores, float), np.asarray(truth, float), np.asarray(groups)
    if not s.shape == q.shape == g.shape == (len(s),):
        raise InputError(
            f"Got {s.shape} scores, {q.shape} true scores and {g.shape} references. Expected one of each per image. "
            "Give arrays of one length."
        )
    if np.isinf(s).any() or not np.isfinite(q).all():
        raise InputError(
            f"Got {int(np.isinf(s).sum())} infinite scores and {int((~np.isfinite(q)).sum())} true scores that are no numbers. "
            "Expected finite ones, and NaN for an unparsed score alone. Leave out the images without a true score."
        )
    return s, q, g
