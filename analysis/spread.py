"""How far apart the quality levels and the scores lie that a model gives to one image, asked again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from scipy.special import ndtr

from analysis.repeated import Resampled, divide, numbers, resampled, told
from probes.intervals import Interval
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Table

LEVELS = ("bad", "poor", "fair", "good", "excellent")
"""Words for the quality levels 1 to 5."""
SIDES = ((4, 5), (1, 2))
"""Good side and poor side of the scale; fair is on neither."""
GAMMA = 1e-6
"""Added to the variance of a difference of scores from 1 to 5 (Wu et al. 2025, arXiv 2505.14460)."""
UNSETTLED = (0.25, 0.75)
MOST_PAIRS = 100_000


@dataclass(frozen=True)
class Flips:
    """How far repeated quality levels of one image differ; images with fewer than two levels are left out where nothing is said."""

    images: int
    references: int
    times: int
    """How often each image was asked, m."""
    left_out: int
    """Images with fewer than two levels."""
    unparsed: Interval
    """Share of answers without a level."""
    unstable: Interval
    """Share of images whose levels are not all the same."""
    unstable_or_unparsed: Interval
    """The same over all images, with unparsed as a sixth level: 1 − ``unanimous`` of ``analysis.agreement``."""
    differing_pairs: Interval
    """Mean over images of the share of pairs of levels that differ."""
    crossing: Interval
    """Share of images with levels on both sides of the boundary."""
    jumps: Interval
    """Share of images with levels two or more apart."""
    levels: tuple[str, ...]
    """Words for the rows and columns of ``transitions``."""
    transitions: list[list[int]]
    """Counts (5, 5): rows are the first level of an image, columns its later ones, both from bad to excellent."""

    def as_dict(self) -> dict[str, Any]:
        """All of it, JSON-able."""
        return asdict(self) | {"levels": list(self.levels)}


def flips(
    levels: Any, groups: Sequence[str] | np.ndarray, boundary: tuple[Sequence[int], Sequence[int]] = SIDES, n_boot: int = 1000,
    seed: int = 0,
) -> Flips:  # fmt: skip
    """How often the quality level of an image changes when it is asked again.

    arXiv 2512.09555 reports an instability of 22.00 % before and 12.39 % after its training, but its formula is not public: these
    measures are ours, and that ``unstable`` comes nearest to it is a guess. All shares of images grow with the number of repeats,
    so compare them at equal m; ``differing_pairs`` does not.

    Args:
        levels: (n, m), at least 2 columns: integers from 1 (bad) to 5 (excellent), NaN where unparsed.
        groups: (n,) references.
        boundary: the levels of the good side and those of the poor side.
        n_boot: resamples of references.
        seed: of the resamples.

    Raises:
        InputError: other levels, no (n, m) array, m below 2, no image with two levels, sides that overlap, fewer than 2 references.
    """
    found, sides = numbers(levels, "levels"), _sides(boundary)
    counts = _level_counts(found)
    known, there = counts.sum(1), counts > 0
    span = len(LEVELS) - 1 - there[:, ::-1].argmax(1) - there.argmax(1)
    pairs = known * (known - 1)
    rows = {
        "unstable": span > 0,
        "differing_pairs": 1 - divide((counts * (counts - 1)).sum(1), pairs),
        "crossing": np.all([there[:, side].any(1) for side in sides], axis=0),
        "jumps": span > 1,
    }
    rows = {name: np.where(pairs > 0, row, np.nan) for name, row in rows.items()}
    mixed = np.where(known > 0, (span > 0) | (known < found.shape[1]), False)
    sample = resampled(groups, len(found), n_boot, seed)
    drawn = sample.means(rows | {"unparsed": np.isnan(found).mean(1), "unstable_or_unparsed": mixed})
    return Flips(
        len(found), sample.weights.shape[1], found.shape[1], int((pairs == 0).sum()), levels=LEVELS,
        transitions=_transitions(found), **{name: told(draws) for name, draws in drawn.items()},
    )  # fmt: skip


def _level_counts(levels: np.ndarray) -> np.ndarray:
    """How often each image got each level, int (n, 5)."""
    counts = (levels[:, :, None] == np.arange(1, len(LEVELS) + 1)).sum(1)
    odd = levels[np.isfinite(levels) & ~np.isin(levels, np.arange(1, len(LEVELS) + 1))]
    if len(odd):
        raise InputError(
            f"Got the level {odd[0]:g}. Expected integers from 1 (bad) to 5 (excellent), NaN for unparsed. Map them first."
        )
    return np.asarray(counts)


def _sides(boundary: Sequence[Sequence[int]]) -> list[list[int]]:
    """Column numbers of the levels of each side."""
    sides = [sorted(set(side)) for side in boundary]
    both = sum(sides, [])
    if len(sides) != 2 or not all(sides) or len(set(both)) < len(both) or not set(both) <= set(range(1, len(LEVELS) + 1)):
        raise InputError(
            f"Got the boundary {boundary}. Expected two sets of levels from 1 to 5 that share none. Give them as {SIDES}."
        )
    return [[level - 1 for level in side] for side in sides]


def _transitions(levels: np.ndarray) -> list[list[int]]:
    first, later = np.broadcast_to(levels[:, :1], levels[:, 1:].shape), levels[:, 1:]
    both = np.isfinite(first) & np.isfinite(later)
    counts = np.zeros((len(LEVELS), len(LEVELS)), int)
    np.add.at(counts, (first[both].astype(int) - 1, later[both].astype(int) - 1), 1)
    return [[int(count) for count in row] for row in counts]


@dataclass(frozen=True, repr=False)
class Spread(Result):
    """How far repeated scores of one image lie apart; images with fewer than two scores are left out."""

    images: int
    references: int
    times: int
    """How often each image was asked, m."""
    left_out: int
    """Images with fewer than two scores."""
    unparsed: Interval
    """Share of answers without a score, over all images."""
    within: Interval
    """Mean over images of the standard deviation of the scores (unbiased variance)."""
    between: Interval
    """Standard deviation of the image means, their own noise included."""
    relative: Interval
    """within / between; NaN if all means are equal."""
    icc: Interval
    """ICC(1,1), how reliable one score is, −1/(m − 1) to 1 (Shrout and Fleiss 1979); m is n₀ (Donner 1986) when some are unparsed."""
    range: Interval
    """Mean over images of the greatest − the least score."""
    sureness: Interval
    """Mean of |2 p − 1| over pairs of images, 0 to 1: how sure the model is of its own order."""
    unsettled: Interval
    """Share of pairs of images with p in [0.25, 0.75]."""
    pairs: int
    """Pairs that these two are over: all, or a random ``most_pairs`` of them."""
    all_pairs: int
    table: Table = field(repr=False)
    """One row per image: ``scores`` (how many), ``mean, sd, range`` (NaN where left out)."""

    def as_dict(self) -> dict[str, Any]:
        """Everything but the rows, JSON-able."""
        plain = asdict(replace(self, table=[]))
        return {name: value for name, value in plain.items() if name != "table"}


def spread(
    scores: Any, groups: Sequence[str] | np.ndarray, n_boot: int = 1000, seed: int = 0, most_pairs: int = MOST_PAIRS
) -> Spread:
    """How far repeated scores of one image lie apart, and whether that unsettles the order of the images.

    The order is Thurstone's as VisualQuality-R1 trains it (Wu et al. 2025, arXiv 2505.14460): p = Φ((μᵢ − μⱼ) / √(σᵢ² + σⱼ² + γ)),
    γ = 1e-6, with mean and unbiased variance over the repeats (in training, one score stands for μᵢ). In a resample, a pair counts
    as often as both its images are drawn; an image is not paired with a copy of itself.

    Args:
        scores: (n, m), at least 2 columns, NaN where unparsed. γ supposes a scale of about 1 to 5.
        groups: (n,) references.
        n_boot: resamples of references.
        seed: of the resamples and of the pairs.
        most_pairs: at least 1.

    Raises:
        InputError: no (n, m) array, infinite scores, m below 2, fewer than 2 images with two scores, fewer than 2 references.
    """
    found = numbers(scores, "scores")
    every = resampled(groups, len(found), n_boot, seed)
    known = np.isfinite(found).sum(1)
    kept = known > 1
    if kept.sum() < 2:
        raise InputError("Only 1 image has two scores that could be read. Expected at least 2 images. Look at the raw answers.")
    own, sample = found[kept], every if kept.all() else resampled(np.asarray(groups)[kept], int(kept.sum()), n_boot, seed)
    columns = _of_images(own)
    means, variances = columns["mean"], columns["sd"] ** 2
    first, second = _pairs(len(own), most_pairs, seed)
    p = preferences(means, variances, first, second)
    drawn = {
        "unparsed": every.means({"unparsed": np.isnan(found).mean(1)})["unparsed"],
        **sample.means({"within": columns["sd"], "range": columns["range"]}),
        **_variance_components(means, variances, known[kept], sample),
        "sureness": sample.pair_means(np.abs(2 * p - 1), first, second),
        "unsettled": sample.pair_means((p >= UNSETTLED[0]) & (p <= UNSETTLED[1]), first, second),
    }
    drawn["relative"] = divide(drawn["within"], drawn["between"])
    return Spread(
        len(found), sample.weights.shape[1], found.shape[1], int((~kept).sum()), pairs=len(first),
        all_pairs=len(own) * (len(own) - 1) // 2, table=_rows(known, columns),
        **{name: told(draws) for name, draws in drawn.items()},
    )  # fmt: skip


def preferences(means: np.ndarray, variances: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Thurstone's chance that image ``first`` scores above image ``second``, (pairs,), from means and variances (n,)."""
    return np.asarray(ndtr((means[first] - means[second]) / np.sqrt(variances[first] + variances[second] + GAMMA)))


