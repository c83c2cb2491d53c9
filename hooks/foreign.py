"""Features made elsewhere: plain ``.npy`` and ``.safetensors`` files beside a CSV of stimuli, read as a store is read.

Nothing is unpickled, and nothing of a file is read before it is looked at: one site at a time is in memory.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hooks.activations import Activations
from hooks.arrays import Array, npy, refuse_type, safetensors
from hooks.manifest import offsets
from stimuli.errors import InputError
from stimuli.readers.described import described

SITES, STIMULI = "sites.json", "stimuli.csv"
"""What an exported folder has beside its arrays."""
EXPECTED = "Expected a .npy file of shape (n, d) or (n, sites, d), a .safetensors file with a tensor (n, d) per site, or a folder of such files"
BLOCKS, BLOCK = 64, 65536
"""So many blocks of so many bytes of a file, evenly spread, go into its checksum: whole ones would read all of a large file."""


@dataclass(frozen=True, eq=False)
class Features:
    """Features by site and stimulus: what probing needs of a store (``hooks.store.Store``)."""

    path: Path
    config: Mapping[str, Any]
    """What they are of, as far as is known, with a checksum per file."""
    sites: tuple[str, ...]
    ids: tuple[str, ...]
    columns: tuple[str, ...]
    """Those of the CSV."""
    dead_ends: tuple[str, ...] = ()
    """The sites that the model's answer does not depend on, where it is known."""
    _arrays: Mapping[str, Array] = field(default_factory=dict, repr=False)
    _rows: Mapping[str, dict[str, Any]] = field(default_factory=dict, repr=False)

    def metadata(self, id: str) -> dict[str, Any]:
        """What the CSV says of a stimulus: ``Stimulus.metadata`` and the columns of the user's own."""
        return self._rows[id]

    def read(self, site: str) -> Activations:
        """The rows of one site, memory-mapped.

        Raises:
            InputError: there is no such site.
        """
        if site not in self.sites:
            raise InputError(f"There is no site '{site}' in {self.path}; it holds {', '.join(self.sites)}. Choose one of them.")
        bounds = self._arrays.get(offsets(site))
        return Activations(self.ids, self._arrays[site].open(), None if bounds is None else np.asarray(bounds.open()))


def read_features(path: str | Path, labels: str | Path | None = None, sites: Sequence[str] | None = None) -> Features:
    """Open features made elsewhere, to be probed as a store of Snellen's own is: ``sn.sweep(sn.read_features(…))``.

    Args:
        path: a ``.npy`` file of shape (n, d) or (n, sites, d), a ``.safetensors`` file with a tensor (n, d) per site, or a folder of
            such files, each named as its site; ``snellen export`` writes such folders.
        labels: CSV with a line per row of the arrays, in their order: ``id``, ``reference`` (the source image, by which is split and
            resampled), and what is known of the stimulus (``type`` or ``distortion``, ``level``, ``mos``, …, any column of your own).
            By default ``stimuli.csv`` in the folder.
        sites: names for the sites of a ``.npy`` file; ``vision.…``, ``projector`` and ``llm.…`` are known as parts of a model. By
            default the file's name, numbered where there are several.

    Raises:
        InputError: a file that cannot be read, is pickled, or of another shape or type; a CSV without the columns, or of another number
            of rows; two lines of one id.
    """
    path = Path(path)
    about = _about(path)
    arrays = _found(path, sites, about)
    file = _labels(path, labels)
    rows, columns = described(file)
    for site, array in arrays.items():
        _refuse_count(site, array, len(rows), file, arrays)
    named = tuple(site for site in arrays if not site.endswith(offsets("")))
    files = {array.file.name: _checksum(array.file) for array in arrays.values()}
    told = {key: value for key, value in about.items() if key != "sites"}
    config = {"model": {"name": path.name}, **told, "sites": list(named), "files": files}
    return Features(
        path, config, named, tuple(row["id"] for row in rows), columns, tuple(about.get("dead_ends", ())), arrays,
        {row["id"]: row for row in rows},
    )  # fmt: skip


def _labels(path: Path, labels: str | Path | None) -> Path:
    own = path / STIMULI
    if labels is None and not own.is_file():
        raise InputError(
            f"The features {path} come without a list of their stimuli. Expected a CSV with the columns 'id' and 'reference' and a line "
            f"per row{f', or {own}' if path.is_dir() else ''}. Give it (--labels, labels=…)."
        )
    return own if labels is None else Path(labels)


