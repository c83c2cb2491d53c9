"""A stimulus and a set of stimuli: everything that is known about an image besides what a model makes of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from stimuli.errors import InputError
from stimuli.images import read_image as read_image

if TYPE_CHECKING:
    from stimuli.splits import Split

Pixels = np.ndarray | Path | Callable[[], np.ndarray]


@dataclass(frozen=True, slots=True)
class Stimulus:
    """One image shown to a model, and where it came from."""

    id: str
    """Unique within a set."""
    reference: str
    """The source image. Splits, bootstraps and permutations are by reference."""
    type: str | None
    """The distortion's name (see ``stimuli.distortions.TYPES``), or None for a clean image."""
    level: int | None
    """1 to 5 as published, or None for a clean image. Not a severity: two types are signed."""
    signed_param: float | None = None
    """The published parameter at this level (a standard deviation, a quality, a signed shift, …)."""
    psnr: float | None = None
    """Measured severity against the reference in dB; 100 for an identical image. None where no reference is at hand."""
    ssim: float | None = None
    """Measured severity against the reference, -1 to 1."""
    measured: Mapping[str, float] | None = None
    """The user's own measures of severity, by name."""
    is_identity: bool = False
    """True where this level leaves the image as it was."""
    source: str = "file"
    """``scene`` and ``leaves`` (procedural), ``photo`` (bundled photograph), ``file`` (the user's) or the name of a dataset."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Known content, such as ``{"colour": "red", "shape": "circle"}``; empty where unknown."""
    mos: float | None = None
    """Mean opinion score, higher is better, where known: the dataset's own number, its sign turned where lower was better."""
    mos_original: float | None = None
    """The same as the dataset gives it."""
    mos_std: float | None = None
    """Standard deviation of the opinions, in the unit of ``mos``."""
    parts: tuple[tuple[str, int], ...] = ()
    """Of a mixture, the (type, level) of each distortion in the order in which they were applied; ``type`` joins their names
    with a plus sign, ``level`` is the one they share."""
    area: Pixels | None = field(default=None, repr=False, compare=False)
    """Where a local distortion lies; see ``mask``."""
    pixels: Pixels = field(default=Path(), repr=False, compare=False)

    @property
    def image(self) -> np.ndarray:
        """The image as uint8 of shape (H, W, 3), exactly as stored: never resized, never re-encoded.

        Copy it before changing it: it may be read-only, or the array that others see.

        Raises:
            InputError: the file is missing or not a readable image; the message names it.
        """
        return read_pixels(self.pixels)

    @property
    def mask(self) -> np.ndarray | None:
        """Where the image is distorted, bool (H, W); None for a stimulus that is distorted everywhere or nowhere.

        Raises:
            InputError: the mask's file is missing or not a readable image.
        """
        if self.area is None:
            return None
        mask = read_pixels(self.area)
        return (mask if mask.ndim == 2 else mask[..., 0]) > 0

    def metadata(self) -> dict[str, Any]:
        """All but the pixels, as JSON-able values."""
        names = ("id", "reference", "type", "level", "signed_param", "psnr", "ssim", "is_identity", "source", "mos",
                 "mos_original", "mos_std")  # fmt: skip
        parts = [list(part) for part in self.parts]
        own = {"measured": dict(self.measured or {}), "parts": parts, "attributes": dict(self.attributes)}
        return {**{name: getattr(self, name) for name in names}, **own}


def read_pixels(pixels: Pixels) -> np.ndarray:
    """An image that is at hand, in a file, or made when asked for, as uint8 of shape (H, W, 3).

    Raises:
        InputError: the file is missing or not a readable image.
    """
    if isinstance(pixels, np.ndarray):
        return pixels
    return read_image(pixels) if isinstance(pixels, Path) else pixels()


class StimulusSet(Sequence[Stimulus]):
    """A sized, ordered set of stimuli with unique ids.

    Args:
        stimuli: the stimuli, in order.
        name: what the set is called in reports.
        info: how it was made, as JSON-able values.

    Raises:
        InputError: there are none, or two share an id.
    """

    def __init__(self, stimuli: Sequence[Stimulus], name: str, info: Mapping[str, Any] | None = None) -> None:
        self._stimuli = tuple(stimuli)
        self.name = name
        self.info = dict(info or {})
        if not self._stimuli:
            raise InputError(
                f"The stimulus set '{name}' is empty: zero images were found, at least one is needed. "
                "Check the folder, the file endings and the filters."
            )
        ids = sorted(stimulus.id for stimulus in self._stimuli)
        twice = next((id for id, following in pairwise(ids) if id == following), None)
        if twice is not None:
            raise InputError(
                f"The stimulus id '{twice}' occurs twice in '{name}'; ids must be unique. "
                "Rename one, or give the files an id column of their own."
            )

    @property
    def references(self) -> tuple[str, ...]:
        """The distinct references, in order of first appearance."""
        return tuple(dict.fromkeys(stimulus.reference for stimulus in self._stimuli))

    def select(self, keep: Callable[[Stimulus], bool], name: str | None = None) -> StimulusSet:
        """The stimuli for which ``keep`` is true, as a new set."""
        return StimulusSet([s for s in self._stimuli if keep(s)], name or self.name, self.info)

    def split(self, train: float = 0.7, validation: float = 0.15, test: float = 0.15, **options: Any) -> Split:
        """Training, validation and test parts by reference; see ``stimuli.splits.split``, which takes the same arguments."""
        from stimuli.splits import split

        return split(self, train, validation, test, **options)

    def of_references(self, references: Collection[str]) -> tuple[StimulusSet, StimulusSet]:
        """The stimuli of the given references, and all the others.

        Raises:
            InputError: one of the two would be empty.
        """
        wanted = set(references)
        return self.select(lambda s: s.reference in wanted), self.select(lambda s: s.reference not in wanted)

    def __len__(self) -> int:
        """The number of stimuli."""
        return len(self._stimuli)

    def __iter__(self) -> Iterator[Stimulus]:
        """Iterate in order."""
        return iter(self._stimuli)

    @overload
    def __getitem__(self, index: int) -> Stimulus: ...
    @overload
    def __getitem__(self, index: slice) -> StimulusSet: ...
    def __getitem__(self, index: int | slice) -> Stimulus | StimulusSet:
        """One stimulus, or a set of them."""
        if isinstance(index, slice):
            return StimulusSet(self._stimuli[index], self.name, self.info)
        return self._stimuli[index]

    def __repr__(self) -> str:
        """Name and size."""
        return f"StimulusSet({self.name!r}, {len(self)} stimuli of {len(self.references)} references)"


class Images(Sequence[np.ndarray]):
    """The images of stimuli, read when they are looked at, so that memory stays flat in their number.

    Args:
        stimuli: whose images.
        change: applied to each image, such as blanking it for a control.
    """

    def __init__(self, stimuli: Sequence[Stimulus], change: Callable[[np.ndarray], np.ndarray] | None = None) -> None:
        self._stimuli = stimuli
        self._change = change or (lambda image: image)

    def __len__(self) -> int:
        """The number of images."""
        return len(self._stimuli)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        """One image, or a list of them."""
        if isinstance(index, slice):
            return [self._change(stimulus.image) for stimulus in self._stimuli[index]]
        return self._change(self._stimuli[index].image)