def _of_images(scores: np.ndarray) -> dict[str, np.ndarray]:
    """Mean, standard deviation and range of each image, (n,); equal scores have exactly their own mean and none of the others."""
    least, greatest = np.nanmin(scores, axis=1), np.nanmax(scores, axis=1)
    same = least == greatest
    return {
        "mean": np.where(same, least, np.nanmean(scores, axis=1)),
        "sd": np.where(same, 0.0, np.nanstd(scores, axis=1, ddof=1)),
        "range": greatest - least,
    }


def _variance_components(
    means: np.ndarray, variances: np.ndarray, counts: np.ndarray, sample: Resampled
) -> dict[str, np.ndarray]:
    """Standard deviation of the image means, and ICC(1,1) from a one-way analysis of variance, on every resample."""
    x = means - means[0]
    parts = (np.ones(len(x)), x, x**2, counts, counts**2, counts * x, counts * x**2, (counts - 1) * variances)
    n, sum_x, sum_x2, scores, scores2, sum_cx, sum_cx2, sum_within = sample.sums(np.stack(parts, axis=1)).T
    within, size = divide(sum_within, scores - n), divide(scores - scores2 / scores, n - 1)
    between = np.maximum(divide(sum_cx2 - sum_cx**2 / scores, n - 1), 0)
    return {
        "between": np.sqrt(np.maximum(divide(sum_x2 - sum_x**2 / n, n - 1), 0)),
        "icc": divide(between - within, between + (size - 1) * within),
    }


def _pairs(n: int, most: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of n images, or ``most`` of them drawn at random: pair number j (j − 1) / 2 + i, with i < j."""
    total = n * (n - 1) // 2
    rng = np.random.default_rng([seed, 96])
    chosen = np.arange(total) if total <= most else rng.choice(total, most, replace=False, shuffle=False)
    second = ((1 + np.sqrt(1 + 8 * chosen)) // 2).astype(int)
    return chosen - second * (second - 1) // 2, second


def _rows(known: np.ndarray, columns: dict[str, np.ndarray]) -> Table:
    """The columns are of the images with two scores or more, in order."""
    place = np.where(known > 1, np.cumsum(known > 1) - 1, -1)
    return [
        {"scores": int(count), **{name: float(column[i]) if i >= 0 else float("nan") for name, column in columns.items()}}
        for count, i in zip(known, place, strict=True)
    ]
