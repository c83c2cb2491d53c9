"""Maps of many stimuli by many methods, and which stimuli have a truth to hold them against."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.attribution.methods import METHODS, Case, Places, makers
from analysis.attribution.objective import Objective
from analysis.choice import Choice
from analysis.perception import with_labels
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.pairs import Pair
from stimuli.progress import tqdm
from stimuli.taxonomy import CLEAN
from stimuli.types import Stimulus, StimulusSet


@dataclass(frozen=True)
class Maps:
    """Maps alone, as ``maps`` makes them."""

    heat: dict[str, np.ndarray]
    """Method to float32 (n, grid, grid)."""
    seconds: dict[str, float]
    """Per image."""
    passes: dict[str, float]
    """Per image: versions of it that were judged."""
    gaps: dict[str, np.ndarray]
    """Method to (n,), in nats."""
    left_out: dict[str, str]


def maps(
    mllm: Mllm,
    shown: Sequence[Stimulus],
    labels: Sequence[str],
    asked: Choice,
    methods: Sequence[str] | None = None,
    *,
    grid: int = 8,
    batch_size: int = 16,
    seed: int = 0,
    progress: bool = True,
    names: Sequence[str] | None = None,
) -> Maps:
    """Maps of stimuli by methods, without any score.

    Args:
        mllm: the model.
        shown: the stimuli.
        labels: their right classes.
        asked: the question; its class ``clean`` is what the right one is compared with.
        methods: as in ``attribute``.
        grid: cells per side.
        batch_size: sequences per forward pass.
        seed: of random choices.
        progress: show a progress bar.
        names: by which random choices differ; the ids by default.

    Raises:
        InputError: as ``attribute``.
    """
    asked.place(CLEAN)
    wanted, strict = makers(METHODS if methods is None else methods), methods is not None
    places, left_out = Places(), {}
    heat: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
    seconds, passes = dict.fromkeys(wanted, 0.0), dict.fromkeys(wanted, 0.0)
    gaps: dict[str, list[float]] = {}
    bar = tqdm(total=len(shown) * len(wanted), desc="attribution", disable=not progress)
    for i, (stimulus, label) in enumerate(zip(shown, labels, strict=True)):
        objective = Objective(mllm, asked, stimulus.image, label, CLEAN, batch_size)
        case = Case(objective, grid, places, stimulus.id if names is None else names[i], seed)
        for name in [name for name in wanted if name not in left_out]:
            before, start = objective.passes, time.perf_counter()
            try:
                heat[name].append(wanted[name](case))
            except InputError as reason:
                if strict or i:
                    raise
                left_out[name] = str(reason)
            if i or len(shown) == 1:  # places are learnt with the first
                seconds[name] += (time.perf_counter() - start) / max(1, len(shown) - 1)
            passes[name] += (objective.passes - before) / len(shown)
            bar.update()
        for name, gap in case.gaps.items():
            gaps.setdefault(name, []).append(gap)
    bar.close()
    kept = {name: np.stack(own) for name, own in heat.items() if name not in left_out}
    return Maps(kept, seconds, passes, {name: np.array(own) for name, own in gaps.items()}, left_out)


def local_pairs(
    stimuli: StimulusSet | Sequence[Stimulus] | Sequence[Pair], taxonomy: str | Path
) -> tuple[list[Pair], list[str]]:
    """Clean and locally distorted images of the same references, and the classes of the latter.

    Raises:
        InputError: there is none, or of fewer than two references, or without the clean image.
    """
    given: list[Any] = list(stimuli)
    if given and isinstance(given[0], Pair):
        candidates: list[Pair] = given
    else:
        clean = {s.reference: s for s in reversed(given) if s.type is None}
        local = [s for s in given if s.type is not None and s.area is not None]
        alone = sorted({s.reference for s in local if s.reference not in clean})
        if alone:
            raise InputError(
                f"{len(alone)} references have local distortions but no clean image ({', '.join(alone[:3])}). Expected both, for what would "
                "be there without the distortion. Add the clean images, with an empty type."
            )
        candidates = [Pair(clean[s.reference], s) for s in local]
    candidates = [pair for pair in candidates if pair.after.area is not None and not pair.after.is_identity]
    if not candidates:
        raise InputError(
            f"None of the {len(given)} stimuli has a region, so that where the answer should come from is not known. Expected local "
            "distortions. Make them with sn.stimuli.exam_set(region='any')."
        )
    labelled, labels = with_labels([pair.after for pair in candidates], taxonomy)
    kept = {id(stimulus) for stimulus in labelled}
    found = [pair for pair in candidates if id(pair.after) in kept]
    if len({pair.reference for pair in found}) < 2:
        raise InputError(
            f"Got local distortions of one reference, '{found[0].reference}'. Expected two or more: intervals and the control are over "
            "references. Show more."
        )
    return found, labels
