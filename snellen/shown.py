"""What an exam shows: the stimuli of exam and training, which never share a reference, and what is known of them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from snellen.config import ExamConfig
from snellen.sources import BUILTIN, labelled, pristine
from stimuli.confounds import confounds
from stimuli.errors import InputError
from stimuli.progress import tqdm
from stimuli.sets import distorted_set, exam_set
from stimuli.taxonomy import taxonomy as load_taxonomy
from stimuli.types import Stimulus, StimulusSet, read_image

Skipped = list[dict[str, str]]
"""Images that could not be read: ``id`` and ``reason``."""


def stimulus_sets(settings: ExamConfig, progress: bool = False) -> tuple[StimulusSet, StimulusSet, Skipped]:
    """The exam's stimuli, the training stimuli, and the images that could not be read.

    The user's references are dealt at random, at most half of them to the exam; without arms there is no training, and all
    may be shown.

    Raises:
        InputError: no images, fewer than four references (two without arms), or (strict) an image that cannot be read.
    """
    options: dict[str, Any] = {"taxonomy": settings.taxonomy, "levels": settings.levels, "seed": settings.seed}
    if settings.images in BUILTIN:
        options["kind"] = "leaves" if settings.images == "leaves" else "scenes"
        shown = exam_set(settings.references, progress=progress, **options)
        train = exam_set(settings.train_references, split="train", measure=False, in_memory=True, progress=progress, **options)
        return shown, train, []
    if (whole := labelled(settings.images, progress)) is not None:
        return _dealt(whole, settings, progress)
    files = pristine(settings.images)
    name = Path(settings.images).name
    readable, skipped = _readable(files, settings.strict, progress)
    exam, training = _deal(readable, settings)
    shown = distorted_set({id: files[id] for id in exam}, name=name, progress=progress, **options)
    train = distorted_set({id: files[id] for id in training}, name=f"{name} (training)", measure=False, **options)
    return shown, train, skipped


def _dealt(whole: StimulusSet, settings: ExamConfig, progress: bool) -> tuple[StimulusSet, StimulusSet, Skipped]:
    """Labelled images by reference; of a dataset only those that have a class, at the levels wanted.

    Raises:
        InputError: none has a class, or too few references are left.
    """
    chosen = load_taxonomy(settings.taxonomy)
    if "dataset" in whole.info:
        usable = [s.id for s in whole if chosen.label(s) is not None and s.level in (None, *settings.levels)]
        if not usable:
            raise InputError(
                f"No stimulus of {settings.images} has a class of the taxonomy '{chosen.name}' at the levels {settings.levels}. An exam "
                "asks which distortion an image has: choose another taxonomy, or a dataset whose distortions are known."
            )
        whole = whole.select(_among(usable))
    exam, training = _deal(whole.references, settings)
    dealt = whole.select(_of([*exam, *training]))
    paths: dict[str, Any] = {s.id: s.pixels for s in dealt}
    readable, skipped = _readable(paths, settings.strict, progress)
    dealt = dealt.select(_among(readable))
    return dealt.select(_of(exam)), dealt.select(_of(training)), skipped


def _of(references: Iterable[str]) -> Callable[[Stimulus], bool]:
    wanted = set(references)
    return lambda stimulus: stimulus.reference in wanted


def _among(ids: Iterable[str]) -> Callable[[Stimulus], bool]:
    wanted = set(ids)
    return lambda stimulus: stimulus.id in wanted


def _deal(references: Iterable[str], settings: ExamConfig) -> tuple[list[str], list[str]]:
    """References of the exam and of training, at random; without arms the training part is that of the exam, unused."""
    names = list(references)
    least = 4 if settings.arms else 2
    if len(names) < least:
        raise InputError(
            f"{settings.images} has {len(names)} readable references; an exam {'with tuning ' if settings.arms else ''}needs at "
            f"least {least}. Show more images, or examine without tuning: --set 'arms=[]'."
        )
    order = [names[i] for i in np.random.default_rng([settings.seed, 3]).permutation(len(names))]
    if not settings.arms:
        return order[: settings.references], order[: settings.references]
    count = min(settings.references, len(names) // 2)
    return order[:count], order[count : count + settings.train_references]


def _readable(files: Mapping[str, Path], strict: bool, progress: bool) -> tuple[list[str], Skipped]:
    """Ids of the files that are complete images, and the others with the reason."""
    found: list[str] = []
    skipped: Skipped = []
    for id, path in tqdm(files.items(), desc="read images", disable=not progress):
        try:
            read_image(path)
            found.append(id)
        except InputError as error:
            if strict:
                raise
            skipped.append({"id": id, "reason": str(error)})
    if not found:
        raise InputError(f"None of the {len(files)} images can be read. The first: {skipped[0]['reason']}")
    return found, skipped


def summary(shown: StimulusSet, train: StimulusSet, skipped: Skipped, settings: ExamConfig) -> dict[str, Any]:
    """The ``stimuli`` part of the results."""
    chosen = load_taxonomy(settings.taxonomy)
    return {
        "exam": _counts(shown, settings),
        "train": _counts(train, settings),
        "skipped": skipped,
        "severity": _severity(shown, settings),
        "confounds": _confounds(shown, settings),
        "examples": [
            {"id": s.id, "class": label, "type": s.type, "level": s.level, "reference": s.reference, "png": _png(s.image)}
            for label in chosen.classes
            for s in [x for x in shown if chosen.label(x) == label][:2]
        ],
    }


def _counts(stimuli: StimulusSet, settings: ExamConfig) -> dict[str, Any]:
    chosen = load_taxonomy(settings.taxonomy)
    counts: dict[str, dict[str, int]] = {"types": {}, "classes": {}, "sources": {}}
    for s in stimuli:
        for key, value in (("types", s.type or "clean"), ("classes", chosen.label(s) or "none"), ("sources", s.source)):
            counts[key][value] = counts[key].get(value, 0) + 1
    levels = sorted({s.level for s in stimuli if s.level is not None})
    about = {"name": stimuli.name, "n": len(stimuli), "references": len(stimuli.references), "levels": levels}
    return {**about, **counts, "info": stimuli.info}


def _confounds(stimuli: StimulusSet, settings: ExamConfig) -> dict[str, Any] | None:
    """Whether the dataset tells the class; None where no stimulus has a class."""
    chosen = load_taxonomy(settings.taxonomy)
    if all(chosen.label(s) is None for s in stimuli):
        return None
    found = confounds(stimuli, settings.taxonomy)
    return {"table": found.table, "warnings": found.warnings}


def _severity(stimuli: StimulusSet, settings: ExamConfig) -> list[dict[str, Any]]:
    """Mean measured severity per class and level; None where it was not measured."""
    chosen = load_taxonomy(settings.taxonomy)
    cells: dict[tuple[str, int | None], list[Any]] = {}
    for s in stimuli:
        cells.setdefault((chosen.label(s) or "none", s.level), []).append(s)
    rows = []
    for (label, level), own in sorted(cells.items(), key=lambda item: (item[0][0], item[0][1] or 0)):
        row: dict[str, Any] = {"class": label, "level": level, "n": len(own)}
        for name in ("psnr", "ssim"):
            values = [getattr(s, name) for s in own if getattr(s, name) is not None]
            row[name] = float(np.mean(values)) if values else None
        rows.append(row)
    return rows


def _png(image: np.ndarray) -> str:
    from PIL import Image

    picture, buffer = Image.fromarray(image), BytesIO()
    picture.thumbnail((160, 160))
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
