"""Multiple-choice tables as VLMEvalKit has them: one TSV with the images inside as base64, read and written.

Columns, as in its ``docs/en/Development.md`` and ``vlmeval/dataset/image_base.py``, ``image_mcq.py`` (open-compass/VLMEvalKit at e8e78f0):
``index``, ``image`` (base64, or the index of another row that has the same image), ``image_path``, ``question``, ``hint``, ``A`` …,
``answer`` (a letter), ``category``, ``l2-category``, ``split``.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

from stimuli.encoded import TEXT, Encoded
from stimuli.errors import InputError
from stimuli.mcq import McqQuestion, McqSet, collected

NEEDED = ("index", "question", "A", "B")
EXPECTED = f"Expected a TSV as VLMEvalKit's, with {', '.join(NEEDED)}, and image (base64) or image_path"
EMPTY = ("", "nan", "NaN", "N/A")
"""What stands for an option, an answer or a category that is not there."""
SHORT = 64
"""A cell of the column ``image`` that is no longer is the index of another row."""
BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
LISTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


@dataclass(frozen=True)
class _Row:
    """One row: its cells without the image, and where in the file the image's text is."""

    where: str
    cells: Mapping[str, str]
    start: int = 0
    length: int = 0
    digest: str = ""
    """Of the image's text; empty without one."""

    def refuse(self, key: str, came: str, expected: str) -> InputError:
        return InputError(f"{self.where}: {key}: {came}. Expected {expected}. Correct the row.")

    def text(self, key: str) -> str:
        """A cell, empty where it says that there is nothing."""
        value = self.cells.get(key, "").strip()
        return "" if value in EMPTY else value


def read_tsv(path: Path, images: Path | None = None) -> McqSet:
    """Read a table of VLMEvalKit's; images are decoded when they are looked at.

    Args:
        path: the file.
        images: the folder that ``image_path`` is relative to, where a row has no image of its own; by default the file's.

    Raises:
        InputError: another header, a row that cannot be used or that has several images (it is named), two rows of one index, or none
            of the images is there.
    """
    rows = list(_rows(path))
    if not rows:
        raise InputError(f"{path} holds zero questions. {EXPECTED}. Fetch or write the file again.")
    by_index: dict[str, _Row] = {}
    for row in rows:
        other = by_index.setdefault(row.text("index"), row)
        if other is not row:
            raise row.refuse("index", f"'{row.text('index')}' is also that of {other.where}", "each index once")
    shown = [row for row in rows if _shows(row)]
    without = [f"{row.where}: no image" for row in rows if not _shows(row)]
    first: dict[str, str] = {}
    folder = path.parent if images is None else images
    made = [_question(row, by_index, first, folder, path) for row in shown]
    return collected(path.stem, [row.where for row in shown], made, folder, without)


def _shows(row: _Row) -> bool:
    return bool(row.digest or row.text("image") or row.text("image_path"))


def _question(row: _Row, by_index: Mapping[str, _Row], first: dict[str, str], folder: Path, path: Path) -> McqQuestion:
    index, hint, asked = row.text("index"), row.text("hint"), row.text("question")
    if not index or not asked:
        raise row.refuse("index" if not index else "question", "it is empty", "text")
    choices = _choices(row)
    name = row.text("image_path") or f"{index}.png"
    if name.startswith("["):
        raise _several(row, "image_path")
    owner = _owner(row, by_index)
    encoded = None if owner is None else Encoded(path, owner.start, owner.length, f"{row.where}, index {index}")
    same = first.setdefault(owner.digest, index) if owner else Path(name).as_posix()
    return McqQuestion(
        id=index,
        image=folder / name,
        question=f"Hint: {hint}\n{asked}" if hint else asked,
        choices=choices,
        correct=_answer(row, choices),
        question_type=row.text("category") or None,
        concern=row.text("l2-category") or None,
        reference=row.text("reference") or same,
        pixels=encoded,
    )


def _owner(row: _Row, by_index: Mapping[str, _Row]) -> _Row | None:
    """The row that has the image; None where it is a file."""
    if row.digest:
        return row
    index = row.text("image")
    if not index:
        return None
    owner = by_index.get(index)
    if owner is None or not owner.digest:
        raise row.refuse(
            "image",
            f"'{index}' is the index of no row with an image",
            f"base64, or the index of a row (up to {SHORT} characters)",
        )
    return owner