def _refuse_count(site: str, array: Array, count: int, labels: Path, arrays: Mapping[str, Array]) -> None:
    """As many rows as stimuli, or bounds for each.

    Raises:
        InputError: another number.
    """
    ragged, own = offsets(site) in arrays, site.endswith(offsets(""))
    rows = array.shape[0] - 1 if own else array.shape[0]
    if not ragged and rows != count:
        raise InputError(
            f"{labels} describes {count} stimuli, and '{site}' in {array.file} has {rows} rows. Expected one line per row, in the same "
            "order. Give the list that the features were made from."
        )
    if own:
        if site.removesuffix(offsets("")) not in arrays:
            raise InputError(f"'{site}' in {array.file} says where rows start, but their site is not there. Take it away.")
        bounds, whole = array.open(), arrays[site.removesuffix(offsets(""))].shape[0]
        if bounds[0] != 0 or bounds[-1] != whole or np.any(np.diff(bounds) < 0):
            raise InputError(
                f"'{site}' in {array.file} does not divide the {whole} rows of its site among {count} stimuli. Expected rising numbers "
                f"from 0 to {whole}. Export it again."
            )


# ---- files -----------------------------------------------------------------------------------------------------------


def _about(path: Path) -> dict[str, Any]:
    """What ``sites.json`` says, where a folder has one.

    Raises:
        InputError: it is not what ``snellen export`` writes.
    """
    file = path / SITES
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        for entry in content["sites"]:
            if not isinstance(entry["site"], str) or Path(entry["file"]).name != entry["file"]:
                raise ValueError(f"site {entry['site']!r:.60} is in {entry['file']!r:.60}")
        return dict(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} cannot be used ({type(error).__name__}: {error}). Expected sites, each with its name and a file of the same folder, as "
            "`snellen export` writes them. Export again, or take the file away: then every file is a site."
        ) from error


def _found(path: Path, names: Sequence[str] | None, about: Mapping[str, Any]) -> dict[str, Array]:
    """Every site's array, in order."""
    if path.is_dir():
        if names is not None:
            raise InputError(
                f"Got names of sites for the folder {path}, whose files are named. Leave them out, or rename the files."
            )
        found = _folder(path, about)
    elif not path.is_file():
        raise InputError(f"There are no features at {path}. {EXPECTED}. Check the path.")
    elif path.suffix.lower() == ".npy":
        found = npy(path, path.stem, names)
    elif path.suffix.lower() == ".safetensors":
        if names is not None:
            raise InputError(f"Got names of sites for {path}, whose tensors are named. Leave them out.")
        found = dict(safetensors(path))
    else:
        raise InputError(f"The file {path} is neither .npy nor .safetensors. {EXPECTED}. Save it as one of these.")
    for site, array in found.items():
        refuse_type(site, array)
    return found


def _folder(path: Path, about: Mapping[str, Any]) -> dict[str, Array]:
    files = sorted((file for file in path.iterdir() if file.suffix.lower() in (".npy", ".safetensors")), key=_natural)
    found: dict[str, Array] = {}
    named = {Path(entry["file"]).stem: entry["site"] for entry in about.get("sites", ()) if entry["file"].endswith(".npy")}
    for file in files:
        stem, mark = file.stem.removesuffix(offsets("")), file.stem.endswith(offsets(""))
        site = named.get(stem, stem)
        own = npy(file, offsets(site) if mark else site) if file.suffix.lower() == ".npy" else dict(safetensors(file))
        twice = found.keys() & own.keys()
        if twice:
            raise InputError(f"The site '{min(twice)}' is in two files of {path}. Expected each once. Take one of them away.")
        found |= own
    order = [site for entry in about.get("sites", ()) for site in (entry["site"], offsets(entry["site"])) if site in found]
    lost = [entry["site"] for entry in about.get("sites", ()) if entry["site"] not in found]
    if lost or not found:
        what = f"lacks {', '.join(lost)}, which its {SITES} names" if lost else "holds no .npy and no .safetensors file"
        raise InputError(f"The folder {path} {what}. {EXPECTED}. Check the path, or export again.")
    return {site: found[site] for site in dict.fromkeys((*order, *found))}


def _natural(path: Path) -> list[tuple[bool, int, str]]:
    """Numbers in names by their size: ``llm.2`` before ``llm.10``."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", path.name)]


def _checksum(path: Path) -> str:
    """Of a file's length and of blocks of it, 16 hexadecimal digits."""
    size = path.stat().st_size
    found = hashlib.sha256(str(size).encode())
    with open(path, "rb") as handle:
        for start in sorted({int(at) for at in np.linspace(0, max(size - BLOCK, 0), BLOCKS)}):
            handle.seek(start)
            found.update(handle.read(BLOCK))
    return found.hexdigest()[:16]
