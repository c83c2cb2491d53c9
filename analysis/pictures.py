"""Small pictures of the stimuli, for the eye: of all of them reduced, and of a few pairs, clean and distorted, as they are."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from stimuli.errors import InputError
from stimuli.types import Stimulus

ROOM = 3_500_000
"""Characters of all reduced pictures in base64, at most."""
PAIR_ROOM = 1_500_000
"""Characters of all pairs in base64, at most."""
CUT = 192
"""Pairs of larger images are cut to this many px, not scaled, as scaling would change the distortion."""
TRIED = 24
"""Pictures by which the form is chosen."""


@dataclass(frozen=True)
class Form:
    """How a picture is reduced: the longer side in px at most, and WebP's quality (None: without loss)."""

    side: int
    quality: int | None

    def __str__(self) -> str:
        """In words."""
        return f"at most {self.side} px, WebP {'without loss' if self.quality is None else f'of quality {self.quality}'}"


FORMS = (Form(128, None), Form(96, None), Form(64, None), Form(64, 90), Form(48, 80))


def pictures(stimuli: Sequence[Stimulus], room: int = ROOM, pair_room: int = PAIR_ROOM) -> dict[str, Any]:
    """Pictures for the report; nothing is measured on them.

    The form is the best of ``FORMS`` in which all stimuli fit into the room; where none does, the last, of as many references as fit.

    Args:
        stimuli: with their images.
        room: characters of all reduced pictures, at most.
        pair_room: characters of all pairs, at most.

    Returns:
        Of the images that can be read, JSON-able: ``form`` in words; ``small`` (id to WebP in base64); ``pairs`` (rows ``id, reference,
        type, level, distorted, clean, shown, map``): of each type the highest and the lowest level, ``distorted`` without loss,
        ``clean`` the key of its counterpart in ``clean`` (to WebP in base64, without loss), ``map`` None.
    """
    stimuli = [stimulus for stimulus in stimuli if _readable(stimulus)]
    if not stimuli:
        return {"form": str(FORMS[-1]), "small": {}, "clean": {}, "pairs": []}
    form, share = _form(stimuli, room)
    references = list(dict.fromkeys(stimulus.reference for stimulus in stimuli))
    count = max(1, int(share * len(references)))
    kept = {references[i] for i in np.unique(np.linspace(0, len(references) - 1, count).round().astype(int))}
    small: dict[str, str] = {}
    used = 0
    for stimulus in stimuli:
        if stimulus.reference in kept:
            own = encoded(_reduced(stimulus.image, form.side), form.quality)
            if used + len(own) > room:
                break
            small[stimulus.id], used = own, used + len(own)
    return {"form": str(form), "small": small, **_pairs(stimuli, pair_room)}


def _readable(stimulus: Stimulus) -> bool:
    try:
        return stimulus.image.size > 0
    except InputError:
        return False


def _form(stimuli: Sequence[Stimulus], room: int) -> tuple[Form, float]:
    """The best form that fits, and the share of the references that have room in it."""
    tried = [stimuli[i] for i in np.unique(np.linspace(0, len(stimuli) - 1, TRIED).round().astype(int))]
    share = 0.0
    for form in FORMS:
        size = float(np.mean([len(encoded(_reduced(s.image, form.side), form.quality)) for s in tried])) * len(stimuli)
        share = min(1.0, 0.95 * room / size)
        if share == 1.0:
            return form, share
    return FORMS[-1], share


def _pairs(stimuli: Sequence[Stimulus], room: int) -> dict[str, Any]:
    """Of each type the highest and the lowest level, each of another reference that has a clean image."""
    clean = {s.reference: s for s in reversed(stimuli) if s.type is None}
    wanted: list[Stimulus] = []
    for place in (-1, 0):
        for number, kind in enumerate(dict.fromkeys(s.type for s in stimuli if s.type is not None)):
            own = [s for s in stimuli if s.type == kind and s.reference in clean and not s.is_identity]
            names = list(dict.fromkeys(s.reference for s in own))
            if names:
                here = sorted((s for s in own if s.reference == names[number % len(names)]), key=lambda s: s.level or 0)
                wanted += [here[place]] if here[place] not in wanted else []
    made: list[dict[str, Any]] = []
    cleans: dict[str, str] = {}
    used = 0
    for stimulus in wanted:
        first, second = clean[stimulus.reference].image, stimulus.image
        if first.shape != second.shape:
            continue
        top, left = _corner(second.shape, stimulus.mask)
        key = f"{stimulus.reference} {top} {left}"
        both = [encoded(image[top : top + CUT, left : left + CUT], None) for image in (first, second)]
        used += len(both[1]) + (len(both[0]) if key not in cleans else 0)
        if used > room:
            break
        cleans[key] = both[0]
        (height, width), about = (
            second.shape[:2],
            {"reference": stimulus.reference, "type": stimulus.type, "level": stimulus.level},
        )
        part = (
            "whole"
            if max(height, width) <= CUT
            else f"{min(CUT, width)} × {min(CUT, height)} px of {width} × {height}, not scaled"
        )
        made.append({"id": stimulus.id, **about, "clean": key, "distorted": both[1], "shown": part, "map": None})
    return {"clean": cleans, "pairs": made}


def _corner(shape: Sequence[int], mask: np.ndarray | None) -> tuple[int, int]:
    """Where a cut begins, about the middle of the image or of the part of it that is distorted."""
    size = np.array(shape[:2])
    middle = size / 2 if mask is None or not mask.any() else np.argwhere(mask).mean(0)
    top, left = np.clip(middle - CUT / 2, 0, np.maximum(size - CUT, 0)).astype(int)
    return int(top), int(left)


def _reduced(image: np.ndarray, side: int) -> np.ndarray:
    """Scaled down so that the longer side is at most ``side``; a smaller one stays as it is."""
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((side, side))
    return np.asarray(picture)


def encoded(image: np.ndarray, quality: int | None) -> str:
    """WebP in base64; without loss where ``quality`` is None."""
    from PIL import Image

    buffer = BytesIO()
    how: Mapping[str, Any] = (
        {"lossless": True, "quality": 20, "method": 1} if quality is None else {"quality": quality, "method": 4}
    )
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "WEBP", **how)
    return base64.b64encode(buffer.getvalue()).decode()
