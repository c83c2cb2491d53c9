"""TID2013: 25 references, 24 types at 5 levels (Ponomarenko et al., Signal Processing: Image Communication 30, 2015)."""

from __future__ import annotations

import re
from pathlib import Path

from stimuli.errors import InputError
from stimuli.readers.assemble import Choices, Dataset, Row, assemble
from stimuli.readers.files import Files, root, subfolders
from stimuli.readers.labels import Line, Sheet, read_lines
from stimuli.readers.names import TID2013
from stimuli.types import StimulusSet

LAYOUT = "mos_with_names.txt, mos_std.txt, distorted_images/ and reference_images/"
NAME = re.compile(r"I(\d+)_(\d+)_(\d)\.\w+", re.IGNORECASE)


def tid2013(
    path: str | Path, *, references: bool = True, strict: bool = False, check: bool = True, progress: bool = False
) -> StimulusSet:
    """TID2013 as published: ``mos_with_names.txt``, ``mos_std.txt``, ``distorted_images/``, ``reference_images/``.

    The mean opinion score runs from 0 to 9, higher is better. File names differ in case within the dataset; they are found
    whatever their case. The types 16 (mean shift) and 17 (contrast change) change their sign from level to level, so that their
    level is no severity.

    Args:
        path: the folder that holds ``mos_with_names.txt``, the one above, or one of its image folders.
        references: whether to include the 25 clean images, which have no score.
        strict: raise on a missing or unreadable image, which is otherwise told in ``info``.
        check: look over the headers of all images.
        progress: show a progress bar.

    Raises:
        InputError: not TID2013's folder, an odd line, files of scores of different length, contradicting scores, or (strict) a
            missing or unreadable image.
    """
    folder = root(path, ["mos_with_names.txt"], "TID2013", LAYOUT)
    files = Files(folder)
    sheet = read_lines(files.need("mos_with_names.txt"), ("mos", "name"))
    stds = _deviations(files, sheet)
    images, clean = (Files(*subfolders(folder, name)) for name in ("distorted_images", "reference_images"))
    rows = [_row(line, std, clean) for line, std in zip(sheet.lines, stds, strict=True)]
    dataset = Dataset("tid2013", images, clean, "mean opinion score, 0 to 9", 3000, expected_references=25)
    originals = list(dict.fromkeys(row.reference for row in rows))
    return assemble(dataset, rows, originals, Choices(references, strict, check, progress))


def _deviations(files: Files, sheet: Sheet) -> list[float | None]:
    """The standard deviations, line by line as the scores; None for each where their file is not there."""
    path = files.find("mos_std.txt")
    if path is None:
        return [None] * len(sheet.lines)
    stds = read_lines(path, ("std",))
    if len(stds.lines) != len(sheet.lines):
        raise InputError(
            f"{path} has {len(stds.lines)} lines and mos_with_names.txt {len(sheet.lines)}; expected as many, as they belong "
            "together line by line. Fetch both again, or remove mos_std.txt to go without standard deviations."
        )
    return [line.number("std") for line in stds.lines]


def _row(line: Line, std: float | None, clean: Files) -> Row:
    image = line.cells["name"]
    found = NAME.fullmatch(image)
    number, level = (int(found[2]), int(found[3])) if found else (0, 0)
    if not found or not 1 <= number <= len(TID2013) or not 1 <= level <= 5:
        raise InputError(
            f"{line.where}: the image is called '{image}'. Expected I, the number of its reference, _, its type (01 to 24), "
            "_, its level (1 to 5), such as I01_08_3.bmp. Correct the line, or read your own list with from_csv."
        )
    reference = f"I{int(found[1]):02d}.BMP"
    return Row(image, clean.name(reference) or reference, TID2013[number - 1], level, line.number("mos"), std, where=line.where)
