"""Which component is worth teaching: all of them at matched budgets, each at the learning rate that suits it, and what each forgets."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from analysis.forgetting import Knowledge, forgotten, knowledge
from analysis.perception import Answers, ask, compare_answers
from hooks.load import Mllm
from hooks.stages import COMPONENTS
from probes.intervals import holm
from snellen.matching import BUDGETS, FURTHER, beyond, check_comparison, check_shared, equal_ranks, refuse_processes
from snellen.provenance import provenance
from snellen.results import CONSTRAINED, component_of
from stimuli.fingerprint import fingerprint
from stimuli.tables import Table, write_csv, write_json
from stimuli.types import Stimulus, StimulusSet
from tuning.adapters import count
from tuning.lessons import REPLAY_IMAGES, own_words, refuse_held_out
from tuning.loop import Diverged
from tuning.parts import Part, find_part
from tuning.settings import VALIDATION, default_rate
from tuning.tune import tune
from tuning.tuned import Tuned, reopen

RATES = (0.3, 1.0, 3.0)
"""Factors on the learning rate that suits a component."""
MEASURED = ("balanced_accuracy", "balanced_low", "balanced_high", "gain", "gain_low", "gain_high", "p")


@dataclass(frozen=True)
class Teaching:
    """Components taught alone at matched budgets."""

    rates: Table
    """One row per run: component, budget, method, rank, numbers trained, their ``deviation`` from the target (a share; at equal
    parameters), steps, seconds, factor, rate, loss on watched references, chosen, edge, note. A run that diverged has an infinite loss,
    and its note says so. ``edge`` marks a chosen factor that is the lowest or highest of those tried: the best rate may lie beyond,
    so that this component may lose for want of tuning."""
    matrix: Table
    """One row per component and budget, of the run at the best rate: balanced accuracy and its paired gain over the base, with
    intervals over references and Holm over the rows. Where every rate diverged, the numbers are NaN and ``note`` says so."""
    forgotten: Table = field(repr=False)
    """``analysis.forgetting.forgotten`` of the same runs, with ``component`` and ``budget``."""
    base: dict[str, Any]
    """Balanced accuracy before tuning."""
    config: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict, repr=False)
    """``snellen.provenance.provenance``."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    def write(self, folder: str | Path) -> None:
        """``teaching.json`` and one CSV per table."""
        root = Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        write_json(self.as_dict(), root / "teaching.json")
        for name in ("rates", "matrix", "forgotten"):
            write_csv(getattr(self, name), root / f"{name}.csv")


