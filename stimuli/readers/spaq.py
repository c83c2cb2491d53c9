"""SPAQ: 11,125 photographs from phones (Fang, Zhu, Zeng, Ma and Wang, CVPR 2020)."""

from __future__ import annotations

from pathlib import Path

from stimuli.errors import InputError
from stimuli.readers.assemble import Choices, Dataset, Row, assemble
from stimuli.readers.files import Files, root, subfolders
from stimuli.readers.labels import Line, read_xlsx
from stimuli.readers.names import AUTHENTIC
from stimuli.types import StimulusSet

SCORES = "MOS and Image attribute scores.xlsx"
ATTRIBUTES = ("Brightness", "Colorfulness", "Contrast", "Noisiness", "Sharpness")
LAYOUT = f"Annotations/{SCORES} and TestImage/ with 00001.jpg, …"


def spaq(
    path: str | Path, *, references: bool = True, strict: bool = False, check: bool = True, progress: bool = False
) -> StimulusSet:
    """SPAQ as published: ``Annotations/MOS and Image attribute scores.xlsx`` and ``TestImage/``.

    The mean opinion score runs from 1 to 100, higher is better. The scores of Brightness, Colorfulness, Contrast, Noisiness and
    Sharpness are in ``attributes``, as text. Phones store turned photographs with an orientation, which is applied when read.

    Args:
        path: the folder that holds ``Annotations`` and ``TestImage``, the one above, or one of these two.
        references: has no effect, as there are no reference images; every photograph is its own.
        strict: raise on a missing or unreadable image, which is otherwise told in ``info``.
        check: look over the headers of all images.
        progress: show a progress bar.

    Raises:
        InputError: not SPAQ's folder, another header, contradicting scores, or (strict) a missing or unreadable image.
    """
    folder = root(path, ["Annotations", "TestImage"], "SPAQ", LAYOUT)
    labels = Files(*subfolders(folder, "Annotations"), folder).find(SCORES)
    if labels is None:
        raise InputError(f"{folder} holds no '{SCORES}', in Annotations or beside it. Expected {LAYOUT}. Fetch it.")
    sheet = read_xlsx(labels, ("Image name", "MOS", *ATTRIBUTES))
    rows = [_row(line) for line in sheet.lines]
    images = Files(*subfolders(folder, "TestImage", "Test Images", "images"))
    dataset = Dataset("spaq", images, None, "mean opinion score, 1 to 100", 11_125)
    return assemble(dataset, rows, [], Choices(references, strict, check, progress), {"extra_columns": list(sheet.extra)})


def _row(line: Line) -> Row:
    image = line.cells["Image name"]
    for name in ATTRIBUTES:
        line.number(name)  # raises on what is none
    attributes = {name: line.cells[name] for name in ATTRIBUTES}
    return Row(image, image, AUTHENTIC, None, line.number("MOS"), attributes=attributes, where=line.where)
