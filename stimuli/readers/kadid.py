"""KADID-10k: 81 references, 25 types at 5 levels (Lin, Hosu and Saupe, QoMEX 2019, doi:10.1109/QoMEX.2019.8743252)."""

from __future__ import annotations

import math
import re
from pathlib import Path

from stimuli.distortions import TYPES, parameter
from stimuli.errors import InputError
from stimuli.readers.assemble import Choices, Dataset, Row, assemble
from stimuli.readers.files import Files, root, subfolders
from stimuli.readers.labels import Line, read_csv
from stimuli.readers.names import KADID10K
from stimuli.types import StimulusSet

COLUMNS = ("dist_img", "ref_img", "dmos", "var")
LAYOUT = "dmos.csv and images/ with I01.png to I81.png and I01_01_01.png to I81_25_05.png"
NAME = re.compile(r"(I\d+)_(\d+)_(\d+)\.\w+", re.IGNORECASE)


def kadid10k(
    path: str | Path, *, references: bool = True, strict: bool = False, check: bool = True, progress: bool = False
) -> StimulusSet:
    """KADID-10k as published: ``dmos.csv`` and ``images/``.

    What the file calls dmos is a mean opinion score, higher being better; what it calls var is a variance, of which
    ``mos_std`` is the root. ``signed_param`` is the published parameter. ``is_identity`` marks the levels that are an identity
    by their published parameter: those that change no image in Snellen's own distortions, and level 3 of contrast change,
    whose parameter is 0 and whose scores are the highest of its type (Snellen's own distortion of that name and level does
    change an image, as the published curve is not straight at 0).

    Args:
        path: the folder that holds ``dmos.csv``, the one above, or ``images``.
        references: whether to include the 81 clean images, which have no score.
        strict: raise on a missing or unreadable image, which is otherwise told in ``info``.
        check: look over the headers of all images.
        progress: show a progress bar.

    Raises:
        InputError: not KADID-10k's folder, another header, an odd name, contradicting scores, or (strict) a missing or
            unreadable image.
    """
    folder = root(path, ["dmos.csv"], "KADID-10k", LAYOUT)
    sheet = read_csv(Files(folder).need("dmos.csv"), COLUMNS)
    images = Files(*subfolders(folder, "images", "distorted_images", "reference_images"))
    rows = [_row(line) for line in sheet.lines]
    dataset = Dataset("kadid10k", images, images, "mean opinion score, 1 to 5", 10_125, expected_references=81)
    clean = list(dict.fromkeys(row.reference for row in rows))
    choices = Choices(references, strict, check, progress)
    return assemble(dataset, rows, clean, choices, {"extra_columns": list(sheet.extra)})


def _row(line: Line) -> Row:
    image, reference = line.cells["dist_img"], line.cells["ref_img"]
    found = NAME.fullmatch(image)
    number, level = (int(found[2]), int(found[3])) if found else (0, 0)
    if not found or not 1 <= number <= len(KADID10K) or not 1 <= level <= 5:
        raise InputError(
            f"{line.where}: the image is called '{image}'. Expected I, the number of its reference, _, its type (01 to 25), "
            "_, its level (01 to 05), such as I01_09_03.png. Correct the line, or read your own list with from_csv."
        )
    if found[1].casefold() != reference.rpartition(".")[0].casefold():
        raise InputError(f"{line.where}: the reference of {image} is '{reference}'. Expected {found[1]}.png. Correct the line.")
    variance = line.number("var")
    if variance < 0:
        raise InputError(f"{line.where}: var is {variance:g}. Expected a variance, at least 0. Correct the line.")
    type = KADID10K[number - 1]
    return Row(
        image, reference, type, level, line.number("dmos"), math.sqrt(variance),
        float(parameter(type, level)), is_nominal_identity(type, level), where=line.where,
    )  # fmt: skip


def is_nominal_identity(type: str, level: int) -> bool:
    """Whether the published parameter of a type's level stands for no change."""
    return level in TYPES[type].identities or (type, level) == ("contrast_change", 3)
