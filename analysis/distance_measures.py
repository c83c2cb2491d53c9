"""Distances between features and words: cosine, centred, whitened, margins to the nearest wrong word, and the nearest word.

The closed form of the measure in arXiv 2512.09573 is not public, so the definitions here are ours. With v the mean image-token
feature of a stimulus, v̄ the mean of the class means, e_c the vector of class c's word and ē the mean over the same classes, those that
are shown:

* ``cosine``   1 − cos(v, e_y), the raw distance to the right word, 0 to 2;
* ``centred``  the same of v − v̄ and e_y − ē: the modality gap (Liang et al. 2022) is removed;
* ``whitened`` √(δᵀ Σ⁻¹ δ / d) with δ = (v − v̄) − (e_y − ē) and Σ the pooled within-class covariance of the features (Mahalanobis
  1936), shrunk; see ``analysis.whitening``. Directions in which images of one class differ much (their content) count little. With
  many more stimuli than dimensions, 1 is the distance of an image from the mean of its class; with fewer it is not, since Σ is mostly
  the shrinkage's: there an image is less than 1 from the mean of its class. Σ is that of the stimuli measured, so a change of
  ``whitened`` is also one of its unit, and no share of the value before;
* ``whitened_margin`` by the same Σ, the distance to the nearest wrong word less that to the right one; positive means that the right word
  is the nearer. It is the contrast that ``whitened`` lacks, in the same unit;
* ``margin``   cos_c(v, e_y) − max over c ≠ y of cos_c(v, e_c), centred; positive means that the right word is the nearest;
* ``zero_shot`` whether the nearest centred word is the right one; a tie is not.

All but ``cosine`` are transductive: v̄, ē and Σ are of the very stimuli measured, with their classes. So ``zero_shot`` is not what a
classifier would score that sees one image at a time, and values of different sets of stimuli are not comparable. Where a single class is
shown, ē is the mean over all words.

Features are read in chunks of rows, so that memory is flat in their number and no (n, k, d) array is made (whitening takes d² or n²
numbers, the fewer).

A resample of references weighs the stimuli's values as they were measured. It does not see that the centre of the features and the
covariance that whitens were estimated from the same references, which for ``whitened`` is most of the uncertainty. So a jackknife leaves
out a tenth of the references at a time and measures anew (delete-d, Shao and Wu 1989), and the spread of the resamples is widened by the
ratio of the jackknife's standard errors with and without measuring anew, where that is above 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np

from analysis import whitening
from analysis.whitening import chunks, class_means
from probes.intervals import group_counts
from stimuli.errors import InputError

MEASURES = ("cosine", "centred", "whitened", "whitened_margin", "margin", "zero_shot")
WHITENED = ("whitened", "whitened_margin")
RATIOS = ("cosine", "centred", "token_cosine", "token_centred")
"""Distances with a zero that means something, so that a change can be told as a share of the value before."""
UNCENTRED = ("cosine", "token_cosine")
"""Measures of a stimulus that do not rest on the other stimuli."""
ALL = "all"
BALANCED = "zero_shot_balanced"
BLOCKS = 10
"""Of references, left out one by one by the jackknife."""
WHITENING = 1e12
"""Up to so many products in all is whitening done anew for the jackknife (2,000 stimuli of 4,096 dimensions, about half a minute of one
core); beyond, it has no interval, and ``Distances.notes`` says so."""
Means = Mapping[str, Mapping[str, np.ndarray]]
"""``all`` or class → measure → means: (1 + n_boot,) resampled, or (blocks,) of a jackknife."""
EXHAUSTIVE = math.factorial(8)
"""All assignments of words to classes are tried up to so many."""


@dataclass(frozen=True)
class Measured:
    """The measures of one site."""

    values: dict[str, np.ndarray]
    """Measure → (n,)."""
    margins: np.ndarray
    """(n, k): the centred margin of every word over the nearest other; above 0 for the nearest word."""


def measure(
    features: np.ndarray,
    words: np.ndarray,
    targets: np.ndarray,
    wanted: Sequence[str] = MEASURES,
    groups: np.ndarray | None = None,
) -> Measured:
    """Measures per stimulus.

    Args:
        features: (n, d), of any float type.
        words: (k, d), at least two.
        targets: (n,) class numbers.
        wanted: names of measures.
        groups: (n,) references, for the shrinkage of the covariance; None: each row is its own.

    Raises:
        InputError: unknown measure, fewer than two words, another width, or features that are not finite.
    """
    check_measures(wanted)
    if len(words) < 2 or features.shape[1] != words.shape[1]:
        raise InputError(
            f"Got features of {features.shape[1]} dimensions and {len(words)} words of {words.shape[1]}. Expected the same dimensions and "
            "at least two words. Measure where the language model's width is, with a taxonomy of two classes or more."
        )
    _refuse_infinite(features)
    rows, (mean, word) = np.arange(len(features)), centres(features, words, targets)
    raw, centred = similarities(features, words, mean, word)
    margins = margins_of(centred)
    found = {
        "cosine": 1 - raw[rows, targets],
        "centred": 1 - centred[rows, targets],
        "margin": margins[rows, targets],
        "zero_shot": (margins[rows, targets] > 0).astype(float),
    }
    if set(WHITENED) & set(wanted):
        far = whitening.to_words(features, words - word, targets, mean, groups)
        found |= {"whitened": far[rows, targets], "whitened_margin": margins_of(-far)[rows, targets]}
    return Measured({name: found[name] for name in MEASURES if name in wanted}, margins)


def _refuse_infinite(features: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise InputError(
            f"{len(bad)} of {len(features)} rows of features hold NaN or infinity (first row {bad[0]}). Expected finite ones. Extract in "
            "float32, or leave these stimuli out."
        )


def check_measures(wanted: Sequence[str]) -> None:
    """Refuse measures that are not known.

    Raises:
        InputError: there is one, or none is wanted.
    """
    unknown = [name for name in wanted if name not in MEASURES]
    if unknown or not wanted:
        raise InputError(f"Got the measures {list(wanted)}; expected some of {', '.join(MEASURES)}. Use these.")


def centres(features: np.ndarray, words: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the class means of features, and mean of those classes' words, (d,) each; of all words where a single class is shown."""
    present = np.unique(targets)
    named = words[present] if len(present) > 1 else words
    return class_means(features, targets)[present].mean(0), np.asarray(named, float).mean(0)


