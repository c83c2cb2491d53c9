"""What tuning does to the geometry of every site, and what the projector does to it: tables with intervals over references.

Intervals are those of ``analysis.jackknife``. R² alone, whose predictions are out of fold and stay as they are, is resampled as all
out-of-fold scores are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.geometry_measures import Design, Key, Measured, between, of_both, of_one
from analysis.jackknife import reference_blocks
from analysis.pairings import pairings
from analysis.shape import spread
from probes.intervals import holm
from probes.over_sites import component
from probes.targets import Readable, rows_of
from stimuli.errors import InputError
from stimuli.progress import tqdm
from stimuli.results import Result
from stimuli.tables import Row, Table
from stimuli.types import Stimulus, StimulusSet

MODELS = ("before", "after")
Shown = StimulusSet | Sequence[Stimulus] | None
Words = np.ndarray | Mapping[str, np.ndarray]
"""(k, d) embeddings of words in the space that the language model reads, or such by site."""


@dataclass(frozen=True, repr=False)
class Geometry(Result):
    """Measures of one model's sites, or of two models' and of how alike they are."""

    table: Table
    """Rows by site and measure: order, site, component, dim, source, measure, model, k, value, low, high, chance, shuffled, n,
    references. ``model`` is ``before``, ``after``, or ``both`` for a comparison of the two. Measures:

    * of both: ``cka``, ``mutual_knn``, ``mutual_knn_others``, ``procrustes``;
    * of each: ``effective_rank``, ``participation_ratio``, ``modality_gap``;
    * of each between the site ``source`` and this one: ``overlap``, ``overlap_others`` (neighbours kept), ``rebuilt`` (R² of the
      source from this site) and ``predicted`` (R² of this site from the source), with ``…_above_random`` for what they are above a
      random projection of equal width, paired, and ``…_within`` for what tells the versions of one reference apart.

    ``…_others``: neighbours are of other references. ``chance`` of ``cka`` and ``procrustes``: the same measure with the references of
    the one model paired at random with those of the other (``analysis.pairings``). It is not what unrelated spaces of independent rows
    have (CKA 0, Procrustes about 2 - 16/(3π)·√(d/n)), since versions of one reference lie together in both. Of overlaps: that of
    random neighbours, which spaces that know the content exceed, but for ``…_others``. Of R²: that from a random projection.
    ``shuffled``: R² with shuffled rows."""
    change: Table
    """With two models, rows: site, source, measure, k, before, after, change, low, high, p, p_holm; paired over references, Holm
    over the rows of one measure and k."""
    skipped: Table
    """Sites without spread: site, source, model. There is nothing to measure where all stimuli look alike."""
    blocks: int
    seed: int
    note: str

    def row(self, site: str, measure: str, model: str = "before", k: int | None = None) -> Row:
        """One row; of several k the first."""
        own = [row for row in self.table if (row["site"], row["measure"], row["model"]) == (site, measure, model)]
        return next(row for row in own if k in (None, row["k"]))

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return dict(vars(self))


def geometry(
    before: Readable,
    after: Readable | None = None,
    *,
    stimuli: Shown = None,
    sites: Sequence[str] | None = None,
    words: Words | tuple[Words, Words] | None = None,
    across: Sequence[tuple[str, str]] | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Geometry:
    """Measure every site of one model, or of two on the same stimuli.

    The rows of two sites of each model are in memory at a time. Besides the products O(n·d²) or O(n²·d) that all measures need,
    the effective rank takes a decomposition per site, model and block of references (``analysis.jackknife.BLOCKS``), O(d³) each for d
    the smaller of rows and features; chance takes ``analysis.pairings.PAIRINGS`` of the Procrustes distance.

    Args:
        before: activations with one row per stimulus.
        after: those of another model, such as the tuned one.
        stimuli: which; by default all that both stores hold.
        sites: which; by default all that both stores hold.
        words: for the modality gap, (k, d) embeddings of words as the language model reads them, which are used at the projector and
            at ``llm.embed`` alone, since later features need not live in their space; or site → such, of the site's own space, used
            at these sites. A tuple of two gives each model its own words, which it needs if tuning moved them.
        across: pairs of sites (from, to); by default what enters the projector and what leaves it.
        n_boot: resamples of references, for the reconstruction alone.
        seed: of blocks, pairings, folds, random projections and resamples.
        progress: show a progress bar.

    Raises:
        InputError: fewer than 3 references, or than 4 stimuli outside a block; several rows per stimulus; an unknown site.
    """
    stores = dict(zip(MODELS, (before,) if after is None else (before, after), strict=False))
    ids, references = _shown(stores, stimuli)
    blocks = reference_blocks(references, seed)
    _check(references, blocks)
    design = Design(references, blocks, pairings(references, seed=seed), n_boot, seed)
    shared = [site for site in before.sites if all(site in store.sites for store in stores.values())]
    pairs = [pair for pair in entering(before) if set(pair) <= set(shared)] if across is None else across
    jobs: list[tuple[str, str | None]] = [*((site, None) for site in sites or shared), *((end, start) for start, end in pairs)]
    table: Table = []
    changes: Table = []
    skipped: Table = []
    for order, (site, source) in enumerate(tqdm(jobs, desc="geometry", disable=not progress)):
        place: Row = {"order": order, "site": site, "component": component(site), "source": source}
        names = [site] if source is None else [site, source]
        held = {model: [rows_of(store.read(name), ids, name) for name in names] for model, store in stores.items()}
        spaces = {model: own for model, own in held.items() if all(spread(space) for space in own)}
        skipped += [{"site": site, "source": source, "model": model} for model in held if model not in spaces]
        measured = _measured(site, spaces, words, design)
        table += [
            _row({**place, "dim": held["before"][0].shape[1]}, key, model, found, design)
            for model, own in measured.items()
            for key, found in own.items()
        ]
        if len(spaces) == 2:
            changes += _changes({"site": site, "source": source}, measured["before"], measured["after"])
    _adjust(changes)
    count = int(blocks.max()) + 1
    return Geometry(table, changes, skipped, count, seed, _note(table, count, n_boot))


def entering(store: Readable) -> list[tuple[str, str]]:
    """What enters the projector and what leaves it: the last site of the vision tower that the answer depends on."""
    dead = getattr(store, "dead_ends", ())
    vision = [site for site in store.sites if component(site) == "vision" and site not in dead]
    return [(vision[-1], "projector")] if vision and "projector" in store.sites else []


def _shown(stores: Mapping[str, Readable], stimuli: Shown) -> tuple[tuple[str, ...], np.ndarray]:
    """The stimuli that all stores hold, and their references."""
    held = [set(store.ids) for store in stores.values()]
    first = next(iter(stores.values()))
    wanted = {s.id: s.reference for s in stimuli} if stimuli is not None else {id: None for id in first.ids}
    ids = tuple(id for id in wanted if all(id in own for own in held))
    if not ids:
        raise InputError("The stores have no stimulus in common. Expected the same set in both. Extract both on one set.")
    return ids, np.array([wanted[id] or first.metadata(id)["reference"] for id in ids])


def _check(references: np.ndarray, blocks: np.ndarray) -> None:
    outside = len(blocks) - int(np.bincount(blocks).max())
    if blocks.max() < 2 or outside < 4:
        raise InputError(
            f"Got {len(blocks)} stimuli of {len(np.unique(references))} references, {outside} of them outside the largest block. "
            "Expected at least 3 references, and 4 stimuli outside each. Show more references."
        )


Known = Words | tuple[Words, Words] | None


def _measured(
    site: str, spaces: Mapping[str, list[np.ndarray]], words: Known, design: Design
) -> dict[str, dict[Key, Measured]]:
    """Model → measure and k → number, for the spaces of a site, or of a site and its source."""
    found = {}
    for model, own in spaces.items():
        text = _words(site, own[0], model, words)
        found[model] = dict(between(own[1], own[0], design) if len(own) == 2 else of_one(own[0], text, design))
    if len(spaces) == 2 and len(spaces["before"]) == 1:
        found["both"] = dict(of_both(spaces["before"][0], spaces["after"][0], design))
    return found


def _words(site: str, space: np.ndarray, model: str, words: Known) -> np.ndarray | None:
    """The words' embeddings where they live in the site's space."""
    own = words[MODELS.index(model)] if isinstance(words, tuple) else words
    if isinstance(own, Mapping):
        own = own.get(site)
    elif component(site) != "projector" and site != "llm.embed":
        return None
    return own if own is not None and own.shape[1] == space.shape[1] else None


def _note(table: Table, blocks: int, n_boot: int) -> str:
    """What has to be known to read the numbers."""
    if not table:
        return "No site has any spread."
    note = (
        f"Intervals: 95 %, jackknife over {blocks} blocks of {table[0]['references']} references; of R², {n_boot} resamples of "
        "references. Effective rank and neighbour overlap depend on how many stimuli there are: compare at equal stimuli alone."
    )
    likened = [row for row in table if row["measure"] == "procrustes"]
    wide = [row["site"] for row in likened if row["n"] <= row["dim"]]
    if wide:
        note += (
            f" At {len(wide)} of {len(likened)} sites ({wide[0]} the first) there are no more stimuli than features (n ≤ d): there the "
            "Procrustes distance is low for unrelated spaces as well, and says something beside its chance alone. Show more stimuli."
        )
    return note


def _row(place: Row, key: Key, model: str, own: Measured, design: Design) -> Row:
    measured = {"value": own.found.value, "low": own.found.low, "high": own.found.high}
    extra = {"chance": own.more.get("chance"), "shuffled": own.more.get("shuffled")}
    counts = {"n": len(design.references), "references": len(np.unique(design.references))}
    return {**place, "measure": key[0], "model": model, "k": key[1], **measured, **extra, **counts}


def _changes(place: Row, before: Mapping[Key, Measured], after: Mapping[Key, Measured]) -> Table:
    rows = []
    for key in (key for key in before if key in after):
        found = before[key].change(after[key])
        told = {"before": before[key].found.value, "after": after[key].found.value, "change": found.value}
        rows.append({**place, "measure": key[0], "k": key[1], **told, "low": found.low, "high": found.high, "p": found.p})
    return rows


def _adjust(rows: Table) -> None:
    """Holm's p over the rows of one measure that have a p; NaN where there is none."""
    for row in rows:
        row["p_holm"] = float("nan")
    for key in dict.fromkeys((row["measure"], row["k"]) for row in rows):
        own = [row for row in rows if (row["measure"], row["k"]) == key and np.isfinite(row["p"])]
        for row, p in zip(own, holm([row["p"] for row in own]) if own else [], strict=True):
            row["p_holm"] = p
