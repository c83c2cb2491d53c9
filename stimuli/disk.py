"""A set written to disk, so that any other tool can use it: PNG files, ``stimuli.csv`` and ``set.json``."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stimuli.errors import InputError
from stimuli.progress import tqdm
from stimuli.tables import Row, read_json, write_csv, write_json
from stimuli.taxonomy import Taxonomy
from stimuli.types import Stimulus, StimulusSet

LONG = 180
"""Characters of a file name; longer ids are cut and end in a checksum."""
TABLE, ABOUT = "stimuli.csv", "set.json"


def save(
    stimuli: StimulusSet, out: str | Path, *, taxonomy: Taxonomy | None = None, workers: int = 1, progress: bool = False
) -> Path:
    """Write a set as ``images/*.png`` (lossless, pixels as they are), ``masks/*.png`` where there are masks, and tables.

    ``from_csv`` reads it back with everything that is known. A killed run goes on: images that are there are kept.

    Args:
        stimuli: the set.
        out: folder to write.
        taxonomy: adds a column ``class``.
        workers: processes that make and write images.
        progress: show a progress bar.

    Returns:
        The path of ``stimuli.csv``, whose columns are image, id, reference, distortion, level and so on; written last.

    Raises:
        InputError: the folder holds another set, two ids would give the same file name, or an image cannot be read.
    """
    out = Path(out)
    names = _names(stimuli)
    _refuse_other(stimuli, out)
    write_json({"name": stimuli.name, "info": stimuli.info, "ids": [s.id for s in stimuli]}, out / ABOUT)
    jobs = [(s, out, name) for s, name in zip(stimuli, names, strict=True)]
    made = (_write(*job) for job in jobs) if workers == 1 else _elsewhere(jobs, workers)
    rows = list(tqdm(made, desc="write images", total=len(jobs), disable=not progress))
    if taxonomy is not None:
        rows = [{**row, "class": taxonomy.label(s) or ""} for row, s in zip(rows, stimuli, strict=True)]
    return write_csv(rows, out / TABLE)


def _elsewhere(jobs: list[tuple[Stimulus, Path, str]], workers: int) -> Iterator[Row]:
    from joblib import Parallel, delayed

    run = Parallel(workers, return_as="generator", pre_dispatch="4*n_jobs", batch_size=8)
    return iter(run(delayed(_write)(*job) for job in jobs))


def _write(stimulus: Stimulus, out: Path, name: str) -> Row:
    """Write one stimulus, unless it is there; its row of the table."""
    row: Row = {"image": f"images/{name}.png", "id": stimulus.id, "reference": stimulus.reference}
    _png(out / row["image"], lambda: stimulus.image)
    about = stimulus.metadata()
    row |= {"distortion": about.pop("type") or "", "level": about.pop("level")}
    row |= {key: value for key, value in about.items() if key not in ("id", "reference", "measured", "parts", "attributes")}
    row |= {key: json.dumps(about[key]) if about[key] else "" for key in ("measured", "parts", "attributes")}
    row["mask"] = ""
    if stimulus.area is not None:
        row["mask"] = f"masks/{name}.png"
        _png(out / row["mask"], lambda: np.asarray(stimulus.mask, np.uint8) * 255)
    return row


def _png(path: Path, pixels: Any) -> None:
    """Write a PNG by way of a temporary neighbour, so that a file that is there is whole."""
    from PIL import Image

    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    Image.fromarray(pixels()).save(temporary, format="PNG")
    os.replace(temporary, path)


def _names(stimuli: StimulusSet) -> list[str]:
    """A file name per stimulus: its id, in which only letters, digits and ``.+@-_`` stay, cut where it is long.

    Raises:
        InputError: two ids become one name, also on systems that do not tell upper from lower case.
    """
    names = [_name(s.id) for s in stimuli]
    seen: dict[str, str] = {}
    for stimulus, name in zip(stimuli, names, strict=True):
        other = seen.setdefault(name.lower(), stimulus.id)
        if other != stimulus.id:
            raise InputError(
                f"The ids '{other}' and '{stimulus.id}' would both become the file '{name}.png'. Rename one of them."
            )
    return names


def _name(id: str) -> str:
    name = re.sub(r"[^A-Za-z0-9.+@_-]", "_", id).lstrip(".") or "_"
    return name if len(name) <= LONG else f"{name[:LONG]}-{hashlib.sha256(id.encode(errors='surrogatepass')).hexdigest()[:12]}"


def _refuse_other(stimuli: StimulusSet, out: Path) -> None:
    """A folder that holds another set is left alone.

    Raises:
        InputError: it does.
    """
    if not (out / ABOUT).is_file():
        if (out / TABLE).exists():
            raise InputError(f"{out} holds a {TABLE} that was not written here. Choose another folder, or remove the file.")
        return
    found = read_json(out / ABOUT, "what `snellen stimuli` wrote")
    wanted = json.loads(json.dumps({"name": stimuli.name, "info": stimuli.info, "ids": [s.id for s in stimuli]}, default=str))
    if found != wanted:
        raise InputError(
            f"{out} holds another set ('{found.get('name')}', {len(found.get('ids', []))} stimuli; this one is '{stimuli.name}', "
            f"{len(stimuli)}). Choose another folder, or remove that one."
        )
