"""Mahalanobis distances to words, by the covariance of features within classes, with a shrinkage that knows of references.

The pooled covariance within classes is shrunk towards its mean variance times the identity (Ledoit and Wolf 2004). Their share is the
estimated squared error of the covariance over its squared distance from the target, and their estimate of the error takes rows as
independent. Versions of one reference are not. So the error is estimated from sums over references (as a variance from clusters, Liang
and Zeger 1986): with S the covariance of n residuals z, and A = Σ zzᵀ over the m rows of a reference, it is Σ ‖A − mS‖² / n² over the
references. With one row each this is Ledoit and Wolf's.

With fewer rows than dimensions all is computed from the n × n inner products of the rows: the residuals' principal axes and what is
outside of them, where the covariance is a multiple of the identity.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

CHUNK = 2048
"""Rows at a time."""
LEAST = 1e-9
"""Share of the identity that keeps a singular covariance invertible."""
ROUNDING = 1e-20
"""Variance within classes below this share of the features' mean square is rounding: images shown twice, not images that differ."""


def to_words(
    features: np.ndarray, words: np.ndarray, targets: np.ndarray, mean: np.ndarray, groups: np.ndarray | None = None
) -> np.ndarray:
    """Mahalanobis distance of each stimulus less ``mean`` to every word, per dimension (root mean square).

    Args:
        features: (n, d).
        words: (k, d), centred.
        targets: (n,) class numbers.
        mean: (d,), the features' centre.
        groups: (n,) references; None: each row is its own.

    Returns:
        (n, k), at least 0; NaN where features do not vary within classes.
    """
    n, d = features.shape
    number = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    squares = (_by_axes if n < d else _by_covariance)(features, words, targets, mean, number)
    return np.asarray(np.sqrt(np.maximum(squares, 0) / d))


def products(n: int, d: int) -> float:
    """About how many products ``to_words`` takes for n stimuli of d dimensions."""
    return float(n) * d * min(n, d) + (10.0 * n**3 if n < d else 0.0)  # eigenvectors of n × n inner products


def within_covariance(features: np.ndarray, targets: np.ndarray, groups: np.ndarray | None = None) -> tuple[np.ndarray, float]:
    """Pooled within-class covariance (d, d), shrunk, and the share of the shrinkage; class means as if they were known.

    Args:
        features: (n, d).
        targets: (n,) class numbers.
        groups: (n,) references; None: each row is its own.
    """
    n, d = features.shape
    number = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    size = np.bincount(number)[number]
    even = bool((size == size[0]).all())
    means = class_means(features, targets)
    total, uneven, fourth = np.zeros((d, d)), np.zeros((0 if even else d, d)), 0.0
    for rows in _whole(number):
        z = np.asarray(features[rows], float) - means[targets[rows]]
        total += z.T @ z
        uneven += (size[rows, None] * z).T @ z if not even else 0.0
        fourth += float(((z @ z.T) ** 2)[number[rows][:, None] == number[rows]].sum())
    total /= n
    square = float((total**2).sum())
    cross = size[0] * n * square if even else float((uneven * total).sum())
    share = _share(n, d, float(np.trace(total)), square, fourth, float(cross), float(size.sum()))
    level = np.trace(total) / d
    total *= 1 - share
    total[np.diag_indices(d)] += share * level
    return total, share


def class_means(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Mean of each class, float64 (highest class + 1, d); 0 for those without a row."""
    k = int(targets.max()) + 1
    total, start = np.zeros((k, features.shape[1])), 0
    for x in chunks(features):
        total += (targets[start : start + len(x)] == np.arange(k)[:, None]).astype(float) @ x
        start += len(x)
    return total / np.maximum(np.bincount(targets, minlength=k), 1)[:, None]


def chunks(features: np.ndarray) -> Iterator[np.ndarray]:
    """Rows in float64, ``CHUNK`` at a time."""
    for start in range(0, len(features), CHUNK):
        yield np.asarray(features[start : start + CHUNK], float)


def _mean_square(features: np.ndarray) -> float:
    """Of the length of the rows."""
    return sum(float((x**2).sum()) for x in chunks(features)) / len(features)


def _by_covariance(
    features: np.ndarray, words: np.ndarray, targets: np.ndarray, mean: np.ndarray, number: np.ndarray
) -> np.ndarray:
    """Squared distances (n, k) by the Cholesky factor of the covariance."""
    from scipy.linalg import cholesky, solve_triangular

    covariance, _ = within_covariance(features, targets, number)
    if not np.trace(covariance) > ROUNDING * _mean_square(features):
        return np.full((len(features), len(words)), np.nan)
    root = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
    ends = solve_triangular(root, words.T, lower=True, check_finite=False).T
    starts = (solve_triangular(root, (x - mean).T, lower=True, check_finite=False).T for x in chunks(features))
    return np.concatenate([_squares(own, ends) for own in starts])


def _by_axes(features: np.ndarray, words: np.ndarray, targets: np.ndarray, mean: np.ndarray, number: np.ndarray) -> np.ndarray:
    """The same of fewer rows than dimensions, by the axes of the residuals."""
    from scipy.linalg import eigh

    n, d = features.shape
    means = class_means(features, targets)
    z = np.asarray(features, float) - means[targets]
    inner = z @ z.T
    trace, same = float(np.trace(inner)), number[:, None] == number
    size = np.bincount(number)[number]
    by_row = (inner**2).sum(1) / n  # zᵀSz
    share = _share(
        n, d, trace / n, float(by_row.sum()) / n, float((inner**2)[same].sum()), float(size @ by_row), float(size.sum())
    )
    if not trace / n > ROUNDING * _mean_square(features):
        return np.full((n, len(words)), np.nan)
    lengths, vectors = eigh(inner, overwrite_a=True, check_finite=False)
    kept = lengths > lengths[-1] * 1e-12
    lengths, vectors = lengths[kept], vectors[:, kept]
    onto = (vectors / np.sqrt(lengths)).T  # times z: the axes
    level = share * trace / n / d
    ends = np.vstack([means - mean, words])
    along = ends @ z.T @ onto.T
    outside = ends - along @ onto @ z
    scale = np.sqrt((1 - share) * lengths / n + level)
    own = vectors * np.sqrt(lengths) + along[targets]
    apart = _squares(outside[: len(means)], outside[len(means) :]) / level
    return _squares(own / scale, along[len(means) :] / scale) + apart[targets]


def _share(n: int, d: int, trace: float, square: float, fourth: float, cross: float, sizes: float) -> float:
    """Share of the identity, ``LEAST`` to 1.

    Args:
        n: rows.
        d: dimensions.
        trace: of S.
        square: ‖S‖².
        fourth: Σ ‖A‖² over references.
        cross: Σ m ⟨A, S⟩.
        sizes: Σ m².
    """
    spread = square - trace**2 / d
    if not spread > 0:
        return 1.0
    error = (fourth - 2 * cross + sizes * square) / n**2
    return float(np.clip(error / spread, LEAST, 1))


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances of rows, (len(a), len(b))."""
    return np.stack([((a - row) ** 2).sum(1) for row in b], 1)


def _whole(number: np.ndarray) -> Iterator[np.ndarray]:
    """Row numbers of whole references, about ``CHUNK`` at a time."""
    order = np.argsort(number, kind="stable")
    counts = np.bincount(number)
    ends = np.cumsum(counts)
    start = 0
    while start < len(order):
        enough = np.searchsorted(ends, start + CHUNK, side="right") - 1
        end = int(max(ends[enough] if enough >= 0 else 0, ends[np.searchsorted(ends, start, side="right")]))
        yield np.sort(order[start:end])
        start = end
