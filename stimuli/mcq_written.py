"""Distortion questions about a set of stimuli as a table for VLMEvalKit, so that others can ask their models the same."""

from __future__ import annotations

import base64
import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np

from stimuli.errors import InputError
from stimuli.progress import tqdm
from stimuli.questions import Question, question
from stimuli.taxonomy import taxonomy as load_taxonomy
from stimuli.types import Stimulus

LOST = ("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None",
        "n/a", "nan", "null")  # fmt: skip
"""Cells that pandas reads as nothing, with which VLMEvalKit reads its tables: an option of this name would not be shown."""


@dataclass(frozen=True)
class WrittenQuestions:
    """A table of questions."""

    path: Path
    rows: int
    left_out: tuple[tuple[str, str], ...]
    """Stimuli that are not in it, with the reason."""


def write_questions(
    stimuli: Sequence[Stimulus],
    path: str | Path,
    *,
    taxonomy: str | Path = "paper8",
    prompt: str | None = None,
    orders: int = 1,
    seed: int = 0,
    progress: bool = False,
) -> WrittenQuestions:
    """Write the distortion question about each stimulus as a TSV that VLMEvalKit runs as a multiple-choice set of one's own.

    Images are inside as PNG, pixel for pixel. The options are shifts of one random order, so that within each class the right answer
    has every letter equally often; with several ``orders`` each stimulus has so many rows, the shifts evenly spread. ``category`` is the
    class and ``l2-category`` the level, by which VLMEvalKit splits its accuracy; ``id``, ``reference``, ``distortion`` and ``level`` go along.

    Args:
        stimuli: what is shown.
        path: file to write, ending in .tsv; put into ``$LMUData``, ``run.py --data NAME`` finds it by its name.
        taxonomy: name or file.
        prompt: another question than the usual one.
        orders: rows per stimulus, at most as many as classes.
        seed: of the order.
        progress: show a progress bar.

    Raises:
        InputError: another ending, more classes than letters, wordings that pandas would lose, no orders, or no stimulus with a class.
    """
    path, chosen, asked = Path(path), load_taxonomy(taxonomy), question("distortion", taxonomy)
    labels = list(asked.options)
    _refuse(path, asked, orders)
    base = np.random.default_rng([seed, 6]).permutation(len(labels))
    told = [(one, chosen.label(one)) for one in stimuli]
    left_out = [(one.id, "no class of the taxonomy fits it") for one, label in told if label is None]
    shown = [(one, label) for one, label in told if label is not None]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    index, seen = 0, Counter[str]()
    try:
        with open(temporary, "wb") as binary, TextIOWrapper(binary, encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
            writer.writerow(_header(len(labels)))
            for one, label in tqdm(shown, desc="write questions", disable=not progress):
                try:
                    image = _png(one.image)
                except InputError as error:
                    left_out.append((one.id, str(error)))
                    continue
                for row in _rows(one, label, asked, prompt or asked.prompt, base, seen[label], orders, index, image):
                    writer.writerow(row)
                index, seen[label] = index + min(orders, len(labels)), seen[label] + 1
        if not index:
            raise InputError(
                f"None of the {len(told)} stimuli can be asked about ({left_out[0][1] if left_out else 'there are none'}). Give others."
            )
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return WrittenQuestions(path, index, tuple(left_out))


def _refuse(path: Path, asked: Question, orders: int) -> None:
    words = list(asked.options.values())
    if path.suffix.lower() != ".tsv":
        raise InputError(f"Cannot write questions as '{path.name}'. Expected a name that ends in .tsv. Change it.")
    if len(words) > len(ascii_uppercase):
        raise InputError(
            f"{len(words)} options cannot be lettered. Expected at most 26, A to Z. Use a taxonomy of fewer classes."
        )
    if orders < 1:
        raise InputError(f"Got {orders} orders of the options; expected at least 1. Give orders=1.")
    lost = [word for word in words if word in LOST]
    if lost:
        raise InputError(
            f"The wording '{lost[0]}' would be read as an empty cell. Expected none of {', '.join(LOST)}. Reword it."
        )


def _header(count: int) -> list[str]:
    return ["index", "image", "image_path", "question", *ascii_uppercase[:count], "answer", "category", "l2-category", "id", "reference",
            "distortion", "level"]  # fmt: skip


def _rows(
    one: Stimulus, label: str, asked: Question, prompt: str, base: np.ndarray, nth: int, orders: int, index: int, image: str
) -> Iterator[list[Any]]:
    """A stimulus's rows; the image stands in the first, whose index the others have in its place."""
    labels = list(asked.options)
    k, at = len(labels), int(np.flatnonzero(base == labels.index(label))[0])
    for i in range(min(orders, k)):
        place = (nth + i * k // min(orders, k)) % k  # of the right answer
        order = np.roll(base, place - at)
        level = "clean" if one.type is None else "no level" if one.level is None else f"level {one.level}"
        yield [index + i, image if i == 0 else str(index), f"{index}.png", prompt, *(asked.options[labels[j]] for j in order),
               ascii_uppercase[place], label, level, one.id, one.reference, one.type or "", one.level]  # fmt: skip


def _png(image: np.ndarray) -> str:
    from PIL import Image

    content = BytesIO()
    Image.fromarray(image).save(content, format="PNG")
    return base64.b64encode(content.getvalue()).decode("ascii")