def similarities(features: np.ndarray, words: np.ndarray, mean: np.ndarray, word: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of features (n, d) with words (k, d), raw and less the centres of both, (n, k) each."""
    plain, moved = unit(words).T, unit(words - word).T
    parts = [(unit(x) @ plain, unit(x - mean) @ moved) for x in chunks(features)]
    return np.concatenate([raw for raw, _ in parts]), np.concatenate([centred for _, centred in parts])


def margins_of(similarity: np.ndarray) -> np.ndarray:
    """How much nearer each word is than the nearest other, (n, k) as given; 0 for words that are nearest together."""
    first = similarity.argmax(1)[:, None]
    highest = np.take_along_axis(similarity, first, 1)
    others = similarity.copy()
    np.put_along_axis(others, first, -np.inf, 1)
    margins = similarity - highest
    np.put_along_axis(margins, first, highest - others.max(1, keepdims=True), 1)
    return margins


def word_permutation(margins: np.ndarray, targets: np.ndarray, seed: int = 0, n_random: int = 2000) -> dict[str, float]:
    """Is it about the right word, or would any do? The words' assignment to the classes is permuted.

    Every assignment is tried where there are at most 8! of them, else ``n_random`` and the given one (Phipson and Smyth 2010).

    Args:
        margins: (n, k), of ``measure``.
        targets: (n,) class numbers.
        seed: of random assignments.
        n_random: how many.

    Returns:
        ``margin_p`` and ``zero_shot_p``, one-sided: how rarely an assignment has as high a mean as the given one. NaN where a margin is.
    """
    if not np.isfinite(margins).all():
        return {"margin_p": float("nan"), "zero_shot_p": float("nan")}
    k = margins.shape[1]
    orders = _orders(k) if math.factorial(k) <= EXHAUSTIVE else _drawn(k, n_random, seed)
    present = np.unique(targets)
    found = {}
    for name, values in (("margin", margins), ("zero_shot", (margins > 0).astype(float))):
        sums = np.stack([values[targets == label].sum(0) for label in present]) / len(values)
        scores = sums[np.arange(len(present)), orders[:, present]].sum(1)
        found[f"{name}_p"] = float((scores >= sums[np.arange(len(present)), present].sum() - 1e-12).mean())
    return found


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of length 1; those of length 0 stay."""
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-150))


@lru_cache(maxsize=8)
def _orders(k: int) -> np.ndarray:
    """All orders of k words, (k!, k), the given one first."""
    return np.array(list(permutations(range(k))), np.int8)


