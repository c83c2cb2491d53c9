"""Sets of stimuli: the built-in exam, the user's folder, the user's CSV, and distorted versions of the user's images."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm.auto import tqdm

from stimuli import distortions, photos
from stimuli.errors import InputError
from stimuli.scenes import scene
from stimuli.taxonomy import CLEAN, Taxonomy
from stimuli.taxonomy import taxonomy as load_taxonomy
from stimuli.types import Stimulus, StimulusSet, read_image

Design = Literal["balanced", "crossed"]
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".jp2")
_SPLITS = {"exam": 0, "train": 1}


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
        measure: whether to measure PSNR and SSIM of each stimulus.
        progress: show a progress bar.

    Returns:
        A set in memory, ordered by reference.

    Raises:
        InputError: unknown taxonomy, level, or design, or fewer than one reference.
    """
    if references < 1:
        raise InputError(f"Got references={references}; expected at least one source image.")
    sources = _builtin_references(references, seed, split, size, photographs)
    info = {"split": split, "references": references, "seed": seed, "size": size, "photographs": photographs}
    name = f"snellen-{split}"
    return _build(sources, load_taxonomy(taxonomy), levels, seed, design, measure, False, name, info, progress)


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
    sources = (_Source(id, image, "file", {}) for id, image in references.items())
    info = {"split": "user", "references": len(references), "seed": seed}
    return _build(sources, load_taxonomy(taxonomy), levels, seed, design, measure, True, name, info, progress)


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
        reference=row.get("reference") or image,
        type=row.get("type") or None,
        level=level,
        mos=mos,
        pixels=path.parent / image,
    )


class _Source:
    """A reference image before it is distorted."""

    def __init__(self, id: str, image: np.ndarray | Path, source: str, attributes: Mapping[str, str]) -> None:
        self.id, self.image, self.source, self.attributes = id, image, source, dict(attributes)

    def read(self) -> np.ndarray:
        return read_image(self.image) if isinstance(self.image, Path) else self.image


def _builtin_references(count: int, seed: int, split: str, size: int, photographs: bool) -> Iterator[_Source]:
    names = photos.EXAM if split == "exam" else photos.TRAIN
    for index in range(count):
        if photographs and index % 10 == 9 and (split == "train" or index // 10 < len(names)):
            name, crop = names[(index // 10) % len(names)], index // 10 // len(names)
            yield _Source(f"photo-{name}-{crop}", photos.photograph(name, size, crop, seed), "photo", {})
        else:
            made = scene((seed, _SPLITS[split], index), size)
            yield _Source(f"scene-{split}-{seed}-{index:05d}", made.image, "scene", made.attributes)


def _combinations(taxonomy: Taxonomy, label: str, levels: Sequence[int]) -> list[tuple[str | None, int | None]]:
    """Every (type, level) of a class that changes an image; the clean class has just one."""
    if label == CLEAN:
        return [(None, None)]
    found: list[tuple[str | None, int | None]] = []
    for type in taxonomy.types_of(label):
        for level in levels:
            distortions.parameter(type, level)  # raises on unknown type or level
            if level not in distortions.TYPES[type].identities:
                found.append((type, level))
    if not found:
        raise InputError(
            f"The class '{label}' of taxonomy '{taxonomy.name}' has nothing to show at levels {tuple(levels)}: "
            "every one is an identity. Add another level."
        )
    return found


def _build(
    sources: Iterator[_Source],
    taxonomy: Taxonomy,
    levels: Sequence[int],
    seed: int,
    design: Design,
    measure: bool,
    lazy: bool,
    name: str,
    info: Mapping[str, Any],
    progress: bool,
) -> StimulusSet:
    if design not in ("balanced", "crossed"):
        raise InputError(f"Unknown design '{design}'. Expected 'balanced' or 'crossed'.")
    cells = {label: _combinations(taxonomy, label, levels) for label in taxonomy.classes}
    for number, label in enumerate(cells):
        order = np.random.default_rng([seed, number]).permutation(len(cells[label]))
        cells[label] = [cells[label][i] for i in order]
    stimuli: list[Stimulus] = []
    bar = tqdm(sources, desc="stimuli", total=info["references"], disable=not progress)
    for index, source in enumerate(bar):
        for choices in cells.values():
            chosen = [choices[index % len(choices)]] if design == "balanced" else choices
            stimuli += [_stimulus(source, type, level, seed, measure, lazy) for type, level in chosen]
    about = {**info, "taxonomy": taxonomy.name, "levels": list(levels), "design": design}
    return StimulusSet(stimuli, name, about)


def _pixels(source: _Source, type: str | None, level: int | None, seed: int) -> np.ndarray:
    image = source.read()
    if type is None or level is None:
        return image
    return distortions.distort(image, type, level, seed=seed, reference=source.id)


def _stimulus(source: _Source, type: str | None, level: int | None, seed: int, measure: bool, lazy: bool) -> Stimulus:
    make = partial(_pixels, source, type, level, seed)
    pixels = None if lazy and not measure else make()
    psnr, ssim = (None, None)
    if measure and pixels is not None:
        psnr, ssim = distortions.severity(source.read(), pixels)
    return Stimulus(
        id=source.id if type is None else f"{source.id}+{type}-{level}",
        reference=source.id,
        type=type,
        level=level,
        signed_param=None if type is None or level is None else float(distortions.parameter(type, level)),
        psnr=psnr,
        ssim=ssim,
        is_identity=type is not None and level in distortions.TYPES[type].identities,
        source=source.source,
        attributes=source.attributes,
        pixels=make if lazy or pixels is None else pixels,
    )
