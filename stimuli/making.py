"""Stimuli made of reference images: distorted whole, in a region, or by several types; their pixels on demand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stimuli import distortions
from stimuli.distortions import PUBLISHED, Measure, Options
from stimuli.progress import tqdm
from stimuli.references import Reference
from stimuli.regions import Region
from stimuli.types import Stimulus

Parts = tuple[tuple[str, int], ...]
"""The (type, level) of each distortion, in the order of application; none for the clean image."""


@dataclass(frozen=True, slots=True)
class Making:
    """How the stimuli of a set are made; all of them share one."""

    seed: int = 0
    options: Options = PUBLISHED
    region: Region | None = None
    """Where the distortions lie; everywhere if None."""


@dataclass(frozen=True, slots=True)
class Distorted:
    """The pixels of a distorted reference, made when called: the same every time, in any thread or process."""

    reference: Reference
    parts: Parts
    making: Making

    def __call__(self) -> np.ndarray:
        """uint8, shape of the reference.

        Raises:
            InputError: the reference is a file that cannot be read.
        """
        return self.of(self.reference.read())

    def of(self, image: np.ndarray) -> np.ndarray:
        """The same, of a reference image that is at hand; the clean image is that very array."""
        if not self.parts:
            return image
        how, name = self.making, self.reference.id
        changed = distortions.mix(image, self.parts, seed=how.seed, reference=name, options=how.options)
        return changed if how.region is None else distortions.within(image, changed, how.region.mask(image, name))


@dataclass(frozen=True, slots=True)
class Masked:
    """Where a reference is distorted, made when called: bool (H, W)."""

    reference: Reference
    region: Region

    def __call__(self) -> np.ndarray:
        """The mask.

        Raises:
            InputError: the reference is a file that cannot be read.
        """
        return self.region.mask(self.reference.read(), self.reference.id)


@dataclass(frozen=True)
class Work:
    """What is done for every reference."""

    making: Making
    measure: bool = True
    """Whether to measure PSNR and SSIM, which makes every image once."""
    measures: Mapping[str, Measure] | None = None
    """Further measures, by name."""
    in_memory: bool = False
    """Whether to hold the images; otherwise they are made when looked at."""

    def stimuli(self, reference: Reference, shown: Sequence[Parts]) -> list[Stimulus]:
        """The stimuli of one reference, which is read at most once.

        Raises:
            InputError: it cannot be read.
        """
        original = reference.read() if self.measure or self.measures or self.in_memory else None
        return [self._stimulus(Distorted(reference, parts, self.making), original) for parts in shown]

    def _stimulus(self, pixels: Distorted, original: np.ndarray | None) -> Stimulus:
        reference, parts, how = pixels.reference, pixels.parts, self.making
        image = None if original is None else pixels.of(original)
        psnr, ssim, measured = None, None, None
        if image is not None and original is not None:
            psnr, ssim = distortions.severity(original, image) if self.measure else (None, None)
            if self.measures:
                measured = {name: float(measure(original, image)) for name, measure in self.measures.items()}
        levels = {level for _, level in parts}
        return Stimulus(
            id=_id(pixels),
            reference=reference.id,
            type="+".join(type for type, _ in parts) if parts else None,
            level=levels.pop() if len(levels) == 1 else None,
            signed_param=float(distortions.parameter(*parts[0], how.options)) if len(parts) == 1 else None,
            psnr=psnr,
            ssim=ssim,
            measured=measured,
            is_identity=bool(parts) and all(distortions.is_identity(*part, how.options) for part in parts),
            source=reference.source,
            attributes=reference.attributes,
            parts=parts if len(parts) > 1 else (),
            pixels=image if self.in_memory and image is not None else pixels,
            area=Masked(reference, how.region) if parts and how.region is not None else None,
        )


def _id(pixels: Distorted) -> str:
    """Reference, distortions, and the kind of region."""
    region = pixels.making.region
    names = "".join(f"+{type}-{level}" for type, level in pixels.parts)
    return f"{pixels.reference.id}{names}{f'@{region.kind}' if region is not None and pixels.parts else ''}"


def build(
    references: Iterable[Reference],
    shown: Sequence[Sequence[Parts]],
    work: Work,
    *,
    workers: int = 1,
    progress: bool = False,
) -> list[Stimulus]:
    """The stimuli of every reference, in order.

    Args:
        references: the source images.
        shown: what each is shown as.
        work: what is done for each.
        workers: processes that make and measure images at the same time, each a reference at a time, no more than two references
            each under way; 1 does it here.
        progress: show a progress bar.

    Raises:
        InputError: an image cannot be read.
    """
    pairs = zip(references, shown, strict=True)
    made = (work.stimuli(*pair) for pair in pairs) if workers == 1 else _elsewhere(work, pairs, workers)
    bar = tqdm(made, desc="stimuli", total=len(shown), disable=not progress)
    return [stimulus for own in bar for stimulus in own]


def _elsewhere(work: Work, pairs: Iterable[tuple[Reference, Sequence[Parts]]], workers: int) -> Iterator[list[Stimulus]]:
    """The same in processes of one thread each, which end with this one."""
    from joblib import Parallel, delayed

    run = Parallel(workers, return_as="generator", pre_dispatch="2*n_jobs", batch_size=1)
    return iter(run(delayed(work.stimuli)(*pair) for pair in pairs))
