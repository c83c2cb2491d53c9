"""What pixel statistics find in the images of a set, before and after the models' own processors, and how much energy is left.

One pass over the stimuli, reference by reference: no more images are in memory than a few workers hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hooks.activations import Activations
from hooks.ahead import default_workers
from hooks.packed import Tiles
from hooks.processed import Preprocessing
from stimuli.errors import InputError
from stimuli.progress import tqdm
from stimuli.statistics import LEAST, pixel_statistics
from stimuli.types import Stimulus

PIXELS = "pixels"
"""The name of the images as they are, beside the names of the processors."""
Sizes = tuple[tuple[int, int], ...]
"""Height and width of each tile of one image."""


@dataclass(frozen=True)
class MeasuredInputs:
    """What was measured of every stimulus, under ``pixels`` and under each processor's name."""

    stimuli: tuple[Stimulus, ...] = field(repr=False)
    """Those that could be read and processed, in their order."""
    statistics: Mapping[str, np.ndarray] = field(repr=False)
    """float64 (n, d): pixel statistics, of several tiles their mean."""
    energy: Mapping[str, np.ndarray] = field(repr=False)
    """float64 (n,): mean squared difference to the clean image of the same reference, per pixel and channel, from 0 to 1, of
    several tiles their mean; NaN where there is no clean image of the same size."""
    sizes: Mapping[str, tuple[Sizes, ...]] = field(repr=False)
    left_out: tuple[dict[str, str], ...]
    """``id`` and ``reason`` of every other stimulus."""

    @property
    def processors(self) -> tuple[str, ...]:
        """The names of the processors."""
        return tuple(name for name in self.statistics if name != PIXELS)

    def activations(self, name: str) -> Activations:
        """The statistics as rows for a sweep."""
        return Activations(tuple(s.id for s in self.stimuli), self.statistics[name])


def input_statistics(mllm: Any, stimuli: Sequence[Stimulus], progress: bool = True) -> dict[str, Activations]:
    """Pixel statistics before and after a model's own processor: the first two stages of a survival curve.

    Args:
        mllm: the model; a processor or an image processor will do.
        stimuli: the images.
        progress: show a progress bar.

    Returns:
        ``pixels`` and ``processed``, for ``sweep(inputs=...)``; stimuli that cannot be read or processed have no row.

    Raises:
        InputError: no stimulus can be processed; the first reason is told.
    """
    measured = measure_inputs({"processed": mllm}, stimuli, progress=progress)
    return {name: measured.activations(name) for name in (PIXELS, "processed")}


def measure_inputs(
    processors: Mapping[str, Any], stimuli: Sequence[Stimulus], *, workers: int | None = None, progress: bool = True
) -> MeasuredInputs:
    """Statistics, energy and sizes of every stimulus, before and after each processor.

    Args:
        processors: name to ``Mllm``, processor or image processor.
        stimuli: the images; the first clean one of a reference is what its others are compared with.
        workers: threads; by default what ``hooks.ahead.default_workers`` says.
        progress: show a progress bar.

    Raises:
        InputError: no processor, one called ``pixels``, or no stimulus that all of them can process.
    """
    if not processors or PIXELS in processors:
        raise InputError(
            f"Got processors named {', '.join(processors) or 'nothing'}; expected at least one, none of them called '{PIXELS}', which "
            "stands for the images as they are. Give each a name of its own."
        )
    views = {name: Preprocessing(given) for name, given in processors.items()}
    order = {s.id: place for place, s in enumerate(stimuli)}
    groups: dict[str, list[Stimulus]] = {}
    for stimulus in stimuli:
        groups.setdefault(stimulus.reference, []).append(stimulus)
    with ThreadPoolExecutor(workers or default_workers(False)) as pool:
        try:
            coming = pool.map(lambda group: _reference(group, views), groups.values())
            found = list(tqdm(coming, desc="images before and after the processor", total=len(groups), disable=not progress))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    rows = sorted((row for own in found for row in own), key=lambda row: order[row.stimulus.id])
    return _gathered(rows, [PIXELS, *views])


@dataclass(frozen=True)
class _Row:
    """What was measured of one stimulus, or why nothing was."""

    stimulus: Stimulus
    statistics: Mapping[str, np.ndarray] = field(default_factory=dict)
    energy: Mapping[str, float] = field(default_factory=dict)
    sizes: Mapping[str, Sizes] = field(default_factory=dict)
    error: InputError | None = None


def _gathered(rows: Sequence[_Row], names: Sequence[str]) -> MeasuredInputs:
    kept = [row for row in rows if row.error is None]
    if not kept:
        reason = next((row.error for row in rows if row.error is not None), None)
        raise reason or InputError("There are no stimuli; expected at least one. Give a set of images.")
    return MeasuredInputs(
        tuple(row.stimulus for row in kept),
        {name: np.stack([row.statistics[name] for row in kept]) for name in names},
        {name: np.array([row.energy[name] for row in kept]) for name in names},
        {name: tuple(row.sizes[name] for row in kept) for name in names},
        tuple({"id": row.stimulus.id, "reason": str(row.error)} for row in rows if row.error is not None),
    )


def _reference(stimuli: Sequence[Stimulus], views: Mapping[str, Preprocessing]) -> list[_Row]:
    """The stimuli of one reference, the clean one first."""
    clean = next((s for s in stimuli if s.type is None), None)
    rows, base = [], None
    for stimulus in sorted(stimuli, key=lambda s: s is not clean):
        try:
            shown = _shown(stimulus.image, views)
            base = shown if stimulus is clean else base
            rows.append(_measured(stimulus, shown, base))
        except InputError as error:
            rows.append(_Row(stimulus, error=error))
    return rows


def _shown(image: np.ndarray, views: Mapping[str, Preprocessing]) -> dict[str, Tiles]:
    """The image as it is, and the tiles that each processor makes of it."""
    return {PIXELS: [image], **{name: view(image) for name, view in views.items()}}


def _measured(stimulus: Stimulus, shown: Mapping[str, Tiles], base: Mapping[str, Tiles] | None) -> _Row:
    statistics = {name: _mean_statistics(tiles) for name, tiles in shown.items()}
    energy = {name: float("nan") if base is None else _energy(base[name], tiles) for name, tiles in shown.items()}
    sizes = {name: tuple((tile.shape[0], tile.shape[1]) for tile in tiles) for name, tiles in shown.items()}
    return _Row(stimulus, statistics, energy, sizes)


def _mean_statistics(tiles: Tiles) -> np.ndarray:
    """The mean over the tiles that are large enough; if none is, the first one's refusal.

    Raises:
        InputError: every tile is too small.
    """
    large = [tile for tile in tiles if min(tile.shape[:2]) >= LEAST] or tiles[:1]
    return np.asarray(np.mean([pixel_statistics(tile) for tile in large], axis=0))


def _energy(before: Tiles, after: Tiles) -> float:
    """Mean squared difference, the mean over tiles; NaN where sizes differ."""
    if [tile.shape for tile in before] != [tile.shape for tile in after]:
        return float("nan")
    return float(np.mean([np.mean((_unit(a) - _unit(b)) ** 2, dtype=float) for a, b in zip(before, after, strict=True)]))


def _unit(image: np.ndarray) -> np.ndarray:
    """Float32 from 0 to 1."""
    return image.astype(np.float32) / 255 if image.dtype == np.uint8 else image
