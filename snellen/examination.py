"""The steps of one exam, in order; each takes what the ones before it found."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from joblib import cpu_count

from analysis.captions import Captions, captions_kept
from analysis.figures import exam_figures, written
from analysis.gallery import gallery
from analysis.inputs import PIXELS, measure_inputs
from analysis.interview import Interview, interview
from analysis.perception import Answers, ask, blind
from analysis.pictures import pictures
from analysis.processed import processed_survival
from analysis.report import PICTURES, render
from analysis.semantic_distance import Distances
from analysis.unsaid import unsaid
from analysis.verdict import Arm, decide
from analysis.verdict_inputs import read_inputs
from hooks.activations import Activations
from hooks.blank import random_weights
from hooks.extract import extract
from hooks.load import Mllm
from hooks.stages import COMPONENTS
from hooks.store import Store
from probes.intervals import holm
from probes.sweep import SweepResult, lost, sweep
from snellen import exam_cause, exam_distances, exam_maps
from snellen import progress as steps
from snellen.config import ExamConfig
from snellen.models import load
from snellen.provenance import now, provenance
from snellen.results import CONSTRAINED, audit_dict, best_probe, component_of, site_probe, tuning_entry
from snellen.shown import stimulus_sets, summary
from stimuli.errors import InputError
from stimuli.fingerprint import fingerprint
from stimuli.statistics import pixel_statistics
from stimuli.tables import Table, write_csv, write_json
from stimuli.types import StimulusSet
from tuning.lessons import Lesson, own_words
from tuning.settings import check
from tuning.tune import tune
from tuning.tuned import Tuned


@dataclass(frozen=True)
class Seen:
    """Everything measured of one model, base or tuned."""

    answers: Answers
    captions: Captions
    store: Store
    survival: SweepResult
    distances: Distances


@dataclass(frozen=True)
class Entrance:
    """The stages before the first weight, the same for every arm."""

    statistics: Mapping[str, Activations]
    """Pixel statistics at ``pixels`` and, where the processor's images can be had, at ``processed``."""
    table: Table
    """What the processor leaves of each distortion."""
    note: str
    """Why the ``processed`` site holds no pixel statistics, if it does not."""

    def over(self, ids: Sequence[str]) -> dict[str, Activations]:
        """The statistics that all of these stimuli have."""
        return {name: rows for name, rows in self.statistics.items() if set(ids) <= set(rows.ids)}


def examine(settings: ExamConfig, folder: Path, clock: steps.Clock, progress: bool) -> dict[str, Any]:
    """Run every step and write everything; see ``snellen.runs.exam``."""
    started = now()
    for name in settings.arms:
        check(component_of(name), settings.method, settings.constraint if name.endswith(CONSTRAINED) else None)
    with clock.step(steps.MODEL):
        mllm = _examined(settings)
    with clock.step(steps.STIMULI):
        shown, train, skipped = stimulus_sets(settings, progress)
    with clock.step(steps.PIXELS):
        entrance = _entrance(mllm, shown, settings, progress)
    with clock.step(steps.BASELINES):
        baselines = _baselines(mllm, shown, settings, progress)
    with clock.step(steps.BASE):
        base = _measure(mllm, shown, settings, folder / "activations" / "base", progress, entrance, baselines=baselines)
        about: dict[str, Any] = {"taxonomy": settings.taxonomy, "progress": progress, "out": _book(folder, "base"),
                                 "n_boot": settings.n_boot, "seed": settings.seed}  # fmt: skip
        opened = ask(mllm, shown, "open", **about)
        blank = blind(mllm, shown, **about)
        last = _last_position(mllm, shown, settings, folder / "activations" / "base-last", progress)
    with clock.step(steps.INTERVIEW):
        said = _interview(mllm, shown, settings, about)
        known = unsaid(base.survival, base.answers, n_boot=settings.n_boot, seed=settings.seed)
    replays = cache(lambda: own_words(mllm, train, seed=settings.seed, progress=progress))
    arms: dict[str, tuple[Tuned, Seen]] = {}
    for name in settings.arms:
        with clock.step(steps.TUNE.format(name)):
            arms[name] = _arm(name, mllm, train, replays, shown, base, entrance, settings, folder, progress)
    with clock.step(steps.VERDICT):
        own = {name: seen.answers for name, (_, seen) in arms.items() if component_of(name) in COMPONENTS}
        evidence = [Arm(name, component_of(name), answers) for name, answers in own.items()]
        inputs = read_inputs(base.survival, entrance.statistics, settings.folds)
        verdict = decide(base.survival, mllm.stages.read_layer, base.answers, evidence, inputs=inputs)
        shown_arm = max(arms, key=lambda name: arms[name][1].answers.balanced_accuracy, default=None)
    with clock.step(steps.DISTANCES):
        distance = exam_distances.told(mllm, base, {name: seen for name, (_, seen) in arms.items()}, shown_arm, settings)
    with clock.step(steps.CAUSE):
        able = {exam_cause.LOADED: (mllm, base), **{name: (tuned.mllm, seen) for name, (tuned, seen) in arms.items()}}
        cause = exam_cause.told(able, shown, settings, folder / "cause", progress)
    with clock.step(steps.MAPS):
        maps = exam_maps.told(mllm, shown, base.survival, settings, folder / "activations" / "base-local", progress)
    results: dict[str, Any] = {
        "provenance": provenance(mllm.provenance, {"exam": fingerprint(shown), "train": fingerprint(train)}, seed=settings.seed,
                                 config=json.loads(settings.model_dump_json()), started=started, finished=now(),
                                 seconds=dict(clock.seconds)),
        "stimuli": summary(shown, train, [*skipped, *_left_out(base, arms)], settings),
        "perception": {"base": base.answers.as_dict(), "open": opened.as_dict(), "blind": blank.as_dict(),
                       "arms": {name: seen.answers.as_dict() for name, (_, seen) in arms.items()},
                       **({} if said is None else said.as_dict()), "unsaid": known.as_dict(),
                       "gallery": gallery(known, shown, seed=settings.seed)},
        "survival": _survival(mllm, base, arms, last, entrance),
        "tuning": {"base": _entry(None, base, base), "arms": {n: _entry(t, s, base, n) for n, (t, s) in arms.items()}},
        "distance": distance,
        "cause": cause.results,
        **({"maps": maps.results} if settings.maps else {}),
        "verdict": verdict.as_dict(),
    }  # fmt: skip
    adjusted = holm([entry["p"] for entry in results["tuning"]["arms"].values()]) if arms else []
    for entry, p in zip(results["tuning"]["arms"].values(), adjusted, strict=True):
        entry["p_holm"] = p
    with clock.step(steps.REPORT):
        results = json.loads(write_json(results, folder / "results.partial.json").read_text())
        _tables(results, base, arms, folder / "tables")
        more = {**(said.tables() if said else {}), "unsaid": known.sites, "unsaid_stimuli": known.stimuli, **cause.tables}
        more |= {"maps": maps.results["table"]} if "table" in maps.results else {}
        for table, rows in more.items():
            write_csv(rows, folder / "tables" / f"{table}.csv")
        write_json(exam_maps.with_examples(pictures(shown), maps), folder / PICTURES)
        figures = written(exam_figures(results), folder / "figures", workers=cpu_count())
        render(results, folder, figures)
    (folder / "results.partial.json").replace(folder / "results.json")
    return results


