"""LEACE: the smallest affine change of features after which no linear probe finds a concept (Belrose et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from probes.eraser import Eraser, share
from stimuli.errors import InputError

TOLERANCE = 1e-10
"""Directions in which features and concept correlate less than this (of the concept's spread) are rounding errors."""


class Leace:
    """Means and covariances of features and a concept, batch by batch; then the eraser.

    What is kept is (d, d) numbers, whatever the number of rows. Batches are merged about their own means (Chan et al. 1983), in
    float64, so that neither their order nor a large common offset matters.
    """

    def __init__(self, width: int, classes: Sequence[str] | None = None) -> None:
        """Start with nothing.

        Args:
            width: the features' length d.
            classes: of the concept, all of them; None for a concept that is a number.
        """
        self.classes = None if classes is None else tuple(str(name) for name in classes)
        k = 1 if self.classes is None else len(self.classes)
        self.n = 0
        self.mean, self._mean_z = np.zeros(width), np.zeros(k)
        self._xx, self._xz, self._zz = np.zeros((width, width)), np.zeros((width, k)), np.zeros(k)

    def add(self, values: np.ndarray, labels: Sequence | np.ndarray) -> None:
        """Add some rows.

        Args:
            values: (m, d), finite.
            labels: (m,) class names, or numbers.

        Raises:
            InputError: other widths, rows that are not finite, or a label that is none of the classes.
        """
        x, z = np.asarray(values, np.float64), self._coded(np.asarray(labels))
        if x.ndim != 2 or x.shape[1] != len(self.mean) or len(x) != len(z):
            raise InputError(
                f"Got features of shape {x.shape} and {len(z)} labels; expected ({len(z)}, {len(self.mean)}). Give a row per label."
            )
        if not np.isfinite(x).all() or not np.isfinite(z).all():
            raise InputError(
                "Features or labels hold NaN or infinity; expected numbers. Extract in float32, or leave these out."
            )
        if not len(x):
            return
        own_x, own_z, n, m = x.mean(0), z.mean(0), self.n, len(x)
        x, z = x - own_x, z - own_z
        step_x, step_z, weight = own_x - self.mean, own_z - self._mean_z, n * m / (n + m)
        self._xx += x.T @ x + weight * np.outer(step_x, step_x)
        self._xz += x.T @ z + weight * np.outer(step_x, step_z)
        self._zz += (z**2).sum(0) + weight * step_z**2
        self.mean, self._mean_z = self.mean + step_x * m / (n + m), self._mean_z + step_z * m / (n + m)
        self.n = n + m

    @property
    def covariance(self) -> np.ndarray:
        """Of the features, (d, d), over n."""
        return self._xx / max(self.n, 1)

    def eraser(self, shrinkage: str | float | None = None) -> Eraser:
        """The least-squares concept eraser of what was added.

        With Σ the features' covariance, W = Σ^(−1/2) (pseudo-inverse) and U an orthonormal basis of the column space of W Σxz, it is
        x → x − W⁺ U Uᵀ W (x − μ) (Belrose et al. 2023, theorem 4.3). Covariance with the concept is zero afterwards on the rows
        that were added, whatever the shrinkage: that only decides which change counts as small.

        Args:
            shrinkage: of Σ towards a multiple of the identity: None, a share from 0 to 1, or ``oas``. With fewer rows than
                features, or where the eraser meets features other than those it was fitted to (tokens, if fitted to their means),
                W blows up directions that hardly varied; shrinkage holds that down.

        Returns:
            Rank at most classes − 1 (1 for a number); 0 where nothing correlates.

        Raises:
            InputError: fewer than two rows, a concept that does not vary, or another shrinkage.
        """
        if self.n < 2 or not (self._zz > 0).any():
            raise InputError(
                f"Nothing to erase: got {self.n} rows, and a concept of a single value. Expected at least two classes. Add more rows."
            )
        variances, axes = np.linalg.eigh(shrunk(self.covariance, self.n, shrinkage))
        real = variances > variances.max() * len(variances) * np.finfo(np.float64).eps
        variances, axes = variances[real], axes[:, real]
        whitened = (axes.T @ self._xz / self.n) / np.sqrt(variances)[:, None]
        u, strength, _ = np.linalg.svd(whitened, full_matrices=False)
        u = u[:, strength > TOLERANCE * np.sqrt(self._zz.sum() / self.n)]
        left = axes @ (np.sqrt(variances)[:, None] * u)
        right = (axes @ (u / np.sqrt(variances)[:, None])).T
        return Eraser("leace", self.mean.copy(), left, right, share(left, right, self.covariance))

    def _coded(self, labels: np.ndarray) -> np.ndarray:
        """(m, k): one column per class, or the numbers."""
        if self.classes is None:
            return labels.astype(np.float64)[:, None]
        names = labels.astype(str)
        strange = sorted(set(names.tolist()) - set(self.classes))
        if strange:
            raise InputError(f"The label '{strange[0]}' is none of {', '.join(self.classes)}. Name all classes at the start.")
        return (names[:, None] == np.array(self.classes)).astype(np.float64)


def shrunk(covariance: np.ndarray, n: int, shrinkage: str | float | None) -> np.ndarray:
    """A covariance drawn towards the multiple of the identity of the same trace.

    ``oas`` is the oracle approximating shrinkage of Gaussian rows (Chen et al. 2010, equation 23, as scikit-learn writes it). It
    takes rows for independent; tokens of one image and versions of one reference are not, so it shrinks them too little.

    Args:
        covariance: (d, d), over n.
        n: how many rows it is of.
        shrinkage: None, a share from 0 to 1, or ``oas``.

    Raises:
        InputError: another shrinkage.
    """
    if shrinkage is None:
        return covariance
    d = len(covariance)
    level = float(np.trace(covariance)) / d
    if shrinkage == "oas":
        alpha = float(np.mean(covariance**2))
        below = (n + 1) * (alpha - level**2 / d)
        part = 1.0 if below == 0 else min((alpha + level**2) / below, 1.0)
    elif isinstance(shrinkage, int | float) and 0 <= shrinkage <= 1:
        part = float(shrinkage)
    else:
        raise InputError(f"Got shrinkage={shrinkage!r}; expected None, 'oas' or a share from 0 to 1. Use one of these.")
    return (1 - part) * covariance + part * level * np.eye(d)
