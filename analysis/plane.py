"""Token features before and after, with the distortion words, in one plane: for the eye only."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from stimuli.tables import Table


@dataclass(frozen=True)
class Plane:
    """Points and words in two dimensions."""

    method: str
    trustworthiness: float
    """How well neighbourhoods survive the projection, 0 to 1 (Venna and Kaski 2001)."""
    points: Table
    """Rows: id, label, when (before, after), x, y."""
    words: Table
    note: str

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return dict(vars(self))


def plane(
    before: np.ndarray,
    after: np.ndarray,
    words: np.ndarray,
    labels: Sequence[str],
    ids: Sequence[str],
    classes: Sequence[str],
    seed: int = 0,
    method: Literal["umap", "pca"] = "umap",
) -> Plane:
    """One joint projection of features before and after tuning and of the words.

    Each of the three is centred on its own mean and put on the unit sphere first, so that the plane shows direction and not
    the gap between modalities. UMAP (McInnes, Healy and Melville 2018) where it can be used, PCA otherwise.

    Args:
        before: (n, d) features of the untuned model.
        after: (n, d) of the tuned one.
        words: (k, d) word embeddings.
        labels: class of each stimulus.
        ids: id of each stimulus.
        classes: name of each word.
        seed: of UMAP.
        method: ``umap`` or ``pca``.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import trustworthiness

    stacked = np.vstack([_centred_unit(part) for part in (before, after, words)])
    note, spot = "", None
    if method == "umap" and len(stacked) >= 30:
        try:
            spot = _umap(stacked, seed)
        except (ImportError, ValueError, RuntimeError) as error:
            note = f"UMAP could not be used ({type(error).__name__}: {error}); this is PCA."
    elif method == "umap":
        note = f"UMAP needs at least 30 points, got {len(stacked)}; this is PCA."
    used = "UMAP" if spot is not None else "PCA"
    if spot is None:
        spot = PCA(2, random_state=seed).fit_transform(stacked)
    neighbours = max(1, min(10, len(stacked) // 2 - 1))
    trust = float(trustworthiness(stacked, spot, n_neighbors=neighbours))
    n = len(before)
    points = [
        {"id": ids[i], "label": labels[i], "when": when, "x": float(spot[start + i, 0]), "y": float(spot[start + i, 1])}
        for when, start in (("before", 0), ("after", n))
        for i in range(n)
    ]
    named = [{"label": name, "x": float(spot[2 * n + i, 0]), "y": float(spot[2 * n + i, 1])} for i, name in enumerate(classes)]
    return Plane(used, trust, points, named, note)


def _umap(values: np.ndarray, seed: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import umap

        reducer = umap.UMAP(n_neighbors=15, min_dist=0.2, metric="cosine", random_state=seed, n_jobs=1)
        return np.asarray(reducer.fit_transform(values))


def _centred_unit(x: np.ndarray) -> np.ndarray:
    x = x - x.mean(0)
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))
