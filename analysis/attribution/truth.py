"""How well a map finds a region that is known: pointing game, overlap, ranking, energy, and what the region is worth by chance.

Maps have cells, regions have pixels. A cell counts with the share of its pixels in the region, so that ranking measures are those of
the map drawn at full size, every pixel with its cell's value. Ties share what they win. Signs are kept: evidence against the right
answer ranks last.
"""

from __future__ import annotations

import numpy as np

from stimuli.errors import InputError
from stimuli.regions import cell_shares

NEAR = 0.03
"""Tolerance of the pointing game as a share of the image's shorter side: 15 px of 500 (Zhang et al. 2016)."""
SCORES = ("auc", "auc_absolute", "average_precision", "pointing", "pointing_near", "iou", "energy")


def scores(heat: np.ndarray, mask: np.ndarray, tolerance: float = NEAR) -> dict[str, float]:
    """All scores of one map.

    Args:
        heat: (grid, grid), signed.
        mask: bool (H, W), neither all nor nothing.
        tolerance: of ``pointing_near``, as a share of the shorter side.

    Returns:
        ``auc``: area under the ROC curve of pixels inside against outside; ``auc_absolute``: of the map without signs;
        ``average_precision``; ``pointing``: share of the hottest cell that lies inside (Zhang et al. 2016), ``pointing_near`` within the
        tolerance of it; ``iou``: intersection over union of the region and as many of the hottest pixels as it has; ``energy``: share of
        the positive heat that lies inside (Wang et al. 2020), NaN without any. All in [0, 1].

    Raises:
        InputError: a map that is not finite or not of two axes, or a mask that is all or nothing.
    """
    own, inside = np.asarray(heat, float), _inside(heat, mask)
    warm = np.clip(own, 0, None).ravel()
    near = cell_shares(_grown(mask, tolerance), *own.shape).ravel()
    return {
        "auc": auc(own.ravel(), inside),
        "auc_absolute": auc(np.abs(own).ravel(), inside),
        "average_precision": average_precision(own.ravel(), inside),
        "pointing": _hottest(own.ravel(), inside),
        "pointing_near": _hottest(own.ravel(), near),
        "iou": iou(own.ravel(), inside),
        "energy": float(warm @ inside / warm.sum()) if warm.sum() > 0 else float("nan"),
    }


def chance(area: float) -> dict[str, float]:
    """What a map that knows nothing is expected to score against a region of this share of the image.

    Of ``iou`` it is that of as many pixels drawn at random; ``average_precision`` and ``pointing_near`` are a little higher for few cells.
    """
    return {
        "auc": 0.5, "auc_absolute": 0.5, "average_precision": area, "pointing": area, "pointing_near": area, "iou": area / (2 - area),
        "energy": area,
    }  # fmt: skip


def _inside(heat: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The share of each cell in the region, float64 (cells,)."""
    if np.ndim(heat) != 2 or not np.isfinite(heat).all():
        raise InputError(
            f"Got a map of shape {np.shape(heat)} with {int(np.sum(~np.isfinite(heat)))} values that are not finite. Expected (rows, columns), "
            "all finite. Look at the method that made it."
        )
    if mask.all() or not mask.any():
        raise InputError("The region is the whole image or nothing; expected a part of it. Make stimuli with region=.")
    return cell_shares(mask, *np.shape(heat)).ravel()


def auc(heat: np.ndarray, inside: np.ndarray) -> float:
    """Area under the ROC curve over pixels, from cells: the chance that a pixel inside is hotter than one outside, ties half.

    Args:
        heat: (cells,).
        inside: (cells,), share of each cell in the region.
    """
    good, bad = _levels(heat, inside)
    won = good * (np.cumsum(bad[::-1])[::-1] - bad / 2)
    return float(won.sum() / (good.sum() * bad.sum()))


def average_precision(heat: np.ndarray, inside: np.ndarray) -> float:
    """Mean precision over the steps of recall, over pixels; cells of equal heat are one step."""
    good, bad = _levels(heat, inside)
    found, shown = np.cumsum(good), np.cumsum(good + bad)
    return float((good * found / shown).sum() / good.sum())


def _levels(heat: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much lies inside and outside at each level of heat, the hottest first."""
    values, at = np.unique(-heat, return_inverse=True)
    return np.bincount(at, inside, len(values)), np.bincount(at, 1 - inside, len(values))


def _hottest(heat: np.ndarray, inside: np.ndarray) -> float:
    return float(inside[heat == heat.max()].mean())


def iou(heat: np.ndarray, inside: np.ndarray) -> float:
    """Intersection over union of the region and the hottest pixels, as many as it has; the last cells share what is left evenly."""
    values, at = np.unique(-heat, return_inverse=True)
    size = np.bincount(at)
    room = np.clip(inside.sum() - (np.cumsum(size) - size), 0, size) / size
    both = float(room[at] @ inside)
    return both / float(2 * inside.sum() - both)


def _grown(mask: np.ndarray, tolerance: float) -> np.ndarray:
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(~mask) <= tolerance * min(mask.shape))


def order(heat: np.ndarray, seed: int = 0) -> np.ndarray:
    """Cells, the hottest first, ties in random order: int (cells,)."""
    flat = np.asarray(heat, float).ravel()
    return np.lexsort((np.random.default_rng(seed).random(len(flat)), -flat))
