"""Sets of the package ``datasets`` as stimuli, where it is installed: a ``Dataset``, or a folder that ``save_to_disk`` wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from stimuli.encoded import from_bytes
from stimuli.errors import InputError
from stimuli.images import _orientation, _rgb, _upright, read_image
from stimuli.readers.labels import Line
from stimuli.readers.listed import COLUMNS, _stimulus
from stimuli.types import Stimulus, StimulusSet

EXPECTED = "Expected a datasets.Dataset, or a folder that its save_to_disk wrote"


class Tabular(Protocol):
    """What is used of a ``datasets.Dataset``."""

    @property
    def column_names(self) -> list[str]: ...  # noqa: D102
    def select_columns(self, column_names: list[str]) -> Any: ...  # noqa: D102
    def __len__(self) -> int: ...  # noqa: D105
    def __getitem__(self, key: int) -> Any: ...  # noqa: D105


@dataclass(frozen=True)
class Picture:
    """The image of a row, decoded when called."""

    data: Tabular = field(repr=False)
    """The set with this column alone."""
    place: int
    column: str
    name: str
    """As errors name it."""

    def __call__(self) -> np.ndarray:
        """The image as uint8 (H, W, 3), converted as ``stimuli.images.read_image`` does.

        Raises:
            InputError: there is none.
        """
        try:
            value = self.data[self.place][self.column]
        except (OSError, SyntaxError, ValueError, EOFError) as error:  # the set decodes the file itself
            raise InputError(
                f"The image of {self.name} cannot be read ({error}). Expected a whole image. Replace it."
            ) from error
        return _pixels(value, self.name)


def from_dataset(
    dataset: Tabular | str | Path,
    *,
    image: str = "image",
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    higher_is_better: bool = True,
    name: str | None = None,
) -> StimulusSet:
    """Stimuli of a set of Hugging Face's ``datasets``; images are decoded when they are looked at, nothing is downloaded.

    Columns that are called as those of ``from_csv`` (``id, reference, type, distortion, level, mos, …``) are taken as these; a missing
    ``id`` is the row's number, a missing ``reference`` the id. Further columns of text, numbers or truth become ``attributes``; numbers
    of a class feature become its names.

    Args:
        dataset: a ``Dataset``, or the folder of one.
        image: the column with the image: decoded, as bytes or path, an array (H, W, 3) of uint8, or the name of a file.
        split: which, of a set of several.
        columns: your columns by the names that ``from_csv`` has for them: ``{"type": "distortion_name", "reference": "source_image"}``.
        higher_is_better: whether a larger ``mos`` is a better image.
        name: of the set; by default the folder's, else ``dataset``.

    Raises:
        InputError: ``datasets`` is needed and not installed, no such folder, split or column, or a value that its column does not expect.
    """
    folder = Path(dataset) if isinstance(dataset, str | Path) else None
    data = opened(dataset if folder is None else folder, split)
    given = {ours: theirs for ours, theirs in (columns or {}).items()}
    wrong = [ours for ours in given if ours not in COLUMNS or ours in ("image", "mask")]
    lacking = [theirs for theirs in (image, *given.values()) if theirs not in data.column_names]
    if wrong or lacking:
        what = (
            f"no column {lacking[0]}; it has {', '.join(data.column_names)}" if lacking else f"nothing of the name {wrong[0]}"
        )
        raise InputError(
            f"The set has {what}. Expected an image column and, of columns=, names among {', '.join(COLUMNS[1:-1])}. Name them so."
        )
    renamed = {theirs: ours for ours, theirs in given.items()}
    called = name or ("dataset" if folder is None else folder.name)
    stimuli: list[Stimulus] = []
    alone = images_of(data, image)
    for place, row in enumerate(rows_of(data, image)):
        where = f"{called}, row {place}"
        own = {renamed.get(key, key): value for key, value in row.items()}
        stimuli.append(_made(own, place, where, Picture(alone, place, image, where), higher_is_better))
    extra = [key for key in data.column_names if key != image and renamed.get(key, key) not in COLUMNS]
    return StimulusSet(stimuli, called, {"dataset": called, "split": split, "rows": len(data), "extra_columns": extra})


def _made(own: Mapping[str, Any], place: int, where: str, picture: Picture, higher_is_better: bool) -> Stimulus:
    cells = {key: _text(value) for key, value in own.items() if key in COLUMNS and key != "mask"}
    cells["id"] = cells.get("id") or str(place)
    more = {
        key: _text(value) for key, value in own.items() if key not in COLUMNS and isinstance(value, str | int | float | bool)
    }
    made = _stimulus(Line(where, {**cells, "image": cells["id"], "mask": ""}), Path(), higher_is_better)
    source = made.source if cells.get("source") else "dataset"
    return replace(made, pixels=picture, source=source, attributes={**more, **made.attributes})


def _text(value: Any) -> str:
    """A value as the cell of a CSV."""
    if value is None or value != value:
        return ""
    return json.dumps(value) if isinstance(value, dict | list) else str(value).strip()


def opened(dataset: Any, split: str | None = None) -> Tabular:
    """A set, opened from its folder if need be, and of several splits the one that is asked for.

    Raises:
        InputError: ``datasets`` is not installed, no such folder, or no such split.
    """
    data = _loaded(dataset) if isinstance(dataset, Path) else dataset
    if isinstance(data, Mapping):
        chosen = split if split is not None else next(iter(data)) if len(data) == 1 else None
        if chosen not in data:
            raise InputError(
                f"The set has the splits {', '.join(map(str, data))}; got {split}. Expected one of them. Give split=."
            )
        data = data[chosen]
    if not all(hasattr(data, wanted) for wanted in ("column_names", "select_columns", "__len__", "__getitem__")):
        raise InputError(f"Got {type(data).__name__}. {EXPECTED}; a stream has no length. Load it whole.")
    return data


def _loaded(folder: Path) -> Any:
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}. {EXPECTED}. Check the path; nothing is downloaded.")
    try:
        datasets = import_module("datasets")
    except ImportError as error:
        raise InputError(
            f"Reading {folder} needs the package datasets, which is not installed. Install it: pip install datasets."
        ) from error
    try:
        return datasets.load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise InputError(f"The folder {folder} cannot be opened ({error}). {EXPECTED}. Save it again.") from error


def rows_of(data: Tabular, image: str) -> Iterator[dict[str, Any]]:
    """Everything of each row but the image, which is not decoded; numbers of a class feature as its names."""
    others = [name for name in data.column_names if name != image]
    names = {name: own for name in others if (own := _class_names(data, name))}
    table = data.select_columns(others) if others else None
    for place in range(len(data)):
        row = dict(table[place]) if table is not None else {}
        yield {
            key: names[key][value] if key in names and isinstance(value, int) and value >= 0 else value
            for key, value in row.items()
        }


def _class_names(data: Any, column: str) -> Sequence[str] | None:
    """The names of a ``ClassLabel``."""
    features = getattr(data, "features", None)
    feature = features.get(column) if isinstance(features, Mapping) else None
    names = getattr(feature, "names", None)
    return list(names) if isinstance(names, list | tuple) else None


def images_of(data: Tabular, column: str) -> Tabular:
    """The set with its column of images alone.

    Raises:
        InputError: there is no such column.
    """
    if column not in data.column_names:
        raise InputError(f"The set has no column {column}; it has {', '.join(data.column_names)}. Name the column of images.")
    return data.select_columns([column])


def _pixels(value: Any, name: str) -> np.ndarray:
    """An image in any of the forms that a set holds."""
    from PIL import Image

    if isinstance(value, Mapping):
        content, path = value.get("bytes"), value.get("path")
        if isinstance(content, bytes):
            return from_bytes(content, name)
        value = path
    if isinstance(value, Image.Image):
        return _upright(_rgb(value), _orientation(value))
    if isinstance(value, bytes):
        return from_bytes(value, name)
    if isinstance(value, str | Path) and str(value):
        return read_image(Path(value))
    array = np.asarray(value) if isinstance(value, np.ndarray | list) else None
    if (
        array is not None
        and array.ndim == 3
        and array.shape[2] == 3
        and (array.dtype == np.uint8 or array.min() >= 0 and array.max() <= 255)
    ):
        if np.array_equal(array, array.astype(np.uint8)):
            return array.astype(np.uint8)
    raise InputError(
        f"The image of {name} is {type(value).__name__}; expected an image, its file or bytes, or uint8 (H, W, 3). Convert it."
    )
