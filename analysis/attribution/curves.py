"""Deletion and insertion curves (Petsiuk et al. 2018) with the truth as the fill: the pixels of the same image without the distortion.

A fill of grey or blur shows the model an image that it never meets, and a drop of the answer may come from that. Of a distorted image
the undistorted one is at hand, so that what is put in the place of a cell is what would have been there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.integrate import trapezoid

from analysis.attribution.frame import cell_map
from probes.intervals import Interval, group_counts, interval, resamples

POINTS = 8
"""Into how many steps the cells are divided."""


def versions(clean: np.ndarray, distorted: np.ndarray, order: np.ndarray, grid: int, points: int = POINTS) -> list[np.ndarray]:
    """The images of both curves but for their ends: deletion first (hottest cells clean), then insertion (hottest cells distorted).

    Args:
        clean: uint8 (H, W, 3).
        distorted: of the same shape.
        order: (cells,), the hottest first.
        grid: cells per side.
        points: steps; the cells changed after each are as even as can be.
    """
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order))
    at = rank[cell_map((clean.shape[0], clean.shape[1]), grid)]
    firsts = [(at < cut)[..., None] for cut in _cuts(len(order), points)]
    return [np.where(own, clean, distorted) for own in firsts] + [np.where(own, distorted, clean) for own in firsts]


def _cuts(cells: int, points: int) -> list[int]:
    return [round(cells * i / points) for i in range(1, points)]


def areas(values: np.ndarray, clean: float, distorted: float, cells: int, points: int = POINTS) -> tuple[float, float]:
    """Areas under the deletion and the insertion curve, above the contrast of the clean image, in nats.

    Args:
        values: (2 * (points - 1),), contrasts of ``versions``.
        clean: of the clean image.
        distorted: of the distorted one.
        cells: of the grid.
        points: steps.
    """
    share = np.array([0, *_cuts(cells, points), cells]) / cells
    deletion, insertion = values[: points - 1], values[points - 1 :]
    return (
        float(trapezoid(np.array([distorted, *deletion, clean]) - clean, share)),
        float(trapezoid(np.array([clean, *insertion, distorted]) - clean, share)),
    )


def ratio(above: np.ndarray, below: np.ndarray, groups: Sequence[str], n_boot: int, seed: int) -> Interval:
    """A ratio of means over stimuli with its interval over groups: stable where single denominators are near 0.

    Args:
        above: (n,).
        below: (n,).
        groups: (n,).
        n_boot: resamples of groups.
        seed: of the resamples.
    """
    number, count = group_counts(groups)
    sums = np.stack([np.bincount(number, own, count) for own in (above, below)])
    drawn = resamples(count, n_boot, seed) @ sums.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return interval(float(sums[0].sum() / sums[1].sum()), drawn[:, 0] / drawn[:, 1])
