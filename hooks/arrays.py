"""Plain arrays in files, ``.npy`` and ``.safetensors``: looked over by their headers, memory-mapped, never unpickled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hooks import shards
from hooks.manifest import offsets
from stimuli.errors import InputError

FLOATS = ("float16", "float32", "float64", "bfloat16")
SAFE = {"F16": "float16", "F32": "float32", "F64": "float64", "BF16": "bfloat16"}


@dataclass(frozen=True)
class Array:
    """One site's rows in a file."""

    file: Path
    shape: tuple[int, ...]
    dtype: str
    open: Callable[[], np.ndarray] = field(repr=False)
    """Memory-mapped; bfloat16 as its bits."""


def npy(path: Path, name: str, names: Sequence[str] | None = None) -> dict[str, Array]:
    """An array as one site, or as many as its middle axis has.

    Raises:
        InputError: no plain array, another shape, or another number of names.
    """
    whole = _mapped(path)
    if whole.ndim not in (2, 3) and not name.endswith(offsets("")):
        raise InputError(f"The array in {path} has the shape {whole.shape}; expected (n, d) or (n, sites, d). Reshape it.")
    count = whole.shape[1] if whole.ndim == 3 else 1
    given = names or ([name] if whole.ndim < 3 else [f"{name}.{i}" for i in range(count)])
    if len(given) != count or len(set(given)) != count:
        raise InputError(
            f"Got {len(given)} names of sites ({', '.join(given)}) for the array in {path}, which has {count} of shape {whole.shape}. "
            "Expected one for each, all different."
        )
    shape = whole.shape if whole.ndim < 3 else (whole.shape[0], whole.shape[2])
    kind = str(whole.dtype.newbyteorder("="))
    return {site: Array(path, shape, kind, _Reading(path, i if whole.ndim == 3 else None)) for i, site in enumerate(given)}


@dataclass(frozen=True)
class _Reading:
    """Opens a ``.npy`` file, or one slice of its middle axis."""

    path: Path
    place: int | None

    def __call__(self) -> np.ndarray:
        whole = _mapped(self.path)
        return whole if self.place is None else whole[:, self.place]


def _mapped(path: Path) -> np.ndarray:
    """Memory-map an array; objects are refused, because they would have to be unpickled."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # a header is spelt as Python, and fails as that does
        raise InputError(
            f"{path} cannot be read as an array ({error}). Expected a whole .npy file as np.save writes it of numbers: no pickled objects, "
            "no archive. Save it again."
        ) from error


def safetensors(path: Path) -> Iterator[tuple[str, Array]]:
    """The tensors of a file, as its header has them; the library checks that header against the file.

    Raises:
        InputError: it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as handle:
            about = {name: handle.get_slice(name) for name in getattr(handle, "offset_keys", handle.keys)()}
            entries = {name: {"dtype": own.get_dtype(), "shape": list(own.get_shape())} for name, own in about.items()}
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path} cannot be read ({error}). Expected a whole .safetensors file. Save or fetch it again."
        ) from error
    for name, entry in entries.items():
        kind = SAFE.get(entry["dtype"], entry["dtype"])
        if len(entry["shape"]) != 2 and not name.endswith(offsets("")):
            raise InputError(
                f"The tensor '{name}' in {path} has the shape {tuple(entry['shape'])}; expected (n, d), one tensor per site. Reshape it."
            )
        yield name, Array(path, tuple(entry["shape"]), "int64" if kind == "I64" else kind, _Tensor(path, name, entry))


@dataclass(frozen=True)
class _Tensor:
    """Opens one tensor of a ``.safetensors`` file."""

    path: Path
    name: str
    entry: Mapping[str, Any]

    def __call__(self) -> np.ndarray:
        try:
            return shards.mapped(self.path, self.name, self.entry)
        except (OSError, ValueError) as error:
            raise InputError(f"'{self.name}' in {self.path} cannot be read ({error}). Save or fetch the file again.") from error


def refuse_type(site: str, array: Array) -> None:
    """Rows of floating-point numbers, or bounds that are whole numbers.

    Raises:
        InputError: something else.
    """
    bounds = site.endswith(offsets(""))
    if array.dtype not in (("int64",) if bounds else FLOATS):
        raise InputError(
            f"'{site}' in {array.file} has the type {array.dtype}; expected one of {', '.join(FLOATS)}. Convert it: "
            "array.astype('float32')."
        )
    if bounds and len(array.shape) != 1 or not all(array.shape):
        raise InputError(f"'{site}' in {array.file} has the shape {array.shape}; expected rows and columns. Make it anew.")
