"""How many bits an answer tells of the image, of the prompt and of the true class.

Plug-in estimates of information are biased upwards, badly so with few answers per image (Miller 1955; Panzeri and Treves 1996):
five random answers out of eight seem to tell 1.1 bits of their image. So each estimate is repeated on permuted answers. Taking
the mean of these away (Panzeri et al. 2007) is right for independent answers, but takes as much from answers that are a
function of the image and have no bias. Rescaling as in the adjusted mutual information (Vinh et al. 2010) is right at both ends:

    corrected = most · (plug-in − permuted) / (most − permuted)

where ``most`` is what the answer could tell. In between it is up to a quarter of a bit off either way (simulated: 8 kinds of
answers, 2 to 10 of them per image; estimates with other entropies were no better), so what it tells of the image can seem less
than what it tells of the class, of which there are many images. Resampling references adds a bias of its own, so intervals are
moved to the value's place; near independence they are too wide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.special import entr

from analysis.repeated import Resampled, divide, resampled, same_length, strings
from probes.intervals import Interval, interval
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Row, Table

NOTHING = 1e-9
"""Fewer bits than this are rounding errors."""


@dataclass(frozen=True, repr=False)
class Information(Result):
    """What answers tell of what was shown and asked; intervals are over references."""

    n: int
    prompts: int
    repeats: int
    references: int
    permutations: int
    entropy: Interval
    """Of the answers, in bits."""
    table: Table
    """Rows ``about`` (``image, prompt, image given prompt``, or ``class, class given prompt``) with ``plug_in`` and
    ``permuted`` (mean over permutations: what independent answers would give) in bits, and with ``_low`` and ``_high`` ``corrected`` (bits,
    about 0 where the answers are independent) and ``share`` (corrected / entropy; NaN where all answers are the same)."""
    image_over_prompt: Interval | None
    """Corrected information about the image less that about the prompt, in bits: below 0, the answers follow the prompt more.
    None for classes."""

    def row(self, about: str) -> Row:
        """The row of ``image``, ``prompt``, ``class`` …."""
        return next(row for row in self.table if row["about"] == about)

    def as_dict(self) -> dict[str, Any]:
        """Everything, JSON-able."""
        return asdict(self)


def information(
    answers: Any, groups: Sequence[str] | np.ndarray, n_boot: int = 1000, seed: int = 0, permutations: int = 100
) -> Information:
    """What answers tell of the image and of the prompt, every image having been asked with every prompt.

    Images and prompts count equally often. Of the image an answer can tell H(answer | prompt) at most, of the prompt
    H(answer | image). Answers are permuted over the images within each prompt, and over the prompts within each reference, all
    its images together. I(answer; image | prompt) needs several answers to the same prompt: with one, permuted equals plug-in,
    and corrected is NaN.

    Args:
        answers: strings (n images, m prompts) or (n, m, r repeats), at least two per image; ``unparsed`` is an answer like any
            other.
        groups: (n,) references.
        n_boot: resamples of references.
        seed: of resamples and permutations.
        permutations: how many.

    Raises:
        InputError: another shape, fewer than two answers per image, lengths that differ, fewer than two references, no
            permutations.
    """
    codes, kinds = _codes(answers, permutations)
    if codes[0].size < 2:
        raise InputError("Got one answer per image. Expected at least two, as all that single answers vary by looks like the "
                         "image's doing. Ask with more prompts, or repeatedly.")  # fmt: skip
    sample = resampled(groups, len(codes), n_boot, seed)
    number, rng, once = sample.number, np.random.default_rng([seed, 77]), sample.weights[:1]
    whole, of_image, of_prompt, of_both = _crossed(codes, kinds, number, sample.weights)
    images = np.mean([_crossed(_over_images(codes, rng), kinds, number, once) for _ in range(permutations)], axis=(0, 2))
    prompts = np.mean(
        [_crossed(_over_prompts(codes, number, rng), kinds, number, once) for _ in range(permutations)], axis=(0, 2)
    )
    parts = {
        "image": (whole - of_image, float(images[0] - images[1]), of_prompt),
        "prompt": (whole - of_prompt, float(prompts[0] - prompts[2]), of_image),
        "image given prompt": (of_prompt - of_both, float(images[2] - images[3]), of_prompt),
    }
    difference = _corrected(*parts["image"]) - _corrected(*parts["prompt"])
    return _information(codes, sample, permutations, whole, parts, _told(difference))


def information_with_labels(
    answers: Any,
    labels: Sequence[str] | np.ndarray,
    groups: Sequence[str] | np.ndarray,
    n_boot: int = 1000,
    seed: int = 0,
    permutations: int = 100,
) -> Information:
    """What answers tell of the true class: over all prompts together, and given the prompt (mean over prompts).

    The most that an answer can tell is the lesser of H(answer | prompt) and H(class). Labels are permuted over the images of
    each reference, so that answers that follow the content alone tell nothing of the class; references whose images all have
    the same class exchange it among themselves.

    Args:
        answers: strings (n,), (n, m prompts) or (n, m, r repeats); ``unparsed`` is an answer like any other.
        labels: (n,) true classes.
        groups: (n,) references.
        n_boot: resamples of references.
        seed: of resamples and permutations.
        permutations: how many.

    Raises:
        InputError: another shape, lengths that differ, fewer than two references, no permutations.
    """
    codes, kinds = _codes(answers, permutations)
    same_length(labels, len(codes), "labels")
    _, label = np.unique(strings(labels, "labels"), return_inverse=True)
    sample = resampled(groups, len(codes), n_boot, seed)
    number, rng, once = sample.number, np.random.default_rng([seed, 78]), sample.weights[:1]
    whole, most, pooled, given = _labelled(codes, kinds, label, number, sample.weights)
    null = np.mean(
        [_labelled(codes, kinds, _exchanged(label, number, rng), number, once) for _ in range(permutations)], axis=(0, 2)
    )
    parts = {"class": (pooled, float(null[2]), most), "class given prompt": (given, float(null[3]), most)}
    return _information(codes, sample, permutations, whole, parts, None)


def _codes(answers: Any, permutations: int) -> tuple[np.ndarray, int]:
    """Numbers of the answers, int (n, m, r), and how many different answers there are."""
    cells = np.asarray(answers, dtype=object)
    if not 1 <= cells.ndim <= 3 or not cells.size:
        raise InputError(
            f"Got answers of shape {cells.shape}. Expected images × prompts, or images × prompts × repeats. Reshape them."
        )
    if permutations < 1:
        raise InputError(f"Got {permutations} permutations. Expected at least 1, better 100. Give more.")
    names, codes = np.unique(strings(cells.ravel(), "answers"), return_inverse=True)
    return codes.reshape(*cells.shape, *[1] * (3 - cells.ndim)), len(names)


def _crossed(codes: np.ndarray, kinds: int, number: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """H(answer), H(answer | image), H(answer | prompt) and H(answer | both) under group weights: bits (4, resamples)."""
    n, m, _ = codes.shape
    prompts = _weighted(number, np.arange(m)[:, None] * kinds + codes, m * kinds, weights).reshape(-1, m, kinds)
    within_image, within_cell = _bits(_counts(codes.reshape(n, -1), kinds)), _bits(_counts(codes.reshape(n * m, -1), kinds))
    images = np.stack([within_image, within_cell.reshape(n, m).mean(1), np.ones(n)])
    sums = weights @ np.stack([np.bincount(number, row, weights.shape[1]) for row in images], axis=1)
    return np.stack([_bits(prompts.sum(1)), sums[:, 0] / sums[:, 2], _bits(prompts).mean(1), sums[:, 1] / sums[:, 2]])


def _labelled(codes: np.ndarray, kinds: int, label: np.ndarray, number: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """H(answer), the most that it can tell, I(answer; class) and I(answer; class | prompt): bits (4, resamples)."""
    m, classes = codes.shape[1], int(label.max()) + 1
    columns = (label[:, None, None] * m + np.arange(m)[:, None]) * kinds + codes
    joint = _weighted(number, columns, classes * m * kinds, weights).reshape(-1, classes, m, kinds)
    of_class, whole, prompts = _bits(joint.sum((2, 3))), _bits(joint.sum((1, 2))), _bits(joint.sum(1)).mean(1)
    pooled = whole + of_class - _bits(joint.sum(2).reshape(len(joint), -1))
    given = prompts + of_class - _bits(joint.swapaxes(1, 2).reshape(len(joint), m, -1)).mean(1)
    return np.stack([whole, np.minimum(prompts, of_class), pooled, given])


def _over_images(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n, m, r = codes.shape
    return rng.permuted(codes.swapaxes(0, 1).reshape(m, n * r), axis=1).reshape(m, n, r).swapaxes(0, 1)


def _over_prompts(codes: np.ndarray, number: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    orders = rng.permuted(np.tile(np.arange(codes.shape[1]), (number.max() + 1, 1)), axis=1)
    return np.take_along_axis(codes, orders[number][:, :, None], axis=1)


def _exchanged(label: np.ndarray, number: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels permuted within each reference, and between those references that have one class only."""
    order = np.argsort(number, kind="stable")
    moved = np.empty_like(label)
    moved[order] = label[np.lexsort((rng.random(len(label)), number))]
    starts = np.flatnonzero(np.r_[True, np.diff(number[order]) > 0])
    least, most = (end.reduceat(label[order], starts) for end in (np.minimum, np.maximum))
    uniform = np.flatnonzero(least == most)
    least[uniform] = least[rng.permutation(uniform)]
    return np.where(np.isin(number, uniform), least[number], moved)


