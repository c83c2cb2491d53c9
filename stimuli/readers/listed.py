"""The user's own images: a folder as it is, or a list of them as CSV with whatever is known of each."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from sys import intern
from typing import Any

from stimuli.errors import InputError
from stimuli.images import ENDINGS
from stimuli.readers.assemble import Choices, checked
from stimuli.readers.labels import Line, csv_rows, text_of
from stimuli.types import Stimulus, StimulusSet

COLUMNS = ("image", "id", "reference", "type", "distortion", "level", "mos", "mos_std", "mos_original", "signed_param", "psnr",
           "ssim", "is_identity", "source", "attributes", "measured", "parts", "mask")  # fmt: skip
"""What a CSV may say; ``distortion`` is another name for ``type``."""
SEPARATORS = ",;\t"
YES, NO = ("true", "1", "yes"), ("false", "0", "no")


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


def from_csv(path: str | Path, *, higher_is_better: bool = True, check: bool = False, progress: bool = False) -> StimulusSet:
    """Images listed in a CSV with the column ``image`` and, optionally, any of ``COLUMNS``.

    Image and mask paths are relative to the CSV. An empty type means undistorted; a missing reference means the image is its
    own. ``attributes`` and ``measured`` are JSON objects, ``parts`` a JSON list of [type, level]. Cells are separated by commas,
    semicolons or tabs; headers may be in upper case. Other columns are told in ``info``, as are rows that are there twice.

    Args:
        path: the file.
        higher_is_better: whether a larger ``mos`` is a better image. Otherwise its sign is turned, and ``mos_original`` is the
            number as it stands.
        check: look over the headers of all images, and tell in ``info`` what is missing, unreadable or will be converted.
        progress: show a progress bar while looking.

    Raises:
        InputError: no such file, no ``image`` column, no rows, a cell that is not what its column expects (the line is named),
            or two rows of one id that differ (both are named).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file {path}. Expected a CSV with an 'image' column.")
    lines, extra = _lines(path)
    first: dict[str, tuple[Stimulus, Line]] = {}
    for line in lines:
        stimulus = _stimulus(line, path, higher_is_better)
        other, earlier = first.setdefault(stimulus.id, (stimulus, line))
        if earlier is not line and (stimulus, stimulus.pixels, stimulus.area) != (other, other.pixels, other.area):
            raise InputError(
                f"{earlier.where} and {line.where} contradict each other: both are about '{stimulus.id}', and they differ. "
                "Expected one line per id. Remove one, or give them an id column of their own."
            )
    stimuli = [stimulus for stimulus, _ in first.values()]
    info = {"csv": path.name, "rows": len(lines), "extra_columns": extra, "duplicates": len(lines) - len(stimuli)}
    if check and stimuli:
        info["images"] = checked(stimuli, Choices(progress=progress))
    return StimulusSet(stimuli, path.stem, info)


def _lines(path: Path, needed: Sequence[str] = ("image",)) -> tuple[list[Line], list[str]]:
    """The rows of a CSV by column in lower case, and the columns that are not among ``COLUMNS``."""
    content = text_of(path)
    top = content.partition("\n")[0]
    separator = max(SEPARATORS, key=top.count)
    rows = csv_rows(content, str(path), separator)
    header = [name.strip() for name in next(rows, (1, []))[1]]
    columns = [name.lower() if name.lower() in COLUMNS else name for name in header]
    if not set(needed) <= set(columns):
        more = ", ".join(name for name in COLUMNS if name not in needed)
        raise InputError(
            f"{path} has the columns {header}; expected at least {' and '.join(map(repr, needed))} (and optionally {more}), separated by "
            "commas, semicolons or tabs. Add a header line."
        )
    twice = sorted(name for name, count in Counter(columns).items() if name and count > 1)
    if twice or {"type", "distortion"} <= set(columns):
        names = ", ".join(twice) or "both 'type' and 'distortion', which mean the same"
        raise InputError(f"{path} has columns twice: {names}. Expected each once. Rename or remove one.")
    lines = [_line(columns, row, f"{path}, line {number}") for number, row in rows if any(row)]
    return lines, [name for name in columns if name not in COLUMNS]


def _line(columns: Sequence[str], row: Sequence[str], where: str) -> Line:
    if len(row) > len(columns):
        raise InputError(
            f"{where} has {len(row)} cells; expected {len(columns)}, as in the header. Quote cells with separators."
        )
    cells = [cell.strip() for cell in row] + [""] * (len(columns) - len(row))
    return Line(where, dict(zip(columns, cells, strict=True)))


def _stimulus(line: Line, path: Path, higher_is_better: bool) -> Stimulus:
    image = line.cells["image"]
    if not image:
        raise InputError(f"{line.where}: image is empty. Expected the path of an image, relative to the CSV. Fill it in.")
    given, kind, mask = _mos(line, higher_is_better), _text(line, "type") or _text(line, "distortion"), _text(line, "mask")
    return Stimulus(
        id=_text(line, "id") or image,
        reference=intern(_text(line, "reference") or image),
        type=intern(kind) if kind else None,
        level=_cell(line, "level", _whole, "a whole number as level"),
        **{name: _number(line, name) for name in ("signed_param", "psnr", "ssim", "mos_std")},
        **given,
        is_identity=_cell(line, "is_identity", _truth, "true or false as is_identity") or False,
        source=intern(_text(line, "source") or "file"),
        attributes=_cell(line, "attributes", _texts, 'a JSON object such as {"colour": "red"} as attributes') or {},
        measured=_cell(line, "measured", _numbers, 'a JSON object such as {"lpips": 0.2} as measured') or None,
        parts=_cell(line, "parts", _parts, 'a list such as [["jpeg", 3], ["white_noise", 3]] as parts') or (),
        area=path.parent / mask if mask else None,
        pixels=path.parent / image,
    )


def _mos(line: Line, higher_is_better: bool) -> dict[str, float | None]:
    """``mos`` with its sign turned where lower was better, and ``mos_original`` as it stands."""
    mos, original = _number(line, "mos"), _number(line, "mos_original")
    turned = mos if mos is None or higher_is_better else 0.0 - mos
    return {"mos": turned, "mos_original": mos if original is None else original}


def _text(line: Line, column: str) -> str:
    return line.cells.get(column, "")


def _number(line: Line, column: str) -> float | None:
    return line.number(column) if _text(line, column) else None


def _cell(line: Line, column: str, convert: Callable[[str], Any], expected: str) -> Any:
    """A cell's value; None for an empty cell."""
    text = _text(line, column)
    if not text:
        return None
    try:
        return convert(text)
    except (ValueError, TypeError, SyntaxError, AttributeError, OverflowError, RecursionError, MemoryError) as error:
        raise InputError(f"{line.where}: {column} is '{text:.200}'. Expected {expected}. Correct the line.") from error


def _whole(text: str) -> int:
    """``3``, or ``3.0`` as spreadsheets write it."""
    value = float(text)
    if not value.is_integer():
        raise ValueError(text)
    return int(value)


def _truth(text: str) -> bool:
    if text.lower() not in (*YES, *NO):
        raise ValueError(text)
    return text.lower() in YES


def _texts(text: str) -> Mapping[str, str]:
    return {intern(str(key)): intern(str(value)) for key, value in json.loads(text).items()}


def _numbers(text: str) -> Mapping[str, float]:
    return {str(key): float(value) for key, value in json.loads(text).items()}


def _parts(text: str) -> tuple[tuple[str, int], ...]:
    """Also as Python writes a list, in single quotes."""
    return tuple((intern(str(type)), int(level)) for type, level in ast.literal_eval(text))
