"""PIPAL, its public training part: 200 references, 116 distorted images of each (Gu et al., ECCV 2020)."""

from __future__ import annotations

import re
from pathlib import Path

from stimuli.errors import InputError
from stimuli.readers.assemble import Choices, Dataset, Row, assemble
from stimuli.readers.files import Files, root, subfolders
from stimuli.readers.labels import Line, read_lines
from stimuli.readers.names import PIPAL
from stimuli.types import StimulusSet

LAYOUT = "Train_Label/ with A0001.txt, …, Train_Ref/ with A0001.bmp, … and Dist_Imgs/ with A0001_00_00.bmp, …"
NAME = re.compile(r"(\w+?)_(\d\d)_(\d\d)(\.\w+)")
DISTORTED = ("Dist_Imgs", "Train_Dist", "Train_Dis", *(f"Train_Dist_Part{part}" for part in range(1, 5)),
             *(f"Distortion_{part}" for part in range(1, 5)))  # fmt: skip
"""Where the distorted images are in the copies that go about; the archives come in four parts."""


def pipal(
    path: str | Path, *, references: bool = True, strict: bool = False, check: bool = True, progress: bool = False
) -> StimulusSet:
    """PIPAL's training part as published: ``Train_Label/*.txt``, ``Train_Ref/`` and ``Dist_Imgs/``.

    The score is an Elo rating, about 900 to 1850, higher is better. The group of a distortion (00 to 06) is the type,
    ``pipal_00`` to ``pipal_06``; the number within the group is ``attributes["subtype"]``. Neither is a level, which is None.

    Args:
        path: the folder that holds ``Train_Label``, the one above, or one of its folders.
        references: whether to include the clean images, which have no score.
        strict: raise on a missing or unreadable image, which is otherwise told in ``info``.
        check: look over the headers of all images.
        progress: show a progress bar.

    Raises:
        InputError: not PIPAL's folder, an odd line, contradicting scores, or (strict) a missing or unreadable image.
    """
    folder = root(path, ["Train_Label"], "PIPAL", LAYOUT)
    (labels,) = subfolders(folder, "Train_Label")
    texts = sorted(labels / name for name in Files(labels) if name.lower().endswith(".txt"))
    if not texts:
        raise InputError(f"{labels} holds no .txt file. Expected one per reference, such as A0001.txt. Unpack it again.")
    subtypes = [{"subtype": f"{number:02d}"} for number in range(100)]
    rows = [_row(line, subtypes) for text in texts for line in read_lines(text, ("name", "score"), ",").lines]
    images, clean = Files(*subfolders(folder, *DISTORTED)), Files(*subfolders(folder, "Train_Ref"))
    dataset = Dataset("pipal", images, clean, "Elo rating, about 900 to 1850", 23_200, expected_references=200)
    originals = list(dict.fromkeys(row.reference for row in rows))
    return assemble(dataset, rows, originals, Choices(references, strict, check, progress), {"label_files": len(texts)})


def _row(line: Line, subtypes: list[dict[str, str]]) -> Row:
    image = line.cells["name"]
    found = NAME.fullmatch(image)
    if not found or int(found[2]) >= len(PIPAL):
        raise InputError(
            f"{line.where}: the image is called '{image}'. Expected its reference, _, its group (00 to 06), _, its subtype, such "
            "as A0001_00_07.bmp. Correct the line, or read your own list with from_csv."
        )
    reference, type = f"{found[1]}{found[4]}", PIPAL[int(found[2])]
    return Row(image, reference, type, None, line.number("score"), attributes=subtypes[int(found[3])], where=line.where)
