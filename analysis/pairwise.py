"""Which of two images is better: accuracy, the pull of the first place, and scores out of the comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from analysis.bradley_terry import DIGITS, bradley_terry, part_correlation
from analysis.quality_scores import flat, mean_interval
from probes.intervals import Interval, group_counts, interval, paired_difference, resamples
from stimuli.errors import InputError
from stimuli.tables import Table


@dataclass(frozen=True)
class PairTable:
    """Comparisons as they were shown, one entry each: a pair shown in both orders has two."""

    first: np.ndarray
    """Number of the image shown first."""
    second: np.ndarray
    said: np.ndarray
    """0 where the first is said to be better, 1 where the second is, NaN unparsed."""

    def __post_init__(self) -> None:
        """Refuse what is no comparison.

        Raises:
            InputError: lengths differ, an image beside itself, or an answer that is neither 0, 1 nor NaN.
        """
        shapes = self.first.shape, self.second.shape, self.said.shape
        if len(set(shapes)) > 1 or len(shapes[0]) != 1 or not len(self.first):
            raise InputError(
                f"Got comparisons of shapes {', '.join(map(str, shapes))}. Expected first image, second image and answer of each. "
                "Give arrays of one length."
            )
        if (self.first == self.second).any():
            raise InputError(
                f"Comparison {int(np.argmax(self.first == self.second))} shows an image beside itself. Expected two images. "
                "Leave it out."
            )
        other = self.said[~np.isnan(self.said) & ~np.isin(self.said, (0, 1))]
        if len(other):
            raise InputError(
                f"Got {other[0]} as the answer to a comparison. Expected 0 (the first is better), 1 (the second is) or NaN "
                "(unparsed). Parse answers to one of these."
            )

    def turned(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the pairs shown in both orders, and the rows of their turned twins, int (m,) each; every pair once.

        The k-th showing of one order goes with the k-th of the other.
        """
        there: dict[tuple[int, int], list[int]] = {}
        for row, pair in enumerate(zip(self.first.tolist(), self.second.tolist(), strict=True)):
            there.setdefault(pair, []).append(row)
        twins = [
            both
            for (a, b), rows in there.items()
            if (b, a) in there and rows[0] < there[b, a][0]
            for both in zip(rows, there[b, a], strict=False)
        ]
        rows = np.array(twins, int).reshape(-1, 2)
        return rows[:, 0], rows[:, 1]


@dataclass(frozen=True)
class Pairwise:
    """What comparisons tell; intervals are over groups, None where nothing can be told, without ends where one group alone tells it."""

    n: int
    """Comparisons, each showing of a pair counted."""
    groups: int
    compared: int
    """Comparisons of images whose true scores differ by more than the margin; the others have no right answer."""
    margin: float
    accuracy: Interval | None
    """Share of the compared that are right; unparsed is wrong, chance is 0.5."""
    unparsed: Interval | None
    """Share of all comparisons."""
    says_first: Interval | None
    """Share of parsed answers that name the first image: 0.5 without a bias, if every pair is shown in both orders."""
    says_first_p: float | None
    """Two-sided, against 0.5."""
    both_orders: int
    """Pairs shown in both orders."""
    turns: Interval | None
    """Share of them in which the same image is said to be better both times; a coin has 0.5, always naming one place 0."""
    stays: Interval | None
    """Share in which the same place is named both times, whichever image stands there; the rest is unparsed once or twice."""
    both_right: Interval | None
    """Share of those with different true scores that are right both times; a coin has 0.25, always naming one place 0."""
    srcc: Interval | None
    """Spearman's correlation of Bradley–Terry scores with truth among images that comparisons connect; where they fall into
    several parts, the mean over parts of 3 images or more, weighted by images. A part whose scores are all equal has 0."""
    parts: int
    """Sets of images that comparisons connect; scores of different parts cannot be compared."""
    note: str
    images: Table = field(repr=False)
    """One row per image in a parsed comparison: ``image`` number, ``truth``, ``score`` in log-odds, ``win_share``, ``compared``
    (how often) and ``part``."""

    def as_dict(self) -> dict[str, Any]:
        """Everything but the images, flat and JSON-able: ``accuracy, accuracy_low, accuracy_high`` and so on."""
        plain: dict[str, Any] = {}
        for name, value in vars(self).items():
            if name in ("accuracy", "unparsed", "says_first", "turns", "stays", "both_right", "srcc"):
                plain |= flat(name, value)
            elif name != "images":
                plain[name] = value
        return plain


