"""CSIQ: 30 references, 866 distorted images (Larson and Chandler, Journal of Electronic Imaging 19(1), 2010)."""

from __future__ import annotations

from pathlib import Path

from stimuli.errors import InputError
from stimuli.readers.assemble import Choices, Dataset, Row, assemble
from stimuli.readers.files import Files, root, subfolders
from stimuli.readers.labels import Line, read_lines, read_xlsx
from stimuli.readers.names import CSIQ
from stimuli.types import StimulusSet

OFFICIAL = "csiq.DMOS.xlsx"
COMMUNITY = "csiq_label.txt"
LAYOUT = f"{OFFICIAL} (or {COMMUNITY}), src_imgs/ and dst_imgs/ with awgn/, blur/, contrast/, fnoise/, jpeg/, jpeg2000/"
COLUMNS = ("image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos")
TOKENS = {
    "noise": "AWGN",
    "blur": "BLUR",
    "contrast": "contrast",
    "fnoise": "fnoise",
    "jpeg": "JPEG",
    "jpeg 2000": "jpeg2000",
}
"""What the workbook calls a type, and what the file names do."""
FOLDERS = ("awgn", "blur", "contrast", "fnoise", "jpeg", "jpeg2000")


def csiq(
    path: str | Path, *, references: bool = True, strict: bool = False, check: bool = True, progress: bool = False
) -> StimulusSet:
    """CSIQ as published, ``csiq.DMOS.xlsx`` or, where there is none, ``csiq_label.txt``; images in folders or all in one.

    DMOS runs from 0 to 1, lower is better: ``mos`` is its negative. The text file has no standard deviations.

    Args:
        path: the folder that holds the file of scores, the one above, or one of its image folders.
        references: whether to include the 30 clean images, which have no score.
        strict: raise on a missing or unreadable image, which is otherwise told in ``info``.
        check: look over the headers of all images.
        progress: show a progress bar.

    Raises:
        InputError: not CSIQ's folder, another sheet or header, an odd name, contradicting scores, or (strict) a missing or
            unreadable image.
    """
    folder = root(path, [OFFICIAL, COMMUNITY], "CSIQ", LAYOUT)
    rows, extra = _labels(Files(folder))
    holding = subfolders(folder, "dst_imgs", "dst_imgs_all", "distorted_images")
    images = Files(*(inner for outer in holding for inner in (*subfolders(outer, *FOLDERS), outer)))
    clean = Files(*subfolders(folder, "src_imgs", "reference_images"))
    unit = "difference mean opinion score, 0 to 1"
    dataset = Dataset("csiq", images, clean, unit, 866, higher_is_better=False, expected_references=30)
    originals = list(dict.fromkeys(row.reference for row in rows))
    choices = Choices(references, strict, check, progress)
    return assemble(dataset, rows, originals, choices, {"extra_columns": list(extra)})


def _labels(files: Files) -> tuple[list[Row], tuple[str, ...]]:
    """The rows of the file of scores, and its extra columns."""
    official = files.find(OFFICIAL)
    if official is None:
        sheet = read_lines(files.need(COMMUNITY), ("name", "dmos"))
        return [_row(line.cells["name"], None, line) for line in sheet.lines], ()
    sheet = read_xlsx(official, COLUMNS, "all_by_image")
    return [_row(_name(line), line.number("dmos_std"), line) for line in sheet.lines], sheet.extra


def _name(line: Line) -> str:
    """The name of the image that a row of the workbook is about."""
    image, type, level = (line.cells[column] for column in ("image", "dst_type", "dst_lev"))
    if type not in TOKENS:
        raise InputError(f"{line.where}: dst_type is '{type}'. Expected one of {', '.join(TOKENS)}. Correct the row.")
    return f"{image}.{TOKENS[type]}.{level}.png"


def _row(image: str, std: float | None, line: Line) -> Row:
    source, token, level, *_ = (*image.rsplit(".", 3), "", "", "")
    known = {name.casefold(): type for name, type in CSIQ.items()}
    if token.casefold() not in known or level not in tuple("12345"):
        raise InputError(
            f"{line.where}: the image is called '{image}'. Expected its source, one of {', '.join(CSIQ)}, its level (1 to 5) "
            "and png, joined by dots, such as 1600.AWGN.1.png. Correct the line, or read your own list with from_csv."
        )
    return Row(image, f"{source}.png", known[token.casefold()], int(level), line.number("dmos"), std, where=line.where)
