"""References whose answers are watched while tuning and never learnt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np

from stimuli.errors import InputError
from stimuli.types import Stimulus
from tuning.lessons import Lesson, prepare, refuse_held_out

MOST = 256
"""Lessons that an evaluation asks at most."""


def split_references(
    train: Sequence[Stimulus], validation: float | Sequence[Stimulus], seed: int
) -> tuple[Sequence[Stimulus], Sequence[Stimulus]]:
    """The training stimuli to learn from, and those to watch; no reference is in both.

    Args:
        train: labelled stimuli.
        validation: stimuli to watch, or a share of the references, 0 for none.
        seed: of the choice.

    Raises:
        InputError: a share outside 0 to 1, too few references, or references in both.
    """
    if not isinstance(validation, int | float):
        refuse_held_out(train, [s.reference for s in validation])
        return train, validation
    if not 0 <= validation < 1:
        raise InputError(
            f"Got validation={validation}. Expected the share of the training references to watch, from 0 to below 1."
        )
    if not validation:
        return train, ()
    references = sorted({s.reference for s in train})
    count = max(1, round(validation * len(references)))
    if count >= len(references):
        raise InputError(
            f"Got validation={validation} of {len(references)} training references, which leaves none to learn from. Give more references."
        )
    watched = set(np.random.default_rng([seed, 11]).permutation(references)[:count])
    return [s for s in train if s.reference not in watched], [s for s in train if s.reference in watched]


def held_out_lessons(stimuli: Sequence[Stimulus], taxonomy: str | Path, seed: int) -> tuple[Lesson, ...]:
    """At most ``MOST`` distortion lessons of these stimuli, the classes as equally often as there are images for it."""
    if not len(stimuli):
        return ()
    rng = np.random.default_rng([seed, 13])
    mixed = [[own[i] for i in rng.permutation(len(own))] for own in prepare(stimuli, taxonomy).by_class]
    dealt = chain.from_iterable(zip_longest(*mixed))
    return tuple([lesson for lesson in dealt if lesson is not None][:MOST])
