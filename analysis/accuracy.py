"""How right answers are: macro-F1, accuracy by type, level and severity, McNemar's test, and what guessing would bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import binomtest, chi2, entropy

from analysis.parsing import UNPARSED
from probes.intervals import Interval, group_bootstrap, group_counts, interval, resamples
from stimuli.errors import InputError
from stimuli.tables import Row, Table
from stimuli.taxonomy import CLEAN

KEYS = ("type", "level", "severity", "ssim")
PSNR_EDGES_DB = (45.0, 40.0, 35.0, 30.0, 25.0, 20.0, 15.0)
SSIM_EDGES = (0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Finer near 1, where most published levels lie."""
IDENTICAL = {"psnr": 100.0, "ssim": 1.0}
"""What ``stimuli.distortions.severity`` measures of an image that was not changed."""


@dataclass(frozen=True)
class McNemar:
    """A test of whether two sets of answers about the same images are right equally often."""

    only_a: int
    """Images that only the first got right."""
    only_b: int
    p: float
    """Two-sided."""
    statistic: float
    """Chi-squared of one degree of freedom; 0 where they never differ."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def macro_f1(
    labels: Sequence[str] | np.ndarray,
    answers: Sequence[str] | np.ndarray,
    classes: Sequence[str],
    groups: Sequence[str] | np.ndarray,
    n_boot: int = 1000,
    seed: int = 0,
) -> Interval:
    """Mean over the classes present in ``labels`` of F1 = 2 TP / (2 TP + FP + FN), by reference.

    An unparsed answer is wrong and no class of its own. It is scikit-learn's ``f1_score(average="macro", labels=present)``; a
    resample without any image of a class averages over the others.

    Args:
        labels: (n,) true classes.
        answers: (n,) classes or ``unparsed``.
        classes: all that can be said.
        groups: (n,) references.
        n_boot: resamples of references.
        seed: of the resamples.

    Returns:
        A value in [0, 1] with its interval.

    Raises:
        InputError: a label or an answer is none of the classes, or fewer than two references.
    """
    said = np.array([*classes, UNPARSED])
    true, answer = _numbers(labels, said[:-1], "label"), _numbers(answers, said, "answer")
    number, n_groups = group_counts(groups)
    weights = np.vstack([np.ones((1, n_groups)), resamples(n_groups, n_boot, seed)])
    k = len(classes)
    right, named, shown = np.zeros((n_groups, k)), np.zeros((n_groups, k + 1)), np.zeros((n_groups, k))
    np.add.at(right, (number, true), true == answer)
    np.add.at(named, (number, answer), 1)
    np.add.at(shown, (number, true), 1)
    right, named, shown = weights @ right, weights @ named[:, :k], weights @ shown
    f1 = np.divide(2 * right, named + shown, out=np.full_like(shown, np.nan), where=shown > 0)
    draws = np.nanmean(f1, axis=1)
    return interval(draws[0], draws[1:])


def accuracy_by(rows: Table, key: str, n_boot: int = 1000, seed: int = 0) -> Table:
    """Share of right answers by distortion type, published level or measured severity.

    Bins of severity are fixed, so that one model's rows stand beside another's and one dataset's beside another's; quantiles
    would mean something else in every run. Images that equal their reference have a bin of their own, ``identical``.

    Args:
        rows: of answers, with ``reference``, ``type``, ``level``, ``psnr``, ``ssim`` and ``correct``.
        key: ``type``, ``level`` (clean images are ``clean`` in both), ``severity`` (PSNR in steps of 5 dB) or ``ssim``. What
            was not measured is left out, and so are distorted images without a published level.
        n_boot: resamples of references.
        seed: of the resamples.

    Returns:
        Rows with the key, ``n``, ``references``, ``accuracy``, ``low``, ``high`` (None where there are fewer than two
        references): types in order of appearance after ``clean``, the others from mild to severe.

    Raises:
        InputError: unknown key.
    """
    if key not in KEYS:
        raise InputError(f"Cannot tell accuracy by '{key}'. Expected one of {', '.join(KEYS)}. Use one of these.")
    names, order = _binned(rows, key)
    members = {name: [row for row, own in zip(rows, names, strict=True) if own == name] for name in order}
    return [{key: name, "n": len(own), **_accuracy(own, n_boot, seed)} for name, own in members.items() if own]


def mcnemar(hits_a: Sequence[bool] | np.ndarray, hits_b: Sequence[bool] | np.ndarray) -> McNemar:
    """McNemar's test (McNemar 1947): p is the exact two-sided binomial one, the statistic (b − c)² / (b + c).

    It takes every image for independent, though images of one reference are not, so p is too small where they stand or fall
    together. Quote ``analysis.perception.compare_answers`` (a paired bootstrap over references), or ``mcnemar_by_reference``.

    Args:
        hits_a: (n,), whether each answer of the first is right.
        hits_b: of the second, about the same images.

    Raises:
        InputError: they are not equally many.
    """
    a, b = _paired(hits_a, hits_b)
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    n = only_a + only_b
    return McNemar(only_a, only_b, float(binomtest(only_a, n).pvalue) if n else 1.0, (only_a - only_b) ** 2 / n if n else 0.0)


def mcnemar_by_reference(
    hits_a: Sequence[bool] | np.ndarray, hits_b: Sequence[bool] | np.ndarray, groups: Sequence[str] | np.ndarray
) -> McNemar:
    """McNemar's test for images that share references (Obuchowski 1998).

    With d the difference of a reference's two counts of images that only one got right, and K references, chi-squared is
    (K − 1) / K · (Σ d)² / Σ d² (in the form that Yang, Sun and Hardin 2010 give it). Every image weighs the same, as in the
    accuracies compared. It is asymptotic in K: below some twenty references trust the bootstrap rather.

    Args:
        hits_a: (n,), whether each answer of the first is right.
        hits_b: of the second, about the same images.
        groups: (n,) references.

    Raises:
        InputError: they are not equally many, or fewer than two references.
    """
    a, b = _paired(hits_a, hits_b)
    number, k = group_counts(groups)
    if k < 2:
        raise InputError(f"A test over references needs at least 2 of them, got {k}. Show more references.")
    d = np.bincount(number, a.astype(float) - b, k)
    statistic = float((k - 1) / k * d.sum() ** 2 / (d**2).sum()) if d.any() else 0.0
    return McNemar(int((a & ~b).sum()), int((~a & b).sum()), float(chi2.sf(statistic, 1)), statistic)


def response_profile(answers: Sequence[str], labels: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    """How uneven the answers are, and how right they would be if they did not depend on the image.

    Args:
        answers: (n,) classes or ``unparsed``.
        labels: (n,) true classes.
        classes: all that can be said.

    Returns:
        * ``shares``: of each class and of ``unparsed``;
        * ``entropy``: of these, in bits (0 where one answer is always given), beside ``entropy_of_truth``, that of the labels;
        * ``top``, ``top_share``: the most frequent answer;
        * ``if_image_ignored``: Σ over classes of share of answers × share of labels, the accuracy that this habit of answering
          would have on shuffled images, beside ``chance`` (1 / classes) and ``majority`` (always naming the commonest label).

    Raises:
        InputError: no answers, or one that is none of the classes.
    """
    if not len(answers):
        raise InputError("There are no answers to describe. Expected at least one. Ask about some images first.")
    said = [*classes, UNPARSED]
    answered, true = (
        np.bincount(_numbers(values, np.array(said), name), minlength=len(said)) / len(values)
        for values, name in ((answers, "answer"), (labels, "label"))
    )
    return {
        "shares": dict(zip(said, answered.tolist(), strict=True)),
        "entropy": float(entropy(answered, base=2)),
        "entropy_of_truth": float(entropy(true, base=2)),
        "top": said[int(answered.argmax())],
        "top_share": float(answered.max()),
        "if_image_ignored": float(answered @ true),
        "chance": 1 / len(classes),
        "majority": float(true.max()),
    }


def _numbers(values: Sequence[str] | np.ndarray, names: np.ndarray, what: str) -> np.ndarray:
    """The place of each value among the names, int (n,)."""
    place = {str(name): i for i, name in enumerate(names)}
    strange = sorted({str(value) for value in values} - set(place))
    if strange:
        raise InputError(f"The {what} '{strange[0]}' is none of {', '.join(place)}. Give answers and labels of one taxonomy.")
    return np.array([place[str(value)] for value in values], int)


def _paired(hits_a: Sequence[bool] | np.ndarray, hits_b: Sequence[bool] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(hits_a, bool), np.asarray(hits_b, bool)
    if len(a) != len(b):
        raise InputError(
            f"{len(a)} and {len(b)} answers cannot be paired. Expected answers about the same images. Ask both the same."
        )
    return a, b


def _accuracy(rows: Table, n_boot: int, seed: int) -> Row:
    hits, groups = np.array([row["correct"] for row in rows], float), np.array([row["reference"] for row in rows])
    references = len(np.unique(groups))
    found = group_bootstrap(hits, groups, n_boot, seed) if references > 1 else None
    return {
        "references": references,
        "accuracy": float(hits.mean()),
        "low": found.low if found else None,
        "high": found.high if found else None,
    }


def _binned(rows: Table, key: str) -> tuple[list[Any], list[Any]]:
    """The bin of every row (None: left out), and all bins in the order in which they are shown."""
    if key == "type":
        names = [CLEAN if row["type"] is None else row["type"] for row in rows]
        return names, [CLEAN, *dict.fromkeys(name for name in names if name != CLEAN)]
    if key == "level":
        names = [CLEAN if row["type"] is None else row["level"] for row in rows]
        return names, [CLEAN, *sorted({name for name in names if name not in (CLEAN, None)})]
    measure, edges, unit = ("psnr", PSNR_EDGES_DB, " dB") if key == "severity" else ("ssim", SSIM_EDGES, "")
    between = [f"{low:g} to {high:g}{unit}" for high, low in pairwise(edges)]
    order = ["identical", f"{edges[0]:g}{unit} or more", *between, f"below {edges[-1]:g}{unit}"]
    places = [_place(row[measure], edges, IDENTICAL[measure]) for row in rows]
    return [None if place is None else order[place] for place in places], order


def _place(value: float | None, edges: Sequence[float], identical: float) -> int | None:
    """Number of a severity's bin, 0 for identical; a bin's lower edge belongs to it."""
    if value is None or not np.isfinite(value):
        return None
    return 0 if value >= identical else 1 + sum(value < edge for edge in edges)
