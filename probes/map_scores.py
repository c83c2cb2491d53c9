"""How well a map of cells finds a mask, image by image, and what a map that knows nothing scores."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from probes.cells import CLEAN, DISTORTED

SCORES = ("auc", "paired", "precision", "iou", "iou_best", "pointing")
THRESHOLDS = np.linspace(0.02, 0.98, 49)


def scores(
    maps: np.ndarray, shares: np.ndarray, thresholds: np.ndarray, masked: np.ndarray, counterparts: np.ndarray
) -> dict[str, np.ndarray]:
    """Scores of maps against masks, image by image.

    ``auc`` and ``precision`` (the mean, over the distorted cells, of the precision at each) are over the cells that are clearly
    distorted or clean; ``paired`` is the AUC of the map's excess over that of the clean image of the same reference, in which
    content and place cancel; ``iou`` is of areas, with whole cells above the threshold as the answer; ``pointing`` is whether the
    highest cell is distorted. Chance is 0.5 for both AUCs, the share of distorted cells for precision and pointing, and for the
    IoU the share of the image that the mask covers, which is what a map of everything has.

    Args:
        maps: (n, cells), higher where more probably distorted.
        shares: (n, cells), how much of each cell is distorted.
        thresholds: (n,), for ``iou_best``; that of ``iou`` is 0.5.
        masked: bool (n,), which have both kinds of cells.
        counterparts: int (n,), the clean image of the same reference, or -1.

    Returns:
        The ``SCORES``, and each with ``_chance``, to (n,); NaN where there is no mask, or for ``paired`` no clean image.
    """
    found = {key: np.full(len(maps), np.nan) for name in SCORES for key in (name, f"{name}_chance")}
    for i in np.flatnonzero(masked):
        clear = (shares[i] > DISTORTED) | (shares[i] < CLEAN)
        inside, own = shares[i][clear] > DISTORTED, maps[i][clear]
        whole = {"auc": cell_auc(own, inside), "precision": average_precision(own, inside)}
        clean = counterparts[i]
        whole["paired"] = float("nan") if clean < 0 else cell_auc(own - maps[clean][clear], inside)
        whole |= {"iou": iou(maps[i], shares[i], 0.5), "iou_best": iou(maps[i], shares[i], thresholds[i])}
        whole["pointing"] = float(np.mean(shares[i][maps[i] == maps[i].max()] > DISTORTED))
        chance = {"auc": 0.5, "paired": 0.5, "precision": inside.mean(), "pointing": np.mean(shares[i] > DISTORTED)}
        chance |= dict.fromkeys(("iou", "iou_best"), shares[i].mean())
        for name in SCORES:
            found[name][i], found[f"{name}_chance"][i] = whole[name], chance[name]
    return found


def cell_auc(values: np.ndarray, inside: np.ndarray) -> float:
    """How often a distorted cell is higher than a clean one, ties half; both occur."""
    n = int(inside.sum())
    return float((rankdata(values)[inside].sum() - n * (n + 1) / 2) / (n * (len(inside) - n)))


def average_precision(values: np.ndarray, inside: np.ndarray) -> float:
    """Σ (Rₖ − Rₖ₋₁) Pₖ over the distinct values from the highest on, R recall and P precision."""
    distinct, place = np.unique(-values, return_inverse=True)
    right, shown = (np.bincount(place, w, len(distinct)) for w in (inside.astype(float), np.ones(len(values))))
    return float((right * np.cumsum(right) / np.cumsum(shown)).sum() / right.sum())


def iou(values: np.ndarray, shares: np.ndarray, threshold: float) -> float:
    """Intersection over union, in area, of the mask and the cells above a threshold."""
    chosen = values > threshold
    return float(shares[chosen].sum() / (chosen.sum() + shares[~chosen].sum()))


def best_threshold(maps: np.ndarray, shares: np.ndarray, masked: np.ndarray) -> float:
    """Of ``THRESHOLDS``, the one of the highest mean IoU over the images with a mask; arguments as of ``scores``."""
    own, truth = maps[masked], shares[masked]
    means = []
    for threshold in THRESHOLDS:
        chosen = own > threshold
        means.append(float(((truth * chosen).sum(1) / (chosen.sum(1) + (truth * ~chosen).sum(1))).mean()))
    return float(THRESHOLDS[int(np.argmax(means))])