def _drawn(k: int, count: int, seed: int) -> np.ndarray:
    """The given order and ``count`` random ones."""
    rng = np.random.default_rng([seed, 61])
    return np.vstack([np.arange(k), rng.permuted(np.tile(np.arange(k), (count, 1)), axis=1)])


def with_balanced(table: dict[str, dict[str, np.ndarray]]) -> Means:
    """With the mean of ``zero_shot`` over the classes."""
    if "zero_shot" in table[ALL]:
        each = np.stack([own["zero_shot"] for label, own in table.items() if label != ALL])
        counted = np.isfinite(each)
        table[ALL][BALANCED] = np.where(counted, each, 0).sum(0) / np.maximum(counted.sum(0), 1)
    return table


# ---- what resamples of values do not see -----------------------------------------------------------------------------


def left_out(groups: np.ndarray, seed: int) -> list[np.ndarray]:
    """Which rows stay when a block of references is left out, bool (n,) each; none where there are fewer than three references."""
    number, n = group_counts(groups)
    if n < 3:
        return []
    block = np.random.default_rng([seed, 64]).permutation(n) % min(BLOCKS, n)
    return [block[number] != left for left in range(min(BLOCKS, n))]


def affordable(n: int, d: int, blocks: int) -> bool:
    """Whether whitening n stimuli of d dimensions anew for each of the blocks is worth its time (``WHITENING``)."""
    return blocks * whitening.products(n, d) <= WHITENING


def measured_anew(
    features: np.ndarray, words: np.ndarray, targets: np.ndarray, labels: np.ndarray, classes: Sequence[str], wanted: Sequence[str],
    blocks: Sequence[np.ndarray], groups: np.ndarray | None = None,
) -> Means:  # fmt: skip
    """Means of measures when each block is left out and centre and whitening are estimated without it, (blocks,) each.

    Whitened measures are NaN where they would take too long (``affordable``). Args as of ``analysis.distance_measures.measure``.
    """
    skip = () if affordable(len(features), features.shape[1], len(blocks)) else WHITENED
    todo = [name for name in wanted if name not in skip]
    tables = []
    for keep in blocks:
        own = None if groups is None else groups[keep]
        found = measure(features[keep], words, targets[keep], todo, own).values if todo else {}
        skipped = {name: np.full(int(keep.sum()), np.nan) for name in wanted if name not in todo}
        tables.append(_means({**found, **skipped}, labels[keep], classes))
    return _stacked(tables)


def measured_once(
    values: Mapping[str, np.ndarray], labels: np.ndarray, classes: Sequence[str], blocks: Sequence[np.ndarray]
) -> Means:
    """The same of values as they are."""
    return _stacked([_means({name: own[keep] for name, own in values.items()}, labels[keep], classes) for keep in blocks])


def _means(values: Mapping[str, np.ndarray], labels: np.ndarray, classes: Sequence[str]) -> Means:
    member = np.stack([np.ones(len(labels), bool), *(labels == label for label in classes)]).astype(float)
    shown = member.sum(1, keepdims=True)
    means = np.divide(
        member @ np.stack(list(values.values()), 1), shown, out=np.full((len(member), len(values)), np.nan), where=shown > 0
    )
    table = {label: dict(zip(values, own[:, None], strict=True)) for label, own in zip((ALL, *classes), means, strict=True)}
    return with_balanced(table)


def _stacked(tables: Sequence[Means]) -> Means:
    if not tables:
        return {}
    return {label: {name: np.concatenate([t[label][name] for t in tables]) for name in own} for label, own in tables[0].items()}


def factor(anew: np.ndarray | None, once: np.ndarray | None) -> float:
    """Ratio of the jackknife's standard errors with and without measuring anew, at least 1; NaN where it could not be measured."""
    if anew is None or once is None or len(anew) < 2:
        return 1.0
    both = np.isfinite(once) & np.isfinite(anew)
    if both.sum() < 2:
        return float("nan")
    given = float(once[both].std())
    return float(np.maximum(1.0, anew[both].std() / given)) if given > 0 else 1.0


def factors_of(
    anew: Means, values: Mapping[str, np.ndarray], labels: np.ndarray, classes: Sequence[str], blocks: Sequence[np.ndarray]
) -> dict[str, dict[str, float]]:
    """``factor`` by class and measure: of ``measured_anew`` over ``measured_once``."""
    once = measured_once(values, labels, classes, blocks)
    return {label: {name: factor(anew[label][name], own) for name, own in means.items()} for label, means in once.items()}
