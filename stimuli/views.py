"""What is shown in a stimulus's place: the image itself, a control that hides it, another's, or a change that no one sees."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from stimuli.errors import InputError
from stimuli.types import Stimulus

Shown = np.ndarray | tuple[np.ndarray, ...] | None
"""uint8 (H, W, 3), several of them beside one question, or no image at all."""
WHITE, GREY = 255, 128
PATCHES = 8
"""Along the shorter side, of ``shuffled``."""


@dataclass(frozen=True)
class View:
    """One way of showing stimuli."""

    name: str
    show: Callable[[Stimulus, Stimulus | None], Shown] = field(repr=False, compare=False)
    """What is shown for a stimulus and its partner, if it has one; reads their images."""
    partners: Mapping[str, Stimulus] = field(default_factory=dict, repr=False, compare=False)
    """Stimulus id to another stimulus that is shown instead, or beside it."""
    seed: int | None = None
    """Of what is drawn at random; None where nothing is."""

    def identity(self, stimulus: Stimulus) -> list[str | int | None]:
        """What tells this view of this stimulus from any other, JSON-able."""
        other = self.partners.get(stimulus.id)
        return [self.name, self.seed, None if other is None else other.id]

    def of(self, stimulus: Stimulus) -> Callable[[], Shown]:
        """What shows a stimulus when it is called, small enough to be sent to another process."""
        return partial(self.show, stimulus, self.partners.get(stimulus.id))


def _as_it_is(stimulus: Stimulus, other: Stimulus | None) -> np.ndarray:
    return stimulus.image


def _filled(stimulus: Stimulus, other: Stimulus | None, value: int) -> np.ndarray:
    return np.full_like(stimulus.image, value)


def _noise(stimulus: Stimulus, other: Stimulus | None, seed: int) -> np.ndarray:
    return _rng(stimulus, seed).integers(0, 256, stimulus.image.shape, np.uint8)


def _shuffled(stimulus: Stimulus, other: Stimulus | None, seed: int) -> np.ndarray:
    """The image cut into squares that are put together in another order; what does not fill a square stays where it is."""
    image = stimulus.image.copy()
    side = max(1, min(image.shape[:2]) // PATCHES)
    rows, columns = (length // side for length in image.shape[:2])
    whole = image[: rows * side, : columns * side]
    squares = whole.reshape(rows, side, columns, side, 3).swapaxes(1, 2).reshape(rows * columns, side, side, 3)
    mixed = squares[_rng(stimulus, seed).permutation(len(squares))]
    image[: rows * side, : columns * side] = (
        mixed.reshape(rows, columns, side, side, 3).swapaxes(1, 2).reshape(rows * side, columns * side, 3)
    )
    return image


def _none(stimulus: Stimulus, other: Stimulus | None) -> None:
    return None


def _lighter(stimulus: Stimulus, other: Stimulus | None, by: int) -> np.ndarray:
    return np.clip(stimulus.image.astype(np.int16) + by, 0, 255).astype(np.uint8)


def _cropped(stimulus: Stimulus, other: Stimulus | None, first: int) -> np.ndarray:
    """One row and one column less: the first of each, or the last."""
    image = stimulus.image
    return (image[1:, 1:] if first else image[:-1, :-1]).copy()


def _instead(stimulus: Stimulus, other: Stimulus | None) -> np.ndarray:
    return (other or stimulus).image


def _beside(stimulus: Stimulus, other: Stimulus | None, turned: bool) -> tuple[np.ndarray, ...]:
    pair = stimulus.image, (other or stimulus).image
    return pair[::-1] if turned else pair


IMAGE = View("image", _as_it_is)
"""The stimulus as it is."""
CONTROLS = ("blank", "grey", "noise", "shuffled", "other-same", "other-class", "none")
"""What hides the image: white, mid-grey, uniform noise, its squares in another order (which keeps most distortions), another
image of the same class and of another class (both of other references), and no image at all."""
UNSEEN = ("lighter", "darker", "crop-first", "crop-last")
"""Changes that no one sees: one grey level up or down, the first or last row and column cut off."""


def view(name: str, seed: int = 0) -> View:
    """A view that needs nothing but the stimulus.

    Args:
        name: ``image``, one of ``UNSEEN``, or one of ``CONTROLS`` but the other images (``instead``).
        seed: of ``noise`` and ``shuffled``.

    Raises:
        InputError: unknown name.
    """
    plain: dict[str, Callable[[Stimulus, Stimulus | None], Shown]] = {
        "blank": partial(_filled, value=WHITE),
        "grey": partial(_filled, value=GREY),
        "none": _none,
        "lighter": partial(_lighter, by=1),
        "darker": partial(_lighter, by=-1),
        "crop-first": partial(_cropped, first=1),
        "crop-last": partial(_cropped, first=0),
    }
    drawn: dict[str, Callable[[Stimulus, Stimulus | None], Shown]] = {
        "noise": partial(_noise, seed=seed),
        "shuffled": partial(_shuffled, seed=seed),
    }
    if name == IMAGE.name:
        return IMAGE
    if name in plain:
        return View(name, plain[name])
    if name in drawn:
        return View(name, drawn[name], seed=seed)
    known = (IMAGE.name, *plain, *drawn)
    raise InputError(f"Unknown view '{name}'. Expected one of {', '.join(known)}. Use one of these.")


def instead(name: str, stimuli: Sequence[Stimulus], labels: Sequence[str], seed: int = 0) -> View:
    """Another image in each one's place: ``other-same`` of the same class, ``other-class`` of another one.

    The other image is of another reference, drawn at random. Stimuli for which there is none are shown as they are and have no
    partner.

    Args:
        name: which of the two.
        stimuli: the stimuli.
        labels: their classes.
        seed: of the draw.

    Raises:
        InputError: another name, other numbers of stimuli and labels, or no stimulus has a partner.
    """
    if name not in ("other-same", "other-class"):
        raise InputError(f"Unknown view '{name}'. Expected other-same or other-class. Use one of these.")
    _check_counts(len(stimuli), len(labels), "labels")
    rng = np.random.default_rng([seed, 12])
    classes, references = (np.unique(names, return_inverse=True)[1] for names in (list(labels), [s.reference for s in stimuli]))
    partners: dict[str, Stimulus] = {}
    for i, stimulus in enumerate(stimuli):
        fits = (classes == classes[i]) == (name == "other-same")
        others = np.flatnonzero(fits & (references != references[i]))
        if len(others):
            partners[stimulus.id] = stimuli[int(rng.choice(others))]
    if not partners:
        raise InputError(f"No stimulus has an image for '{name}' among {len(stimuli)}. Show more references or classes.")
    return View(name, _instead, partners, seed)


def beside(stimuli: Sequence[Stimulus], others: Sequence[Stimulus], *, turned: bool = False) -> View:
    """Two images in one question: each stimulus first and its partner second, or turned round.

    Raises:
        InputError: other numbers of stimuli and partners.
    """
    _check_counts(len(stimuli), len(others), "partners")
    partners = {s.id: other for s, other in zip(stimuli, others, strict=True)}
    return View("second and first" if turned else "first and second", partial(_beside, turned=turned), partners)


def _check_counts(stimuli: int, others: int, what: str) -> None:
    if stimuli != others:
        raise InputError(f"Got {stimuli} stimuli and {others} {what}; expected one for each stimulus. Give as many.")


def _rng(stimulus: Stimulus, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(stimulus.id.encode())])
