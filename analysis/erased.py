"""What erasing a concept inside a model does to its answers, to the content of what it says, and to probes further on.

The behavioural side of concept erasure (Elazar et al. 2021): a probe tells that a concept is there, an answer that changes when it
is taken out tells that it is used, if taking out as many other directions does not do the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.captions import Captions, captions_kept
from analysis.perception import Answers, ask, compare_answers
from hooks.edit import edit
from hooks.extract import extract
from hooks.load import Mllm
from probes.eraser import Eraser
from probes.erasure import Erasure
from probes.intervals import Difference, group_bootstrap, holm, paired_difference
from probes.sweep import SweepResult, compare_runs, sweep
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Row, Table
from stimuli.types import Stimulus, StimulusSet

NONE, ERASED = "none", "erased"
"""Names of the model as it is, and with the concept erased; the controls stand beside them."""
CONTENT = ("colour", "shape", "quality")
Erasers = Mapping[str, Eraser | Erasure]
"""By site; all are applied at once."""


@dataclass(frozen=True, repr=False)
class Erased(Result):
    """Answers, captions and probes with nothing, the concept and something else erased, on the same stimuli."""

    table: Table
    """A row per ``condition`` (``none``, ``erased``, the controls): ``sites``, ``rank``, ``variance_removed`` (as fitted);
    ``balanced_accuracy`` of the answers with interval; their ``change`` from ``none``, paired, with interval, p and Holm's
    correction over conditions; ``changed`` (share of answers that became others) with interval, ``kl`` (mean bits from the old class
    probabilities to the new); of the controls ``beyond``, the accuracy with the concept erased less that with the control, with
    interval, p and Holm's correction. With captions: ``colour``, ``shape``, ``quality`` named rightly, the paired ``…_change`` of
    each, of the controls ``…_beyond``, and ``agreement`` of the descriptions with those of ``none``."""
    probes: Table
    """A row per condition and site: balanced accuracy ``before`` and ``after``, paired ``change`` with interval, p and Holm's
    correction over the sites of the condition; ``chance``; of the controls ``beyond``, the accuracy with the concept erased less that
    with the control, with interval, p and Holm's correction over the sites."""
    answers: Mapping[str, Answers] = field(repr=False)
    captions: Mapping[str, Captions] = field(repr=False)

    def row(self, condition: str) -> Row:
        """The row of a condition."""
        return next(row for row in self.table if row["condition"] == condition)


@contextmanager
def erasing(mllm: Mllm, erasers: Erasers) -> Iterator[Mllm]:
    """Erase at sites inside the block, and say so in the provenance.

    ``hooks.edit.edit`` alone changes what the model computes, not what it is called: a folder of answers or activations (``out=``)
    of the model as it is would be gone on with, and the old answers handed out. What is yielded here is refused by such a folder.

    Args:
        mllm: the model.
        erasers: by site.

    Yields:
        The same model under another identity; the original one computes the same inside the block.
    """
    edits = _plain(erasers)
    if not edits:
        yield mllm
        return
    marks = {"erased": {site: own.checksum for site, own in edits.items()}, "before": mllm.provenance.get("tuned")}
    with edit(mllm, edits):
        yield replace(mllm, provenance={**mllm.provenance, "tuned": marks})


