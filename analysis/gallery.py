"""Examples of what is encoded and said, as small pictures."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np

from analysis.cells import CELLS
from analysis.unsaid import Unsaid
from stimuli.errors import InputError
from stimuli.tables import Row, Table
from stimuli.types import Stimulus

SHOWN = 160
"""Larger images are cut to this many px, not scaled, as scaling would change the distortion."""
TOLD = ("id", "reference", "type", "level", "label", "probe", "answer", "confidence", "cell")


def gallery(result: Unsaid, stimuli: Sequence[Stimulus], per_cell: int = 4, seed: int = 0) -> list[dict[str, Any]]:
    """Examples of each cell at ``result.site``, spread over classes, and within these over references.

    Of *encoded, not said* the wrong answers given with most confidence come first; the others are drawn at random.

    Args:
        result: what ``analysis.unsaid.unsaid`` gives.
        stimuli: with the images; those that the result knows nothing of are left out.
        per_cell: how many at most.
        seed: of the draw.

    Returns:
        JSON-able rows in the order of ``CELLS``: ``id, reference, type, level, label``, ``probe`` (the class it names),
        ``answer``, ``confidence``, ``cell``, ``png`` (data URI of at most 160 × 160 px) and ``shown`` (which part of the image
        that is).

    Raises:
        InputError: none of the stimuli is known, or an image cannot be read.
    """
    at = {stimulus.id: stimulus for stimulus in stimuli}
    rows = [row for row in result.stimuli if row["id"] in at]
    if not rows:
        raise InputError(
            f"None of the {len(at)} stimuli is among the {result.n} that were probed and asked. Give the same stimuli."
        )
    shuffled = [rows[place] for place in np.random.default_rng([seed, 7]).permutation(len(rows))]
    chosen = [row for cell in CELLS for row in _spread(_ordered(shuffled, cell), per_cell)]
    return [{**{key: row[key] for key in TOLD}, **_picture(at[row["id"]])} for row in chosen]


def _ordered(rows: Table, cell: str) -> Table:
    own = [row for row in rows if row["cell"] == cell]
    return sorted(own, key=_doubt) if cell == "encoded, not said" else own


def _doubt(row: Row) -> float:
    return 1.0 if row["confidence"] is None else -float(row["confidence"])


def _spread(rows: Table, count: int) -> Table:
    """The first rows of the class shown least so far, and among these of the reference shown least."""
    chosen: Table = []
    left = list(rows)
    while left and len(chosen) < count:
        classes, references = (Counter(row[key] for row in chosen) for key in ("label", "reference"))
        best = min(range(len(left)), key=lambda i: (classes[left[i]["label"]], references[left[i]["reference"]]))
        chosen.append(left.pop(best))
    return chosen


def _picture(stimulus: Stimulus) -> dict[str, str]:
    from PIL import Image

    image = stimulus.image
    cut, buffer = _cut(image, stimulus.mask), BytesIO()
    Image.fromarray(cut).save(buffer, "PNG")
    (height, width), (high, wide) = image.shape[:2], cut.shape[:2]
    part = "whole" if cut.shape == image.shape else f"{wide} × {high} px of {width} × {height}, not scaled"
    return {"png": "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode(), "shown": part}


def _cut(image: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """At most ``SHOWN`` px each way, about the middle of the image or of the part of it that is distorted."""
    size = np.array(image.shape[:2])
    middle = size / 2 if mask is None or not mask.any() else np.argwhere(mask).mean(0)
    top, left = np.clip(middle - SHOWN / 2, 0, np.maximum(size - SHOWN, 0)).astype(int)
    return np.ascontiguousarray(image[top : top + SHOWN, left : left + SHOWN])
