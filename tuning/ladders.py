"""How severe a stimulus is, as far as its label tells: the ladder of levels that it stands on, and a word for its quality."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stimuli.types import Stimulus


def ladder(stimulus: Stimulus) -> tuple[str, str] | None:
    """Reference and type of a stimulus whose level is a severity; None for clean images, identities and signed types."""
    from stimuli.distortions import TYPES

    s = stimulus
    if s.type is None or s.level is None or s.is_identity:
        return None
    signed = any(part in TYPES and TYPES[part].neutral is not None for part in s.type.split("+"))
    return None if signed else (s.reference, s.type)


def quality_words(stimuli: Sequence[Stimulus], words: Sequence[str]) -> list[str | None]:
    """The quality word of each stimulus.

    Where all have a MOS, by five bins of equal width from the least to the greatest, as Q-Align (Wu et al. 2023). Else by
    severity, ours: a clean image is the best, and from the lowest to the highest level that occurs, levels go evenly over the
    other words (a set of one level keeps its place among 1 to 5). Signed types, whose level is no severity, get none.

    Args:
        stimuli: of any set.
        words: from best to worst.

    Returns:
        None where neither is known, or all have one MOS.
    """
    known = [s.mos for s in stimuli if s.mos is not None]
    if len(known) == len(stimuli):
        least, width = min(known), (max(known) - min(known)) / len(words)
        bins = [math.ceil((mos - least) / width - 1e-9) if width else 0 for mos in known]
        return [words[-max(1, bin)] if width else None for bin in bins]
    levels = [s.level for s in stimuli if s.level is not None and ladder(s)]
    low, high = min(levels, default=1), max(levels, default=5)
    low, high = (low, high) if high > low else (min(1, low), max(5, high))
    last = len(words) - 2
    return [
        words[0] if s.type is None or s.is_identity
        else words[1 + math.floor(last * (s.level - low) / (high - low) + 0.5)] if s.level is not None and ladder(s)
        else None
        for s in stimuli
    ]  # fmt: skip
