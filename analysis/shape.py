"""The shape of a space: how far one lies from another, over how many directions it is spread, how far images are from words.

Functions named ``…_left_out`` give a row: the value on all stimuli, followed by the value without each block of references, which
is what ``analysis.jackknife.jackknife`` wants.
"""

from __future__ import annotations

import numpy as np

from analysis.similarity import paired
from stimuli.errors import InputError

Spectra = list[np.ndarray]
"""Variances along the principal axes of all rows, and of the rows outside each block."""


def procrustes(x: np.ndarray, y: np.ndarray) -> float:
    """Squared orthogonal Procrustes distance; see ``procrustes_left_out``."""
    return float(procrustes_left_out(x, y, np.zeros(len(x), int))[0])


def procrustes_left_out(x: np.ndarray, y: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Squared orthogonal Procrustes distance of all rows and of those outside each block, float (1 + blocks,).

    ‖X‖² + ‖Y‖² - 2‖XᵀY‖₊ with ‖·‖₊ the sum of singular values: what is left of the squared distance after the best rotation or
    reflection (Schönemann 1966), for spaces that were centred and scaled to norm 1 (Ding et al. 2021). Range [0, 2]: 0 for equal
    spaces up to rotation, shift and scale. The narrower space counts as padded with zeros, which leaves the formula as it is.

    For n rows of d features each, unrelated isotropic spaces are about 2 - 16/(3π)·√(d/n) apart if n is far above d: the singular
    values of their product follow a quarter circle (Marchenko and Pastur 1967). With n ≤ d a rotation can nearly match any rows to
    any others, the more so with fewer references than rows, and the distance of unrelated spaces is near 0 as well: it says
    something only beside ``procrustes_chance``.

    The values without a block are to first order in what the block takes from XᵀY: the singular vectors stay those of all rows. An
    interval of them is thus a first-order jackknife, as of an estimate by its influence function.

    Time O(n·d² + d³) for d the smaller of rows and features, memory O(n·d + d²).

    Args:
        x: (n, d₁).
        y: (n, d₂), the same stimuli.
        blocks: int (n,), the block of each row from 0 up.

    Raises:
        InputError: unequal lengths, values that are not finite, or a space whose rows are all equal.
    """
    paired(x, y)
    first, second = (_turned(_spread(space)) for space in (x, y))
    left, values, right = np.linalg.svd(first.T @ second, full_matrices=False)
    product = _taken(first @ left, second @ right.T, blocks)
    norms = np.sqrt([_taken(z, z, blocks) for z in (first, second)])
    nuclear = np.concatenate([[values.sum()], product[0] - product[1:]])
    whole = norms[:, 0]
    rest = np.sqrt(np.maximum(whole[:, None] ** 2 - norms[:, 1:] ** 2, 0))
    scale = np.concatenate([[whole.prod()], rest.prod(0)])
    ratio = np.divide(nuclear, scale, out=np.full(len(scale), np.nan), where=scale > 1e-12)
    return np.asarray(np.clip(2 - 2 * ratio, 0, 2))


def procrustes_chance(x: np.ndarray, y: np.ndarray, pairings: np.ndarray) -> float:
    """Squared orthogonal Procrustes distance of ``x`` from the rows of ``y`` paired anew, the mean over pairings, in [0, 2].

    Time O(pairings·(n·d² + d³)) for d the smaller of rows and features.

    Args:
        x: (n, d₁).
        y: (n, d₂).
        pairings: int (pairings, n), for every row of ``x`` a row of ``y``; see ``analysis.pairings``.

    Raises:
        InputError: as ``procrustes_left_out``.
    """
    paired(x, y)
    first, second = (_turned(_spread(space)) for space in (x, y))
    return float(np.mean([2 - 2 * np.linalg.norm(first.T @ second[order], "nuc") for order in pairings]))


def spread(x: np.ndarray) -> bool:
    """Whether the rows differ by more than float64 rounding.

    Raises:
        InputError: values that are not finite, of which neither can be said.
    """
    _finite(x)
    return bool(np.ptp(x, axis=0).max() > 1e-12 * np.abs(x).max())


def spectra(x: np.ndarray, blocks: np.ndarray | None = None) -> Spectra:
    """Variances along the principal axes of the centred rows, largest first, of all rows and, with ``blocks``, without each.

    All are 0 where no more than rounding is left without a block.

    Computed anew for each block (only the products are shared): time O(n·d² + blocks·d³) for d the smaller of rows and features,
    memory O(n·d + d²). First-order updates were tried and give up to 45 % too short intervals of the effective rank.

    Args:
        x: (n, d).
        blocks: int (n,), the block of each row from 0 up.

    Raises:
        InputError: rows that are all equal, or values that are not finite.
    """
    z = _turned(_spread(x))
    products = z.T @ z
    found = [_variances(products / len(z))]
    for block in range(0 if blocks is None else int(np.max(blocks)) + 1):
        own = z[np.asarray(blocks) == block]
        total, m = own.sum(0), len(z) - len(own)
        rest = (products - own.T @ own - np.outer(total, total) / m) / m
        found.append(_variances(rest if np.trace(rest) > 1e-12 * np.trace(products) / m else rest * 0))
    return found


def effective_rank(variances: np.ndarray) -> float:
    """Over how many directions a space is spread, 1 to d: e to the entropy of its singular values (Roy and Vetterli 2007).

    The rows were centred first, without which a common offset counts as the main direction. Their singular values are the square
    roots of ``variances``, up to a factor. It grows with the number of stimuli: compare at equal stimuli alone.
    NaN without any variance.
    """
    singular = np.sqrt(np.asarray(variances))
    if not singular.any():
        return float("nan")
    share = singular / singular.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def participation_ratio(variances: np.ndarray) -> float:
    """(Σλ)² / Σλ² of the variances λ along the principal axes, 1 to d: the directions that hold most of the variance.

    Less moved by small directions than ``effective_rank`` (Gao et al. 2017). NaN without any variance.
    """
    own = np.asarray(variances)
    return float(own.sum() ** 2 / (own**2).sum()) if own.any() else float("nan")


def modality_gap(features: np.ndarray, words: np.ndarray) -> float:
    """Distance of the mean image from the mean word on the unit sphere; see ``modality_gap_left_out``."""
    return float(modality_gap_left_out(features, words, np.zeros(len(features), int))[0])


def modality_gap_left_out(features: np.ndarray, words: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Modality gap of all images and of those outside each block, float (1 + blocks,); the words stay.

    ‖mean v/‖v‖ - mean w/‖w‖‖ (Liang et al. 2022), 0 to 2. Only where both live in one space: after the projector.

    Args:
        features: (n, d).
        words: (k, d), embeddings of words or texts.
        blocks: int (n,), the block of each row from 0 up.

    Raises:
        InputError: unequal widths, no words, or values that are not finite.
    """
    if np.ndim(words) != 2 or not len(words) or np.shape(words)[1] != np.shape(features)[1]:
        raise InputError(
            f"Got features of shape {np.shape(features)} and words of shape {np.shape(words)}. Expected one width and at least one "
            "word. Take a site behind the projector, and hooks.words.word_embeddings."
        )
    for own in (features, words):
        _finite(own)
    images, text = _unit(features), _unit(words).mean(0)
    sums = np.stack([images[blocks == block].sum(0) for block in range(int(np.max(blocks)) + 1)])
    sizes = np.bincount(blocks)
    means = [sums.sum(0) / len(images)]
    means += [(sums.sum(0) - own) / (len(images) - size) for own, size in zip(sums, sizes, strict=True) if size < len(images)]
    return np.linalg.norm(np.stack(means) - text, axis=1)


def _finite(x: np.ndarray) -> None:
    if not np.isfinite(x).all():
        raise InputError("Got features that hold NaN or infinity. Expected finite ones. Leave these rows out.")


def _unit(x: np.ndarray) -> np.ndarray:
    own = np.asarray(x, float)
    return np.asarray(own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-150))


def _spread(x: np.ndarray) -> np.ndarray:
    """Centred and scaled to norm 1."""
    if not spread(x):
        raise InputError(
            f"Got {len(x)} rows that are all equal. Expected a space with some spread. Look at what the site holds."
        )
    centred = np.asarray(x, float) - np.mean(x, axis=0, dtype=float)
    return np.asarray(centred / np.linalg.norm(centred))


def _turned(x: np.ndarray) -> np.ndarray:
    """Rows in as many coordinates as there are rows where there are more features: a rotation, so that no measure changes."""
    return np.transpose(np.linalg.qr(x.T, mode="r")) if x.shape[1] > x.shape[0] else x


def _variances(products: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(np.linalg.eigvalsh(products)[::-1], 0))


def _taken(x: np.ndarray, y: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Trace of XᵀY, and what it loses with each block, the new centring included, for centred rows (n, d): (1 + blocks,)."""
    number, sizes = np.asarray(blocks), np.bincount(blocks)
    products = (x * y).sum(1)
    found = [products.sum()]
    for block, size in enumerate(sizes):
        own = number == block
        rest = len(x) - size
        found.append(products[own].sum() + (x[own].sum(0) @ y[own].sum(0) / rest if rest else 0.0))
    return np.array(found)
