"""What a model's resize leaves of each distortion: of its energy, and of what pixel statistics can tell of it.

A stage of the survival curve like any other, between the pixels of the file and the first weight.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analysis.inputs import PIXELS, MeasuredInputs, Sizes, measure_inputs
from probes.controls import shuffled_labels
from probes.intervals import Interval, balanced_difference, balanced_interval, group_counts, holm, resamples
from probes.linear import fit_predict
from probes.splits import grouped_folds
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Table
from stimuli.taxonomy import Taxonomy
from stimuli.taxonomy import taxonomy as load_taxonomy
from stimuli.types import Stimulus

ALL = "all"
"""Stands for all levels in the column ``level``, and for all types in the column ``type``, whose task is then to name the class."""
PENALTIES = (10.0, 100.0)
"""Candidates for the probe's L2 penalty: there are few statistics and few references of one type."""


@dataclass(frozen=True, repr=False)
class ProcessedSurvival(Result):
    """What is left of each distortion behind each processor."""

    table: Table
    """One row per processor, type and level, and for all of them: ``energy_in`` and ``energy_out`` (mean squared difference to
    the reference per pixel and channel, on the scale from 0 to 1), ``energy_kept`` (their ratio) with interval, ``psnr_in`` and
    ``psnr_out`` in dB, and the balanced accuracy of a probe on pixel statistics ``before`` and ``after`` the processor, with
    interval, shuffled-label control, paired ``change`` and p-value (Holm over the types of a processor)."""
    left_out: tuple[dict[str, str], ...]
    """Stimuli that could not be read or processed: ``id`` and ``reason``."""
    without_reference: int
    """Distorted stimuli without a clean image of the same reference and size, which have no energy."""
    taxonomy: str
    folds: int
    seed: int
    n_boot: int

    def row(self, processor: str, type: str = ALL, level: int | str = ALL) -> dict[str, Any]:
        """One row of the table."""
        wanted = (processor, type, level)
        return next(row for row in self.table if (row["processor"], row["type"], row["level"]) == wanted)


def processed_survival(
    processors: Mapping[str, Any] | MeasuredInputs,
    stimuli: Sequence[Stimulus] = (),
    *,
    taxonomy: str | Path = "paper8",
    folds: int = 5,
    seed: int = 0,
    n_boot: int = 1000,
    progress: bool = True,
) -> ProcessedSurvival:
    """How much of each distortion's energy and separability is left behind each processor.

    A probe on pixel statistics tells the images of one type from the clean images of the same references; for all types
    together it tells the taxonomy's classes apart. Levels that change nothing are left out.

    Args:
        processors: name to ``Mllm``, processor or image processor; or what ``measure_inputs`` has measured already.
        stimuli: distorted images and the clean ones of the same references; the larger, the more there is to lose.
        taxonomy: name or file, for the classes.
        folds: by reference.
        seed: of folds, shuffles and resamples.
        n_boot: resamples of references.
        progress: show a progress bar.

    Returns:
        The result; every interval is over references. A type shown on fewer references than folds has no separability, which
        its ``note`` says.

    Raises:
        InputError: no processor, no usable stimulus, or no distorted one.
    """
    measured = processors if isinstance(processors, MeasuredInputs) else measure_inputs(processors, stimuli, progress=progress)
    work = _Work(measured, load_taxonomy(taxonomy), folds, seed, n_boot)
    distorted = np.flatnonzero([s.type is not None and not s.is_identity for s in measured.stimuli])
    if not len(distorted):
        raise InputError(
            "None of the stimuli is distorted; expected distorted images beside clean ones. Show distorted versions "
            "(sn.stimuli.distorted_set) or give their types in a CSV."
        )
    tasks = [work.classes(distorted), *(work.type(kind) for kind in work.types)]
    table = [row for name in measured.processors for row in _adjusted([row for task in tasks for row in work.rows(name, task)])]
    missing = int(np.isnan(measured.energy[PIXELS][distorted]).sum())
    return ProcessedSurvival(table, measured.left_out, missing, work.taxonomy.name, folds, seed, n_boot)


