"""Activations written for other tools: plain ``.npy`` or ``.safetensors`` files, ``stimuli.csv`` and ``sites.json``."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, Literal, Protocol

import numpy as np

from hooks import shards
from hooks.activations import Activations
from hooks.foreign import SITES, STIMULI
from hooks.manifest import offsets
from stimuli.errors import InputError
from stimuli.tables import Row, write_csv, write_json

FORMATS = ("npy", "safetensors")
NUMPY = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<f4", "I64": "<i8"}
"""How each type is written as ``.npy``, which has no bfloat16."""
WRITTEN = {kind: name for name, kind in shards.RAW.items()}
TOLD = ("model", "pool", "prompt", "modules", "dead_ends", "dtype", "seed")
"""What of a store's recipe goes along."""


class Exportable(Protocol):
    """What is exported: a store, or features made elsewhere."""

    config: Any

    @property
    def sites(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def ids(self) -> tuple[str, ...]: ...  # noqa: D102
    def read(self, site: str) -> Activations: ...  # noqa: D102
    def metadata(self, id: str) -> dict[str, Any]: ...  # noqa: D102


@dataclass(frozen=True)
class Exported:
    """What was written."""

    folder: Path
    sites: tuple[str, ...]
    stimuli: int
    bytes: int
    """Of the arrays."""


def export(
    store: Exportable, to: str | Path, format: Literal["npy", "safetensors"] = "npy", *, sites: Sequence[str] | None = None
) -> Exported:
    """Write activations as plain arrays, rows in the order of ``stimuli.csv``; a few megabytes are in memory at a time.

    With ``npy`` there is a file per site, named as it, and bfloat16 becomes float32; with ``safetensors`` there is one file,
    ``activations.safetensors``, a tensor per site, in the type that was stored. Where stimuli have several rows each, the array
    ``SITE#offsets`` (n + 1,) says where they start. The folder appears when it is whole. ``sn.read_features`` reads it back.

    Args:
        store: as ``sn.extract`` gives it, or ``hooks.store.Store(folder)``.
        to: folder to write; there must be none of this name, or an empty one.
        format: ``npy`` or ``safetensors``.
        sites: which; all by default.

    Raises:
        InputError: another format, a folder that is not empty, an unknown site, or no activations.
    """
    to, chosen = Path(to), tuple(sites or store.sites)
    if format not in FORMATS:
        raise InputError(f"Unknown format '{format}'. Expected one of {', '.join(FORMATS)}. Use one of these.")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise InputError(f"{to} is not empty. Expected a new folder, since nothing is overwritten. Give another name.")
    found = {site: store.read(site) for site in chosen}
    part = to.with_name(f".{to.name}-{secrets.token_hex(4)}.tmp")
    part.mkdir(parents=True)
    try:
        written = (_npy if format == "npy" else _safetensors)(part, found)
        write_csv([_line(store.metadata(id)) for id in store.ids], part / STIMULI)
        about = {key: store.config[key] for key in TOLD if key in store.config}
        write_json({"stimuli": len(store.ids), "format": format, **about, "sites": written}, part / SITES)
        if to.exists():
            to.rmdir()
        part.rename(to)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    size = sum(file.stat().st_size for file in to.iterdir() if file.suffix in (".npy", ".safetensors"))
    return Exported(to, chosen, len(store.ids), size)


def _entry(site: str, file: str, kind: str, own: Activations) -> Row:
    """What ``sites.json`` says of a site; ``rows`` where it is not one per stimulus."""
    rows, width = _shape(own)
    more = {} if own.offsets is None else {"rows": rows, "offsets": offsets(site)}
    return {"site": site, "file": file, "width": width, "dtype": kind, **more}


def _line(about: Mapping[str, Any]) -> Row:
    """A stimulus as a line that ``stimuli.readers.described`` reads back; what is empty stays empty."""
    kept = {key: value for key, value in about.items() if key not in ("type", "measured", "parts", "attributes")}
    nested = {key: json.dumps(about[key]) if about.get(key) else "" for key in ("measured", "parts", "attributes")}
    return {"id": kept.pop("id"), "reference": kept.pop("reference"), "distortion": about.get("type") or "", **kept, **nested}


# ---- arrays ----------------------------------------------------------------------------------------------------------


def _files(own: Activations) -> list[np.ndarray]:
    return [own.parts] if isinstance(own.parts, np.ndarray) else list(own.parts)


def _shape(own: Activations) -> tuple[int, ...]:
    parts = _files(own)
    return (sum(len(part) for part in parts), *parts[0].shape[1:])


def _kind(own: Activations) -> str:
    """The type as safetensors names it."""
    return WRITTEN[_files(own)[0].dtype.newbyteorder("<").str]


def _chunks(own: Activations, kind: np.dtype | str) -> Iterator[memoryview]:
    """The rows' bytes in order and of a type, a few megabytes at a time."""
    for part in _files(own):
        step = max(1, shards.CHUNK // max(1, prod(part.shape[1:]) * part.dtype.itemsize))
        for start in range(0, len(part), step):
            rows = part[start : start + step]
            rows = rows if np.dtype(kind) == np.uint16 else _widened(rows)
            yield np.ascontiguousarray(rows, kind).data.cast("B")


def _safetensors(folder: Path, found: Mapping[str, Activations]) -> list[Row]:
    """One file with a tensor per site."""
    parts: dict[str, shards.Part] = {}
    for site, own in found.items():
        kind = _kind(own)
        parts[site] = shards.Part(kind, _shape(own), _chunks(own, shards.RAW[kind]))
        if own.offsets is not None:
            bounds = np.ascontiguousarray(own.offsets, "<i8")
            parts[offsets(site)] = shards.Part("I64", bounds.shape, [bounds.data.cast("B")])
    name = "activations.safetensors"
    shards.write(folder / name, parts)
    return [_entry(site, name, parts[site].dtype, own) for site, own in found.items()]


def _npy(folder: Path, found: Mapping[str, Activations]) -> list[Row]:
    """A file per site."""
    written, taken = [], set[str]()
    for site, own in found.items():
        name = _name(site, taken)
        kind = np.dtype(NUMPY[_kind(own)])
        with open(folder / f"{name}.npy", "wb") as handle:
            _header(handle, kind, _shape(own))
            for chunk in _chunks(own, kind):
                handle.write(chunk)
        if own.offsets is not None:
            np.save(folder / f"{offsets(name)}.npy", np.asarray(own.offsets, "<i8"), allow_pickle=False)
        written.append(_entry(site, f"{name}.npy", kind.name, own))
    return written


def _header(handle: IO[bytes], kind: np.dtype, shape: tuple[int, ...]) -> None:
    """The beginning of a ``.npy`` file (NumPy's format, version 1.0)."""
    about = {"descr": kind.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(handle, about)


def _widened(rows: np.ndarray) -> np.ndarray:
    """bfloat16, kept as its bits, as float32."""
    return (rows.astype(np.uint32) << 16).view(np.float32) if rows.dtype == np.uint16 else rows


def _name(site: str, taken: set[str]) -> str:
    """A file name: the site's, in which only letters, digits and ``.+@-_`` stay, unlike every other also without regard to case."""
    plain = re.sub(r"[^A-Za-z0-9.+@_-]", "_", site).lstrip(".") or "_"
    name = next(own for own in (plain, *(f"{plain}-{i}" for i in range(2, 10_000))) if own.lower() not in taken)
    taken.add(name.lower())
    return name
