"""One component tuned, asked before and after, saved as a checkpoint or adapter, with tables and figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.figures.files import written
from analysis.figures.teaching import taught_figures
from analysis.forgetting import forgotten, knowledge
from analysis.perception import ask, compare_answers
from hooks.load import Mllm
from snellen.provenance import provenance
from stimuli.errors import InputError
from stimuli.fingerprint import fingerprint
from stimuli.sets import exam_set
from stimuli.tables import Table, write_csv, write_json, write_text
from stimuli.types import Stimulus, StimulusSet
from tuning.saved import CARD
from tuning.tune import tune
from tuning.tuned import ADAPTER, Tuned

REPORT = "report.json"


@dataclass(frozen=True)
class Taught:
    """A tuned model and what it gained and lost."""

    tuned: Tuned
    results: dict[str, Any]
    """Balanced accuracy before and after, the paired gain, and chance; empty if nothing was reported on."""
    forgotten: Table = field(repr=False)
    checkpoint: Path
    """Of the tuned model, or of its adapter."""


def training_set(
    images: str,
    references: int,
    levels: Sequence[int],
    test: float,
    seed: int,
    taxonomy: str | Path = "paper8",
    pairs: bool = False,
    progress: bool = True,
) -> tuple[StimulusSet, StimulusSet | None]:
    """What is taught, and what is reported on; no reference is in both.

    Args:
        images: as for ``snellen.sources.chosen_set``.
        references: training references of a built-in set; of a folder, all that are used.
        levels: published levels.
        test: of images of the user's, the share of the references that is reported on; a built-in set has references of its own
            for it, a quarter as many. 0 for no report.
        seed: of everything.
        taxonomy: whose classes both parts should have.
        pairs: show every type at every level, so that severities of one image can be compared; the images are then made when looked at.
        progress: show progress bars.

    Raises:
        InputError: nothing there, or a share outside 0 to 1.
    """
    from snellen.sources import BUILTIN, chosen_set

    if not 0 <= test < 1:
        raise InputError(f"Got --test {test}; expected the share of the references that is reported on, from 0 to below 1.")
    if images in BUILTIN:
        kind: Any = "leaves" if images == "leaves" else "scenes"
        how: dict[str, Any] = {"levels": levels, "seed": seed, "kind": kind, "progress": progress}
        design: Any = "crossed" if pairs else "balanced"
        train = exam_set(
            references, taxonomy, split="train", measure=False, design=design, in_memory=None if pairs else True, **how
        )
        return train, exam_set(max(8, references // 4), taxonomy, **how) if test else None
    found = chosen_set(images, references, levels, seed, progress=progress, measure=True, taxonomy=taxonomy,
                       design="crossed" if pairs else "balanced")  # fmt: skip
    if not test:
        return found, None
    parts = found.split(1 - test, 0.0, test, seed=seed, taxonomy=taxonomy)
    return parts.train, parts.test


def teach_one(
    mllm: Mllm,
    train: Sequence[Stimulus],
    stimuli: StimulusSet | None,
    component: str,
    out: Path,
    *,
    taxonomy: str | Path = "paper8",
    n_boot: int = 1000,
    seed: int = 0,
    progress: bool = True,
    ask_batch_size: int = 32,
    **how: Any,
) -> Taught:
    """Tune one component and report on it; a run that was stopped goes on.

    Several processes (torchrun) tune and save; the same command without torchrun then adds the report.

    Args:
        mllm: the model; untouched.
        train: labelled stimuli.
        stimuli: what is reported on; None for no report.
        component: as ``tune`` takes it.
        out: folder: the run, ``model`` or ``adapter``, tables, figures.
        taxonomy: name or file.
        n_boot: resamples of references.
        seed: of everything.
        progress: show progress bars.
        ask_batch_size: images per forward pass of the questions before and after.
        **how: further arguments of ``tune``.
    """
    held_out = stimuli.references if stimuli is not None else ()
    tuned = tune(mllm, train, component, taxonomy=taxonomy, seed=seed, progress=progress, out=out, held_out=held_out, **how)
    results: dict[str, Any] = {}
    lost: Table = []
    if int(os.environ.get("RANK", "0")) > 0:
        return Taught(tuned, results, lost, out / "model")
    if stimuli is not None and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        about: dict[str, Any] = {"n_boot": n_boot, "seed": seed, "progress": progress, "batch_size": ask_batch_size}
        models = {"base": mllm, "tuned": tuned.mllm}
        answers = {
            name: ask(own, stimuli, taxonomy=taxonomy, out=out / "answers" / name, **about) for name, own in models.items()
        }
        known = {name: knowledge(own, stimuli, out=out / "answers" / name, **about) for name, own in models.items()}
        lost = forgotten(known["base"], known["tuned"], n_boot, seed)
        results = _results(answers, compare_answers(answers["base"], answers["tuned"], n_boot, seed))
        write_csv(lost, out / "forgotten.csv")
    layers = tuned.audit.layers()
    for name, rows in (("history", tuned.history), ("validation", tuned.validation), ("movement", layers)):
        write_csv(rows, out / f"{name}.csv")
    checkpoint = _checkpoint(tuned, out, results)
    data = {"train": train, **({} if stimuli is None else {"stimuli": stimuli})}
    made = provenance(mllm.provenance, {name: fingerprint(own) for name, own in data.items()}, seed=seed)
    write_json(
        {"provenance": made, "results": results, "forgotten": lost, "audit": tuned.audit.as_dict(), "config": tuned.config},
        out / REPORT,
    )
    shown = {
        "component": component,
        "history": tuned.history,
        "validation": tuned.validation,
        "layers": layers,
        "forgotten": lost,
    }
    written(taught_figures(shown), out / "figures")
    return Taught(tuned, results, lost, checkpoint)


def _results(answers: dict[str, Any], gain: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"n": len(answers["base"].table), "chance": answers["base"].chance}
    for when, own in (("before", answers["base"]), ("after", answers["tuned"])):
        found[when] = {"balanced_accuracy": own.balanced_accuracy, "low": own.balanced_low, "high": own.balanced_high}
    return found | {"gain": {"value": gain.value, "low": gain.low, "high": gain.high, "p": gain.p}}


def _checkpoint(tuned: Tuned, out: Path, results: dict[str, Any]) -> Path:
    """The whole model, or the card beside the adapter that tuning saved."""
    if tuned.config["method"] == "full":
        return tuned.save(out / "model", results or None)
    write_text(tuned.card(results or None, adapter=True), out / ADAPTER / CARD)
    return out / ADAPTER
