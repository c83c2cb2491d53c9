"""Answers to the same images again and again, as (images, times) arrays: checked, and resampled by reference.

Sums over each reference are taken once; a resample weights them by how often each reference is drawn, so that any statistic of
sums costs one row of a matrix product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from analysis.parsing import UNPARSED
from probes.intervals import Interval, group_counts, interval, resamples
from stimuli.errors import InputError


@dataclass(frozen=True)
class Resampled:
    """The groups of n images and how often each group counts: in the sample itself, then in every resample."""

    number: np.ndarray
    """Group number of each image, int (n,)."""
    weights: np.ndarray
    """float (1 + n_boot, groups); the first row is all ones."""

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums of the columns of ``values`` (n, c), float (1 + n_boot, c)."""
        total = np.zeros((self.weights.shape[1], values.shape[1]))
        np.add.at(total, self.number, values)
        return np.asarray(self.weights @ total)

    def means(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Means of named values (n,), float (1 + n_boot,) each; NaN rows are left out."""
        rows = np.stack([np.asarray(row, float) for row in values.values()], axis=1)
        known = np.isfinite(rows)
        found = divide(self.sums(np.where(known, rows, 0)), self.sums(known))
        return dict(zip(values, found.T, strict=True))

    def pair_means(self, values: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Mean over pairs of different images, float (1 + n_boot,): a pair counts as often as both its images are drawn.

        Args:
            values: (pairs,).
            first: rows of one image of each pair, int (pairs,).
            second: rows of the other.
        """
        groups, place = self.weights.T, (self.number[first], self.number[second])
        shape = (len(groups), len(groups))
        columns = (csr_array((own, place), shape=shape) @ groups for own in (values.astype(float), np.ones(len(values))))
        top, bottom = (np.einsum("gb,gb->b", column, groups) for column in columns)
        return divide(top, bottom)


def resampled(groups: Sequence[str] | np.ndarray, n: int, n_boot: int, seed: int) -> Resampled:
    """The groups (n,) and the draws of ``probes.intervals.resamples``.

    Raises:
        InputError: not one group per image, or fewer than 2 groups.
    """
    same_length(groups, n, "groups")
    number, n_groups = group_counts(groups)
    return Resampled(number, np.vstack([np.ones((1, n_groups)), resamples(n_groups, n_boot, seed)]))


def told(draws: np.ndarray) -> Interval:
    """A statistic of the sample (first) with the interval of its resamples (the others)."""
    return interval(draws[0], draws[1:])


def divide(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Quotients, NaN where ``bottom`` is 0."""
    return np.asarray(np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=np.asarray(bottom) != 0))


def strings(values: Any, what: str, columns: int = 0) -> np.ndarray:
    """Strings as an array: (n,), or (n, at least ``columns``).

    Raises:
        InputError: another shape, too few columns, or anything but strings.
    """
    cells = np.asarray(values, dtype=object)
    if cells.ndim != (2 if columns else 1) or not cells.size:
        raise InputError(f"Got {what} of shape {cells.shape}. Expected {_shape(columns)}. Give an array of that shape.")
    _enough(cells, what, columns)
    odd = [cell for cell in cells.ravel() if not isinstance(cell, str)]
    if odd:
        raise InputError(f"Got {odd[0]!r} among the {what}. Expected strings. Give '{UNPARSED}' for what could not be read.")
    return cells.astype(str)


def numbers(values: Any, what: str) -> np.ndarray:
    """Numbers as an array (n, at least 2), NaN where there is none.

    Raises:
        InputError: another shape, one column, infinite numbers, or no image with two numbers.
    """
    found = np.asarray(values, float)
    if found.ndim != 2 or not found.size:
        raise InputError(f"Got {what} of shape {found.shape}. Expected {_shape(2)}. Give an array of that shape.")
    _enough(found, what, 2)
    if np.isinf(found).any():
        raise InputError(f"Got infinite {what}. Expected finite numbers. Give NaN for what could not be read.")
    if np.isfinite(found).sum(1).max() < 2:
        raise InputError(f"No image has two {what} that could be read. Expected two of some image. Look at the raw answers.")
    return found


def same_length(values: Any, n: int, what: str) -> None:
    """Refuse what has not one entry per image.

    Raises:
        InputError: more or fewer than ``n``.
    """
    if len(values) != n:
        raise InputError(f"Got {len(values)} {what} for {n} images. Expected one per image. Give them in the same order.")


def _shape(columns: int) -> str:
    return "a row per image and a column per time it was asked" if columns else "one per image"


def _enough(values: np.ndarray, what: str, columns: int) -> None:
    if values.ndim == 2 and values.shape[1] < columns:
        raise InputError(f"Got {values.shape[1]} of the {what} per image. Expected at least {columns}. Ask every image again.")
