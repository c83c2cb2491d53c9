"""KonIQ-10k: 10,073 photographs (Hosu, Lin, Sziranyi and Saupe, IEEE Trans. Image Processing 29, 2020)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from stimuli.errors import InputError
from stimuli.readers.assemble import Choices, Dataset, Row, assemble
from stimuli.readers.files import Files, root, subfolders
from stimuli.readers.labels import Line, read_csv
from stimuli.readers.names import AUTHENTIC
from stimuli.types import StimulusSet

SCORES = "koniq10k_scores_and_distributions.csv"
SETS = "koniq10k_distributions_sets.csv"
LAYOUT = f"{SCORES} or {SETS}, and 1024x768/ or 512x384/"
GRADES = ("c1", "c2", "c3", "c4", "c5")
SIZES = {"training": 7058, "validation": 1000, "test": 2015}
TOTAL = 10_073
Subset = Literal["training", "validation", "test"]


def koniq10k(
    path: str | Path,
    subset: Subset | None = None,
    *,
    size: Literal["1024x768", "512x384"] | None = None,
    references: bool = True,
    strict: bool = False,
    check: bool = True,
    progress: bool = False,
) -> StimulusSet:
    """KonIQ-10k as published: one or both of its CSV files, and its images in one size.

    The mean opinion score runs from 1 to 5, higher is better. Of ``koniq10k_scores_and_distributions.csv`` it is the column
    ``MOS``. In ``koniq10k_distributions_sets.csv`` the column of that name is on another scale (0 to 100), so where only that
    file is there the score is the mean of the five grades by the shares given to them (c1 to c5), which is the same number.

    Args:
        path: the folder that holds the CSV files, the one above, or one of its image folders.
        subset: ``training``, ``validation`` or ``test`` of the published division; None for all.
        size: which images; by default the larger ones that are there.
        references: has no effect, as there are no reference images; every photograph is its own.
        strict: raise on a missing or unreadable image, which is otherwise told in ``info``.
        check: look over the headers of all images.
        progress: show a progress bar.

    Raises:
        InputError: not KonIQ-10k's folder, another header, an unknown subset, no file of the division, contradicting scores, or
            (strict) a missing or unreadable image.
    """
    if subset is not None and subset not in SIZES:
        raise InputError(f"Unknown subset '{subset}'. Expected {', '.join(SIZES)}, or None for all of KonIQ-10k.")
    folder = root(path, [SCORES, SETS], "KonIQ-10k", LAYOUT)
    files = Files(folder)
    rows, extra = _labels(files)
    division = _division(files) if files.find(SETS) or subset is not None else {}
    told: dict[str, Any] = {
        "extra_columns": list(extra),
        "subset": subset or "all",
        "subsets": dict(Counter(division.values())),
    }
    if division:
        told["without_subset"] = sum(row.image.casefold() not in division for row in rows)
    if subset is not None:
        rows = [row for row in rows if division.get(row.image.casefold()) == subset]
    images = Files(*subfolders(folder, *([size] if size else ["1024x768", "512x384"]))[:1])
    expected = TOTAL if subset is None else SIZES[subset]
    dataset = Dataset("koniq10k", images, None, "mean opinion score, 1 to 5", expected, ignored=_others(division, subset))
    return assemble(dataset, rows, [], Choices(references, strict, check, progress), told)


def _others(division: dict[str, str], subset: str | None) -> list[str]:
    """The images of the other subsets."""
    return [] if subset is None else [image for image, own in division.items() if own != subset]


def _labels(files: Files) -> tuple[list[Row], tuple[str, ...]]:
    """One row per image, and the extra columns."""
    path = files.find(SCORES)
    if path is None:
        sheet = read_csv(files.need(SETS), ("image_name", *GRADES, "SD"), known=("c_total", "MOS", "set"))
        return [_row(line, _mean_grade(line)) for line in sheet.lines], sheet.extra
    sheet = read_csv(path, ("image_name", "MOS", "SD"), known=(*GRADES, "c_total", "MOS_zscore"))
    return [_row(line, line.number("MOS")) for line in sheet.lines], sheet.extra


def _row(line: Line, score: float) -> Row:
    if not 1 <= score <= 5:
        raise InputError(f"{line.where}: MOS is {score:g}. Expected 1 to 5. Fetch the dataset's own file again.")
    image = line.cells["image_name"]
    return Row(image, image, AUTHENTIC, None, score, line.number("SD"), where=line.where)


def _mean_grade(line: Line) -> float:
    """Σ k·c_k / Σ c_k over the grades k of 1 to 5."""
    shares = [line.number(grade) for grade in GRADES]
    if sum(shares) <= 0:
        raise InputError(f"{line.where}: c1 to c5 are zero. Expected the shares of the five grades. Fetch the file again.")
    return sum(grade * share for grade, share in enumerate(shares, start=1)) / sum(shares)


def _division(files: Files) -> dict[str, str]:
    """Image, in lower case, to its subset."""
    path = files.find(SETS)
    if path is None:
        raise InputError(
            f"A subset of KonIQ-10k needs {SETS}, which is not there. Fetch it, or leave subset out for all images."
        )
    lines = read_csv(path, ("image_name", "set")).lines
    return {line.cells["image_name"].casefold(): line.cells["set"] for line in lines}
