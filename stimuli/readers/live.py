"""LIVE release 2: 29 references, 779 distorted images (Sheikh, Sabir and Bovik, IEEE Trans. Image Processing 15(11), 2006)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stimuli.errors import InputError
from stimuli.readers.assemble import Choices, Dataset, Row, assemble
from stimuli.readers.files import Files, root
from stimuli.readers.labels import number
from stimuli.readers.matlab import read_mat
from stimuli.readers.names import LIVE
from stimuli.types import StimulusSet

COUNTS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
"""Images per folder, ``img1.bmp`` and on, in the order of the arrays; undistorted repetitions included."""
TOTAL = sum(COUNTS.values())
NAMES, REALIGNED, RAW = "refnames_all.mat", "dmos_realigned.mat", "dmos.mat"
LAYOUT = f"{NAMES}, {REALIGNED} (or {RAW}), refimgs/ and jp2k/, jpeg/, wn/, gblur/, fastfading/ with img1.bmp, …"


def live(
    path: str | Path, *, references: bool = True, strict: bool = False, check: bool = True, progress: bool = False
) -> StimulusSet:
    """LIVE release 2 as published: its ``.mat`` files and image folders.

    DMOS runs from about 0 to 100, lower is better: ``mos`` is its negative. The realigned scores are read where they are there,
    and only they have standard deviations. Of the 982 entries 203 are references shown again (``orgs`` is 1); they are left out
    and counted. File names tell no level, so ``level`` is None.

    Args:
        path: the folder that holds ``refnames_all.mat`` (``databaserelease2``), the one above, or one of its image folders.
        references: whether to include the 29 clean images, which have no score.
        strict: raise on a missing or unreadable image, which is otherwise told in ``info``.
        check: look over the headers of all images.
        progress: show a progress bar.

    Raises:
        InputError: not LIVE's folder, arrays of another name or length, or (strict) a missing or unreadable image.
    """
    folder = root(path, [NAMES], "LIVE release 2", LAYOUT)
    files = Files(folder)
    scores, stds, original, source = _scores(files)
    names = _array(files.need(NAMES), "refnames_all")
    if not all(isinstance(name, str) for name in names):
        raise InputError(f"{NAMES} holds other things than names of files. Expected LIVE's. Fetch the dataset again.")
    rows, repeated = [], []
    places = [(kind, f"{kind}/img{i}.bmp") for kind, count in COUNTS.items() for i in range(1, count + 1)]
    for index, (kind, image) in enumerate(places):
        if original[index]:
            repeated.append(image)
            continue
        reference = f"refimgs/{names[index].strip()}"
        where = f"{source}, entry {index + 1}"
        std = None if stds is None else number(str(stds[index]), "dmos_std", where)
        rows.append(Row(image, reference, LIVE[kind], None, number(str(scores[index]), "dmos", where), std, where=where))
    images = Files(folder, deep=True)
    unit = "difference mean opinion score, about 0 to 100"
    return assemble(
        Dataset("live", images, images, unit, 779, higher_is_better=False, expected_references=29, ignored=repeated),
        rows,
        sorted({row.reference for row in rows}),
        Choices(references, strict, check, progress),
        {"scores": source, "repeated_references": len(repeated)},
    )


def _scores(files: Files) -> tuple[list[Any], list[Any] | None, list[Any], str]:
    """Scores, their standard deviations where known, whether each entry is undistorted, and the name of their file."""
    realigned = files.find(REALIGNED)
    if realigned is None:
        raw = files.need(RAW)
        return _array(raw, "dmos"), None, _array(raw, "orgs"), raw.name
    return _array(realigned, "dmos_new"), _array(realigned, "dmos_std"), _array(realigned, "orgs"), realigned.name


def _array(path: Path, name: str) -> list[Any]:
    """The 982 entries of one array of a ``.mat`` file.

    Raises:
        InputError: it cannot be read, has no such array, or one of another length.
    """
    try:
        content = {
            key: list(np.ravel(value)) if isinstance(value, np.ndarray) else value for key, value in read_mat(path).items()
        }
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}). Expected a MATLAB file. Fetch the dataset again.") from error
    sizes = {key: len(value) if isinstance(value, list) else 1 for key, value in content.items()}
    if sizes.get(name) != TOTAL:
        shown = ", ".join(f"{key} with {size}" for key, size in sizes.items()) or "nothing"
        raise InputError(f"{path} holds {shown}. Expected {name} with {TOTAL} entries. Fetch the dataset again.")
    return list(content[name])
