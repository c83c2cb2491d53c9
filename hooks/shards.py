"""One safetensors file of activations: written whole or not at all, checked tensor by tensor, read by memory map.

The file is written here rather than by the library because tensors stream through: several files become one without being
held in memory, and checksums are taken on the way. https://huggingface.co/docs/safetensors describes the format: eight bytes
of header length, a JSON header of names, types, shapes and offsets, the data.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

BYTES = 256 * 1024**2
"""No file of several stimuli is larger."""
DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.float64: "F64", torch.int64: "I64"}
RAW = {"F32": "<f4", "BF16": "<u2", "F16": "<f2", "F64": "<f8", "I64": "<i8"}
"""How NumPy sees each type; it has no bfloat16, whose bits are kept as they are."""
CHUNK = 4 * 1024**2
_CHECKED: set[tuple[Any, ...]] = set()
"""Tensors, as they lie in files that have not changed since, whose checksums were found to hold."""


@dataclass(frozen=True)
class Part:
    """One tensor to be written: its type, its shape, and its bytes in order."""

    dtype: str
    shape: tuple[int, ...]
    chunks: Iterable[Any]

    @property
    def size(self) -> int:
        """Bytes."""
        return prod(self.shape) * np.dtype(RAW[self.dtype]).itemsize


def part(value: torch.Tensor) -> Part:
    """A tensor in memory, to be written."""
    flat = value.detach().cpu().contiguous()
    return Part(DTYPES[flat.dtype], tuple(flat.shape), [flat.reshape(-1).view(torch.uint8).numpy().data])


def write(path: Path, parts: Mapping[str, Part]) -> dict[str, dict[str, Any]]:
    """Write a file under a temporary name, sync and rename it; what failed half-way is removed.

    Returns:
        What the manifest says of each tensor: file, type, shape and CRC-32.

    Raises:
        OSError: the disk is full, or the folder is gone.
    """
    head = _head({name: (one.dtype, one.shape, one.size) for name, one in parts.items()})
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as handle:
            handle.write(head)
            sums = {name: _stream(handle, one.chunks) for name, one in parts.items()}
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        size = len(head) + sum(one.size for one in parts.values())
        if path.stat().st_size != size:  # as on network file systems, whose renames may be copies
            raise OSError(errno.EIO, f"renamed, it has {path.stat().st_size} of {size} bytes", str(path))
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)
    return {
        name: {"file": path.name, "dtype": one.dtype, "shape": list(one.shape), "crc32": sums[name]}
        for name, one in parts.items()
    }


def _head(tensors: Mapping[str, tuple[str, Sequence[int], int]]) -> bytes:
    """What stands in front of the data: of each tensor its type, shape and size in bytes are given."""
    header, start = {}, 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, start + size]}
        start += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _stream(handle: Any, chunks: Iterable[Any]) -> int:
    total = 0
    for chunk in chunks:
        handle.write(chunk)
        total = zlib.crc32(chunk, total)
    return total


def sync(folder: Path) -> None:
    """Make renames in a folder outlast a power cut, where the system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def place(path: Path, name: str, entry: Mapping[str, Any]) -> int:
    """Where a tensor's bytes start in its file.

    Raises:
        OSError: no such file.
        ValueError: the file's header is not what the manifest says.
    """
    with open(path, "rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if length > os.fstat(handle.fileno()).st_size:
            raise ValueError("its header is damaged")
        try:
            found = json.loads(handle.read(length))[name]
            same = found["dtype"] == entry["dtype"] and list(found["shape"]) == list(entry["shape"])
            first, last = found["data_offsets"]
            start, same = 8 + length + int(first), same and last - first == size_of(entry)
        except (KeyError, TypeError, ValueError, RecursionError, OverflowError) as error:
            raise ValueError("its header is damaged") from error
    if not same:
        raise ValueError("its header is damaged")
    return start


def size_of(entry: Mapping[str, Any]) -> int:
    """Bytes of a tensor, from what the manifest says of it."""
    return prod(entry["shape"]) * np.dtype(RAW[entry["dtype"]]).itemsize


def mapped(path: Path, name: str, entry: Mapping[str, Any]) -> np.ndarray:
    """Memory-map one tensor, read-only, in the type that ``RAW`` gives; nothing else of the file is read.

    Raises:
        OSError, ValueError: as ``place``, or the file is too short.
    """
    start, shape = place(path, name, entry), tuple(entry["shape"])
    kind = np.dtype(RAW[entry["dtype"]])
    return np.memmap(path, kind, "r", start, shape) if prod(shape) else np.empty(shape, kind)


def chunks(path: Path, name: str, entry: Mapping[str, Any]) -> Iterator[bytes]:
    """A tensor's bytes, a few megabytes at a time."""
    left = size_of(entry)
    with open(path, "rb") as handle:
        handle.seek(place(path, name, entry))
        while left:
            data = handle.read(min(CHUNK, left))
            if not data:
                raise ValueError("it is truncated")
            left -= len(data)
            yield data


def check(value: np.ndarray, path: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Compare a mapped tensor with its checksum; once per process, as long as the file stays the same.

    Raises:
        ValueError: it differs.
    """
    key = (path, name, entry["crc32"], *_state(path))
    if key in _CHECKED:
        return
    total, flat = 0, np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    for start in range(0, flat.size, CHUNK):
        total = zlib.crc32(flat[start : start + CHUNK].data, total)
    if total != entry["crc32"]:
        raise ValueError("it does not match its checksum")
    if len(key) > 3:
        _CHECKED.add(key)


def _state(path: Path) -> tuple[int, ...]:
    """What changes when a file does; nothing of one that is gone, which a map still holds."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns, status.st_ino


def beginning(path: Path, entries: Mapping[str, Mapping[str, Any]]) -> str | None:
    """What is wrong with a file's header and length, in a few words; None if nothing is.

    Args:
        path: of the file.
        entries: all of its tensors in order, as the manifest says.
    """
    head = _head({name: (entry["dtype"], entry["shape"], size_of(entry)) for name, entry in entries.items()})
    try:
        with open(path, "rb") as handle:
            found, size = handle.read(len(head)), os.fstat(handle.fileno()).st_size
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error})"
    wanted = len(head) + sum(map(size_of, entries.values()))
    if size != wanted:
        return f"has {size} bytes instead of {wanted}"
    return None if found == head else "cannot be read (its header is damaged)"


def damage(path: Path, name: str, entry: Mapping[str, Any]) -> str | None:
    """What is wrong with a tensor on disk, in a few words; None if its checksum holds."""
    try:
        total = 0
        for data in chunks(path, name, entry):
            total = zlib.crc32(data, total)
    except FileNotFoundError:
        return "is missing"
    except (OSError, ValueError) as error:
        return f"cannot be read ({error})"
    return None if total == entry["crc32"] else "does not match its checksum"
