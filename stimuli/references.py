"""Reference images before they are distorted: the user's, and the built-in scenes, leaves and photographs, made on demand.

The stimuli of one reference follow one another in a set, so a few references that are kept spare nearly all repeated work,
and memory does not grow with the number of references.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock
from typing import Literal

import numpy as np

from stimuli import photos
from stimuli.errors import InputError
from stimuli.leaves import dead_leaves
from stimuli.scenes import content, scene
from stimuli.types import Pixels, read_pixels

KEPT = 8
"""How many built-in reference images a process keeps once they are made."""
Kind = Literal["scenes", "leaves"]
_SPLITS = {"exam": 0, "train": 1}
_LEAVES = 2
"""Apart from the splits' numbers, so that no leaves are drawn from the seed of a scene."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A source image, and what is known of it."""

    id: str
    source: str
    """As in ``Stimulus``: ``scene``, ``leaves``, ``photo`` or ``file``."""
    pixels: Pixels = field(repr=False, compare=False)
    attributes: Mapping[str, str] = field(default_factory=dict)
    """As in ``Stimulus``; the stimuli of a reference share it."""

    def read(self) -> np.ndarray:
        """The image as uint8 of shape (H, W, 3). Never change it in place: others may see the same array.

        Raises:
            InputError: the file is missing or not a readable image.
        """
        return read_pixels(self.pixels)


@dataclass(frozen=True, slots=True)
class SceneImage:
    """The pixels of a scene, made when called; the last ``KEPT`` references are kept."""

    seed: tuple[int, ...]
    size: int
    """Side in px."""

    def __call__(self) -> np.ndarray:
        """uint8, shape (size, size, 3), read-only."""
        return _kept(self).get()

    def make(self) -> np.ndarray:
        """The same pixels, made anew."""
        return scene(self.seed, self.size).image


@dataclass(frozen=True, slots=True)
class LeavesImage:
    """The pixels of dead leaves, made when called; the last ``KEPT`` references are kept."""

    seed: tuple[int, ...]
    size: int | tuple[int, int]
    """Side, or height and width, in px."""

    def __call__(self) -> np.ndarray:
        """uint8, shape (H, W, 3), read-only."""
        return _kept(self).get()

    def make(self) -> np.ndarray:
        """The same pixels, made anew."""
        return dead_leaves(self.seed, self.size)


@dataclass(frozen=True, slots=True)
class PhotographImage:
    """The pixels of a bundled photograph, read when called; the last ``KEPT`` references are kept."""

    name: str
    size: int
    """Side in px."""
    crop: int
    seed: int

    def __call__(self) -> np.ndarray:
        """uint8, shape (size, size, 3), read-only."""
        return _kept(self).get()

    def make(self) -> np.ndarray:
        """The same pixels, made anew."""
        return photos.photograph(self.name, self.size, self.crop, self.seed)


def builtin_references(
    count: int, seed: int, split: str, size: int, photographs: bool, kind: Kind = "scenes"
) -> Iterator[Reference]:
    """The built-in references in order; no pixel is made before it is looked at.

    Args:
        count: how many.
        seed: of the scenes or leaves and of the crops of the photographs.
        split: ``exam`` or ``train``, which have no scene, no leaves and no photograph in common.
        size: side in px.
        photographs: whether every tenth is a photograph (in an exam, as long as there are new ones).
        kind: what the others are: ``scenes``, which have a named object, or ``leaves``, which have none and whose statistics are
            those of photographs at any size.

    Raises:
        InputError: another kind.
    """
    if kind not in ("scenes", "leaves"):
        raise InputError(f"There are no built-in references of kind '{kind}'. Expected scenes or leaves. Choose one of these.")
    names = photos.EXAM if split == "exam" else photos.TRAIN
    for index in range(count):
        if photographs and index % 10 == 9 and (split == "train" or index // 10 < len(names)):
            name, crop = names[(index // 10) % len(names)], index // 10 // len(names)
            yield Reference(f"photo-{name}-{crop}", "photo", PhotographImage(name, size, crop, seed))
        else:
            yield _procedural(kind, seed, split, index, size)


def _procedural(kind: Kind, seed: int, split: str, index: int, size: int) -> Reference:
    number = f"{split}-{seed}-{index:05d}"
    if kind == "leaves":
        return Reference(f"leaves-{number}", "leaves", LeavesImage((seed, _LEAVES + _SPLITS[split], index), size))
    drawn = (seed, _SPLITS[split], index)
    return Reference(f"scene-{number}", "scene", SceneImage(drawn, size), content(drawn))


class _Once:
    """An image that is made by the thread that asks first, while others that want it wait."""

    def __init__(self, make: Callable[[], np.ndarray]) -> None:
        self._make, self._lock = make, Lock()
        self._image: np.ndarray | None = None

    def get(self) -> np.ndarray:
        with self._lock:
            if self._image is None:
                image = self._make()
                image.flags.writeable = False
                self._image = image
            return self._image


@lru_cache(maxsize=KEPT)
def _kept(reference: SceneImage | LeavesImage | PhotographImage) -> _Once:
    return _Once(reference.make)


if hasattr(os, "register_at_fork"):  # a lock that another thread held at the fork would never open in the child
    os.register_at_fork(after_in_child=_kept.cache_clear)
