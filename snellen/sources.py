"""What ``--images`` can name: the built-in sets, a folder of pristine images, a CSV, or a dataset of the field."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stimuli import sets
from stimuli.errors import InputError
from stimuli.types import StimulusSet

DATASETS = ("kadid10k", "tid2013", "csiq", "live", "koniq10k", "spaq", "pipal")
"""Names of readers; ``NAME:DIR`` reads one."""
SAVED = "hf"
"""``hf:DIR`` reads a folder that Hugging Face's ``datasets`` saved."""
BUILTIN = ("embedded", "leaves")
"""Scenes with an object, and dead leaves; both with the bundled photographs."""


def labelled(images: str, progress: bool = False) -> StimulusSet | None:
    """Images whose distortions are known: a CSV, or a dataset as ``kadid10k:DIR``; None if ``images`` is something else.

    Raises:
        InputError: the file or folder is missing or not what it should be, or an unknown dataset.
    """
    if images.lower().endswith(".csv"):
        return sets.from_csv(images)
    name, colon, folder = images.partition(":")
    if not colon or Path(images).exists():
        return None
    if name in DATASETS:
        return getattr(sets, name)(folder, progress=progress)
    if name == SAVED:
        return sets.from_dataset(folder)
    if len(name) == 1:  # a drive
        return None
    raise InputError(
        f"Unknown dataset '{name}' in --images {images}. Expected one of {', '.join(DATASETS)}, such as kadid10k:DIR; {SAVED}:DIR; or "
        f"{', '.join(BUILTIN)}, a folder, or a CSV."
    )


def chosen_set(
    images: str, references: int, levels: Sequence[int], seed: int, *, progress: bool = False, **how: Any
) -> StimulusSet:
    """The stimuli that ``--images`` names.

    Args:
        images: ``embedded``, ``leaves``, a folder of pristine images (which are distorted), or what ``labelled`` reads, which is
            shown whole and as it is.
        references: how many source images of the first three.
        levels: published levels of the first three.
        seed: of the first three.
        progress: show progress bars.
        **how: further arguments of ``exam_set``, for the first three; a folder's images keep their size.

    Raises:
        InputError: no such thing, or nothing in it.
    """
    if images in BUILTIN:
        kind: Any = "leaves" if images == "leaves" else "scenes"
        return sets.exam_set(references, levels=levels, seed=seed, kind=kind, progress=progress, **how)
    if (found := labelled(images, progress)) is not None:
        return found
    how.pop("size", None)
    root = Path(images)
    files = pristine(images, references)
    return sets.distorted_set(files, levels=levels, seed=seed, name=root.name, progress=progress, **{"measure": False, **how})


def pristine(images: str, references: int | None = None) -> dict[str, Path]:
    """The first so many image files of a folder, by their names below it.

    Raises:
        InputError: there is no such folder, or no image in it.
    """
    root = Path(images)
    return {path.relative_to(root).as_posix(): path for path in sets.images_in(root)[:references]}