def erased(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    erasers: Erasers,
    *,
    controls: Mapping[str, Erasers] | None = None,
    protocol: str = "forced-choice",
    taxonomy: str | Path = "paper8",
    target: str = "distortion",
    sites: Sequence[str] | None = None,
    captions: bool = True,
    out: str | Path | None = None,
    batch_size: int = 32,
    folds: int = 5,
    n_boot: int = 1000,
    seed: int = 0,
    progress: bool = True,
    **how: Any,
) -> Erased:
    """Ask and probe a model with a concept erased, beside the model as it is and beside controls.

    Args:
        mllm: the model; left as it is.
        stimuli: of references that the erasers were not fitted to.
        erasers: of the concept, by site.
        controls: name to erasers by site; by default those that every ``Erasure`` brings along.
        protocol: of the answers, see ``analysis.perception.ask``.
        taxonomy: name or file.
        target: what is probed for.
        sites: where is probed (mean-pooled); by default at the first edited site and behind it, () for nowhere.
        captions: whether to ask for content and quality too.
        out: folder; each condition has a folder of its own in it, named by what it erases.
        batch_size: images per forward pass.
        folds: of the probes, by reference.
        n_boot: resamples of references.
        seed: of folds and resamples.
        progress: show progress bars.
        **how: further arguments of ``ask``.

    Raises:
        InputError: no eraser, an unknown site, or stimuli of references that an eraser was fitted to.
    """
    if not erasers:
        raise InputError("Got no eraser; expected at least one, as {'vision.3': eraser}. Fit one with fit_eraser.")
    mllm.stages.check(list(erasers))
    _refuse_seen(stimuli, erasers)
    conditions: dict[str, Erasers] = {NONE: {}, ERASED: erasers, **(_controls(erasers) if controls is None else controls)}
    probed = _behind(mllm, erasers) if sites is None else tuple(sites)
    answers: dict[str, Answers] = {}
    said: dict[str, Captions] = {}
    sweeps: dict[str, SweepResult] = {}
    common: dict[str, Any] = {"batch_size": batch_size, "progress": progress}
    for name, own in conditions.items():
        place = None if out is None else Path(out) / _folder(own)
        with erasing(mllm, own) as model, tempfile.TemporaryDirectory() as scratch:
            told = None if place is None else place / "answers"
            answers[name] = ask(
                model, stimuli, protocol, taxonomy=taxonomy, out=told, n_boot=n_boot, seed=seed, **common, **how
            )
            if captions:
                said[name] = captions_kept(model, stimuli, said.get(NONE), out=told, n_boot=n_boot, seed=seed, **common)
            if probed:
                store = extract(model, stimuli, probed, out=(place or Path(scratch)) / "activations", **common)
                sweeps[name] = sweep(store, target, taxonomy, seed, folds=folds, n_boot=n_boot, progress=progress)
    table = _table(conditions, answers, said, n_boot, seed)
    return Erased(table, _probes(sweeps), answers, said)


def _plain(erasers: Erasers) -> dict[str, Eraser]:
    return {site: own.eraser if isinstance(own, Erasure) else own for site, own in erasers.items()}


def _refuse_seen(stimuli: Sequence[Stimulus], erasers: Erasers) -> None:
    shown = {stimulus.reference for stimulus in stimuli}
    for site, own in erasers.items():
        seen = sorted(shown & set(own.references)) if isinstance(own, Erasure) else []
        if seen:
            raise InputError(
                f"The eraser at '{site}' was fitted to {len(seen)} of the {len(shown)} references shown (first: {seen[0]}). Expected "
                "other references. Split them, and fit with references= of the one half."
            )


def _controls(erasers: Erasers) -> dict[str, Erasers]:
    """The controls that all erasers have, applied at the same sites together."""
    own = [one.controls if isinstance(one, Erasure) else {} for one in erasers.values()]
    names = [name for name in own[0] if all(name in other for other in own)]
    return {name: {site: found[name] for site, found in zip(erasers, own, strict=True)} for name in names}


def _behind(mllm: Mllm, erasers: Erasers) -> tuple[str, ...]:
    sites = tuple(mllm.stages.sites)
    return sites[min(sites.index(site) for site in erasers) :]


def _folder(erasers: Erasers) -> str:
    if not erasers:
        return NONE
    return "+".join(f"{site}-{own.method}-{own.checksum[:12]}" for site, own in _plain(erasers).items())


def _table(
    conditions: Mapping[str, Erasers], answers: Mapping[str, Answers], said: Mapping[str, Captions], n_boot: int, seed: int
) -> Table:
    table: Table = []
    for name, own in conditions.items():
        edits = _plain(own)
        shares = [one.variance_removed for one in edits.values()]
        row: Row = {"condition": name, "sites": ", ".join(edits), "rank": sum(one.rank for one in edits.values())}
        row["variance_removed"] = shares[0] if len(shares) == 1 else ", ".join(f"{one:.4f}" for one in shares)
        row |= _of_answers(name, answers, n_boot, seed)
        row |= _of_captions(name, said, n_boot, seed) if said else {}
        table.append(row)
    for key in ("p", "beyond_p"):
        rows = [row for row in table if row[key] is not None]
        for row, p in zip(rows, holm([row[key] for row in rows]) if rows else [], strict=True):
            row[f"{key}_holm"] = p
    return table


