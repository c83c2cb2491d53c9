"""Where in the image a site knows of a distortion: a probe of cells or tokens, its maps, and how well they find the mask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from probes.cells import DISTORTED, Cells, cells_of
from probes.intervals import Difference, group_bootstrap, paired_difference
from probes.linear import LinearProbe, fit
from probes.map_scores import SCORES, best_threshold, scores
from probes.over_sites import BASELINE, best_site, over_sites
from probes.splits import Fold, grouped_folds
from probes.targets import Readable
from stimuli.results import Result
from stimuli.tables import Table
from stimuli.types import Stimulus

MOST_ROWS = 12_000
"""Rows that a probe is fitted to, at most."""
CHOICE_ROWS = 3_000
"""Of them, those by which its penalty is chosen, at most."""
PENALTIES = (100.0, 1000.0, 10000.0)
"""Candidates for the L2 penalty: cells are many, and each is noisy."""


@dataclass(frozen=True, repr=False)
class MapsResult(Result):
    """A map per stimulus and site of how probably each cell is distorted, and how well it finds the mask.

    Every map is of a probe that saw no version of its reference. Intervals are over references.
    """

    target: str
    grid: int
    table: Table
    """One row per site: ``score`` (the AUC over the cells of an image, mean over images) with ``low`` and ``high``; ``paired`` (the AUC
    of what the map has over that of the clean image of the same reference, so that place and content cancel); ``precision``
    (average precision), ``iou`` (intersection over union of the mask's area and the cells above 0.5), ``iou_best`` (above the
    threshold that is best on the training references), ``pointing`` (how often the highest cell is distorted), each with ``_low``,
    ``_high`` and ``_chance``; ``control``, the AUC of a probe of labels exchanged between references, place by place, and
    ``selectivity`` = score − control; ``false_alarms``, the share of cells above the best threshold in clean images; sizes. The
    rows ``baseline:centre`` and ``baseline:position`` are of maps that see no image."""
    by_type: Table
    """Rows with ``site``, ``type``, ``n``, ``score`` and ``paired``, each with its interval."""
    by_level: Table
    """The same by ``level``."""
    maps: Mapping[str, np.ndarray] = field(repr=False)
    """Site to float32 (n, grid, grid), probabilities."""
    shares: np.ndarray = field(repr=False)
    """(n, grid, grid): how much of each cell is distorted."""
    scores: Mapping[str, Mapping[str, np.ndarray]] = field(repr=False)
    """Site to score to (n,); NaN for stimuli without a mask."""
    groups: np.ndarray = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    seed: int
    n_boot: int
    folds: int

    def row(self, site: str) -> dict[str, Any]:
        """The row of a site."""
        return next(row for row in self.table if row["site"] == site)

    def map(self, site: str, id: str) -> np.ndarray:
        """The map of one stimulus, (grid, grid)."""
        return np.asarray(self.maps[site][self.ids.index(id)])

    def best(self, component: str | None = None) -> str | None:
        """The site of the highest score, of one component or of all; see ``probes.over_sites.best_site``."""
        return best_site(self.table, component)

    def compare(self, a: str, b: str, score: str = "auc") -> Difference:
        """Change from site ``a`` to site ``b``, paired over the same images."""
        return paired_difference(
            self.scores[a][score], self.scores[b][score], self.groups, self.n_boot, self.seed, folds=self.folds
        )


def distortion_maps(
    store: Readable,
    stimuli: Sequence[Stimulus],
    target: str = "any",
    seed: int = 0,
    *,
    taxonomy: str | Path = "paper8",
    places: Mapping[str, np.ndarray] | None = None,
    sites: Sequence[str] | None = None,
    folds: int = 5,
    rows: int = MOST_ROWS,
    penalties: Sequence[float] = PENALTIES,
    n_boot: int = 1000,
    progress: bool = True,
) -> MapsResult:
    """Map where each site can tell that an image is distorted.

    A row of the probe is a cell of the grid, or a token. It is distorted where more than half of what it looks at lies in the
    mask, clean where less than a tenth does, and otherwise left out of training. The probe tells the classes of the taxonomy
    and clean apart, and a map is the probability of not clean: what distortions have in common need not be one direction.

    Args:
        store: activations with ``pool="grid:G"``; or rows as they are (``pool="none"``), with ``places``.
        stimuli: those of the store, with their masks (``region=`` of the sets).
        target: ``any`` distortion; or a class or type, and then the other distorted stimuli are left out.
        seed: of folds, the choice of rows, permutations and resamples.
        taxonomy: whose classes ``target`` may name.
        places: of sites with a row per token, which cells of a G × G grid each looks at (``hooks.places.cells``): (tokens, G²). Each
            stimulus must have as many tokens, so the images must be of one size.
        sites: which; all by default.
        folds: outer folds, by reference.
        rows: how many a probe is fitted to at most, of each place in the image as many distorted as clean. Every row is mapped.
        penalties: candidates for the probe's L2 penalty.
        n_boot: resamples of references.
        progress: show a progress bar.

    Raises:
        InputError: the store has no grid, stimuli lack activations or masks, or there are too few references.
    """
    found = cells_of(store, stimuli, target, taxonomy, places, sites)
    split = grouped_folds(found.strata, found.target.groups, folds, seed, strict=False)
    probe = _Probe(found, split, rows, penalties, seed, n_boot)
    maps: dict[str, np.ndarray] = {}
    known: dict[str, dict[str, np.ndarray]] = {}
    by_type: Table = []
    by_level: Table = []

    def measure(site: str, values: np.ndarray) -> dict[str, Any]:
        maps[site], known[site], row = probe(site, values)
        by_type.extend({"site": site, **line} for line in probe.by("type", found.types, known[site]))
        by_level.extend({"site": site, **line} for line in probe.by("level", found.levels, known[site]))
        return row

    table = over_sites(store, found.target, measure, sites=found.sites, inputs=found.inputs, progress=progress)
    for name, own in _blind_maps(found, split):
        maps[BASELINE + name] = own
        known[BASELINE + name], row = probe.score(own, probe.thresholds(own))
        table.append(
            {"order": len(table), "site": BASELINE + name, "component": "baseline", "dim": 0, **row, "dead_end": False}
        )
    ids, groups = found.target.ids, found.target.groups
    return MapsResult(target, found.grid, table, by_type, by_level, maps, found.shares, known, groups, ids, seed, n_boot, folds)


@dataclass(frozen=True)
class _Probe:
    """From the rows of a site to maps and their scores."""

    found: Cells
    split: Sequence[Fold]
    most: int
    penalties: Sequence[float]
    seed: int
    n_boot: int

    def __call__(self, site: str, values: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, Any]]:
        """Maps (n, G, G), scores by name (n,), and the columns of the table."""
        places = self.found.places.get(site)
        rows = values.reshape(len(values), self.found.grid**2 if places is None else len(places), -1)
        own = np.zeros((len(values), self.found.grid**2), np.float32)
        lost, thresholds, chosen = own.copy(), np.empty(len(values)), []
        shares = self.found.row_shares(places)
        for number, (train, test) in enumerate(self.split):
            probe = self._fitted(rows, shares, train, number, self.penalties)
            seen = self.found.on_grid(places, _distorted(probe, rows[train]))
            thresholds[test] = best_threshold(seen, self.found.flat[train], self.found.masked[train])
            own[test] = self.found.on_grid(places, _distorted(probe, rows[test]))
            local = train[self.found.masked[train]]
            permuted = self._permuted(shares, local, number)
            blind = self._fitted(rows, permuted, local, number, [probe.penalty])
            lost[test] = self.found.on_grid(places, _distorted(blind, rows[test]))
            chosen.append(probe.penalty)
        known, row = self.score(own, thresholds)
        control = self._interval(scores(lost, self.found.flat, thresholds, self.found.masked, self.found.counterparts)["auc"])
        row |= {"control": control[0], "control_low": control[1], "control_high": control[2]}
        row |= {"selectivity": row["score"] - row["control"], "penalty": float(np.median(chosen))}
        return own.reshape(self.found.shares.shape), known, row

    def score(self, own: np.ndarray, thresholds: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Scores of maps (n, …) with a threshold each (n,), and their columns."""
        flat, masked = own.reshape(len(own), -1), self.found.masked
        known = scores(flat, self.found.flat, thresholds, masked, self.found.counterparts)
        row: dict[str, Any] = {"n": int(masked.sum()), "references": len(np.unique(self.found.target.groups[masked]))}
        for name in SCORES:
            value, low, high = self._interval(known[name])
            column = "score" if name == "auc" else name
            ends = ("low", "high") if name == "auc" else (f"{name}_low", f"{name}_high")
            chance = "chance" if name == "auc" else f"{name}_chance"
            row |= {column: value, ends[0]: low, ends[1]: high, chance: float(known[f"{name}_chance"][masked].mean())}
        clean = self.found.flat.max(1) == 0
        alarms = (flat > thresholds[:, None]).mean(1)[clean]
        return known, {**row, "false_alarms": float(alarms.mean()) if len(alarms) else float("nan")}

    def thresholds(self, own: np.ndarray) -> np.ndarray:
        """Of maps that need no probe: the best on each fold's training references, (n,)."""
        found, flat = np.empty(len(own)), own.reshape(len(own), -1)
        for train, test in self.split:
            found[test] = best_threshold(flat[train], self.found.flat[train], self.found.masked[train])
        return found

    def by(self, name: str, names: np.ndarray, known: Mapping[str, np.ndarray]) -> Table:
        """The AUCs among the images of each type, or level, that two or more references show."""
        rows: Table = []
        for own in np.unique(names[self.found.masked]):
            chosen = self.found.masked & (names == own)
            if len(np.unique(self.found.target.groups[chosen])) > 1:
                row: dict[str, Any] = {name: str(own), "n": int(chosen.sum())}
                for column, score in (("score", "auc"), ("paired", "paired")):
                    value, low, high = self._interval(np.where(chosen, known[score], np.nan))
                    ends = ("low", "high") if column == "score" else ("paired_low", "paired_high")
                    row |= {column: value, ends[0]: low, ends[1]: high}
                rows.append(row)
        return rows

    def _fitted(
        self, rows: np.ndarray, shares: np.ndarray, train: np.ndarray, number: int, penalties: Sequence[float]
    ) -> LinearProbe:
        """A probe of some rows of each training stimulus; ``shares`` (n, rows) say which are distorted."""
        if len(penalties) > 1 and self.most > CHOICE_ROWS:
            penalties = [replace(self, most=CHOICE_ROWS)._fitted(rows, shares, train, number, penalties).penalty]
        stimulus, place = self.found.drawn(shares, train, self.most, [self.seed, 51, number])
        labels = np.where(shares[stimulus, place] > DISTORTED, self.found.target.values[stimulus], "clean")
        return fit(rows[stimulus, place], labels, self.found.target.groups[stimulus], penalties=penalties, seed=self.seed)

    def _permuted(self, shares: np.ndarray, train: np.ndarray, number: int) -> np.ndarray:
        """Row shares (n, rows) that are exchanged between the training references, at each place anew.

        Where masks lie in general stays as it is, and what lies in them has nothing to do with them. Whole masks would not do:
        they overlap, so that exchanged ones are partly true.
        """
        found, rng = shares.copy(), np.random.default_rng([self.seed, 52, number])
        names, first, of = np.unique(self.found.target.groups[train], return_index=True, return_inverse=True)
        order = rng.permuted(np.tile(np.arange(len(names))[:, None], shares.shape[1]), axis=0)
        found[train] = shares[train[first]][order, np.arange(shares.shape[1])][of]
        return found

    def _interval(self, values: np.ndarray) -> tuple[float, float, float]:
        found = group_bootstrap(values, self.found.target.groups, self.n_boot, self.seed, folds=len(self.split))
        return found.value, found.low, found.high


def _distorted(probe: LinearProbe, rows: np.ndarray) -> np.ndarray:
    """(n, rows) probabilities of being distorted, of rows (n, rows, d)."""
    flat = 1 - probe.probabilities(rows.reshape(-1, rows.shape[2]))[:, probe.classes.index("clean")]
    return np.asarray(flat.reshape(rows.shape[:2]))


def _blind_maps(found: Cells, split: Sequence[Fold]) -> Iterator[tuple[str, np.ndarray]]:
    """Maps that see no image: nearness to the centre, and the mean mask of the training references."""
    place = (np.arange(found.grid) + 0.5) / found.grid - 0.5
    near = np.exp(-4 * (place[:, None] ** 2 + place[None] ** 2))
    yield "centre", np.broadcast_to(near, found.shares.shape).astype(np.float32)
    prior = np.zeros(found.shares.shape, np.float32)
    for train, test in split:
        prior[test] = found.shares[train[found.masked[train]]].mean(0)
    yield "position", prior