def pairwise(
    first: Sequence[int] | np.ndarray,
    second: Sequence[int] | np.ndarray,
    said: np.ndarray,
    truth: np.ndarray,
    groups: Sequence[str] | np.ndarray,
    n_boot: int = 1000,
    seed: int = 0,
    *,
    margin: float = 0.0,
    references: Sequence[str] | np.ndarray | None = None,
) -> Pairwise:
    """What comparisons of two images tell of a model.

    Args:
        first: (n,) numbers of the images shown first.
        second: (n,) numbers of the images shown second.
        said: (n,), 0 where the first is said to be better, 1 where the second is, NaN unparsed.
        truth: (images,) opinion scores, higher is better.
        groups: (n,) group of each comparison: the reference of its images, or what stands for two references.
        n_boot: resamples of groups.
        seed: of the resamples.
        margin: comparisons whose true scores differ by no more have no right answer.
        references: (images,), for the interval of ``srcc``, which is over images. Needless where all comparisons of an image are
            of one group.

    Raises:
        InputError: arrays that do not fit, a margin below 0, or an image without a true score.
    """
    table = PairTable(np.asarray(first), np.asarray(second), np.asarray(said, float))
    q, g = np.asarray(truth, float), np.asarray(groups)
    _check(table, q, g, references, margin)
    gap = q[table.first] - q[table.second]
    right, differs = np.where(gap > 0, table.said == 0, table.said == 1), np.abs(gap) > margin
    parsed = ~np.isnan(table.said)
    names_first = (table.said == 0)[parsed]

    def share(hits: np.ndarray, of: np.ndarray) -> Interval | None:
        return mean_interval(hits, of, n_boot, seed)

    there, back = table.turned()
    turns, stays = (table.said[there] == 1 - table.said[back]), (table.said[there] == table.said[back])
    told = there[differs[there]], back[differs[there]]
    several = len(np.unique(g[parsed])) > 1
    half = np.full(len(names_first), 0.5)
    own = _groups_of_images(table, g, len(q)) if references is None else np.asarray(references)
    images = _scored(table, q, parsed)
    srcc, note = _correlation(images, own, n_boot, seed)
    return Pairwise(
        n=len(table.said),
        groups=len(np.unique(g)),
        compared=int(differs.sum()),
        margin=float(margin),
        accuracy=share(right[differs], g[differs]),
        unparsed=share(~parsed, g),
        says_first=share(names_first, g[parsed]),
        says_first_p=paired_difference(half, names_first, g[parsed], n_boot, seed).p if several else None,
        both_orders=len(there),
        turns=share(turns, g[there]),
        stays=share(stays, g[there]),
        both_right=share(right[told[0]] & right[told[1]], g[told[0]]),
        srcc=srcc,
        parts=len({row["part"] for row in images}),
        note=note,
        images=images,
    )


def _scored(table: PairTable, q: np.ndarray, parsed: np.ndarray) -> Table:
    """Scores, win shares and parts of the images in parsed comparisons."""
    shown, both = np.unique([table.first[parsed], table.second[parsed]], return_inverse=True)
    first, second = both.reshape(2, -1)
    wins, k = (table.said[parsed] == 0).astype(float), len(shown)
    score, _ = bradley_terry(first, second, wins, k)
    won = np.bincount(first, wins, k) + np.bincount(second, 1 - wins, k)
    often = np.bincount(first, minlength=k) + np.bincount(second, minlength=k)
    _, part = connected_components(coo_array((np.ones(len(first)), (first, second)), shape=(k, k)), directed=False)
    columns = shown.tolist(), q[shown].tolist(), score.tolist(), (won / often).tolist(), often.tolist(), part.tolist()
    names = ("image", "truth", "score", "win_share", "compared", "part")
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _correlation(images: Table, groups: np.ndarray | None, n_boot: int, seed: int) -> tuple[Interval | None, str]:
    """Correlation of the scores with truth, and why there is none or no interval.

    Images are resampled by group with the scores that they have. Fitting the scores again in each resample would put the noise of
    the comparisons in twice: its intervals lie below the value.
    """
    if not images:
        return None, "no comparison was parsed"
    score, truth = (np.array([row[name] for row in images]) for name in ("score", "truth"))
    part = np.array([row["part"] for row in images])
    value = part_correlation(score, truth, part, np.ones(len(images)))
    if np.ptp(np.round(score, DIGITS)) == 0:
        return None, "no image is said to be better than another more often than worse: all scores are equal"
    if np.isnan(value):
        return None, "no 3 images of different true scores are connected by comparisons"
    if groups is None:
        note = "some images are compared in several groups: srcc has an interval if the references of the images are given"
        return Interval(value, float("nan"), float("nan")), note
    number, n_groups = group_counts(groups[[row["image"] for row in images]])
    if n_groups < 2:
        return Interval(value, float("nan"), float("nan")), "comparisons of one group alone were parsed"
    draws = [part_correlation(score, truth, part, drawn[number]) for drawn in resamples(n_groups, n_boot, seed)]
    return interval(value, draws), ""


def _groups_of_images(table: PairTable, groups: np.ndarray, images: int) -> np.ndarray | None:
    """The group of all comparisons of each image, int (images,); None if one is in comparisons of several."""
    number, _ = group_counts(groups)
    rows, own = np.r_[table.first, table.second], np.r_[number, number]
    found = np.full(images, -1)
    found[rows] = own
    return found if (found[rows] == own).all() else None


def _check(
    table: PairTable, truth: np.ndarray, groups: np.ndarray, references: Sequence[str] | np.ndarray | None, margin: float
) -> None:
    if not margin >= 0:
        raise InputError(f"Got a margin of {margin}. Expected 0 or more, in units of the true scores. Give such a margin.")
    if references is not None and len(references) != len(truth):
        raise InputError(
            f"Got {len(references)} references for {len(truth)} true scores. Expected one each per image. Give those of all images."
        )
    if groups.shape != table.said.shape:
        raise InputError(
            f"Got {groups.shape} groups for {table.said.shape} comparisons. Expected one each. Give the reference of each pair."
        )
    low, high = min(table.first.min(), table.second.min()), max(table.first.max(), table.second.max())
    if low < 0 or high >= len(truth):
        raise InputError(
            f"Comparisons are of images {low} to {high}, but there are {len(truth)} true scores. Expected numbers from 0 to "
            f"{len(truth) - 1}. Number the images as the true scores are."
        )
    unknown = ~np.isfinite(truth[np.r_[table.first, table.second]])
    if unknown.any():
        raise InputError(
            f"{int(unknown.sum())} of the compared images have a true score that is no number. Expected finite ones. "
            "Leave out comparisons of images without a true score."
        )
