"""Are two spaces alike? Linear CKA and neighbourhood overlap of paired rows, also without each block of references.

Functions named ``…_left_out`` give a row: the value on all stimuli, followed by the value without each block, which is what
``analysis.jackknife.jackknife`` wants. None of them makes a stimulus its own neighbour, as a bootstrap's copies would.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from stimuli.errors import InputError

Metric = Literal["cosine", "euclidean"]
BLOCK = 1024
"""Rows whose products with all others are in memory at a time."""


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Debiased linear CKA; see ``linear_cka_left_out``."""
    return float(_cka(x, y, np.zeros(len(x), int), 0)[0])


def linear_cka_left_out(x: np.ndarray, y: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Debiased linear CKA of all rows and of those outside each block, float (1 + blocks,).

    HSIC(x, y) / √(HSIC(x, x)·HSIC(y, y)) (Kornblith et al. 2019) with the unbiased estimate of HSIC (Song et al. 2012) in place
    of the biased one, which makes any two wide spaces look alike (Nguyen et al. 2021). That estimate is an inner product
    (Székely and Rizzo 2014), so the range is [-1, 1]: 1 for equal spaces up to rotation, shift and scale, and 0 on average for
    unrelated ones of independent rows. Versions of one reference are not independent: they lie together in any space that knows the
    content, and unrelated spaces are then alike too (``linear_cka_chance``). NaN where a space has no spread.

    Products are summed over pairs of features or of rows, whichever are fewer. Time O(n·d₁·d₂) or O(n²·(d₁ + d₂)), memory two
    further copies of the rows and O(d₁·d₂ + n·blocks) or O(n·BLOCK + n·blocks).

    Args:
        x: (n, d₁).
        y: (n, d₂), the same stimuli.
        blocks: int (n,), the block of each row from 0 up: its reference, or a set of references.

    Raises:
        InputError: unequal lengths, or fewer than 4 rows outside a block.
    """
    return _cka(x, y, np.asarray(blocks), int(np.max(blocks)) + 1)


def linear_cka_chance(x: np.ndarray, y: np.ndarray, pairings: np.ndarray) -> float:
    """Debiased linear CKA of ``x`` with the rows of ``y`` paired anew, the mean over pairings; NaN where a space has no spread.

    Args:
        x: (n, d₁).
        y: (n, d₂).
        pairings: int (pairings, n), for every row of ``x`` a row of ``y``; see ``analysis.pairings``.

    Raises:
        InputError: unequal lengths, fewer than 4 rows, or values that are not finite.
    """
    none = np.zeros(len(x), int)
    first, second = _comparable(x, y, none, 0)
    cross = np.mean([_hsic(first, second[order], none, 0) for order in pairings], axis=0)
    return float(_ratio(cross, [_hsic(z, z, none, 0) for z in (first, second)])[0])


def mutual_knn(
    x: np.ndarray, y: np.ndarray, k: int = 10, metric: Metric = "cosine", references: np.ndarray | None = None
) -> float:
    """Mean share of the k nearest neighbours that each stimulus has in both spaces, in [0, 1]; by chance ``knn_chance``.

    With cosines this is the mutual k-nearest-neighbour alignment of Huh et al. (2024), without their clamping of large
    features; with Euclidean distances between what enters and leaves a projector it is the neighbour overlap of Li et al. (2025,
    Lost in Embeddings). A stimulus never counts as its own neighbour.

    Args:
        x: (n, d₁).
        y: (n, d₂), the same stimuli.
        k: neighbours, at most as many as there are candidates.
        metric: of both spaces.
        references: (n,); where given, stimuli of the same reference are no candidates. They are each other's neighbours in
            nearly any space, so that the overlap without this tells little about anything else.

    Raises:
        InputError: unequal lengths, k below 1, or no candidate.
    """
    paired(x, y)
    k = min(k, _candidates(len(x), references))
    first, second = (neighbours(space, k, metric, references) for space in (x, y))
    return float(_shared(first, second).mean() / k)


def mutual_knn_left_out(
    x: np.ndarray,
    y: np.ndarray,
    blocks: np.ndarray,
    k: int = 10,
    metric: Metric = "cosine",
    references: np.ndarray | None = None,
) -> np.ndarray:
    """``mutual_knn`` of all rows and of those outside each block, float (1 + blocks,), from one search per space.

    More neighbours are kept than are needed, so that without a block the next ones move up. Time of the search O(n²·(d₁ + d₂)),
    memory O(n·(BLOCK + k + largest block)).

    Args:
        x: (n, d₁).
        y: (n, d₂).
        blocks: int (n,), from 0 up; a reference lies in one block.
        k: neighbours.
        metric: of both spaces.
        references: as in ``mutual_knn``.

    Raises:
        InputError: as ``mutual_knn``, or fewer than k candidates outside a block.
    """
    paired(x, y)
    blocks = np.asarray(blocks)
    largest = int(np.bincount(blocks).max())
    room = _candidates(len(x), references) - largest
    if k > room:
        raise InputError(
            f"Got k = {k} neighbours and {room} candidates outside a block of {largest} stimuli. Expected no more neighbours than "
            "candidates. Lower k, or show more references."
        )
    first, second = (neighbours(space, k + largest, metric, references) for space in (x, y))
    shared = _shared(first[:, :k], second[:, :k])
    found = [shared.mean()]
    for block in range(int(blocks.max()) + 1):
        own = shared.copy()
        gone = [blocks[near] == block for near in (first, second)]
        moved = gone[0][:, :k].any(1) | gone[1][:, :k].any(1)
        kept = [_kept(near[moved], lost[moved], k) for near, lost in zip((first, second), gone, strict=True)]
        own[moved] = _shared(*kept)
        found.append(own[blocks != block].mean())
    return np.array(found) / k


def knn_chance(n: int, k: int = 10, references: np.ndarray | None = None) -> float:
    """Overlap of k random neighbours with k others: k / (n - 1), or the mean of k / candidates with ``references``."""
    if references is None:
        return min(1.0, k / (n - 1))
    _, number, size = np.unique(references, return_inverse=True, return_counts=True)
    return float(np.minimum(1.0, k / (n - size[number])).mean())


def paired(x: np.ndarray, y: np.ndarray) -> None:
    """Refuse spaces that cannot be compared row by row.

    Raises:
        InputError: not two arrays of equally many rows, or values that are not finite.
    """
    if np.ndim(x) != 2 or np.ndim(y) != 2 or len(x) != len(y):
        raise InputError(
            f"Got arrays of shapes {np.shape(x)} and {np.shape(y)}. Expected a row per stimulus in both, the same stimuli in the "
            "same order. Give (n, d) arrays of pooled activations."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("Got features that hold NaN or infinity. Expected finite ones. Leave these rows out of both spaces.")


def neighbours(x: np.ndarray, k: int, metric: Metric = "cosine", references: np.ndarray | None = None) -> np.ndarray:
    """The k nearest other rows of each row, nearest first, int32 (n, k); of equally near ones the earlier row.

    Exact search in float64, ``BLOCK`` rows at a time: time O(n²·d), memory O(n·(d + BLOCK + k)).

    Args:
        x: (n, d).
        k: at most as many as there are candidates.
        metric: ``cosine``, or ``euclidean``.
        references: (n,); where given, rows of the same reference are no candidates.

    Raises:
        InputError: k below 1 or above the candidates.
    """
    most = _candidates(len(x), references)
    if not 1 <= k <= most:
        raise InputError(f"Got k = {k} neighbours of {len(x)} stimuli. Expected 1 to {most}, the candidates. Change k.")
    space = np.asarray(x, float)
    if metric == "cosine":
        space = space / np.maximum(np.linalg.norm(space, axis=1, keepdims=True), 1e-300)
        own = np.zeros(len(space))
    else:
        space = space - space.mean(0)  # distances stay, and lose fewer digits
        own = (space**2).sum(1) / 2
    number = np.arange(len(x)) if references is None else np.unique(references, return_inverse=True)[1]
    found = np.empty((len(x), k), np.int32)
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        far = own - space[rows] @ space.T  # half the squared distance, less half the row's own square
        far[number[rows, None] == number] = np.inf
        near = np.sort(np.argpartition(far, k - 1, axis=1)[:, :k], axis=1)
        order = np.argsort(np.take_along_axis(far, near, 1), axis=1, kind="stable")
        found[rows] = np.take_along_axis(near, order, 1)
    return found


def _candidates(n: int, references: np.ndarray | None) -> int:
    """How many neighbours every row can have."""
    same = 1 if references is None else int(np.unique(references, return_counts=True)[1].max())
    if n - same < 1:
        raise InputError(f"Got {n} stimuli with {same} of one reference; a neighbour must be of another. Show more references.")
    return n - same


def _shared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How many numbers two rows have in common, int (n,) for (n, k) each without repetition within a row."""
    both = np.sort(np.concatenate([first, second], axis=1), axis=1)
    return np.asarray((both[:, 1:] == both[:, :-1]).sum(1))


def _kept(near: np.ndarray, gone: np.ndarray, k: int) -> np.ndarray:
    """The first k of each row that are not gone, in their order."""
    return np.asarray(np.take_along_axis(near, np.argsort(gone, axis=1, kind="stable")[:, :k], 1))


def _cka(x: np.ndarray, y: np.ndarray, blocks: np.ndarray, count: int) -> np.ndarray:
    first, second = _comparable(x, y, blocks, count)
    return _ratio(_hsic(first, second, blocks, count), [_hsic(z, z, blocks, count) for z in (first, second)])


def _comparable(x: np.ndarray, y: np.ndarray, blocks: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Both spaces scaled, once they were found fit for CKA."""
    paired(x, y)
    if len(x) - (int(np.bincount(blocks).max()) if count else 0) < 4:
        raise InputError(f"Got {len(x)} stimuli for CKA. Expected at least 4 outside every block. Show more references.")
    return _scaled(x), _scaled(y)


def _ratio(cross: np.ndarray, own: list[np.ndarray]) -> np.ndarray:
    """HSIC of two spaces over that of each with itself; NaN where one has no spread."""
    scale = np.sqrt(np.maximum(own[0], 0) * np.maximum(own[1], 0))
    ratio = np.divide(cross, scale, out=np.full(len(scale), np.nan), where=scale > 1e-12)
    return np.clip(ratio, -1, 1)  # rounding alone leads beyond


def _scaled(x: np.ndarray) -> np.ndarray:
    """Centred, with rows of length 1 on average: HSIC does not see the one, nor CKA the other, but digits are saved."""
    centred = np.asarray(x, float) - np.mean(x, axis=0, dtype=float)
    length = np.sqrt((centred**2).sum() / len(centred))
    return np.asarray(centred / length) if length > 1e-12 * np.abs(x).max() else centred * 0


def _hsic(x: np.ndarray, y: np.ndarray, blocks: np.ndarray, count: int) -> np.ndarray:
    """Unbiased HSIC (Song et al. 2012, theorem 5) of all rows and without each block, (1 + blocks,).

    With K and L the Gram matrices without their diagonals and m rows: [ΣK∘L + ΣK·ΣL / ((m-1)(m-2)) - 2·1ᵀKL1 / (m-2)] / (m(m-3)).
    What a block takes from each sum is known from its own rows and their sums, so that nothing is computed twice.
    """
    diagonal = (x**2).sum(1) * (y**2).sum(1)
    pairs = _row_pairs(x, y) - diagonal
    member = blocks[:, None] == np.arange(count)
    (row_x, toward_x), (row_y, toward_y) = (_row_sums(z, member) for z in (x, y))
    left_x, left_y = row_x - toward_x, row_y - toward_y  # (n, 1 + blocks): row sums over what is left
    stay = np.hstack([np.ones((len(x), 1), bool), ~member])
    m = stay.sum(0)
    within = np.zeros(1 + count)
    for block in range(count):
        rows = np.flatnonzero(member[:, block])
        own = (x[rows] @ x[rows].T) * (y[rows] @ y[rows].T)
        within[1 + block] = own.sum() - np.trace(own) - 2 * pairs[rows].sum()
    product = pairs.sum() + within
    sums = (left_x * stay).sum(0) * (left_y * stay).sum(0)
    chain = (left_x * left_y * stay).sum(0)
    return np.asarray((product + sums / ((m - 1) * (m - 2)) - 2 * chain / (m - 2)) / (m * (m - 3)))


def _row_pairs(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Σⱼ (xᵢ·xⱼ)(yᵢ·yⱼ) for every row i, (n,)."""
    if x.shape[1] * y.shape[1] <= len(x) * (x.shape[1] + y.shape[1]) / 2:
        return np.asarray(((x @ (x.T @ y)) * y).sum(1))
    parts = [slice(start, start + BLOCK) for start in range(0, len(x), BLOCK)]
    return np.concatenate([((x[rows] @ x.T) * (y[rows] @ y.T)).sum(1) for rows in parts])


def _row_sums(x: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of xᵢ·xⱼ over j ≠ i: over all, (n, 1), and what each block adds to them after a column of zeros, (n, 1 + blocks)."""
    square = (x**2).sum(1)
    toward = x @ (x.T @ member) - square[:, None] * member
    return (x @ x.sum(0) - square)[:, None], np.hstack([np.zeros((len(x), 1)), toward])