def _left_out(base: Seen, arms: Mapping[str, tuple[Tuned, Seen]]) -> list[dict[str, Any]]:
    """Stimuli without activations, of the base model and of the tuned ones."""
    found = {"base": base, **{name: seen for name, (_, seen) in arms.items()}}
    return [{**row, "reason": f"{name}: {row['reason']}"} for name, seen in found.items() for row in seen.store.skipped]


def _examined(settings: ExamConfig) -> Mllm:
    names = ("dtype", "device", "device_map", "quantization", "adapter", "stages", "revision", "trust_remote_code")
    mllm = load(settings.model, **{name: getattr(settings, name) for name in names})
    if "projector" not in mllm.stages.sites:
        raise InputError(
            f"{type(mllm.model).__name__} has no projector: its language model reads the vision tower itself, so an exam, which tells "
            "encoder, projector and language model apart, has nothing to compare. Expected a model with all three. Use sn.extract, "
            "sn.sweep, sn.ask, and sn.tune of vision or llm one by one."
        )
    return mllm


def _measure(
    mllm: Mllm,
    shown: StimulusSet,
    settings: ExamConfig,
    out: Path,
    progress: bool,
    entrance: Entrance,
    base: Captions | None = None,
    baselines: Mapping[str, Activations] | None = None,
) -> Seen:
    options: dict[str, Any] = {"progress": progress, "n_boot": settings.n_boot, "seed": settings.seed}
    book = _book(out.parent.parent, out.name)
    answers = ask(mllm, shown, taxonomy=settings.taxonomy, out=book, **options)
    captions = captions_kept(mllm, shown, base, out=book, **options)
    store = extract(mllm, shown, out=out, progress=progress, strict=settings.strict)
    inputs = entrance.over(store.ids)
    if baselines is not None and PIXELS in inputs:
        baselines = {"pixel-statistics": inputs[PIXELS], **baselines}
    survival = sweep(store, taxonomy=settings.taxonomy, folds=settings.folds, baselines=baselines, inputs=inputs, **options)
    return Seen(answers, captions, store, survival, exam_distances.measured(mllm, shown, store, settings.taxonomy, **options))


def _book(folder: Path, name: str) -> Path:
    """Where the answers of a model are kept: the base model, or an arm."""
    return folder / "answers" / name


def _interview(mllm: Mllm, shown: StimulusSet, settings: ExamConfig, about: Mapping[str, Any]) -> Interview | None:
    """Everything else that is asked of the model as loaded."""
    if settings.interview == "off":
        return None
    return interview(mllm, shown, few=settings.few, repeats=settings.repeats, thorough=settings.interview == "thorough", prior=settings.prior,
                     batch_size=settings.batch_size, **about)  # fmt: skip


