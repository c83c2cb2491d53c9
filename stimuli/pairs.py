"""Minimal pairs: two images of the same reference that differ in their distortion alone, for causal work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from stimuli.errors import InputError
from stimuli.types import Stimulus


@dataclass(frozen=True)
class Pair:
    """Two stimuli of one reference; what differs between them is what was done to it."""

    before: Stimulus
    """The clean image, or the lower level."""
    after: Stimulus
    """The distorted one, or the higher level."""

    def __post_init__(self) -> None:
        """Refuse two references.

        Raises:
            InputError: the two are of different references.
        """
        if self.before.reference != self.after.reference:
            raise InputError(
                f"'{self.before.id}' is of reference '{self.before.reference}' and '{self.after.id}' of '{self.after.reference}'; "
                "expected a pair of one reference, as stimuli.pairs makes."
            )

    @property
    def reference(self) -> str:
        """The source image of both."""
        return self.after.reference

    @property
    def type(self) -> str | None:
        """The distortion that differs."""
        return self.after.type


def pairs(stimuli: Iterable[Stimulus], kind: Literal["reference", "levels", "neighbours"] = "reference") -> list[Pair]:
    """The minimal pairs of a set.

    Args:
        stimuli: of any set, also a dataset.
        kind: ``reference`` pairs every distorted stimulus with the clean one of its reference; ``levels`` every two levels of
            the same type and reference, the lower first; ``neighbours`` only those that follow one another. Levels are as
            published: of signed types the higher is not the more severe. Identities and local distortions elsewhere count as
            they are.

    Returns:
        In the order of the stimuli.

    Raises:
        InputError: unknown kind, no pair at all, or (``reference``) distorted stimuli whose reference has no clean one.
    """
    shown = list(stimuli)
    if kind not in ("reference", "levels", "neighbours"):
        raise InputError(f"Unknown kind of pairs '{kind}'. Expected 'reference', 'levels' or 'neighbours'.")
    found = _with_clean(shown) if kind == "reference" else _of_levels(shown, kind == "neighbours")
    if not found:
        raise InputError(
            f"There is no pair of kind '{kind}' among {len(shown)} stimuli. Expected a reference with "
            f"{'a clean and a distorted image' if kind == 'reference' else 'two levels of one type'}: "
            "use design='crossed', or more levels."
        )
    return found


def _with_clean(shown: list[Stimulus]) -> list[Pair]:
    clean = {s.reference: s for s in reversed(shown) if s.type is None}
    distorted = [s for s in shown if s.type is not None]
    without = sorted({s.reference for s in distorted if s.reference not in clean})
    if without:
        raise InputError(
            f"{len(without)} references have distorted stimuli but no clean one ({', '.join(without[:3])}). "
            "Add the reference images, with an empty type, or pair levels: kind='levels'."
        )
    return [Pair(clean[s.reference], s) for s in distorted]


def _of_levels(shown: list[Stimulus], neighbours: bool) -> list[Pair]:
    ladders: dict[tuple[str, str], list[Stimulus]] = {}
    for stimulus in shown:
        if stimulus.type is not None and stimulus.level is not None:
            ladders.setdefault((stimulus.reference, stimulus.type), []).append(stimulus)
    found: list[Pair] = []
    for ladder in ladders.values():
        steps = sorted(ladder, key=lambda s: s.level or 0)
        two = pairwise(steps) if neighbours else ((a, b) for i, a in enumerate(steps) for b in steps[i + 1 :])
        found += [Pair(a, b) for a, b in two if a.level != b.level]
    return found