def teach(
    mllm: Mllm,
    train: Sequence[Stimulus],
    stimuli: StimulusSet,
    components: Sequence[str] = COMPONENTS,
    *,
    budgets: Sequence[str] = ("steps",),
    rates: Sequence[float] = RATES,
    further: int = FURTHER,
    steps: int = 200,
    parameters: int | None = None,
    seconds: float | None = None,
    validation: float = VALIDATION,
    constraint: str = "align+keep",
    taxonomy: str | Path = "paper8",
    n_boot: int = 1000,
    seed: int = 0,
    progress: bool = True,
    ask_batch_size: int = 32,
    out: str | Path | None = None,
    **how: Any,
) -> Teaching:
    """Teach components one by one, so that none loses for want of tuning.

    Three ways to make it fair, each of which favours another: equal ``steps`` (all weights of each), equal ``parameters`` (LoRA, the
    rank of each chosen so that as many numbers train), equal ``seconds`` of wall time (all weights; where frozen parts are computed
    once, a component gets more steps). In each, a component is tuned at several learning rates, and the rate is chosen by the loss on
    training references that are watched and not learnt, never on the stimuli that are reported. A rate that diverges loses; of the
    runs, only the best model is kept in memory.

    Args:
        mllm: the model; untouched.
        train: labelled training stimuli.
        stimuli: what is reported on; shares no reference with ``train``.
        components: as ``tune`` takes them; ``vision+constraint`` adds the constraint.
        budgets: of ``steps``, ``parameters``, ``seconds``.
        rates: factors on the default rate of each component.
        further: at most so many are tried beyond the lowest or highest while that is the best, spaced as those at that end are.
        steps: of every run but those at equal time.
        parameters: numbers that train at equal parameters; by default what LoRA of rank 8 trains in the smallest component, or, where
            that is more, what rank 1 trains in the largest.
        seconds: of wall time; by default what the slowest component took for its steps at equal steps.
        validation: share of the training references that choose the rate, above 0.
        constraint: as ``tune`` takes it.
        taxonomy: name or file.
        n_boot: resamples of references.
        seed: of everything.
        progress: show progress bars.
        ask_batch_size: images per forward pass of the questions before and after.
        out: folder: one run per subfolder, each gone on with after a stop; then tables and JSON.
        **how: further arguments of ``tune``, of ``SHARED``.

    Raises:
        InputError: unknown budget or component; an argument that is not shared; training references among the reported ones;
            ``parameters`` that a component cannot meet; several processes.
    """
    check_comparison(budgets, rates, components, constraint, seconds, validation, further)
    check_shared(how)
    refuse_processes()
    refuse_held_out(train, stimuli.references)
    root = Path(out) if out is not None else None
    parts = {name: find_part(mllm.model, mllm.stages, component_of(name)) for name in components}
    target, ranks = equal_ranks(mllm, parts, parameters) if "parameters" in budgets else (None, {})
    images, at_once = how.get("replay_images", REPLAY_IMAGES), 4 * (how.get("micro_batch") or 16)
    replays = cache(lambda: own_words(mllm, train, images, seed, progress, batch_size=at_once, quality=not how.get("quality")))
    fixed = {"validation": validation, "taxonomy": taxonomy, "seed": seed, "progress": progress, "replays": replays, **how}
    about: dict[str, Any] = {"n_boot": n_boot, "seed": seed, "progress": progress, "batch_size": ask_batch_size}
    answered = ask(mllm, stimuli, taxonomy=taxonomy, out=root and root / "answers" / "base", **about)
    knew = knowledge(mllm, stimuli, out=root and root / "answers" / "base", **about)
    setting = _Setting(mllm, train, stimuli, tuple(rates), further, constraint, root, fixed, about, answered, knew)
    tried: Table = []
    matrix: Table = []
    lost: Table = []
    for budget in sorted(budgets, key=BUDGETS.index):
        time = seconds or max((row["seconds"] or 0.0 for row in tried if row["budget"] == "steps"), default=0.0)
        for name, part in parts.items():
            course: dict[str, Any] = {"steps": steps}
            if budget == "parameters":
                course |= {"method": "lora", "lora_rank": ranks[name]}
            if budget == "seconds":
                course = {"steps": None, "seconds": time}
            runs, row, kept = setting.taught(name, part, budget, course, target)
            tried += runs
            matrix.append(row)
            lost += kept
    _adjust(matrix)
    base = {key: getattr(answered, key) for key in ("balanced_accuracy", "balanced_low", "balanced_high", "chance")}
    config = {"components": list(components), "budgets": list(budgets), "rates": list(rates), "further": further, "steps": steps,
              "parameters": target, "seconds": seconds, "train": len(train), "stimuli": len(stimuli), "seed": seed}  # fmt: skip
    data = {"train": fingerprint(train), "stimuli": fingerprint(stimuli)}
    done = Teaching(tried, matrix, lost, base, config, provenance(mllm.provenance, data, seed=seed))
    if root is not None:
        done.write(root)
    return done


