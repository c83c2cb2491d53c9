"""Token features before and after, with the distortion words, in one plane: for the eye only."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from stimuli.errors import InputError
from stimuli.tables import Table

TRUSTED = 3000
"""Points that the trustworthiness is measured on."""


@dataclass(frozen=True)
class Plane:
    """Points and words in two dimensions."""

    method: str
    trustworthiness: float
    """How well neighbourhoods survive the projection, 0 to 1 (Venna and Kaski 2001)."""
    points: Table
    """Rows: id, label, when (before, after), x, y."""
    words: Table
    """Rows: label, x, y."""
    note: str
    arrows: Table
    """Rows: label, n, x0, y0, x1, y1: the mean of a class's points before and after. As before and after are centred each on their
    own, an arrow shows how a class moves against the others, not what all have in common."""
    seed: int
    explained: tuple[float, float] | None
    """Share of the variance along x and y; None for UMAP, whose axes mean nothing."""

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
    """One projection, fitted once to features before and after tuning and to the words together.

    Each of the three is centred on its own mean and put on the unit sphere first, so that the plane shows direction and not
    the gap between modalities. UMAP (McInnes, Healy and Melville 2018) where it can be used, PCA otherwise.

    Args:
        before: (n, d) features of the untuned model.
        after: (n, d) of the tuned one.
        words: (k, d) word embeddings.
        labels: class of each stimulus.
        ids: id of each stimulus.
        classes: name of each word.
        seed: of UMAP, which runs on one thread, so that the same seed gives the same picture.
        method: ``umap`` or ``pca``.

    Raises:
        InputError: arrays, labels, ids and classes that do not match.
    """
    _check(before, after, words, labels, ids, classes)
    from sklearn.decomposition import PCA

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
    explained: tuple[float, float] | None = None
    if spot is None:
        fitted = PCA(2, random_state=seed).fit(stacked)
        first, second = fitted.explained_variance_ratio_
        spot, explained = fitted.transform(stacked), (float(first), float(second))
    n = len(before)
    points = [
        {"id": ids[i], "label": labels[i], "when": when, "x": float(spot[start + i, 0]), "y": float(spot[start + i, 1])}
        for when, start in (("before", 0), ("after", n))
        for i in range(n)
    ]
    named = [{"label": name, "x": float(spot[2 * n + i, 0]), "y": float(spot[2 * n + i, 1])} for i, name in enumerate(classes)]
    return Plane(used, _trust(stacked, spot, seed), points, named, note, _arrows(points), seed, explained)


def _arrows(points: Table) -> Table:
    """Class by class from the mean before to the mean after."""
    rows = []
    for label in dict.fromkeys(point["label"] for point in points):
        own = {when: [p for p in points if p["label"] == label and p["when"] == when] for when in ("before", "after")}
        (x0, y0), (x1, y1) = ([float(np.mean([p[axis] for p in own[when]])) for axis in "xy"] for when in ("before", "after"))
        rows.append({"label": label, "n": len(own["before"]), "x0": x0, "y0": y0, "x1": x1, "y1": y1})
    return rows


def _trust(space: np.ndarray, spot: np.ndarray, seed: int) -> float:
    """Trustworthiness, of ``TRUSTED`` points at random where there are more: it takes memory of points²."""
    from sklearn.manifold import trustworthiness

    shown = np.arange(len(space))
    if len(shown) > TRUSTED:
        shown = np.random.default_rng([seed, 17]).choice(len(space), TRUSTED, replace=False)
    neighbours = max(1, min(10, len(shown) // 2 - 1))
    return float(trustworthiness(space[shown], spot[shown], n_neighbors=neighbours))


def _check(
    before: np.ndarray,
    after: np.ndarray,
    words: np.ndarray,
    labels: Sequence[str],
    ids: Sequence[str],
    classes: Sequence[str],
) -> None:
    rows = {np.shape(before), np.shape(after), (len(labels), np.shape(words)[-1]), (len(ids), np.shape(words)[-1])}
    if len(rows) > 1 or len(words) != len(classes) or not len(words):
        raise InputError(
            f"Got features of shapes {np.shape(before)} and {np.shape(after)}, words of shape {np.shape(words)}, {len(labels)} labels, "
            f"{len(ids)} ids and {len(classes)} classes. Expected the same stimuli before and after, a label and an id of each, and a "
            "word of equal width per class. Take them from one set and one site."
        )


def _umap(values: np.ndarray, seed: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import umap

        reducer = umap.UMAP(n_neighbors=15, min_dist=0.2, metric="cosine", random_state=seed, n_jobs=1)
        return np.asarray(reducer.fit_transform(values))


def _centred_unit(x: np.ndarray) -> np.ndarray:
    x = x - x.mean(0)
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))
