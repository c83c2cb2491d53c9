"""What a distortion type is, and what its function is told besides image and parameter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Denoiser = Callable[[np.ndarray, float], np.ndarray]
"""Takes a noisy image (float (H, W, 3), about 0 to 1) and the noise's standard deviation; gives the image denoised."""


@dataclass(frozen=True)
class Setting:
    """What a distortion may use besides image and parameter."""

    rng: np.random.Generator
    """All chance comes from here."""
    scale: float = 1.0
    """By how much lengths in px are to be stretched; 1 as published."""
    denoiser: Denoiser | None = None
    """The user's own, for the type ``denoise``."""

    def length(self, pixels: float) -> int:
        """A length in whole px, scaled, at least 1."""
        return max(1, round(pixels * self.scale))


Apply = Callable[[np.ndarray, float, Setting], np.ndarray]
"""Takes a float image in [0, 1] of shape (H, W, 3), which it must not change, and a parameter; the result may leave [0, 1]."""


@dataclass(frozen=True)
class Distortion:
    """One type: where it is published, its function, and its parameter per level."""

    number: int
    """KADID-10k's number, 1 to 25; of DepictQA-Wild's types 101 to 135. Part of the random seed."""
    group: str
    """The group of its dataset: of KADID-10k blur, color, compression, noise, brightness, spatial, sharpness or contrast; of
    DepictQA-Wild one of its twelve, such as darken."""
    apply: Apply
    parameters: tuple[float, float, float, float, float]
    """Of the levels 1 to 5, as published."""
    identities: tuple[int, ...] = ()
    """Levels that leave every image as it was."""
    neutral: float | None = None
    """Of a signed type, whose levels are not ordered by severity: the parameter that changes nothing."""
    random: bool = False
    """Whether it draws."""
    spatial: bool = False
    """Whether it has a length in px, which ``Options.scale`` stretches."""
    stand_in: str = ""
    """What stands for the original's method where that cannot be had; ``Options.denoiser`` puts something else in its place."""
    family: str = "kadid10k"
    """Who published it: ``kadid10k`` or ``depictqa`` (DepictQA-Wild)."""

    @property
    def name(self) -> str:
        """The function's name."""
        return str(self.apply.__name__)

    def by_magnitude(self) -> tuple[float, ...]:
        """The parameters from mildest to strongest: a signed type's by their distance from neutral, others' as published."""
        neutral = self.neutral
        if neutral is None:
            return self.parameters
        return tuple(sorted(self.parameters, key=lambda value: round(abs(value - neutral), 9)))
