"""What is to be read from the activations: a label or a number per stimulus, joined by stimulus id."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from hooks.activations import Activations
from stimuli.errors import InputError
from stimuli.taxonomy import Taxonomy
from stimuli.taxonomy import taxonomy as load_taxonomy

Kind = Literal["classes", "numbers"]
Labels = Mapping[str, Any] | str | Path
"""Stimulus id to label, or a CSV file with a column ``id``."""
FEW = 10
"""A column of numbers with no more distinct values than this is taken as classes."""
TARGETS = ("distortion", "type", "level", "severity", "psnr", "ssim", "mos", "reference")
"""Those that need no labels of the user's own."""
IDENTICAL_DB = 100.0
"""The PSNR that stands for an identical image."""


class Readable(Protocol):
    """What probing needs of a store."""

    @property
    def sites(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def ids(self) -> tuple[str, ...]: ...  # noqa: D102
    def read(self, site: str) -> Activations: ...  # noqa: D102
    def metadata(self, id: str) -> dict[str, Any]: ...  # noqa: D102


@dataclass(frozen=True)
class Target:
    """One label or number per stimulus, and what the stimuli have in common."""

    name: str
    kind: Kind
    """``classes`` are told apart, ``numbers`` are predicted."""
    values: np.ndarray = field(repr=False)
    """(n,): class names, or float64."""
    groups: np.ndarray = field(repr=False)
    """(n,): the reference of each, over which is resampled."""
    held: np.ndarray = field(repr=False)
    """(n,): what is held out together; the reference, but for the target ``reference`` the distortion type."""
    ids: tuple[str, ...] = field(repr=False)
    dropped: int
    """Stimuli without a label."""

    @property
    def strata(self) -> np.ndarray:
        """(n,) names that folds are balanced over: the classes, or fifths of the numbers."""
        if self.kind == "classes":
            return self.values
        edges = np.quantile(self.values, (0.2, 0.4, 0.6, 0.8))
        return np.searchsorted(edges, self.values).astype(str)

    def rows(self, activations: Activations, site: str) -> np.ndarray:
        """The activations of the labelled stimuli, (n, d), float32 where they are stored so or in half precision.

        Raises:
            InputError: several rows per stimulus, a stimulus without a row, or rows that are not finite.
        """
        return rows_of(activations, self.ids, site)


def target_of(
    store: Readable,
    name: str = "distortion",
    taxonomy: str | Path = "paper8",
    labels: Labels | None = None,
    kind: Kind | None = None,
) -> Target:
    """The labels of a store's stimuli.

    Args:
        store: activations with the stimuli's metadata.
        name: ``distortion`` (the taxonomy's classes), ``type``, ``level`` (as classes), ``reference`` (which image it is, held out by
            type), the numbers ``psnr``, ``ssim`` (measured severity), ``severity`` (SSIM where every stimulus has it, else PSNR)
            and ``mos``; or a column of ``labels``, of the stimuli's attributes, of the user's own measures or other metadata.
        taxonomy: name or file.
        labels: the user's own, by stimulus id.
        kind: ``classes`` or ``numbers``; by default numbers with more than ``FEW`` distinct values are numbers.

    Raises:
        InputError: unknown target, labels that cannot be read, or fewer than two different values.
    """
    found = _found(store, name, taxonomy, labels)
    kept = [value is not None for value in found]
    given = [value for value in found if value is not None]
    numbers = [_number(value) for value in given]
    if kind is None:
        plain = all(number is not None for number in numbers)
        kind = "numbers" if plain and name not in ("level", "reference") and len(set(numbers)) > FEW else "classes"
    if kind == "numbers" and any(number is None for number in numbers):
        wrong = next(value for value, number in zip(given, numbers, strict=True) if number is None)
        raise InputError(
            f"The target '{name}' has the value {wrong!r}; expected numbers. Leave out kind='numbers', or mend the column."
        )
    values = np.array(numbers, float) if kind == "numbers" else np.array([str(value) for value in given])
    if len(np.unique(values)) < 2:
        raise InputError(
            f"The target '{name}' needs at least two classes among the stimuli, got {sorted(set(values.tolist())) or 'none'}. "
            "Show distorted versions (sn.stimuli.distorted_set) or give their types in a CSV."
        )
    ids = tuple(id for id, keep in zip(store.ids, kept, strict=True) if keep)
    about = [store.metadata(id) for id in ids]
    groups = np.array([row["reference"] for row in about])
    held = np.array([row.get("type") or "clean" for row in about]) if name == "reference" else groups
    return Target(name, kind, values, groups, held, ids, len(kept) - len(ids))


def rows_of(activations: Activations, ids: tuple[str, ...], site: str) -> np.ndarray:
    """The rows of some stimuli, in their order; see ``Target.rows``."""
    if activations.offsets is not None:
        raise InputError(
            f"At site '{site}' every stimulus has several rows (tokens); a probe needs one. Extract with pool='mean', 'max', "
            "'last', 'cls' or 'grid:G'."
        )
    at = {id: row for row, id in enumerate(activations.ids)}
    missing = [id for id in ids if id not in at]
    if missing:
        raise InputError(
            f"'{site}' lacks {len(missing)} of {len(ids)} stimuli (first: {missing[0]}). Extract it on the same set."
        )
    same = activations.ids == ids
    values = np.asarray(activations.values if same else activations.values[[at[id] for id in ids]])
    values = values if values.dtype == np.float64 else values.astype(np.float32, copy=False)
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(wrong):
        raise InputError(
            f"At site '{site}': {len(wrong)} of {len(ids)} activation rows hold NaN or infinity (stimuli "
            f"{', '.join(ids[row] for row in wrong[:3])}). Extract in float32, or look at these stimuli."
        )
    return values


def _found(store: Readable, name: str, taxonomy: str | Path, labels: Labels | None) -> list[Any]:
    """A value per stimulus, None where there is none."""
    if labels is not None:
        own = _read(labels, name) if isinstance(labels, str | Path) else labels
        return [_given(own.get(id)) for id in store.ids]
    about = [store.metadata(id) for id in store.ids]
    if name in ("distortion", "type", "level"):
        chosen = load_taxonomy(taxonomy)
        return [_told(row, name, chosen) for row in about]
    if name == "severity":
        name = "ssim" if all(row.get("ssim") is not None for row in about) else "psnr"
    if name == "psnr":
        return [value if (value := _given(row.get("psnr"))) is not None and value < IDENTICAL_DB else None for row in about]
    reading = next((read for read in PLACES if any(read(row, name) is not None for row in about)), None)
    if reading is None:
        known = sorted(
            {*TARGETS, *(key for row in about for place in ("attributes", "measured") for key in row.get(place) or {})} - {name}
        )
        raise InputError(
            f"Unknown target '{name}', or no stimulus has it. Expected one of {', '.join(known)}, or a column of your own. "
            "Use one of these, or give labels by stimulus id."
        )
    return [reading(row, name) for row in about]


def _within(place: str) -> Callable[[Mapping[str, Any], str], Any]:
    return lambda row, name: _given((row.get(place) or {}).get(name))


PLACES: Sequence[Callable[[Mapping[str, Any], str], Any]] = (
    lambda row, name: _given(row.get(name)) if not isinstance(row.get(name), dict | list) else None,
    _within("attributes"),
    _within("measured"),
)
"""Where a column may stand in a stimulus's metadata, in this order."""


def _told(known: Mapping[str, Any], name: str, taxonomy: Taxonomy) -> str | None:
    """Class, type or level of a stimulus that the taxonomy knows."""
    told: dict[str, Any] = {
        "parts": known.get("parts") or (),
        "source": known.get("source"),
        "parameter": known.get("signed_param"),
    }
    label = taxonomy.label_of(known["type"], bool(known.get("is_identity")), known.get("level"), **told)
    if label is None or name == "distortion":
        return label
    if name == "type" or known["type"] is None:
        return known["type"] or label
    return f"level {known['level']}" if known["level"] is not None else None


def _given(value: Any) -> Any:
    """None for what is empty or no number."""
    return None if value is None or value == "" or (isinstance(value, float) and math.isnan(value)) else value


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and not isinstance(value, bool) else None


def _read(file: str | Path, column: str) -> dict[str, str]:
    """Id to cell of a column of a CSV file."""
    path = Path(file)
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            lines = csv.DictReader(handle)
            names = lines.fieldnames or []
            if "id" not in names or column not in names:
                raise InputError(
                    f"{path} has the columns {', '.join(names) or 'none'}; expected 'id' and '{column}'. Name them so."
                )
            return {line["id"]: line[column] for line in lines}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"The labels {path} cannot be read ({error}). Expected a CSV file with the columns 'id' and '{column}'."
        ) from error