@dataclass
class _Task:
    """A question that a probe answers from pixel statistics, and the rows that a table gives of it."""

    type: str
    label: str | None
    """The taxonomy's class of the type; several, where its levels differ, with a slash between them."""
    shown: np.ndarray
    """Rows of the distorted stimuli that it is about."""
    rows: np.ndarray
    """Rows that the probe sees, the clean ones as often as there are distorted ones of their reference."""
    labels: np.ndarray
    note: str = ""
    hits: dict[str, np.ndarray] = field(default_factory=dict)
    """Under ``pixels`` and each processor's name, where the out-of-fold answer is right."""
    control: dict[str, Interval] = field(default_factory=dict)
    """Balanced accuracy on shuffled labels."""


class _Work:
    """The measured stimuli and how they are to be probed."""

    def __init__(self, measured: MeasuredInputs, taxonomy: Taxonomy, folds: int, seed: int, n_boot: int) -> None:
        self.measured, self.taxonomy = measured, taxonomy
        self._folds, self._seed, self._n_boot = folds, seed, n_boot
        self._groups = np.array([s.reference for s in measured.stimuli])
        self._types = np.array([ALL if s.type is None else s.type for s in measured.stimuli])
        self._identity = np.array([s.is_identity for s in measured.stimuli])
        self._levels = np.array([s.level or 0 for s in measured.stimuli])
        self._clean = np.array([s.type is None for s in measured.stimuli])

    @property
    def types(self) -> list[str]:
        """The types shown, those of one class side by side, in the order of the taxonomy."""
        order = {kind: place for place, kind in enumerate(self.taxonomy.types)}
        found = sorted(set(self._types[~self._clean & ~self._identity].tolist()))
        return sorted(found, key=lambda kind: order.get(kind, len(order)))

    def classes(self, distorted: np.ndarray) -> _Task:
        """Which class is it?"""
        labels = [self.taxonomy.label(s) for s in self.measured.stimuli]
        rows = np.flatnonzero([label is not None for label in labels])
        return self._answered(_Task(ALL, None, distorted, rows, np.array([labels[row] for row in rows])))

    def type(self, kind: str) -> _Task:
        """Is it this type, or clean?"""
        shown = np.flatnonzero((self._types == kind) & ~self._identity)
        count = Counter(self._groups[shown].tolist())
        clean = [row for row in np.flatnonzero(self._clean) if self._groups[row] in count]
        cleans = Counter(self._groups[clean].tolist())
        times = [-(-count[self._groups[row]] // cleans[self._groups[row]]) for row in clean]
        own = shown[[self._groups[row] in cleans for row in shown]]
        rows = np.concatenate([own, np.repeat(np.array(clean, int), times)])
        labels = np.where(self._clean[rows], "clean", kind)
        classes = dict.fromkeys(self.taxonomy.label(self.measured.stimuli[row]) for row in shown)
        named = "/".join(label for label in classes if label is not None) or None
        return self._answered(_Task(kind, named, shown, rows, labels))

    def _answered(self, task: _Task) -> _Task:
        """The task with out-of-fold answers on the statistics before and after each processor."""
        groups = self._groups[task.rows]
        try:
            if len(np.unique(task.labels)) < 2:
                raise InputError("There is nothing to tell apart: no clean image of the same references, or one class alone.")
            split = grouped_folds(task.labels, groups, self._folds, self._seed)
        except InputError as error:
            task.note = str(error)
            return task
        shuffled = shuffled_labels(task.labels, groups, self._seed)
        for name, statistics in self.measured.statistics.items():
            values = statistics[task.rows]
            found = fit_predict(values, task.labels, groups, split, penalties=PENALTIES, seed=self._seed)
            task.hits[name] = found.predicted == task.labels
            lost = fit_predict(values, shuffled, groups, split, penalties=[float(np.median(found.penalties))], seed=self._seed)
            task.control[name] = balanced_interval(
                lost.predicted == shuffled, shuffled, groups, self._n_boot, self._seed, folds=self._folds
            )
        return task

    def rows(self, processor: str, task: _Task) -> Table:
        """All levels, then each level by itself."""
        levels = sorted(set(self._levels[task.shown].tolist()) - {0})
        return [self._row(processor, task, level) for level in (ALL, *levels)]

    def _row(self, processor: str, task: _Task, level: int | str) -> dict[str, Any]:
        shown = task.shown if level == ALL else task.shown[self._levels[task.shown] == level]
        row = {"processor": processor, "type": task.type, "class": task.label, "level": level, "n": len(shown)}
        row["references"] = len(np.unique(self._groups[shown]))
        return {
            **row,
            **self._sizes(processor, shown),
            **self._energy(processor, shown),
            **self._separability(processor, task, level),
        }

    def _sizes(self, processor: str, shown: np.ndarray) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, key in ((PIXELS, "in"), (processor, "out")):
            sizes = [self.measured.sizes[name][row] for row in shown]
            found[f"size_{key}"] = _described(sizes)
            found[f"pixels_{key}"] = float(np.mean([sum(height * width for height, width in tiles) for tiles in sizes]))
        return found

    def _energy(self, processor: str, shown: np.ndarray) -> dict[str, Any]:
        before, after = (self.measured.energy[name][shown] for name in (PIXELS, processor))
        known = np.isfinite(before) & np.isfinite(after)
        found: dict[str, Any] = {"n_energy": int(known.sum())}
        for key, values in (("in", before[known]), ("out", after[known])):
            mean = float(values.mean()) if len(values) else float("nan")
            found |= {f"energy_{key}": mean, f"psnr_{key}": float(-10 * np.log10(mean)) if mean > 0 else float("nan")}
        kept = _ratio(before[known], after[known], self._groups[shown][known], self._n_boot, self._seed)
        return {**found, **dict(zip(("energy_kept", "kept_low", "kept_high"), kept, strict=True))}

    def _separability(self, processor: str, task: _Task, level: int | str) -> dict[str, Any]:
        """Before and after; of one level by the probe of all, on the level's images and the clean ones of their references."""
        groups = self._groups[task.rows]
        at = np.ones(len(groups), bool)
        if level != ALL:
            chosen = self._levels[task.rows] == level
            at = chosen | (self._clean[task.rows] & np.isin(groups, groups[chosen]))
        if not task.hits or len(np.unique(groups[at])) < 2:
            return {"note": task.note or "One reference alone at this level."}
        given: tuple[Any, ...] = (task.labels[at], groups[at], self._n_boot, self._seed)
        found: dict[str, Any] = {}
        for name, key in ((PIXELS, "before"), (processor, "after")):
            score = balanced_interval(task.hits[name][at], *given, folds=self._folds)
            found |= {key: score.value, f"{key}_low": score.low, f"{key}_high": score.high}
            if level == ALL:
                control = task.control[name]
                found |= {f"{key}_control": control.value}
                found |= {f"{key}_control_low": control.low, f"{key}_control_high": control.high}
        change = balanced_difference(task.hits[PIXELS][at], task.hits[processor][at], *given, folds=self._folds)
        found |= {"change": change.value, "change_low": change.low, "change_high": change.high, "p": change.p}
        return {**found, "chance": 1 / len(np.unique(task.labels[at])), "note": task.note}


def _adjusted(rows: Table) -> Table:
    """Rows of one processor with Holm's correction over its types, all levels together."""
    tested = [row for row in rows if row["type"] != ALL and row["level"] == ALL and row.get("p") is not None]
    for row, p in zip(tested, holm([row["p"] for row in tested]) if tested else [], strict=True):
        row["p_holm"] = p
    return rows


def _ratio(
    before: np.ndarray, after: np.ndarray, groups: np.ndarray, n_boot: int, seed: int
) -> tuple[float, float | None, float | None]:
    """Sum of ``after`` over sum of ``before`` with its 95 % interval over groups; no interval of a single group."""
    if not before.sum() > 0:
        return float("nan"), None, None
    value = float(after.sum() / before.sum())
    number, n_groups = group_counts(groups)
    if n_groups < 2:
        return value, None, None
    weights = resamples(n_groups, n_boot, seed)
    below, above = (weights @ np.bincount(number, values, n_groups) for values in (before, after))
    ratios = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
    low, high = np.nanquantile(ratios, [0.025, 0.975])
    return value, float(low), float(high)


def _described(sizes: Sequence[Sizes]) -> str:
    """The commonest size as width x height, with the number of tiles; behind it how many others there are."""
    counts = Counter(sizes)
    tiles = counts.most_common(1)[0][0]
    names = list(dict.fromkeys(f"{width}x{height}" for height, width in tiles))
    shown = names[0] if len(names) == 1 else f"{names[0]} and others"
    return (f"{len(tiles)} of {shown}" if len(tiles) > 1 else shown) + (f" (of {len(counts)} sizes)" if len(counts) > 1 else "")
