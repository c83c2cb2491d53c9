"""A checksum of a set of stimuli, by which the numbers of two runs are told to be of the same images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stimuli.errors import InputError
from stimuli.types import Stimulus

LOOKED_AT = 512
"""Images at most whose pixels go into a checksum; more are told by their names, labels and the size of their files."""


def fingerprint(stimuli: Sequence[Stimulus], looked_at: int = LOOKED_AT) -> dict[str, Any]:
    """Which images these are: order, ids, references, types, levels and opinions of all, and the pixels of some.

    Args:
        stimuli: in order.
        looked_at: images whose pixels count, evenly spread over the set; of the others that lie in files, the size in bytes.

    Returns:
        ``checksum`` (16 hexadecimal digits), ``stimuli`` and ``pixels_of``, how many there are and how many were looked at.
    """
    total, count = hashlib.sha256(), len(stimuli)
    chosen = {i * count // looked_at for i in range(looked_at)} if count > looked_at else set(range(count))
    for at, stimulus in enumerate(stimuli):
        about = [stimulus.id, stimulus.reference, stimulus.type, stimulus.level, stimulus.mos]
        total.update(json.dumps(about, default=lambda number: number.item()).encode())  # of numpy's
        total.update(_pixels(stimulus) if at in chosen else _size(stimulus))
    return {"checksum": total.hexdigest()[:16], "stimuli": count, "pixels_of": len(chosen)}


def _pixels(stimulus: Stimulus) -> bytes:
    """Of an image, its pixels; of one that cannot be read, a mark."""
    try:
        image = stimulus.image
    except InputError:
        return b"cannot be read"
    return f"{image.shape}{image.dtype}".encode() + hashlib.sha256(image.tobytes()).digest()


def _size(stimulus: Stimulus) -> bytes:
    """Of a file, its size; nothing of what is made when asked for."""
    try:
        return str(stimulus.pixels.stat().st_size).encode() if isinstance(stimulus.pixels, Path) else b""
    except OSError:
        return b"is not there"
