"""Which distortions are shown of which reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stimuli import distortions
from stimuli.distortions import PUBLISHED, Options
from stimuli.errors import InputError
from stimuli.making import Parts
from stimuli.taxonomy import CLEAN, Taxonomy

Design = Literal["balanced", "crossed"]
Choice = tuple[str | None, int | None]
"""A distortion's type and level; None and None for the clean image."""


@dataclass(frozen=True)
class Plan:
    """What every reference of a set is shown as."""

    design: Design
    choices: Mapping[str, Sequence[Parts]]
    """Per class, in a seeded order: the (type, level) of its distortions; none for the clean image."""
    seed: int

    @property
    def per_reference(self) -> int:
        """How many stimuli a reference makes."""
        return sum(1 if self.design == "balanced" else len(own) for own in self.choices.values())

    def shown(self, index: int) -> list[Parts]:
        """What the reference of this index is shown as; types and levels rotate over the references when balanced."""
        if self.design == "balanced":
            return [own[index % len(own)] for own in self.choices.values()]
        return [parts for own in self.choices.values() for parts in own]


def plan(
    taxonomy: Taxonomy, levels: Sequence[int], seed: int, design: Design = "balanced", options: Options = PUBLISHED
) -> Plan:
    """The plan of a set.

    Raises:
        InputError: unknown design, type or level, or a class that has nothing to show at these levels.
    """
    if design not in ("balanced", "crossed"):
        raise InputError(f"Unknown design '{design}'. Expected 'balanced' or 'crossed'.")
    choices: dict[str, list[Parts]] = {}
    for number, label in enumerate(taxonomy.classes):
        own = _combinations(taxonomy, label, levels, options)
        order = np.random.default_rng([seed, number]).permutation(len(own))
        choices[label] = [_parts(*own[i]) for i in order]
    return Plan(design, choices, seed)


def _parts(type: str | None, level: int | None) -> Parts:
    return () if type is None or level is None else ((type, level),)


def _combinations(taxonomy: Taxonomy, label: str, levels: Sequence[int], options: Options = PUBLISHED) -> list[Choice]:
    """Every (type, level) of a class that can be generated and changes an image; the clean class has just one."""
    if label == CLEAN:
        return [(None, None)]
    types = [type for type in taxonomy.types_of(label) if type in distortions.TYPES]
    if not types:
        raise InputError(
            f"The class '{label}' of taxonomy '{taxonomy.name}' cannot be generated: its types "
            f"({', '.join(taxonomy.types_of(label))}) occur in datasets only. Read a dataset, or use another taxonomy."
        )
    found: list[Choice] = []
    for type in types:
        for level in levels:
            published = distortions.TYPES[type].parameters.index(distortions.parameter(type, level, options)) + 1
            if published in taxonomy.levels_of(type, label) and not distortions.is_identity(type, level, options):
                found.append((type, level))
    if not found:
        raise InputError(
            f"The class '{label}' of taxonomy '{taxonomy.name}' has nothing to show at levels {tuple(levels)}: "
            "every one is an identity or has another class. Add another level."
        )
    return found
