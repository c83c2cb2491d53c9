"""Sets whose distortions Snellen makes: of the built-in references, or of the user's own images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stimuli.designs import Design, plan
from stimuli.distortions import PUBLISHED, TYPES, Measure, Options, parameter
from stimuli.errors import InputError
from stimuli.making import Making, Parts, Work, build
from stimuli.references import Reference, builtin_references
from stimuli.regions import Kind, Region
from stimuli.taxonomy import taxonomy as load_taxonomy
from stimuli.types import StimulusSet

PIXELS_IN_MEMORY = 128 * 10**6
"""Bytes of pixels up to which a built-in set holds its images; a larger one makes them when they are looked at."""
MIXED = ("gaussian_blur", "white_noise", "jpeg", "darken", "contrast_change", "color_saturation_1")
"""The types that are mixed by default, one of each kind, in the order in which a camera chain would apply them or nearly so."""


def exam_set(
    references: int = 40,
    taxonomy: str | Path = "paper8",
    levels: Sequence[int] = (1, 3, 5),
    seed: int = 0,
    *,
    design: Design = "balanced",
    split: Literal["exam", "train"] = "exam",
    size: int = 128,
    kind: Literal["scenes", "leaves"] = "scenes",
    photographs: bool = True,
    region: Kind | Region | None = None,
    options: Options = PUBLISHED,
    measure: bool = True,
    measures: Mapping[str, Measure] | None = None,
    progress: bool = False,
    workers: int = 1,
    in_memory: bool | None = None,
) -> StimulusSet:
    """The built-in set: procedural images and bundled photographs, distorted at published parameters.

    Args:
        references: how many source images; every tenth, up to four, is a photograph.
        taxonomy: name or file; its types are applied.
        levels: published levels to draw from, 1 to 5. Levels that are an identity for a type are left out.
        seed: everything is deterministic given the seed. Exam and training references never coincide, whatever the seeds.
        design: ``balanced`` shows each reference once per class, types and levels rotating over the references, so that
            chance is one in the number of classes; ``crossed`` shows every type at every level and the clean image once.
        split: ``exam`` or ``train``.
        size: side of the images in px.
        kind: ``scenes`` have an object that can be named; ``leaves`` have the statistics of photographs and no meaning.
        photographs: whether to include the bundled photographs.
        region: distort only a part of each image (``box``, ``ellipse``, ``segment``, ``any``, or a ``Region``), in the same place
            for all versions of a reference; ``Stimulus.mask`` says where.
        options: how distortions are made where one may choose.
        measure: whether to measure PSNR and SSIM of each stimulus; makes every image once.
        measures: further measures of severity, by name; they land in ``Stimulus.measured``.
        progress: show a progress bar.
        workers: processes that make and measure images at the same time.
        in_memory: whether to hold the images. Otherwise they are made when looked at, the same each time, and memory does not
            grow with their pixels; read them in order, as a reference is then made once for all its stimuli. By default they
            are held if all of them take at most ``PIXELS_IN_MEMORY`` bytes.

    Returns:
        A set ordered by reference.

    Raises:
        InputError: unknown taxonomy, level, design or region, or fewer than one reference.
    """
    _at_least_one(references)
    chosen = load_taxonomy(taxonomy)
    planned = plan(chosen, levels, seed, design, options)
    if in_memory is None:
        in_memory = references * planned.per_reference * size * size * 3 <= PIXELS_IN_MEMORY
    sources = builtin_references(references, seed, split, size, photographs, kind=kind)
    making = Making(seed, options, _region(region, seed))
    shown = [planned.shown(index) for index in range(references)]
    work = Work(making, measure, measures, in_memory)
    info = {"split": split, "references": references, "seed": seed, "size": size, "photographs": photographs}
    about = {"taxonomy": chosen.name, "levels": list(levels), "design": design, **_own(making, shown, kind)}
    return StimulusSet(build(sources, shown, work, workers=workers, progress=progress), f"snellen-{split}", {**info, **about})


def distorted_set(
    references: Mapping[str, np.ndarray | Path],
    taxonomy: str | Path = "paper8",
    levels: Sequence[int] = (1, 3, 5),
    seed: int = 0,
    *,
    design: Design = "balanced",
    region: Kind | Region | None = None,
    options: Options = PUBLISHED,
    measure: bool = True,
    measures: Mapping[str, Measure] | None = None,
    name: str = "distorted",
    progress: bool = False,
    workers: int = 1,
) -> StimulusSet:
    """The user's own pristine images, distorted as in ``exam_set``; pixels are made on demand, so memory stays flat.

    Args:
        references: reference id to uint8 array (H, W, 3) or file.
        taxonomy: as in ``exam_set``.
        levels: as in ``exam_set``.
        seed: as in ``exam_set``.
        design: as in ``exam_set``.
        region: as in ``exam_set``.
        options: as in ``exam_set``.
        measure: as in ``exam_set``; needs every image once.
        measures: as in ``exam_set``.
        name: what to call the set.
        progress: show a progress bar.
        workers: as in ``exam_set``.

    Raises:
        InputError: no references, unknown taxonomy or level, or an unreadable image while measuring.
    """
    chosen = load_taxonomy(taxonomy)
    planned = plan(chosen, levels, seed, design, options)
    making = Making(seed, options, _region(region, seed))
    shown = [planned.shown(index) for index in range(len(references))]
    made = build(_files(references), shown, Work(making, measure, measures), workers=workers, progress=progress)
    about = {"taxonomy": chosen.name, "levels": list(levels), "design": design, **_own(making, shown)}
    return StimulusSet(made, name, {"split": "user", "references": len(references), "seed": seed, **about})


def mixed_set(
    references: int | Mapping[str, np.ndarray | Path] = 40,
    mixtures: Sequence[tuple[str, str]] | None = None,
    levels: Sequence[int] = (3, 5),
    seed: int = 0,
    *,
    size: int = 128,
    options: Options = PUBLISHED,
    measure: bool = True,
    progress: bool = False,
    workers: int = 1,
) -> StimulusSet:
    """Two distortions at once, and what it takes to tell them apart: clean, each alone, and both, of the same reference.

    Args:
        references: how many built-in ones, or the user's own as in ``distorted_set``.
        mixtures: pairs of types, the first applied first; by default all pairs of ``MIXED``. They rotate over the references,
            with the levels, so that each reference shows one mixture.
        levels: of both types alike.
        seed: everything is deterministic given the seed.
        size: side of built-in images in px.
        options: how distortions are made where one may choose.
        measure: whether to measure PSNR and SSIM; makes every image once.
        progress: show a progress bar.
        workers: processes that make and measure images at the same time.

    Returns:
        Four stimuli per reference; ``Stimulus.parts`` of a mixture names both types.

    Raises:
        InputError: unknown type or level, or no reference.
    """
    chosen = list(combinations(MIXED, 2)) if mixtures is None else [tuple(pair) for pair in mixtures]
    cells = [(pair, level) for level in levels for pair in chosen]
    for pair, level in cells:
        for type in pair:
            parameter(type, level)  # raises on unknown type or level
    if not cells:
        raise InputError("Got no mixtures or no levels; expected at least one pair of types and one level.")
    builtin = isinstance(references, int)
    count = references if isinstance(references, int) else len(references)
    _at_least_one(count)
    sources = builtin_references(count, seed, "exam", size, True) if isinstance(references, int) else _files(references)
    order = np.random.default_rng([seed, 11]).permutation(len(cells))
    shown = [_two_by_two(*cells[order[index % len(cells)]]) for index in range(count)]
    making = Making(seed, options)
    made = build(sources, shown, Work(making, measure), workers=workers, progress=progress)
    info: dict[str, Any] = {
        "references": count,
        "seed": seed,
        "mixtures": [list(pair) for pair in chosen],
        "levels": list(levels),
    }
    return StimulusSet(made, "snellen-mixtures" if builtin else "mixtures", {**info, **_own(making, shown)})


def _two_by_two(pair: tuple[str, ...], level: int) -> list[Parts]:
    first, second = ((type, level) for type in pair)
    return [(), (first,), (second,), (first, second)]


def _files(references: Mapping[str, np.ndarray | Path]) -> list[Reference]:
    return [Reference(id, "file", image) for id, image in references.items()]


def _region(region: Kind | Region | None, seed: int) -> Region | None:
    return Region(region, seed=seed) if isinstance(region, str) else region


def _own(making: Making, shown: Sequence[Sequence[Parts]], kind: str = "scenes") -> dict[str, Any]:
    """What is not as by default or as published, as JSON-able values."""
    told: dict[str, Any] = {"options": own} if (own := making.options.describe()) else {}
    types = {type for own in shown for parts in own for type, _ in parts}
    if making.options.denoiser is None and (stand_ins := {t: TYPES[t].stand_in for t in sorted(types) if TYPES[t].stand_in}):
        told["stand_ins"] = stand_ins
    if making.region is not None:
        told["region"] = {"kind": making.region.kind, "share": list(making.region.share), "seed": making.region.seed}
    return told if kind == "scenes" else {**told, "kind": kind}


def _at_least_one(references: int) -> None:
    if references < 1:
        raise InputError(f"Got references={references}; expected at least one source image.")