def _corrected(plug_in: np.ndarray, permuted: float, most: np.ndarray) -> np.ndarray:
    """Rescaled so that permuted is 0 and most stays; 0 if there is nothing to tell, NaN if permuted is the most already."""
    if most[0] < NOTHING:
        return np.zeros(len(most))
    chance = permuted / most[0]
    return (plug_in - chance * most) / (1 - chance) if chance < 1 - NOTHING else np.full(len(most), np.nan)


def _told(draws: np.ndarray) -> Interval:
    """The sample's value and an interval as wide as the resampled values are spread, at its place."""
    return interval(draws[0], draws[1:] - draws[1:].mean() + draws[0])


def _information(
    codes: np.ndarray,
    sample: Resampled,
    permutations: int,
    whole: np.ndarray,
    parts: Mapping[str, tuple[np.ndarray, float, np.ndarray]],
    difference: Interval | None,
) -> Information:
    rows: Table = []
    for about, part in parts.items():
        bits = _corrected(*part)
        corrected, share = _told(bits), _told(divide(bits, np.where(whole > NOTHING, whole, 0)))
        rows.append({
            "about": about, "plug_in": float(part[0][0]), "permuted": part[1],
            "corrected": corrected.value, "corrected_low": corrected.low, "corrected_high": corrected.high,
            "share": share.value, "share_low": share.low, "share_high": share.high,
        })  # fmt: skip
    n, m, r = codes.shape
    return Information(n, m, r, sample.weights.shape[1], permutations, _told(whole), rows, difference)


def _weighted(number: np.ndarray, columns: np.ndarray, width: int, weights: np.ndarray) -> np.ndarray:
    """How often each column occurs under group weights: columns (n, …) of whole numbers → (resamples, width)."""
    rows = np.repeat(number, columns[0].size)
    table = csr_array((np.ones(columns.size), (rows, columns.ravel())), shape=(weights.shape[1], width))
    return np.asarray(weights @ table)


def _counts(codes: np.ndarray, kinds: int) -> np.ndarray:
    """How often each row has each answer, (rows, kinds)."""
    places = np.arange(len(codes))[:, None] * kinds + codes
    return np.bincount(places.ravel(), minlength=len(codes) * kinds).reshape(-1, kinds)


def _bits(counts: np.ndarray) -> np.ndarray:
    """Plug-in entropy over the last axis in bits; 0 where nothing was counted."""
    total = counts.sum(-1, keepdims=True)
    return np.asarray(entr(counts / np.where(total > 0, total, 1)).sum(-1) / np.log(2))
