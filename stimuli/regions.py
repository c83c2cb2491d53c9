"""Where a local distortion lies: a box, an ellipse or a segment of the image, kept as ground truth.

The place depends on the reference and the seed alone, so that all types and levels of a reference lie in the same place: they
are minimal pairs, and the place tells nothing of the class.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from stimuli.errors import InputError

Kind = Literal["box", "ellipse", "segment", "any"]
SHAPES = ("box", "ellipse", "segment")
SEGMENTS = 24
"""Into how many superpixels an image is cut before neighbours are joined to a segment."""


@dataclass(frozen=True, slots=True)
class Region:
    """How the distorted part of an image is chosen."""

    kind: Kind
    """``segment`` joins neighbouring superpixels (SLIC: Achanta et al. 2012); ``any`` takes turns over the references."""
    share: tuple[float, float] = (0.1, 0.4)
    """The least and the greatest share of the image that it covers, drawn evenly; segments come near it."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: an unknown kind, or shares that are not 0 < low ≤ high < 1.
        """
        if self.kind not in get_args(Kind):
            raise InputError(f"Unknown kind of region '{self.kind}'. Expected one of {', '.join(get_args(Kind))}.")
        low, high = self.share
        if not 0 < low <= high < 1:
            raise InputError(f"Got a region's share from {low} to {high}; expected 0 < low <= high < 1, such as 0.1 to 0.4.")

    def mask(self, image: np.ndarray, reference: str) -> np.ndarray:
        """The region of a reference image.

        Args:
            image: uint8 (H, W, 3), at least 8 px a side.
            reference: its id.

        Returns:
            bool (H, W), neither all nor nothing.
        """
        rng = np.random.default_rng([self.seed, 7, zlib.crc32(reference.encode())])
        turn = SHAPES[int(rng.integers(len(SHAPES)))]
        kind = turn if self.kind == "any" else self.kind
        wanted = float(rng.uniform(*self.share))
        found = _segment(image, wanted, rng) if kind == "segment" else _shape(image.shape[:2], kind, wanted, rng)
        found.flags.writeable = False
        return found


def cell_shares(mask: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """How much of each cell of a grid lies in a mask: the truth for probes of patches or of ``grid`` pooling.

    Args:
        mask: bool (H, W).
        rows: of the grid, at most H.
        columns: of the grid, at most W.

    Returns:
        float64 (rows, columns), from 0 to 1; cells are equal parts of the image, which may cut pixels.

    Raises:
        InputError: the grid is finer than the mask.
    """
    height, width = mask.shape
    if not (0 < rows <= height and 0 < columns <= width):
        raise InputError(
            f"Got a grid of {rows} x {columns} for a mask of {height} x {width} px; expected at most one cell per px."
        )
    return _overlaps(height, rows) @ mask.astype(float) @ _overlaps(width, columns).T


def _overlaps(length: int, cells: int) -> np.ndarray:
    """Share of each cell that each pixel makes up, (cells, length); rows sum to 1."""
    edges, pixels = np.linspace(0, length, cells + 1), np.arange(length)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(covered, 0) * cells / length


def _shape(size: tuple[int, int], kind: str, share: float, rng: np.random.Generator) -> np.ndarray:
    """A box or an ellipse wholly inside the image."""
    height, width = size
    if kind == "ellipse":
        share = min(share * 4 / np.pi, 1.0)  # the share of its bounding box; an ellipse covers at most π/4
    reach = abs(np.log(max(0.5, share)))  # of the side ratio, so that neither side leaves the image
    ratio = float(np.exp(rng.uniform(-reach, reach)))
    tall = int(np.clip(round(height * np.sqrt(share * ratio)), 2, height))
    wide = int(np.clip(round(width * np.sqrt(share / ratio)), 2, width))
    top, left = int(rng.integers(0, height - tall + 1)), int(rng.integers(0, width - wide + 1))
    mask = np.zeros(size, bool)
    box = mask[top : top + tall, left : left + wide]
    if kind == "box":
        box[:] = True
    else:
        y, x = ((np.arange(side) + 0.5) / side * 2 - 1 for side in (tall, wide))
        box[:] = y[:, None] ** 2 + x[None] ** 2 <= 1
    return mask


def _segment(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Superpixels joined to neighbours, of the more similar half, until the share is reached."""
    from skimage.segmentation import slic

    labels = slic(image, n_segments=SEGMENTS, compactness=10, start_label=0, channel_axis=2)
    count = int(labels.max()) + 1
    if count == 1:  # a flat image has no segments
        return _shape(image.shape[:2], "box", share, rng)
    sizes = np.bincount(labels.ravel(), minlength=count)
    colours = np.stack([np.bincount(labels.ravel(), image[..., c].ravel(), count) for c in range(3)], axis=1) / sizes[:, None]
    touching = _touching(labels, count)
    chosen = np.zeros(count, bool)
    chosen[start := int(rng.integers(count))] = True
    while sizes[chosen].sum() < share * labels.size:
        border = np.flatnonzero(touching[chosen].any(0) & ~chosen)
        grown = [n for n in border if sizes[chosen].sum() + sizes[n] <= min(1.5 * share, 0.95) * labels.size]
        if not grown:
            break
        alike = sorted(grown, key=lambda n: float(((colours[n] - colours[start]) ** 2).sum()))
        chosen[alike[int(rng.integers(-(-len(alike) // 2)))]] = True
    return np.asarray(chosen[labels])


def _touching(labels: np.ndarray, count: int) -> np.ndarray:
    """Which labels are neighbours, bool (count, count)."""
    found = np.zeros((count, count), bool)
    for a, b in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        found[a.ravel(), b.ravel()] = found[b.ravel(), a.ravel()] = True
    return found
