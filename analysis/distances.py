"""Distances of one model to words, as they are handed on, and the stimuli that they are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis import distance_compared
from analysis.distance_measures import ALL, Means
from analysis.token_transport import Tokens
from hooks.activations import Activations
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Table
from stimuli.taxonomy import Taxonomy
from stimuli.types import Stimulus


@dataclass(frozen=True, repr=False)
class Distances(Result):
    """Distances per site and class, and per stimulus for pairing."""

    table: Table
    """Rows: site, space (``direct`` or ``ridge map``), class (or ``all``), n, and every measure with ``_low`` and ``_high`` over references.
    Over all classes also ``zero_shot_balanced`` and ``chance``, and ``margin_p`` and ``zero_shot_p`` of permuted words, ``_holm`` over
    the sites. ``tokens_n`` is how many stimuli the token measures are of."""
    per_stimulus: Mapping[str, Mapping[str, np.ndarray]] = field(repr=False)
    """Site → measure → (n,); NaN where a stimulus is not among those whose tokens were measured."""
    labels: np.ndarray = field(repr=False)
    groups: np.ndarray = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    classes: tuple[str, ...] = ()
    """In the taxonomy's order."""
    words: str = "input"
    """Kind of the words."""
    mapped: Mapping[str, int] = field(default_factory=dict)
    """Sites whose features were mapped into the words' space, and how many folds the map was cross-fitted in."""
    notes: tuple[str, ...] = ()
    """What has to be known to read the numbers."""
    anew: Mapping[str, Means] = field(default_factory=dict, repr=False)
    """Site → jackknife means with centre and whitening measured anew (``analysis.distance_measures.measured_anew``)."""
    factors: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict, repr=False)
    """Site → class → measure → by how much the spread of resamples was widened for that."""
    seed: int = 0
    target: str = ""
    """What vision sites were mapped onto: ``projector``, ``words``, or empty for not at all. Each model's map is fitted to its own features."""
    tokens: Tokens | None = None
    """How measures of single tokens were taken."""

    def row(self, site: str, label: str = ALL) -> dict[str, Any]:
        """The row of a site and class."""
        return next(row for row in self.table if row["site"] == site and row["class"] == label)

    def space(self, site: str) -> str:
        """``direct``, or ``ridge map`` where features were mapped."""
        return "ridge map" if site in self.mapped else "direct"

    def compare(self, after: Distances, n_boot: int = 1000, seed: int = 0) -> Table:
        """Paired changes from these distances to those of a model after tuning; see ``analysis.distance_compared.compare``."""
        return distance_compared.compare(self, after, n_boot, seed)


@dataclass(frozen=True)
class Labelled:
    """The stimuli that have a class, and their rows in the store."""

    taxonomy: Taxonomy
    stimuli: list[Stimulus]
    rows: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    groups: np.ndarray

    @property
    def ids(self) -> tuple[str, ...]:
        """In the store's order."""
        return tuple(stimulus.id for stimulus in self.stimuli)

    def of(self, activations: Activations) -> np.ndarray:
        """Their features: as they lie in the file where all are wanted."""
        values = activations.values
        return values if len(self.rows) == len(values) else values[self.rows]


def labelled(stimuli: Sequence[Stimulus], ids: Sequence[str], taxonomy: Taxonomy) -> Labelled:
    """The stimuli among those stored that have a class.

    Raises:
        InputError: there is none.
    """
    by_id = {s.id: s for s in stimuli}
    rows = [row for row, id in enumerate(ids) if id in by_id and taxonomy.label(by_id[id]) is not None]
    if not rows:
        raise InputError(f"None of the {len(stimuli)} stimuli has a class in '{taxonomy.name}'. Give labelled stimuli.")
    own = [by_id[ids[row]] for row in rows]
    labels = np.array([taxonomy.label(s) for s in own])
    targets = np.array([taxonomy.classes.index(label) for label in labels])
    return Labelled(taxonomy, own, np.array(rows), labels, targets, np.array([s.reference for s in own]))