def _entrance(mllm: Mllm, shown: StimulusSet, settings: ExamConfig, progress: bool) -> Entrance:
    """Pixel statistics before and after the model's processor; before it alone, and why, where its images cannot be had."""
    try:
        measured = measure_inputs({mllm.name: mllm}, shown, progress=progress)
        options: dict[str, Any] = {"folds": settings.folds, "seed": settings.seed, "n_boot": settings.n_boot}
        table = processed_survival(measured, taxonomy=settings.taxonomy, **options).table
    except InputError as error:
        ids = tuple(s.id for s in shown)
        return Entrance({PIXELS: Activations(ids, np.stack([pixel_statistics(s.image) for s in shown]))}, [], str(error))
    return Entrance({PIXELS: measured.activations(PIXELS), "processed": measured.activations(mllm.name)}, table, "")


def _baselines(mllm: Mllm, shown: StimulusSet, settings: ExamConfig, progress: bool) -> dict[str, Activations]:
    """The last vision site of a random-weight model of the same architecture; pixel statistics are the ``Entrance``'s."""
    found: dict[str, Activations] = {}
    if settings.random_baseline:
        site = mllm.stages.read_layer
        store = extract(random_weights(mllm, settings.seed), shown, [site], progress=progress)
        found["random-weights"] = store.read(site)
    return found


def _last_position(mllm: Mllm, shown: StimulusSet, settings: ExamConfig, out: Path, progress: bool) -> SweepResult:
    store = extract(mllm, shown, pool="last", out=out, progress=progress, strict=settings.strict)
    return sweep(store, taxonomy=settings.taxonomy, seed=settings.seed, folds=settings.folds, n_boot=settings.n_boot,
                 progress=progress)  # fmt: skip


def _arm(
    name: str,
    mllm: Mllm,
    train: StimulusSet,
    replays: Callable[[], Sequence[Lesson]],
    shown: StimulusSet,
    base: Seen,
    entrance: Entrance,
    settings: ExamConfig,
    folder: Path,
    progress: bool,
) -> tuple[Tuned, Seen]:
    tuned = tune(
        mllm,
        train,
        component_of(name),
        method=settings.method,
        steps=settings.steps,
        batch_size=settings.batch_size,
        lr=settings.lr,
        constraint=settings.constraint if name.endswith(CONSTRAINED) else None,
        constraint_weight=settings.constraint_weight,
        replay=settings.replay,
        replays=replays,
        taxonomy=settings.taxonomy,
        held_out=shown.references,
        seed=settings.seed,
        progress=progress,
        out=folder / "arms" / name,
    )
    return tuned, _measure(tuned.mllm, shown, settings, folder / "activations" / name, progress, entrance, base.captions)


def _entry(tuned: Tuned | None, seen: Seen, base: Seen, name: str = "base") -> dict[str, Any]:
    """One row of the tuning matrix."""
    entry = tuning_entry(name, seen.answers, base.answers if tuned else None)
    entry |= {
        "captions": seen.captions.as_dict(),
        "best_probe": best_probe(seen.survival),
        "projector_probe": site_probe(seen.survival, "projector"),
        "distance": {k: v for k, v in seen.distances.row("projector").items() if k not in ("class", "n")},
    }
    return entry if tuned is None else {**entry, **audit_dict(tuned)}


def _survival(
    mllm: Mllm, base: Seen, arms: Mapping[str, tuple[Tuned, Seen]], last: SweepResult, entrance: Entrance
) -> dict[str, Any]:
    rows = base.survival.table
    return {
        "target": base.survival.target,
        "chance": rows[0]["chance"],
        "majority": rows[0]["majority"],
        "read_layer": mllm.stages.read_layer,
        "base": [row for row in rows if row["component"] != "baseline"],
        "baselines": [row for row in rows if row["component"] == "baseline"],
        "arms": {name: seen.survival.table for name, (_, seen) in arms.items()},
        "last_position": last.table,
        "lost": lost(base.survival, mllm.stages.read_layer),
        "processed": entrance.table,
        "processed_note": entrance.note,
    }


def _tables(results: Mapping[str, Any], base: Seen, arms: Mapping[str, tuple[Tuned, Seen]], folder: Path) -> None:
    """The rows behind every number, as CSV."""
    survival = results["survival"]
    write_csv(survival["base"] + survival["baselines"], folder / "survival.csv")
    write_csv(survival["lost"], folder / "survival_changes.csv")
    write_csv(survival["processed"], folder / "processed.csv")
    write_csv([{"arm": n, **row} for n, rows in survival["arms"].items() for row in rows], folder / "survival_arms.csv")
    write_csv(results["verdict"]["evidence"], folder / "verdict.csv")
    write_csv(results["distance"]["base"], folder / "distance.csv")
    changes = results["distance"]["compare"].items()
    write_csv([{"arm": n, **row} for n, rows in changes for row in rows], folder / "distance_changes.csv")
    write_csv(results["stimuli"]["severity"], folder / "severity.csv")
    for name, seen in {"base": base, **{n: s for n, (_, s) in arms.items()}}.items():
        write_csv(seen.answers.table, folder / f"answers_{name}.csv")
        write_csv(seen.captions.table, folder / f"captions_{name}.csv")
