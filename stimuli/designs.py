"""Which distortions are shown of which reference, and the stimuli that come of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from tqdm.auto import tqdm

from stimuli import distortions
from stimuli.errors import InputError
from stimuli.references import Reference
from stimuli.taxonomy import CLEAN, Taxonomy
from stimuli.types import Stimulus

Choice = tuple[str | None, int | None]
"""A distortion's type and level; None and None for the clean image."""


@dataclass(frozen=True, slots=True)
class Distorted:
    """The pixels of a distorted reference, made when called: the same every time, in any thread or process."""

    reference: Reference
    choice: Choice
    seed: int

    def __call__(self) -> np.ndarray:
        """uint8, shape of the reference.

        Raises:
            InputError: the reference is a file that cannot be read.
        """
        return self.of(self.reference.read())

    def of(self, image: np.ndarray) -> np.ndarray:
        """The same, of a reference image that is at hand; the clean image is that very array."""
        type, level = self.choice
        if type is None or level is None:
            return image
        return distortions.distort(image, type, level, seed=self.seed, reference=self.reference.id)


@dataclass(frozen=True)
class Plan:
    """What every reference of a set is shown as."""

    design: Literal["balanced", "crossed"]
    choices: Mapping[str, Sequence[Choice]]
    """Per class, in a seeded order."""
    seed: int

    @property
    def per_reference(self) -> int:
        """How many stimuli a reference makes."""
        return sum(1 if self.design == "balanced" else len(own) for own in self.choices.values())

    def shown(self, index: int) -> list[Choice]:
        """What the reference of this index is shown as; types and levels rotate over the references when balanced."""
        if self.design == "balanced":
            return [own[index % len(own)] for own in self.choices.values()]
        return [choice for own in self.choices.values() for choice in own]


def plan(taxonomy: Taxonomy, levels: Sequence[int], seed: int, design: Literal["balanced", "crossed"]) -> Plan:
    """The plan of a set.

    Raises:
        InputError: unknown design, type or level, or a class that has nothing to show at these levels.
    """
    if design not in ("balanced", "crossed"):
        raise InputError(f"Unknown design '{design}'. Expected 'balanced' or 'crossed'.")
    choices: dict[str, list[Choice]] = {}
    for number, label in enumerate(taxonomy.classes):
        own = _combinations(taxonomy, label, levels)
        order = np.random.default_rng([seed, number]).permutation(len(own))
        choices[label] = [own[i] for i in order]
    return Plan(design, choices, seed)


def _combinations(taxonomy: Taxonomy, label: str, levels: Sequence[int]) -> list[Choice]:
    """Every (type, level) of a class that changes an image; the clean class has just one."""
    if label == CLEAN:
        return [(None, None)]
    found: list[Choice] = []
    for type in taxonomy.types_of(label):
        for level in levels:
            distortions.parameter(type, level)  # raises on unknown type or level
            if level not in distortions.TYPES[type].identities:
                found.append((type, level))
    if not found:
        raise InputError(
            f"The class '{label}' of taxonomy '{taxonomy.name}' has nothing to show at levels {tuple(levels)}: "
            "every one is an identity. Add another level."
        )
    return found


def build(
    references: Iterable[Reference], plan: Plan, total: int, *, measure: bool, in_memory: bool, progress: bool
) -> list[Stimulus]:
    """The stimuli of every reference, in order.

    Args:
        references: the source images; each is read at most once here.
        plan: what they are shown as.
        total: how many references there are.
        measure: whether to measure PSNR and SSIM, which makes every image once.
        in_memory: whether to hold the images; otherwise they are made when looked at.
        progress: show a progress bar.

    Raises:
        InputError: an image cannot be read.
    """
    stimuli: list[Stimulus] = []
    for index, reference in enumerate(tqdm(references, desc="stimuli", total=total, disable=not progress)):
        original = reference.read() if measure or in_memory else None
        for choice in plan.shown(index):
            stimuli.append(_stimulus(Distorted(reference, choice, plan.seed), original, measure, in_memory))
    return stimuli


def _stimulus(pixels: Distorted, original: np.ndarray | None, measure: bool, in_memory: bool) -> Stimulus:
    reference, (type, level) = pixels.reference, pixels.choice
    image = None if original is None else pixels.of(original)
    psnr, ssim = (None, None)
    if measure and image is not None and original is not None:
        psnr, ssim = distortions.severity(original, image)
    return Stimulus(
        id=reference.id if type is None else f"{reference.id}+{type}-{level}",
        reference=reference.id,
        type=type,
        level=level,
        signed_param=None if type is None or level is None else float(distortions.parameter(type, level)),
        psnr=psnr,
        ssim=ssim,
        is_identity=type is not None and level in distortions.TYPES[type].identities,
        source=reference.source,
        attributes=reference.attributes,
        pixels=image if in_memory and image is not None else pixels,
    )
