"""What ``snellen probe`` does: open a store, probe it, compare and control, and keep tables, figures and settings together.

A folder holds one probing: its settings stand in ``probe.json``, and a table is never computed twice for them. Each step is
written when it is finished, so that a killed run goes on; other settings are refused, with the difference.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hooks.activations import Activations
from hooks.foreign import Features
from hooks.store import Store
from probes.intervals import group_counts, holm, resamples
from probes.resampled import score_change
from probes.severity import SeverityResult, severity_sweep
from probes.sweep import SweepResult, sweep
from probes.targets import Kind, Labels, target_of
from probes.weighted import spearman
from snellen.probe_book import Book, Notes, Step, Tables, checksum
from stimuli.errors import InputError
from stimuli.tables import Table

DRAWS = 1000
"""Resamples for tables of intervals."""
MANY = 60
"""Resamples per site for tables with p: corrected over the sites, the smallest p is 2 / MANY."""
MOST_DRAWS = 20_000_000
"""Resamples × references, which are in memory together."""
NO_IMAGES = (
    "The images are not at hand: baselines of pixel statistics and of random weights are left out, and severity is what "
    "the CSV says of it."
)
"""What is told of features made elsewhere."""
FOR_CLASSES = ("information", "control_task", "equal_dimension", "sample_size", "transfer")


@dataclass(frozen=True)
class Wanted:
    """Which analyses, beside the main table."""

    differences: bool = False
    information: bool = False
    control_task: tuple[str, ...] = ()
    """Keys."""
    equal_dimension: bool = False
    sample_size: bool = False
    by_type: bool = False
    transfer: tuple[str, ...] = ()


@dataclass(frozen=True)
class Probing:
    """One target probed for in one store."""

    store: Store | Features
    target: str = "distortion"
    taxonomy: str = "paper8"
    labels: Path | None = None
    kind: Kind | None = None
    sites: tuple[str, ...] | None = None
    folds: int = 5
    repeats: int = 1
    seed: int = 0
    baselines: Mapping[str, Activations] = field(default_factory=dict)
    progress: bool = True

    def settings(self, kind: str, labels: Labels | None) -> dict[str, Any]:
        """What the numbers depend on, as JSON: labels and activations by their checksums."""
        numbers = kind == "numbers" and self.target == "level" and labels is None
        told = None if numbers else target_of(self.store, self.target, self.taxonomy, labels)
        values = [] if told is None else [told.ids, told.values.tolist()]
        baselines = {name: checksum([own.ids, own.values.tolist()]) for name, own in sorted(self.baselines.items())}
        return {
            "target": self.target, "taxonomy": self.taxonomy, "kind": kind, "labels": checksum(values),
            "sites": None if self.sites is None else list(self.sites), "folds": self.folds, "repeats": self.repeats,
            "seed": self.seed, "baselines": baselines, "stimuli": len(self.store.ids),
            "activations": checksum([self.store.config, self.store.ids]),
        }  # fmt: skip

    @property
    def values(self) -> dict[str, Any]:
        """Which numbers are probed: a checksum of ids and rows of every site, whatever files they lie in."""
        total = hashlib.sha256(json.dumps(list(self.store.ids)).encode())
        for site in self.sites or self.store.sites:
            values = np.ascontiguousarray(self.store.read(site).values)
            total.update(f"{site}{values.shape}{values.dtype}".encode())
            total.update(values.reshape(-1).view(np.uint8).data)
        return {"checksum": total.hexdigest()[:16], "stimuli": len(self.store.ids)}

    def told(self) -> tuple[Literal["classes", "numbers"], Labels | None]:
        """Whether classes or numbers are probed for, and the labels to hand on.

        Raises:
            InputError: an unknown target, labels that cannot be read, or numbers that are none.
        """
        if self.target == "level" and self.kind == "numbers" and self.labels is None:
            return "numbers", None
        found = target_of(self.store, self.target, self.taxonomy, self.labels, self.kind)
        plain = target_of(self.store, self.target, self.taxonomy, self.labels)
        if found.kind == "classes" and plain.kind == "numbers":  # names that are no numbers stay classes further on
            own = zip(found.ids, found.values.tolist(), strict=True)
            return "classes", {id: f"{self.target} {value}" for id, value in own}
        return found.kind, self.labels


def target_in(features: Features, target: str) -> str:
    """The target, or the column ``label`` where the distortion is asked for and the CSV has no types.

    Raises:
        InputError: it has neither.
    """
    if target != "distortion" or {"type", "distortion"} & set(features.columns):
        return target
    if "label" in features.columns:
        return "label"
    raise InputError(
        f"The list of stimuli has the columns {', '.join(features.columns)}; expected 'type' or 'label', or --target COLUMN. Name the column."
    )


def probe(
    probing: Probing, wanted: Wanted, out: Path | None = None, told: Callable[[Tables, Notes], None] | None = None
) -> tuple[Tables, Notes]:
    """Probe and compare.

    Args:
        probing: what.
        wanted: which analyses beside the main table.
        out: folder that keeps everything; None for nothing.
        told: called after each step with its tables and notes.

    Returns:
        Tables by name, and what else is to be told of each step.

    Raises:
        InputError: an unknown site; an analysis of classes for a target of numbers; the folder holds another probing; or what
            ``probes.sweep.sweep`` refuses.
    """
    unknown = [site for site in probing.sites or () if site not in probing.store.sites]
    if unknown:
        raise InputError(
            f"There is no site {', '.join(unknown)} in these activations; expected some of {', '.join(probing.store.sites)}. Choose from them, "
            "or extract the site."
        )
    kind, labels = probing.told()
    wanted_of_classes = [name for name in FOR_CLASSES if getattr(wanted, name)]
    if kind == "numbers" and wanted_of_classes:
        raise InputError(
            f"The target '{probing.target}' is a number, and {', '.join('--' + n.replace('_', '-') for n in wanted_of_classes)} compare "
            "classes. Leave them out, or add --kind classes where the column has few values."
        )
    if kind == "numbers" and probing.repeats > 1:
        raise InputError(
            f"Got --repeats {probing.repeats} for a number; expected 1: numbers are predicted on one set of folds."
        )
    data = {} if out is None else {"activations": probing.values}
    book = Book.opened(out, probing.settings(kind, labels), probing.store.config.get("model"), data)
    for name, step in _Run(probing, kind, labels).steps(wanted).items():
        book.keep(name, step)
        if told is not None:
            told({table: book.tables[table] for table in book.notes[name]["tables"]}, book.notes[name])
    return book.tables, book.notes


@dataclass(frozen=True)
class _Run:
    """The steps of one probing."""

    probing: Probing
    kind: str
    labels: Labels | None

    def steps(self, wanted: Wanted) -> dict[str, Step]:
        """By name, in order; each gives tables and what is to be told."""
        chosen: dict[str, Step] = {"probe": self.main}
        plain = ("differences", "information", "equal_dimension", "sample_size", "by_type")
        chosen |= {name: getattr(self, name) for name in plain if getattr(wanted, name)}
        chosen |= {f"control_task_{key}": partial(self.control_task, key) for key in wanted.control_task}
        return chosen | {f"transfer_{by}": partial(self.transfer, by) for by in wanted.transfer}

    @cached_property
    def swept(self) -> SweepResult | SeverityResult:
        """The sweep that the main table and the differences share."""
        own, common = self.probing, self._common()
        if self.kind == "numbers":
            del common["taxonomy"]
            return severity_sweep(**{**common, "n_boot": DRAWS}, folds=own.folds)
        return sweep(**{**common, "n_boot": DRAWS}, folds=own.folds, repeats=own.repeats)

    def main(self) -> tuple[Tables, Notes]:
        """The table of every site."""
        found = self.swept
        more = {"within_types": found.by_type} if isinstance(found, SeverityResult) else {}
        return {"probe": found.table, **more}, {"dropped": found.dropped, "best": found.best()}

    def differences(self) -> tuple[Tables, Notes]:
        """Which sites differ from the best, and of classes which cannot be told from it."""
        found = self.swept
        about = {row["site"]: row["component"] for row in found.table}
        if isinstance(found, SeverityResult):
            return {
                "differences": [
                    {**row, "component": about[row["site"]]} for row in _severity_differences(found, self._common()["n_boot"])
                ]
            }, {}
        both = {"differences": found.differences(), "best_sites": found.best_sites()}
        return {name: [{**row, "component": about[row["site"]]} for row in rows] for name, rows in both.items()}, {}

    def information(self) -> tuple[Tables, Notes]:
        """Online code and usable bits; bits per stimulus at the site that has most."""
        from probes.information import description_length
        from probes.usable import usable_information

        usable = usable_information(**self._common(), folds=self.probing.folds)
        code = description_length(**self._common())
        rows = [row for row in usable.table if row["component"] != "baseline"]
        best = max(rows, key=lambda row: row["information"])["site"]
        return {"online_code": code.table, "usable_information": usable.table, "pvi": usable.pvi(best)}, {"pvi": best}

    def control_task(self, key: str) -> tuple[Tables, Notes]:
        """Selectivity."""
        from probes.control_task import control_task

        found = control_task(**self._common(), folds=self.probing.folds, key=key)
        return {f"control_task_{key}": found.table}, {"key": key}

    def equal_dimension(self) -> tuple[Tables, Notes]:
        """Every site in as many dimensions."""
        from probes.dimension import equal_dimension

        found = equal_dimension(**self._common(), folds=self.probing.folds)
        return {"equal_dimension": [{**row, "d": found.d} for row in found.table]}, {"d": found.d}

    def sample_size(self) -> tuple[Tables, Notes]:
        """Training on fewer references."""
        from probes.sample_size import sample_size

        found = sample_size(**self._common(), folds=self.probing.folds)
        return {"sample_size": found.table, "sample_size_gain": found.last}, {}

    def by_type(self) -> tuple[Tables, Notes]:
        """Each type alone against clean images; no matter of the target."""
        from probes.per_type import type_sweep

        common = {
            name: value for name, value in self._common().items() if name not in ("target", "taxonomy", "labels", "n_boot")
        }
        found = type_sweep(**common, n_boot=DRAWS, folds=self.probing.folds)
        return {"types": found.table, "type_levels": found.levels}, {"left_out": dict(found.left_out)}

    def transfer(self, by: str) -> tuple[Tables, Notes]:
        """What was not trained on."""
        from probes.generalise import transfer_sweep

        found = transfer_sweep(**self._common(), by=by, folds=self.probing.folds)
        return {f"transfer_{by}": found.table}, {"left_out": found.left_out, "dropped": found.dropped}

    def _common(self) -> dict[str, Any]:
        """Arguments that every analysis takes."""
        own = self.probing
        sites = len(own.sites or own.store.sites) + len(own.baselines)
        references = len({own.store.metadata(id)["reference"] for id in own.store.ids})
        n_boot = max(DRAWS, min(MANY * sites, MOST_DRAWS // references))
        return {"store": own.store, "target": own.target, "taxonomy": own.taxonomy, "labels": self.labels, "sites": own.sites,
                "baselines": own.baselines, "seed": own.seed, "n_boot": n_boot, "progress": own.progress}  # fmt: skip


def _severity_differences(found: SeverityResult, n_boot: int) -> Table:
    """Every site's SRCC against the best one's, paired, Holm over sites; ``SeverityResult.compare`` with more resamples."""
    best = found.best()
    if best is None:
        raise InputError(
            "There is no site of the model to compare the others with. Leave out --differences, or probe more sites."
        )
    number, count = group_counts(found.groups)
    weights = np.vstack([np.ones((1, count)), resamples(count, n_boot, found.seed)])
    first = spearman(found.predictions[best], found.truth, number, weights)
    rows: Table = []
    for row in found.table:
        if row["site"] != best:
            change = spearman(found.predictions[row["site"]], found.truth, number, weights) - first
            own = score_change(change, found.folds, found.groups)
            numbers = {"change": own.value, "low": own.low, "high": own.high, "p": own.p}
            rows.append({"site": row["site"], "against": best, "score": row["score"], **numbers})
    for row, p in zip(rows, holm([row["p"] for row in rows]) if rows else [], strict=True):
        row["p_holm"] = p
    return rows
