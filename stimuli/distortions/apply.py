"""Distort an image: whole, inside a mask, or by several types one after another."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stimuli.distortions.depictqa import DEPICTQA_WILD
from stimuli.distortions.kadid import KADID10K
from stimuli.distortions.kinds import Denoiser, Distortion, Setting
from stimuli.errors import InputError
from stimuli.operations import to_uint8

LEVELS = (1, 2, 3, 4, 5)
TYPES: dict[str, Distortion] = {kind.name: kind for kind in (*KADID10K, *DEPICTQA_WILD)}
PUBLISHED_SIDE = 384
"""The shorter side of KADID-10k's images, in px; lengths in px were published for it."""


@dataclass(frozen=True)
class Options:
    """How distortions are made where one may choose. The defaults are as published."""

    nested_noise: bool = False
    """Whether all levels of a random type share one draw, scaled (the same noise, stronger), instead of a draw per level."""
    stretch: bool = False
    """Whether image and result are stretched to [0, 1] by their smallest and largest value, as KADID-10k's public generator does
    before and after every distortion, which partly undoes brightness and contrast changes. Identity levels then change images."""
    ordering: Literal["published", "magnitude"] = "published"
    """``magnitude`` sorts the levels of the two signed types by their distance from the parameter that changes nothing."""
    scale: bool = False
    """Whether lengths in px grow with the image: times its shorter side / 384, KADID-10k's."""
    denoiser: Denoiser | None = None
    """Stands for DnCNN in the type ``denoise``: takes a noisy float image and its noise's standard deviation."""

    def __post_init__(self) -> None:
        """Refuse an unknown ordering.

        Raises:
            InputError: it is neither published nor magnitude.
        """
        if self.ordering not in ("published", "magnitude"):
            raise InputError(f"Unknown ordering '{self.ordering}'. Expected 'published' or 'magnitude'.")

    def describe(self) -> dict[str, object]:
        """What differs from the defaults, as JSON-able values."""
        own = {name: getattr(self, name) for name in ("nested_noise", "stretch", "ordering", "scale", "denoiser")}
        told = {name: value for name, value in own.items() if value != getattr(PUBLISHED, name)}
        return {k: getattr(v, "__name__", type(v).__name__) if k == "denoiser" else v for k, v in told.items()}


PUBLISHED = Options()


def parameter(type: str, level: int, options: Options = PUBLISHED) -> float:
    """The parameter of a type at a level.

    Raises:
        InputError: unknown type, or a level outside 1 to 5.
    """
    if type not in TYPES:
        raise InputError(f"Unknown distortion type '{type}'. Known types: {', '.join(TYPES)}. Use one of these.")
    if level not in LEVELS:
        raise InputError(f"Distortion level {level!r} does not exist; there are the levels 1 to 5. Use one of these.")
    kind = TYPES[type]
    return (kind.by_magnitude() if options.ordering == "magnitude" else kind.parameters)[level - 1]


def is_identity(type: str, level: int, options: Options = PUBLISHED) -> bool:
    """Whether a level leaves every image as it was."""
    kind = TYPES[type]
    unchanging = {kind.parameters[identity - 1] for identity in kind.identities}
    return not options.stretch and parameter(type, level, options) in unchanging


def distort(
    image: np.ndarray, type: str, level: int, *, seed: int = 0, reference: str = "", options: Options = PUBLISHED
) -> np.ndarray:
    """Distort one image.

    Args:
        image: uint8, or float from 0 to 1, of shape (H, W, 3), from 32 px up; never changed.
        type: a key of ``TYPES``.
        level: 1 to 5, as published.
        seed: draws of the random types depend on (seed, reference, type, level) and on nothing else.
        reference: the id of the source image.
        options: nested noise, stretch, ordering, scale, denoiser.

    Returns:
        The same shape and dtype; floats from 0 to 1.

    Raises:
        InputError: unknown type or level, or an image that is neither uint8 nor float RGB in range.
    """
    value = parameter(type, level, options)
    kind = TYPES[type]
    drawn = [seed, zlib.crc32(reference.encode()), kind.number, *(() if options.nested_noise else (level,))]
    scale = min(image.shape[:2]) / PUBLISHED_SIDE if options.scale and image.ndim == 3 else 1.0
    setting = Setting(np.random.default_rng(drawn), scale, options.denoiser)
    start = _stretched(_unit(image)) if options.stretch else _unit(image)
    result = kind.apply(start, value, setting)
    return _like(image, _stretched(np.clip(result, 0, 1)) if options.stretch else result)


def within(image: np.ndarray, distorted: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The distorted image inside a mask, the image itself outside, to the last bit.

    Args:
        image: (H, W, 3).
        distorted: the same shape and dtype.
        mask: bool (H, W).

    Raises:
        InputError: the shapes differ.
    """
    if image.shape != distorted.shape or mask.shape != image.shape[:2]:
        raise InputError(
            f"Got an image of shape {image.shape}, a distorted one of {distorted.shape} and a mask of {mask.shape}; expected "
            "(H, W, 3) twice and (H, W). Make the mask for the image's size."
        )
    return np.where(mask[..., None], distorted, image)


def mix(
    image: np.ndarray, parts: Sequence[tuple[str, int]], *, seed: int = 0, reference: str = "", options: Options = PUBLISHED
) -> np.ndarray:
    """Several distortions one after another, in the order given; each works on what the one before it left.

    Args:
        image: as in ``distort``.
        parts: (type, level) of each.
        seed: as in ``distort``.
        reference: as in ``distort``.
        options: as in ``distort``.

    Returns:
        As ``distort``. An 8-bit image is rounded after each part, as if it had been stored in between.

    Raises:
        InputError: as ``distort``, or there are no parts.
    """
    if not parts:
        raise InputError("Got a mixture of no distortions; expected at least one (type, level).")
    for type, level in parts:
        image = distort(image, type, level, seed=seed, reference=reference, options=options)
    return image


def _unit(image: np.ndarray) -> np.ndarray:
    """As floats from 0 to 1.

    Raises:
        InputError: another dtype, shape or range.
    """
    kind = np.asarray(image).dtype
    if image.ndim != 3 or image.shape[2] != 3 or not (kind == np.uint8 or np.issubdtype(kind, np.floating)):
        raise InputError(
            f"Got an image of dtype {kind} and shape {image.shape}; expected uint8, or float from 0 to 1, of shape (H, W, 3). "
            "Convert it to RGB first."
        )
    if kind == np.uint8:
        return image / 255.0
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        low, high = np.nanmin(image), np.nanmax(image)
        raise InputError(
            f"Got a float image from {low:.3g} to {high:.3g}; expected finite values from 0 to 1. Divide it by 255?"
        )
    return image.astype(float)


def _like(image: np.ndarray, result: np.ndarray) -> np.ndarray:
    return to_uint8(result) if image.dtype == np.uint8 else np.clip(result, 0, 1).astype(image.dtype)


def _stretched(image: np.ndarray) -> np.ndarray:
    low, high = image.min(), image.max()
    return (image - low) / (high - low) if high > low else image
