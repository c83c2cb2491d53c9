"""Does what a site says of the distortions carry over to what its probe was not trained on? Transfer at every site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hooks.activations import Activations
from probes.controls import classes_of
from probes.intervals import holm
from probes.linear import PENALTIES
from probes.over_sites import over_sites
from probes.targets import Labels, Readable, Target, target_of
from probes.transfer import Transfer, evaluate, leave_one_out, severity_shift
from stimuli.distortions import TYPES
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Row, Table

SHIFTS = ("level", "severity")
"""What is shifted from low to high; everything else is left out kind by kind."""
MOST_KINDS = 100
"""A column with more values than this is taken for numbers, which are no kinds."""


@dataclass(frozen=True, repr=False)
class TransferResult(Result):
    """Scores on what was not trained on, at every site; intervals are over references."""

    target: str
    by: str
    table: Table
    """Rows per site and ``held_out`` kind, as ``probes.transfer.evaluate`` gives them, but ``p_holm`` is over the sites of the same
    kind; and ``chance``, 1 / classes that the probe tells apart."""
    left_out: Table
    """What could not be tested, and why (``probes.transfer.Transfer``)."""
    dropped: int
    """Stimuli with a label that the split has no use for: of a signed type, whose levels are not ordered, or without the column."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """What is held out, in order."""
        return tuple(dict.fromkeys(row["held_out"] for row in self.table))

    def row(self, site: str, held_out: str | None = None) -> Row:
        """The row of a site and kind; the kind may be left out where there is only one."""
        found = [row for row in self.table if row["site"] == site and held_out in (None, row["held_out"])]
        if len(found) != 1:
            raise InputError(
                f"There are {len(found)} rows of site '{site}' and kind {held_out!r}; expected one. The kinds are {', '.join(self.kinds)}. "
                "Give one of them and a site of the table."
            )
        return found[0]


def transfer_sweep(
    store: Readable,
    by: str = "type",
    target: str = "distortion",
    taxonomy: str | Path = "paper8",
    seed: int = 0,
    *,
    labels: Labels | None = None,
    thresholds: tuple[float, float] | None = None,
    reverse: bool = False,
    folds: int = 5,
    sites: Sequence[str] | None = None,
    baselines: Mapping[str, Activations] | None = None,
    inputs: Mapping[str, Activations] | None = None,
    penalties: Sequence[float] = PENALTIES,
    n_boot: int = 1000,
    progress: bool = True,
) -> TransferResult:
    """At every site, the score of a probe on what it was not trained on, beside that of a probe that was.

    Args:
        store: activations with the stimuli's metadata.
        by: ``type`` (each fine distortion type in turn is left out of training and tested), ``source`` (each dataset), or a column of
            the metadata, likewise; ``level`` or ``severity`` (measured: SSIM, or PSNR where not all have it): trained on the milder
            half of each class, tested on the stronger.
        target: classes, as for the sweep.
        taxonomy: name or file.
        seed: of folds and resamples.
        labels: the user's own, by stimulus id.
        thresholds: of ``level`` and ``severity``, see ``probes.transfer.severity_shift``; severity is −SSIM or −PSNR there.
        reverse: of ``level`` and ``severity``: train on the stronger half.
        folds: by reference.
        sites: which; all by default.
        baselines: further features by name.
        inputs: features that stand in for the store's at the sites of that name.
        penalties: candidates for the probe's L2 penalty.
        n_boot: resamples of references.
        progress: show a progress bar.

    Raises:
        InputError: a target of numbers, fewer than two kinds or severities, more than ``MOST_KINDS`` kinds, or nothing to be tested.
    """
    wanted = classes_of(store, target, taxonomy, labels)
    wanted, split, dropped = _split(store, wanted, by, folds, seed, thresholds, reverse)
    chance = 1 / len(np.unique(wanted.values))
    rows: Table = []

    def measure(site: str, values: np.ndarray) -> Mapping[str, Any]:
        found = evaluate(values, wanted.values, wanted.held, split, penalties=penalties, seed=seed, n_boot=n_boot)
        rows.extend({"site": site, **row, "chance": chance} for row in found)
        return {}

    order = over_sites(
        store, wanted, measure, sites=sites, baselines=baselines, inputs=inputs, progress=progress, desc="transfer"
    )
    about = {row["site"]: row for row in order}
    table = [{**about[row["site"]], **row} for row in rows]
    for kind in split.names:
        own = [row for row in table if row["held_out"] == kind]
        for row, p in zip(own, holm([row["p"] for row in own]), strict=True):
            row["p_holm"] = p
    return TransferResult(target, by, table, split.left_out, dropped)


def _split(
    store: Readable,
    wanted: Target,
    by: str,
    folds: int,
    seed: int,
    thresholds: tuple[float, float] | None,
    reverse: bool,
) -> tuple[Target, Transfer, int]:
    """The stimuli that take part, their split, and how many do not."""
    about = [store.metadata(id) for id in wanted.ids]
    if by in SHIFTS:
        severity = _severities(about, by)
        keep = np.array([value is not None for value in severity])
        wanted, numbers = _kept(wanted, keep), np.array([value for value in severity if value is not None])
        if len(np.unique(numbers[np.isfinite(numbers)])) < 2:
            raise InputError(
                f"Transfer by '{by}' needs stimuli of two or more severities, got "
                f"{len(np.unique(numbers[np.isfinite(numbers)]))}. Show more levels, or leave out a kind: --transfer type."
            )
        split = severity_shift(wanted.values, wanted.held, numbers, folds, seed, thresholds=thresholds, reverse=reverse)
        return wanted, split, int((~keep).sum())
    kinds = _kinds(store, wanted, about, by)
    keep = np.array([kind is not None for kind in kinds])
    wanted, given = _kept(wanted, keep), [kind for kind in kinds if kind is not None]
    if len(set(given)) > MOST_KINDS:
        raise InputError(
            f"The column '{by}' has {len(set(given))} different values; expected at most {MOST_KINDS} kinds to leave out one by one. Take a "
            "coarser column, or by='severity', which shifts from low to high."
        )
    return wanted, leave_one_out(wanted.values, wanted.held, given, folds, seed), int((~keep).sum())


def _kept(wanted: Target, keep: np.ndarray) -> Target:
    ids = tuple(id for id, own in zip(wanted.ids, keep, strict=True) if own)
    return replace(wanted, values=wanted.values[keep], groups=wanted.groups[keep], held=wanted.held[keep], ids=ids)


def _severities(about: Sequence[Mapping[str, Any]], by: str) -> list[float | None]:
    """Higher is worse; NaN of clean stimuli, None of those whose severity is not known or has no order."""
    shown = [row for row in about if not _is_clean(row)]
    if by == "level":
        return [float("nan") if _is_clean(row) else None if _is_signed(row) else _number(row.get("level")) for row in about]
    measure = "ssim" if all(row.get("ssim") is not None for row in shown) else "psnr"
    known = [_number(row.get(measure)) for row in about]
    return [
        float("nan") if _is_clean(row) else None if value is None else -value for row, value in zip(about, known, strict=True)
    ]


def _kinds(store: Readable, wanted: Target, about: Sequence[Mapping[str, Any]], by: str) -> list[str | None]:
    """The kind of each stimulus: ``clean`` of clean ones when types are left out; None where it is not known."""
    if by == "type":
        return ["clean" if _is_clean(row) else str(row["type"]) for row in about]
    column = target_of(store, by, kind="classes")
    known = dict(zip(column.ids, column.values.tolist(), strict=True))
    return [known.get(id) for id in wanted.ids]


def _is_clean(about: Mapping[str, Any]) -> bool:
    return about.get("type") is None or bool(about.get("is_identity"))


def _is_signed(about: Mapping[str, Any]) -> bool:
    return any(part in TYPES and TYPES[part].neutral is not None for part in str(about["type"]).split("+"))


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)
