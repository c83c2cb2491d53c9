"""How near the built-in reference images are to photographs, measured by ``stimuli.naturalness``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stimuli import photos
from stimuli.errors import InputError
from stimuli.naturalness import SMALLEST, STATISTICS, statistics
from stimuli.references import builtin_references
from stimuli.tables import Table
from stimuli.textures import one_over_f

KINDS = ("photographs", "leaves", "scenes", "1/f noise", "white noise")
"""What is compared, in the order of tables and figures."""


def naturalness_table(size: int = 256, count: int = 20, seed: int = 0) -> Table:
    """The four statistics of every bundled photograph and of ``count`` images of each other kind.

    Args:
        size: side of all images, px, at least 32.
        count: images of each kind but the photographs, at least 1.
        seed: of the exam's leaves and scenes, and of the noise.

    Returns:
        One row per image: ``kind`` (of ``KINDS``), ``name``, ``size``, and the ``STATISTICS``.

    Raises:
        InputError: ``size`` or ``count`` is too small.
    """
    if size < SMALLEST or count < 1:
        raise InputError(
            f"Got size={size} and count={count}. Expected a size of at least {SMALLEST} px and at least one image. Raise them."
        )
    return [
        {"kind": kind, "name": name, "size": size, **statistics(image).as_dict()}
        for kind, name, image in _images(size, count, seed)
    ]


def naturalness_summary(rows: Table) -> Table:
    """The rows of ``naturalness_table`` put together, one row per kind and statistic.

    Returns:
        Rows with ``kind``, ``statistic``, ``count``, ``mean``, ``low`` and ``high`` (the least and the greatest value), and
        ``inside``, the share of the images whose value lies within the range of the photographs, 0 to 1.
    """
    values = {
        (kind, name): np.array([row[name] for row in rows if row["kind"] == kind])
        for kind in dict.fromkeys(row["kind"] for row in rows)
        for name in STATISTICS
    }
    summary = []
    for (kind, name), own in values.items():
        photographs = values["photographs", name]
        inside = (own >= photographs.min()) & (own <= photographs.max())
        summary.append(
            {"kind": kind, "statistic": name, "count": len(own), "mean": float(own.mean()), "low": float(own.min()),
             "high": float(own.max()), "inside": float(inside.mean())}
        )  # fmt: skip
    return summary


def _images(size: int, count: int, seed: int) -> Iterator[tuple[str, str, np.ndarray]]:
    """Kind, name and pixels of what is compared."""
    for name in (*photos.EXAM, *photos.TRAIN):
        yield "photographs", name, photos.photograph(name, size)
    for reference in builtin_references(count, seed, "exam", size, photographs=False, kind="leaves"):
        yield "leaves", reference.id, reference.read()
    for reference in builtin_references(count, seed, "exam", size, photographs=False):
        yield "scenes", reference.id, reference.read()
    rng = np.random.default_rng(seed)
    for index in range(count):
        yield "1/f noise", str(index), _pink(rng, size)
    for index in range(count):
        yield "white noise", str(index), rng.integers(0, 256, (size, size, 3), np.uint8)


def _pink(rng: np.random.Generator, size: int) -> np.ndarray:
    """Gaussian noise of power 1/f², nearly grey: a common field, and a tenth of it for each channel's own."""
    common = one_over_f(rng, size, slope=1.0)
    own = np.stack([one_over_f(rng, size, slope=1.0) for _ in range(3)], axis=2)
    return np.clip(np.round(128 + 40 * (common[..., None] + 0.1 * own)), 0, 255).astype(np.uint8)