def _choices(row: _Row) -> tuple[str, ...]:
    letters = [letter for letter in ascii_uppercase if row.text(letter)]
    if letters != list(ascii_uppercase[: len(letters)]) or len(letters) < 2:
        raise row.refuse("options", f"there are {', '.join(letters) or 'none'}", "at least A and B, without a gap")
    found = tuple(row.text(letter) for letter in letters)
    twice = next((choice for choice in found if found.count(choice) > 1), None)
    if twice is not None:
        raise row.refuse("options", f"'{twice}' is there twice", "each choice once")
    return found


def _answer(row: _Row, choices: Sequence[str]) -> int | None:
    said, letters = row.text("answer"), ascii_uppercase[: len(choices)]
    if said and (len(said) != 1 or said.upper() not in letters):
        raise row.refuse("answer", f"got '{said:.40}'", f"a letter from A to {letters[-1]}")
    return letters.index(said.upper()) if said else None


def _several(row: _Row, key: str) -> InputError:
    return InputError(
        f"{row.where}: {key}: the row has several images. Expected one: questions about several images are not asked. Take such rows out."
    )


# ---- the file --------------------------------------------------------------------------------------------------------


def _rows(path: Path) -> Iterator[_Row]:
    """The rows of a table, one in memory at a time."""
    with open(path, "rb") as handle, _long_cells():
        lines = _Lines(handle, path)
        try:
            table = csv.reader(lines, delimiter="\t")
            header = [name.strip() for name in next(table, [])]
            _refuse_header(header, path)
            lines.taken()
            for cells in table:
                where, start, raw = f"{path.name}, line {lines.first}", lines.start, lines.taken()
                if any(cells):
                    yield _row(header, cells, where, start, raw)
        except csv.Error as error:
            raise InputError(
                f"{path.name}, line {lines.first}: {error}. Expected cells of at most {TEXT} characters. Correct it."
            ) from error


def _row(header: Sequence[str], cells: Sequence[str], where: str, start: int, raw: bytes) -> _Row:
    if len(cells) > len(header):
        raise InputError(f"{where} has {len(cells)} cells; expected {len(header)}, as in the header. Quote cells with tabs.")
    named = dict(zip(header, (*cells, *[""] * (len(header) - len(cells))), strict=True))
    image = named.get("image", "").strip()
    if len(image) <= SHORT:
        return _Row(where, named)
    row = _Row(where, {**named, "image": ""})
    if image.startswith("["):
        found = ["".join(one) for one in LISTED.findall(image)]
        if len(found) != 1:
            raise _several(row, "image")
        image = found[0]
    text = image.encode()
    at = raw.find(text)
    if at < 0 or not BASE64.fullmatch(image):
        raise row.refuse(
            "image", f"got '{image[:20]} …', {len(image)} characters", f"base64, or an index of at most {SHORT} characters"
        )
    return _Row(where, row.cells, start + at, len(text), hashlib.sha256(text).hexdigest())


def _refuse_header(header: Sequence[str], path: Path) -> None:
    lacking = [name for name in NEEDED if name not in header]
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if lacking or twice or not {"image", "image_path"} & set(header):
        what = f"the column {', '.join(twice)} twice" if twice else f"the columns {', '.join(header)[:200] or '(none)'}"
        raise InputError(f"{path} has {what}. {EXPECTED}. Fetch or write the file again.")


class _Lines:
    """The lines of a file as text; knows the bytes since the last row and where they begin."""

    def __init__(self, handle: Iterator[bytes], path: Path) -> None:
        self._handle, self._path = handle, path
        self._raw: list[bytes] = []
        self.start, self._line, self.first = 0, 0, 1

    def __iter__(self) -> Iterator[str]:
        for raw in self._handle:
            self._line += 1
            if not self._raw:
                self.first = self._line
            self._raw.append(raw)
            try:
                text = raw.decode("utf-8-sig" if self._line == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{self._path.name}, line {self._line} is not text ({error}). Expected UTF-8. Save it so."
                ) from error
            yield text

    def taken(self) -> bytes:
        """The bytes since the last call."""
        raw, self._raw = b"".join(self._raw), []
        self.start += len(raw)
        return raw


@contextmanager
def _long_cells() -> Iterator[None]:
    """Let ``csv`` read cells as long as an image."""
    before = csv.field_size_limit(TEXT)
    try:
        yield
    finally:
        csv.field_size_limit(before)
