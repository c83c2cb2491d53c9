"""Arrays of numbers and texts in a MATLAB file of level 5, read with every length looked at before it is believed.

SciPy's ``loadmat`` reads more, but its parser, written in C, crashes the process at some broken files. Layout: MathWorks, "MAT-File Format",
version 5: elements of a tag (type, bytes) and data, of which some are compressed by zlib, and matrices are made of elements again.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

HEADER = 128
LARGEST = 64 * 2**20
"""Bytes that compressed data may become."""
DEEPEST = 3
"""Cells within cells."""
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXTS = {1: "latin-1", 2: "latin-1", 3: "utf-16", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
MATRIX, COMPRESSED = 14, 15
CELL, CHAR, NUMERIC = 1, 4, range(6, 16)
COMPLEX = 0x08
Element = tuple[int, memoryview]


def read_mat(path: Path) -> dict[str, Any]:
    """The named arrays of a file.

    Args:
        path: a MATLAB file of level 5, compressed (MATLAB's version 7) or not.

    Returns:
        Name → an array of numbers in its shape, a text for a row of characters, a list of texts for several, a flat list for cells, in
        MATLAB's order (columns first); of other kinds (structures, objects, sparse and complex arrays) None.

    Raises:
        ValueError: it is no such file, or damaged; the message says how.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise ValueError("it has no header of MATLAB's, level 5")
    return dict(_named(element, order) for element in _elements(memoryview(data)[HEADER:], order))


def _elements(data: memoryview, order: str) -> Iterator[Element]:
    """Type and data of one element after another."""
    while len(data):
        if len(data) < 8:
            raise ValueError("it ends within a tag")
        kind, size = struct.unpack(f"{order}II", data[:8])
        short = kind >> 16
        start, (kind, size) = (4, (kind & 0xFFFF, short)) if short else (8, (kind, size))
        if start + size > (8 if short else len(data)):
            raise ValueError(f"an element of {size} bytes is longer than what is left")
        yield kind, data[start : start + size]
        data = data[8 if short else 8 + size if kind == COMPRESSED else 8 + -(-size // 8) * 8 :]


def _named(element: Element, order: str) -> tuple[str, Any]:
    kind, data = element
    if kind == COMPRESSED:
        unpacked = zlib.decompressobj()
        try:
            whole = unpacked.decompress(data, LARGEST)
        except zlib.error as error:
            raise ValueError(f"compressed data are damaged: {error}") from error
        if unpacked.unconsumed_tail:
            raise ValueError(f"compressed data become more than {LARGEST} bytes")
        kind, data = next(_elements(memoryview(whole), order), (0, memoryview(b"")))
    if kind != MATRIX:
        raise ValueError(f"an element of type {kind} stands where an array is expected")
    return _matrix(data, order, 0)


def _matrix(data: memoryview, order: str, depth: int) -> tuple[str, Any]:
    """Name and value of an array."""
    if depth > DEEPEST:
        raise ValueError(f"cells are nested more than {DEEPEST} deep")
    if not len(data):  # an empty cell
        return "", np.empty((0, 0))
    parts = list(_elements(data, order))
    if len(parts) < 3 or [kind for kind, _ in parts[:3]] != [6, 5, 1]:
        raise ValueError("an array lacks its flags, shape or name")
    flags, shape = (_numbers(part, order) for part in parts[:2])
    name, rest = bytes(parts[2][1]).decode("latin-1"), parts[3:]
    if not len(flags):
        raise ValueError("an array has no class")
    number, count = int(flags[0]) & 0xFF, _count(shape)
    if number == CELL:
        if len(rest) != count or any(kind != MATRIX for kind, _ in rest):
            raise ValueError(f"{name} holds {len(rest)} cells; {count} are told of")
        return name, [_matrix(cell, order, depth + 1)[1] for _, cell in rest]
    if number == CHAR:
        return name, _text(rest, shape, order)
    if number not in NUMERIC or (int(flags[0]) >> 8) & COMPLEX:
        return name, None
    values = _numbers(rest[0], order) if rest else np.empty(0)
    if len(values) != count:
        raise ValueError(f"{name} holds {len(values)} numbers; {count} are told of")
    return name, values.reshape(shape, order="F")


def _count(shape: np.ndarray) -> int:
    count = 1
    for size in shape.tolist():
        if size < 0:
            raise ValueError(f"an array has a side of {size}")
        count *= size
    return count


def _numbers(element: Element, order: str) -> np.ndarray:
    kind, data = element
    if kind not in NUMBERS or len(data) % np.dtype(NUMBERS[kind]).itemsize:
        raise ValueError(f"{len(data)} bytes of type {kind} are no numbers")
    return np.frombuffer(data, order + NUMBERS[kind])


def _text(rest: list[Element], shape: np.ndarray, order: str) -> str | list[str]:
    """The one row of an array of characters, or its rows."""
    if not rest:
        return ""
    kind, data = rest[0]
    code = TEXTS.get(kind)
    if code is None:
        raise ValueError(f"an element of type {kind} is no text")
    text = bytes(data).decode(code if "-8" in code or code == "latin-1" else code + {"<": "-le", ">": "-be"}[order])
    if len(shape) != 2 or len(text) != _count(shape):
        raise ValueError(f"a text of {len(text)} characters has a shape of {shape.tolist()}")
    if not text:
        return ""
    rows = [text[row :: int(shape[0])] for row in range(int(shape[0]))]
    return rows[0] if len(rows) == 1 else rows