def _of_answers(name: str, answers: Mapping[str, Answers], n_boot: int, seed: int) -> Row:
    before, after = answers[NONE], answers[name]
    row: Row = {
        "n": len(after.table), "references": len({own["reference"] for own in after.table}),
        "balanced_accuracy": after.balanced_accuracy, "low": after.balanced_low, "high": after.balanced_high,
        "chance": after.chance,
    }  # fmt: skip
    found = None if name == NONE else compare_answers(before, after, n_boot, seed)
    row |= _difference("change", found) | {"p": None if found is None else found.p, "p_holm": None}
    groups = [own["reference"] for own in after.table]
    moved = np.array([old["answer"] != new["answer"] for old, new in zip(before.table, after.table, strict=True)], float)
    share = group_bootstrap(moved, groups, n_boot, seed)
    row |= {"changed": share.value, "changed_low": share.low, "changed_high": share.high, "kl": _kl(before, after)}
    control = name not in (NONE, ERASED)
    beyond = compare_answers(after, answers[ERASED], n_boot, seed) if control else None
    return row | _difference("beyond", beyond) | {"beyond_p": None if beyond is None else beyond.p, "beyond_p_holm": None}


def _kl(before: Answers, after: Answers) -> float | None:
    """Mean Kullback-Leibler divergence of the class probabilities, bits; None for a protocol without them."""
    names = [f"p_{name}" for name in before.classes]
    if any(name not in before.table[0] for name in names):
        return None
    old, new = (np.clip([[row[name] for name in names] for row in one.table], 1e-12, 1) for one in (before, after))
    return float(np.mean(np.sum(old * np.log2(old / new), axis=1)))


def _of_captions(name: str, said: Mapping[str, Captions], n_boot: int, seed: int) -> Row:
    row: Row = {}
    own, control = said[name], name not in (NONE, ERASED)
    for content in CONTENT:
        measured = getattr(own, content)
        row[content] = None if measured is None else measured.value
        change = None if name == NONE else _paired(said[NONE], own, content, n_boot, seed)
        beyond = _paired(own, said[ERASED], content, n_boot, seed) if control else None
        row |= _difference(f"{content}_change", change) | _difference(f"{content}_beyond", beyond)
    return row | {"agreement": None if own.agreement is None else own.agreement.value}


def _paired(before: Captions, after: Captions, content: str, n_boot: int, seed: int) -> Difference | None:
    """The change of what is rightly named, where it is known; None for fewer than two references."""
    there = {row["id"]: row[content] for row in before.table if row[content] is not None}
    known = [row for row in after.table if row[content] is not None and row["id"] in there]
    groups = [row["reference"] for row in known]
    if len(set(groups)) < 2:
        return None
    was, now = np.array([there[row["id"]] for row in known]), np.array([row[content] for row in known])
    return paired_difference(was, now, groups, n_boot, seed)


def _difference(name: str, found: Difference | None) -> Row:
    values = (None, None, None) if found is None else (found.value, found.low, found.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def _probes(sweeps: Mapping[str, SweepResult]) -> Table:
    if not sweeps:
        return []
    table: Table = []
    for name, own in sweeps.items():
        if name == NONE:
            continue
        beyond = {row["site"]: row for row in compare_runs(own, sweeps[ERASED])} if name != ERASED else {}
        for row in compare_runs(sweeps[NONE], own):
            other = beyond.get(row["site"], {})
            names = {"beyond": "change", "beyond_low": "low", "beyond_high": "high", "beyond_p": "p", "beyond_p_holm": "p_holm"}
            told = {new: other.get(old) for new, old in names.items()}
            table.append({"condition": name, **row, "chance": own.row(row["site"])["chance"], **told})
    return table
