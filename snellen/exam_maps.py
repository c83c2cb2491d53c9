"""Where in the image, within an exam: probes of cells on local distortions, told by site, and examples for the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.pictures import CUT, encoded
from hooks.extract import extract
from hooks.load import Mllm
from probes.spatial import MapsResult, distortion_maps
from probes.sweep import SweepResult
from snellen.config import ExamConfig
from snellen.sources import BUILTIN, pristine
from stimuli.errors import InputError
from stimuli.sets import distorted_set, exam_set
from stimuli.types import Stimulus, StimulusSet

GRID = 8
"""Cells per side."""
EXAMPLES = 12
"""Maps shown in the report, at most."""
KEPT = ("site", "component", "dim", "score", "low", "high", "paired", "paired_low", "paired_high", "control", "selectivity", "pointing",
        "pointing_chance", "false_alarms", "n", "references")  # fmt: skip


@dataclass(frozen=True)
class Maps:
    """What an exam knows of places."""

    results: dict[str, Any]
    """``table`` (rows of ``MapsResult.table``), ``site`` of the examples, ``grid``, ``n``, ``references``; or ``skipped`` and why."""
    pictures: dict[str, Any] = field(default_factory=lambda: {"clean": {}, "pairs": []}, repr=False)
    """``clean`` and ``pairs`` as of ``analysis.pictures``, with a ``map``: ``site``, ``values`` and ``mask``, each (grid, grid)."""


def told(mllm: Mllm, shown: StimulusSet, survival: SweepResult, settings: ExamConfig, out: Path, progress: bool) -> Maps:
    """Distort parts of the exam's references and map, at the best vision site and the projector, where it can be told.

    Whatever keeps it from being measured is told; the exam goes on.

    Args:
        mllm: the model as loaded.
        shown: the exam's stimuli, of whose references the first are used.
        survival: of the model as loaded; its best vision site is read.
        settings: of the exam; ``maps`` references are used.
        out: folder of the activations.
        progress: show progress bars.
    """
    if not settings.maps:
        return Maps({"skipped": "It was switched off (maps: 0)."})
    try:
        local = _local(shown, settings)
        sites = list(dict.fromkeys(site for site in (survival.best("vision"), "projector") if site is not None))
        store = extract(mllm, local, sites, pool=f"grid:{GRID}", out=out, progress=progress, strict=settings.strict)
        kept = set(store.ids)
        there = [stimulus for stimulus in local if stimulus.id in kept]
        found = distortion_maps(store, there, taxonomy=settings.taxonomy, seed=settings.seed, folds=settings.folds,
                                n_boot=settings.n_boot, progress=progress)  # fmt: skip
    except InputError as error:
        return Maps({"skipped": str(error)})
    site = found.best()
    about = {"site": site, "grid": GRID, "n": len(there), "references": len({stimulus.reference for stimulus in there})}
    table = [{key: row.get(key) for key in KEPT} for row in found.table]
    return Maps({**about, "table": table}, {"clean": {}, "pairs": []} if site is None else _examples(found, there, site))


def with_examples(pictures: Mapping[str, Any], maps: Maps) -> dict[str, Any]:
    """The report's pictures with the examples of the maps behind its pairs."""
    own = maps.pictures
    return {**pictures, "clean": {**pictures["clean"], **own["clean"]}, "pairs": [*pictures["pairs"], *own["pairs"]]}


def _local(shown: StimulusSet, settings: ExamConfig) -> StimulusSet:
    """Local distortions of the exam's own references.

    Raises:
        InputError: these are not pristine images.
    """
    options: dict[str, Any] = {"taxonomy": settings.taxonomy, "levels": settings.levels, "seed": settings.seed, "region": "any"}
    if settings.images in BUILTIN:
        options["kind"] = "leaves" if settings.images == "leaves" else "scenes"
        return exam_set(min(settings.maps, settings.references), measure=False, in_memory=True, **options)
    if not Path(settings.images).is_dir():
        raise InputError(
            "Parts of an image can be distorted where pristine images are given, not in images that are distorted already."
        )
    files = pristine(settings.images)
    names = [reference for reference in shown.references if reference in files][: settings.maps]
    return distorted_set({name: files[name] for name in names}, measure=False, name="local", **options)


def _examples(found: MapsResult, stimuli: Sequence[Stimulus], site: str) -> dict[str, Any]:
    """Whole images that are not too large, one of each type, of references in turn, the strongest first."""
    clean = {stimulus.reference: stimulus for stimulus in stimuli if stimulus.type is None}
    places = {id: place for place, id in enumerate(found.ids)}
    left = [
        one
        for one in stimuli
        if one.type is not None
        and not one.is_identity
        and one.reference in clean
        and one.id in places
        and max(one.image.shape) <= 2 * CUT
    ]
    used: Counter[str] = Counter()
    chosen: list[Stimulus] = []
    while left and len(chosen) < EXAMPLES:
        chosen.append(min(left, key=lambda one: (used[one.reference], -(one.level or 0))))
        used[chosen[-1].reference] += 1
        left = [one for one in left if one.type != chosen[-1].type]
    pairs: list[Mapping[str, Any]] = []
    for stimulus in chosen:
        at = places[stimulus.id]
        told = {"site": site, "values": found.maps[site][at].round(2).tolist(), "mask": found.shares[at].round(2).tolist()}
        about = {"id": f"local {stimulus.id}", "reference": stimulus.reference, "type": stimulus.type, "level": stimulus.level}
        key = f"local {stimulus.reference}"
        pairs.append({**about, "clean": key, "distorted": encoded(stimulus.image, None), "shown": "whole", "map": told})
    cleans = {f"local {name}": encoded(clean[name].image, None) for name in {pair["reference"] for pair in pairs}}
    return {"clean": cleans, "pairs": pairs}