@dataclass(frozen=True)
class _Setting:
    """What all runs have in common."""

    mllm: Mllm
    train: Sequence[Stimulus]
    stimuli: StimulusSet
    rates: tuple[float, ...]
    further: int
    constraint: str
    root: Path | None
    fixed: Mapping[str, Any]
    about: Mapping[str, Any]
    answered: Answers
    knew: Knowledge

    def taught(
        self, name: str, part: Part, budget: str, course: Mapping[str, Any], target: int | None
    ) -> tuple[Table, dict[str, Any], Table]:
        """One component at one budget: a row per rate, that of the matrix, and what was forgotten."""
        course = {**course, "constraint": self.constraint if name.endswith(CONSTRAINED) else None}
        blank = partial(self._blank, name, part, budget, course=course, target=target)
        if budget == "seconds" and not course["seconds"]:
            return [], _unmeasured(blank(self.rates[0]), "every run at equal steps diverged, so that no time is known"), []
        best, rows = self._best(blank, course)
        if best is None:
            return rows, _unmeasured(rows[0], "every rate diverged"), []
        chosen = next(row for row in rows if row["chosen"])
        row, kept = self._measured(best, self.root and self.root / "answers" / _folder(chosen))
        return rows, {**chosen, **row}, [{"component": name, "budget": budget, **line} for line in kept]

    def _blank(
        self, name: str, part: Part, budget: str, factor: float, *, course: Mapping[str, Any], target: int | None
    ) -> dict[str, Any]:
        """The row of a run, before it."""
        method, rank = course.get("method", "full"), course.get("lora_rank")
        n = count(self.mllm.model, part, method, rank or 1)
        return {
            "component": name, "budget": budget, "method": method, "rank": rank, "n_trained": n,
            "deviation": n / target - 1 if target and budget == "parameters" else None, "steps": None, "seconds": None,
            "factor": factor, "rate": factor * default_rate(self.mllm, part, method), "loss": math.inf, "chosen": False, "edge": False,
            "note": "",
        }  # fmt: skip

    def _best(self, blank: Callable[[float], dict[str, Any]], course: Mapping[str, Any]) -> tuple[Tuned | None, Table]:
        """Tune at each rate and beyond, and mark the best; with a folder, no model but the best is in memory at the end."""
        best: Tuned | None = None
        chosen: dict[str, Any] | None = None
        rows: Table = []
        waiting = list(self.rates)
        while waiting:
            gc.collect()  # the last model: once accelerate ran it, it refers to itself
            row = blank(waiting.pop(0))
            rows.append(row)
            tuned = self._run(row, course)
            if tuned is not None and (chosen is None or row["loss"] < chosen["loss"]):
                chosen, best = row, tuned if self.root is None else None
            del tuned
            if not waiting and chosen is not None and len(rows) < len(self.rates) + self.further:
                waiting = beyond([one["factor"] for one in rows], chosen["factor"])
        if chosen is None:
            return None, rows
        gc.collect()
        tried = [row["factor"] for row in rows]
        chosen |= {"chosen": True, "edge": chosen["factor"] in (min(tried), max(tried))}
        return best if self.root is None else reopen(self.mllm, self.root / _folder(chosen)), rows

    def _run(self, row: dict[str, Any], course: Mapping[str, Any]) -> Tuned | None:
        """Tune once; None if the loss of the lessons or of the watched references is not a number."""
        out = self.root and self.root / _folder(row)
        name = component_of(row["component"])
        try:
            tuned = tune(self.mllm, self.train, name, lr=row["rate"], evaluate_every=10**9, out=out, **course, **self.fixed)
        except Diverged as error:
            row["note"] = f"diverged: {error}"
            return None
        last, loss = tuned.history[-1], tuned.validation[-1]["loss"]
        row |= {"n_trained": tuned.audit.n_trained, "steps": last["step"] + 1, "seconds": last["seconds"]}
        if not math.isfinite(loss):
            row["note"] = f"diverged: the loss on watched references is {loss}"
            return None
        row["loss"] = loss
        return tuned

    def _measured(self, tuned: Tuned, out: Path | None) -> tuple[dict[str, Any], Table]:
        """How a taught model answers, and what it has forgotten."""
        n_boot, seed = self.about["n_boot"], self.about["seed"]
        after = ask(tuned.mllm, self.stimuli, taxonomy=self.fixed["taxonomy"], out=out, **self.about)
        gain = compare_answers(self.answered, after, n_boot, seed)
        row = {key: getattr(after, key) for key in ("balanced_accuracy", "balanced_low", "balanced_high")}
        row |= {
            "gain": gain.value,
            "gain_low": gain.low,
            "gain_high": gain.high,
            "p": gain.p,
            "unchanged": tuned.audit.unchanged,
        }
        return row, forgotten(self.knew, knowledge(tuned.mllm, self.stimuli, out=out, **self.about), n_boot, seed)


def _folder(row: Mapping[str, Any]) -> str:
    return f"{row['budget']}-{row['component']}-{row['factor']:g}"


def _unmeasured(row: Mapping[str, Any], note: str) -> dict[str, Any]:
    """The row of the matrix where nothing was learnt."""
    return {**row, **dict.fromkeys((*MEASURED, "factor", "rate"), math.nan), "unchanged": None, "note": note}


def _adjust(matrix: Table) -> None:
    """Holm over the rows that were measured."""
    known = [row for row in matrix if math.isfinite(row["p"])]
    for row in matrix:
        row["p_holm"] = math.nan
    for row, p in zip(known, holm([row["p"] for row in known]) if known else [], strict=True):
        row["p_holm"] = p
