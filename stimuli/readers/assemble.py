"""From the rows of a dataset's files of scores to a set of stimuli, with everything unusual told in its ``info``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from sys import intern
from typing import Any

from stimuli.errors import InputError
from stimuli.images import ENDINGS, inspect, tally
from stimuli.readers.files import Files
from stimuli.types import Stimulus, StimulusSet


@dataclass(frozen=True, slots=True)
class Row:
    """What a dataset says about one of its images."""

    image: str
    """Relative name as listed; the stimulus's id."""
    reference: str
    """Id of the source image."""
    type: str | None
    level: int | None
    score: float
    """As the dataset gives it."""
    std: float | None = None
    """Standard deviation of the opinions."""
    signed_param: float | None = None
    is_identity: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)
    where: str = field(default="", compare=False)
    """File and line."""


@dataclass(frozen=True)
class Dataset:
    """What is the same for all images of a dataset, and where they are."""

    name: str
    images: Files
    clean: Files | None
    """Its reference images; None for a dataset without."""
    unit: str
    """What its score is, and its range."""
    expected: int
    """How many scored images the published dataset has."""
    higher_is_better: bool = True
    expected_references: int = 0
    ignored: Collection[str] = ()
    """Image files that the dataset itself leaves unscored."""


@dataclass(frozen=True)
class Choices:
    """What the user wants of a reader."""

    references: bool = True
    strict: bool = False
    check: bool = True
    progress: bool = False


def assemble(
    dataset: Dataset, rows: Iterable[Row], clean: Sequence[str], choices: Choices, told: Mapping[str, Any] | None = None
) -> StimulusSet:
    """The set of a dataset: its reference images, if wanted, and its scored images in the order of their rows.

    Args:
        dataset: where its images are, and what its score means.
        rows: one per scored image.
        clean: ids of the reference images, relative to ``dataset.clean``.
        choices: what the user wants.
        told: more for ``info``.

    Raises:
        InputError: two rows of one image contradict each other, no image is there, or (strict) one is missing or unreadable.
    """
    listed = list(rows)
    if not listed:
        raise InputError(f"The scores of {dataset.name} name no image. Expected {dataset.expected}. Fetch the dataset again.")
    kept = unique(listed)
    stimuli = [_stimulus(row, dataset) for row in kept]
    if choices.references and dataset.clean is not None:
        stimuli = [_reference(id, dataset) for id in clean] + stimuli
    missing = [stimulus.id for stimulus in stimuli if stimulus.pixels == Path()]
    present = [stimulus for stimulus in stimuli if stimulus.pixels != Path()]
    _refuse_missing(missing, len(present), dataset, choices.strict)
    info = {
        "dataset": dataset.name,
        "rows": len(listed),
        **_counts(present, dataset),
        "missing": tally(missing),
        "unlisted": tally(_unlisted(kept, clean, dataset)),
        "duplicates": len(listed) - len(kept),
        **(told or {}),
    }
    if choices.check:
        info["images"] = checked(present, choices)
    return StimulusSet(present, dataset.name, info)


def unique(rows: Sequence[Row]) -> list[Row]:
    """The rows without repetitions: the same image twice, in whatever case, is one if all that is said of it is the same.

    Raises:
        InputError: two rows of one image contradict each other.
    """
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(row.image.casefold(), row)
        if other is not row and replace(row, image=other.image) != other:
            raise InputError(
                f"{other.where} and {row.where} contradict each other about {row.image} (score {other.score:g} and "
                f"{row.score:g}). Expected one line per image. Remove the wrong one, or fetch the dataset's own file again."
            )
    return list(first.values())


def _stimulus(row: Row, dataset: Dataset) -> Stimulus:
    return Stimulus(
        id=row.image,
        reference=intern(row.reference),
        type=None if row.type is None else intern(row.type),
        level=row.level,
        signed_param=row.signed_param,
        is_identity=row.is_identity,
        source=intern(dataset.name),
        attributes=row.attributes,
        mos=row.score if dataset.higher_is_better else 0.0 - row.score,
        mos_original=row.score,
        mos_std=row.std,
        pixels=dataset.images.find(row.image) or Path(),
    )


def _reference(id: str, dataset: Dataset) -> Stimulus:
    pixels = dataset.clean.find(id) if dataset.clean is not None else None
    return Stimulus(id, intern(id), None, None, source=intern(dataset.name), pixels=pixels or Path())


def _refuse_missing(missing: Sequence[str], present: int, dataset: Dataset, strict: bool) -> None:
    if present and not (strict and missing):
        return
    raise InputError(
        f"{len(missing)} images of {dataset.name} are listed but not there, the first being {missing[0] if missing else '-'}; "
        f"{present} are there. Expected all of them. Unpack the dataset's images again"
        + (", or leave strict out: what is missing is then left out and told." if present else " into its folder.")
    )


def _counts(stimuli: Sequence[Stimulus], dataset: Dataset) -> dict[str, Any]:
    """How many stimuli there are of what, what is lacking from the published dataset, and the range of its score."""
    scored = [stimulus for stimulus in stimuli if stimulus.mos_original is not None]
    clean = len(stimuli) - len(scored)
    lacking = {
        what: {"expected": expected, "found": found}
        for what, expected, found in (
            ("scored images", dataset.expected, len(scored)),
            ("references", dataset.expected_references if clean else 0, clean),
        )
        if found < expected
    }
    scores = [stimulus.mos_original for stimulus in scored if stimulus.mos_original is not None]
    direction = "higher is better" if dataset.higher_is_better else "lower is better"
    return {
        "stimuli": len(stimuli),
        "references": len({stimulus.reference for stimulus in stimuli}),
        "types": dict(Counter(stimulus.type or "clean" for stimulus in stimuli)),
        "incomplete": lacking,
        "mos": {
            "original_direction": direction,
            "range": [min(scores), max(scores)] if scores else [],
            "unit": dataset.unit,
        },
    }


def _unlisted(rows: Iterable[Row], clean: Iterable[str], dataset: Dataset) -> list[str]:
    """Image files beside the dataset's that no row and no reference names."""
    scored = {dataset.images.name(name) for name in (*(row.image for row in rows), *dataset.ignored)}
    if dataset.clean is None or dataset.clean is dataset.images:
        known, others = scored | {dataset.images.name(id) for id in clean}, []
    else:
        known, used = scored, {dataset.clean.name(id) for id in clean}
        others = [name for name in dataset.clean if name not in used]
    unknown = [name for name in dataset.images if name not in known]
    return [name for name in (*unknown, *others) if name.lower().endswith(ENDINGS)]


def checked(stimuli: Sequence[Stimulus], choices: Choices) -> dict[str, Any]:
    """The report of ``stimuli.images.inspect`` on stimuli that are files.

    Raises:
        InputError: (strict) an image is missing or cannot be read.
    """
    paths = [stimulus.pixels for stimulus in stimuli if isinstance(stimulus.pixels, Path)]
    found = inspect(paths, [stimulus.id for stimulus in stimuli], progress=choices.progress)
    for problem in ("missing", "unreadable"):
        if choices.strict and found[problem]["count"]:
            raise InputError(
                f"{found[problem]['count']} images are {problem}, the first being {found[problem]['first'][0]}. Expected "
                "complete image files. Replace them, or leave strict out: they are then told, and skipped when read."
            )
    return found
