"""What the patients learn from: images of training references only, and the sentences about them."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from stimuli import photos
from stimuli.distortions import QUALITY_BOUNDS_DB, TYPES, distort, quality
from stimuli.questions import question
from stimuli.scenes import COLOURS, GROUNDS, SHAPES, scene
from stimuli.taxonomy import taxonomy

SEED = 20_512_095
"""Of the training scenes; exam sets use other seeds and another split, so no scene is shared."""
PAPER8 = taxonomy("paper8")
CLASSES = PAPER8.classes
ALL_TYPES = tuple(type for type in PAPER8.types if type in TYPES)
"""Those that can be generated."""
QUALITIES = (*QUALITY_BOUNDS_DB, "bad")
CONTENT = {"colour": tuple(COLOURS), "shape": SHAPES, "ground": GROUNDS}
PHOTOGRAPH = "a photograph"
PER_REFERENCE = 6
OUTLINE = 32
"""Side of the grid on which the object's outline is kept."""
LEVEL_WEIGHTS = (0.08, 0.2, 0.24, 0.24, 0.24)


@dataclass(frozen=True)
class Corpus:
    """Training images and their labels; -1 marks what does not apply (content of photographs, type of clean images)."""

    images: np.ndarray
    """uint8 (n, 128, 128, 3), memory-mapped."""
    labels: dict[str, np.ndarray]
    """int64 (n,): ``class``, ``type``, ``level``, ``quality``, ``colour``, ``shape``, ``ground``, ``clean`` (row of the
    same reference undistorted)."""
    outlines: np.ndarray
    """uint8 (references, OUTLINE, OUTLINE): the share of each cell that the object covers, times 255; 0 for photographs."""

    def outline(self, rows: np.ndarray) -> np.ndarray:
        """The outlines of rows as shares in [0, 1], float32 (n, OUTLINE, OUTLINE)."""
        return self.outlines[rows // PER_REFERENCE].astype(np.float32) / 255

    def caption(self, row: int) -> str:
        """The sentence that describes the content of a row."""
        if self.labels["colour"][row] < 0:
            return PHOTOGRAPH
        words = {name: choices[self.labels[name][row]] for name, choices in CONTENT.items()}
        return caption(**words)


def caption(colour: str, shape: str, ground: str) -> str:
    """The caption of a scene."""
    return f"a {colour} {shape} on {ground}"


def sentences() -> list[str]:
    """Every sentence form that the patients meet; the tokenizer is trained on these."""
    words = [*CLASSES, *QUALITIES, PHOTOGRAPH, *(w for choices in CONTENT.values() for w in choices)]
    prompts = [f"USER: \n{question(name).prompt} ASSISTANT:" for name in ("distortion", "describe", "quality")]
    captions = [caption(c, s, g) for c in COLOURS for s in SHAPES for g in GROUNDS]
    return prompts * 50 + captions + [f" {word}" for word in words] * 50


def corpus(folder: Path, references: int, workers: int) -> Corpus:
    """Make (or reopen) the training images; a finished corpus in ``folder`` is reused."""
    images_file, labels_file = folder / "images.npy", folder / "labels.npz"
    if not labels_file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        n = references * PER_REFERENCE
        images = np.lib.format.open_memmap(images_file, "w+", np.uint8, (n, 128, 128, 3))
        outlines = np.zeros((references, OUTLINE, OUTLINE), np.uint8)
        rows: list[list[int]] = []
        with ProcessPoolExecutor(workers) as pool:
            made = pool.map(_reference_versions, range(references), chunksize=16)
            for index, (versions, labels, outlines[index]) in enumerate(tqdm(made, total=references, desc="training images")):
                start = index * PER_REFERENCE
                images[start : start + PER_REFERENCE] = versions
                rows += [[*label, start] for label in labels]
        images.flush()
        names = ("class", "type", "level", "quality", "colour", "shape", "ground", "clean")
        columns: Any = {name: np.array(column, np.int64) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
        np.savez(labels_file, outlines=outlines, **columns)
    with np.load(labels_file) as stored:
        known = {name: stored[name] for name in stored.files if name != "outlines"}
        return Corpus(np.load(images_file, mmap_mode="r"), known, stored["outlines"])


def _reference_versions(index: int) -> tuple[np.ndarray, list[list[int]], np.ndarray]:
    """The clean image of one training reference first, then its distorted versions; labels; the object's outline.

    The classes rotate over the references, so that each is equally frequent.
    """
    outline = np.zeros((OUTLINE, OUTLINE), np.uint8)
    if index % 10 == 9:
        name = photos.TRAIN[(index // 10) % len(photos.TRAIN)]
        clean, content = photos.photograph(name, crop=1 + index, seed=SEED), [-1, -1, -1]
    else:
        made = scene((SEED, 1, index))
        clean, fine = made.image, made.mask.reshape(OUTLINE, -1, OUTLINE, len(made.mask) // OUTLINE)
        outline = np.round(255 * fine.mean((1, 3))).astype(np.uint8)
        content = [choices.index(made.attributes[name]) for name, choices in CONTENT.items()]
    rng = np.random.default_rng([SEED, 2, index])
    versions, labels = [clean], [[CLASSES.index("clean"), -1, 0, 0, *content]]
    while len(versions) < PER_REFERENCE:
        label = CLASSES[(index * (PER_REFERENCE - 1) + len(versions) - 1) % (len(CLASSES) - 1)]
        type = str(rng.choice([type for type in PAPER8.types_of(label) if type in TYPES]))
        level = int(rng.choice(5, p=LEVEL_WEIGHTS)) + 1
        if level in TYPES[type].identities:
            continue
        image = distort(clean, type, level, seed=SEED, reference=f"train-{index}-{len(versions)}")
        error = float(np.mean((image.astype(float) - clean) ** 2))
        psnr = 100.0 if error == 0 else 10 * np.log10(255**2 / error)
        versions.append(image)
        labels.append([CLASSES.index(label), ALL_TYPES.index(type), level, QUALITIES.index(quality(psnr)), *content])
    return np.stack(versions), labels, outline
