"""Sets of stimuli: the built-in exam, the user's folder, the user's CSV, and distorted versions of the user's images."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from sys import intern
from typing import Literal

import numpy as np

from stimuli.designs import build, plan
from stimuli.errors import InputError
from stimuli.references import Reference, builtin_references
from stimuli.taxonomy import taxonomy as load_taxonomy
from stimuli.types import Stimulus, StimulusSet

Design = Literal["balanced", "crossed"]
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".jp2")
PIXELS_IN_MEMORY = 128 * 10**6
"""Bytes of pixels up to which a built-in set holds its images; a larger one makes them when they are looked at."""


def exam_set(
    references: int = 40,
    taxonomy: str | Path = "paper8",
    levels: Sequence[int] = (1, 3, 5),
    seed: int = 0,
    *,
    design: Design = "balanced",
    split: Literal["exam", "train"] = "exam",
    size: int = 128,
    photographs: bool = True,
    measure: bool = True,
    progress: bool = False,
    in_memory: bool | None = None,
) -> StimulusSet:
    """The built-in set: procedural scenes and bundled photographs, distorted at published parameters.

    Args:
        references: how many source images; every tenth, up to four, is a photograph.
        taxonomy: name or file; its types are applied.
        levels: published levels to draw from, 1 to 5. Levels that are an identity for a type are left out.
        seed: everything is deterministic given the seed. Exam and training references never coincide, whatever the seeds.
        design: ``balanced`` shows each reference once per class, types and levels rotating over the references, so that
            chance is one in the number of classes; ``crossed`` shows every type at every level and the clean image once.
        split: ``exam`` or ``train``.
        size: side of the images in px.
        photographs: whether to include the bundled photographs.
        measure: whether to measure PSNR and SSIM of each stimulus; makes every image once.
        progress: show a progress bar.
        in_memory: whether to hold the images. Otherwise they are made when looked at, the same each time, and memory does not
            grow with their pixels; read them in order, as a reference is then made once for all its stimuli. By default they
            are held if all of them take at most ``PIXELS_IN_MEMORY`` bytes.

    Returns:
        A set ordered by reference.

    Raises:
        InputError: unknown taxonomy, level, or design, or fewer than one reference.
    """
    if references < 1:
        raise InputError(f"Got references={references}; expected at least one source image.")
    chosen = load_taxonomy(taxonomy)
    planned = plan(chosen, levels, seed, design)
    if in_memory is None:
        in_memory = references * planned.per_reference * size * size * 3 <= PIXELS_IN_MEMORY
    sources = builtin_references(references, seed, split, size, photographs)
    stimuli = build(sources, planned, references, measure=measure, in_memory=in_memory, progress=progress)
    info = {"split": split, "references": references, "seed": seed, "size": size, "photographs": photographs}
    about = {"taxonomy": chosen.name, "levels": list(levels), "design": design}
    return StimulusSet(stimuli, f"snellen-{split}", {**info, **about})


def distorted_set(
    references: Mapping[str, np.ndarray | Path],
    taxonomy: str | Path = "paper8",
    levels: Sequence[int] = (1, 3, 5),
    seed: int = 0,
    *,
    design: Design = "balanced",
    measure: bool = True,
    name: str = "distorted",
    progress: bool = False,
) -> StimulusSet:
    """The user's own pristine images, distorted as in ``exam_set``; pixels are made on demand, so memory stays flat.

    Args:
        references: reference id to uint8 array (H, W, 3) or file.
        taxonomy: as in ``exam_set``.
        levels: as in ``exam_set``.
        seed: as in ``exam_set``.
        design: as in ``exam_set``.
        measure: as in ``exam_set``; needs every image once.
        name: what to call the set.
        progress: show a progress bar.

    Raises:
        InputError: no references, unknown taxonomy or level, or an unreadable image while measuring.
    """
    chosen = load_taxonomy(taxonomy)
    planned = plan(chosen, levels, seed, design)
    sources = (Reference(id, "file", image) for id, image in references.items())
    stimuli = build(sources, planned, len(references), measure=measure, in_memory=False, progress=progress)
    info = {"split": "user", "references": len(references), "seed": seed}
    about = {"taxonomy": chosen.name, "levels": list(levels), "design": design}
    return StimulusSet(stimuli, name, {**info, **about})


def images_in(folder: str | Path) -> list[Path]:
    """The image files of a folder and its subfolders, sorted.

    Raises:
        InputError: there is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}. Expected a folder of images ({', '.join(ENDINGS)}).")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    if not files:
        raise InputError(
            f"The folder {folder} holds zero images. Expected files ending in {', '.join(ENDINGS)}; check the path."
        )
    return files


def from_folder(folder: str | Path) -> StimulusSet:
    """Every image of a folder as it is: its own reference, counted as undistorted.

    Raises:
        InputError: there is no such folder, or no image in it.
    """
    folder = Path(folder)
    ids = [(path.relative_to(folder).as_posix(), path) for path in images_in(folder)]
    return StimulusSet([Stimulus(id, id, None, None, pixels=path) for id, path in ids], folder.name, {"folder": folder.name})


def from_csv(path: str | Path) -> StimulusSet:
    """Images listed in a CSV with the columns ``image`` and, optionally, id, reference, type, level and mos.

    Image paths are relative to the CSV. An empty type means undistorted; a missing reference means the image is its own.

    Raises:
        InputError: no such file, no ``image`` column, no rows, or a level or mos that is not a number (the line is named).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file {path}. Expected a CSV with an 'image' column.")
    with open(path, newline="", encoding="utf-8-sig") as handle:
        reader = csv.DictReader(handle)
        if "image" not in (reader.fieldnames or ()):
            raise InputError(
                f"{path} has the columns {reader.fieldnames}; expected at least 'image' "
                "(and optionally id, reference, type, level, mos). Add a header line."
            )
        stimuli = [_from_row(row, path, line) for line, row in enumerate(reader, start=2)]
    return StimulusSet(stimuli, path.stem, {"csv": path.name})


def _from_row(row: Mapping[str, str | None], path: Path, line: int) -> Stimulus:
    image = row["image"] or ""
    try:
        level = int(row["level"]) if row.get("level") else None  # type: ignore[arg-type]
        mos = float(row["mos"]) if row.get("mos") else None  # type: ignore[arg-type]
    except ValueError as error:
        raise InputError(f"{path}, line {line}: {error}. Expected a whole number as level and a number as mos.") from error
    return Stimulus(
        id=row.get("id") or image,
        reference=intern(row.get("reference") or image),
        type=intern(kind) if (kind := row.get("type")) else None,
        level=level,
        mos=mos,
        pixels=path.parent / image,
    )
