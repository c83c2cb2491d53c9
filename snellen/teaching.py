"""Which component is worth teaching: all of them at matched budgets, each at the learning rate that suits it, and what each forgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from analysis.forgetting import Knowledge, forgotten, knowledge
from analysis.perception import Answers, ask, compare_answers
from hooks.load import Mllm
from hooks.stages import COMPONENTS
from probes.intervals import holm
from snellen.results import CONSTRAINED, component_of
from stimuli.errors import InputError
from stimuli.tables import Table, write_csv, write_json
from stimuli.types import Stimulus, StimulusSet
from tuning.adapters import count, rank_for
from tuning.lessons import own_words, refuse_held_out
from tuning.parts import find_part
from tuning.settings import VALIDATION, check, default_rate
from tuning.tune import tune
from tuning.tuned import Tuned

Budget = Literal["steps", "parameters", "seconds"]
BUDGETS = ("steps", "parameters", "seconds")
RATES = (0.3, 1.0, 3.0)
"""Factors on the learning rate that suits a component."""


@dataclass(frozen=True)
class Teaching:
    """Components taught alone at matched budgets."""

    rates: Table
    """One row per run: component, budget, method, rank, numbers trained, steps, seconds, rate, loss on watched references, chosen."""
    matrix: Table
    """One row per component and budget, of the run at the best rate: balanced accuracy and its paired gain over the base, with
    intervals over references and Holm over the rows."""
    forgotten: Table = field(repr=False)
    """``analysis.forgetting.forgotten`` of the same runs, with ``component`` and ``budget``."""
    base: dict[str, Any]
    """Balanced accuracy before tuning."""
    config: dict[str, Any]

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
    steps: int = 200,
    parameters: int | None = None,
    seconds: float | None = None,
    validation: float = VALIDATION,
    constraint: str = "align+keep",
    taxonomy: str | Path = "paper8",
    n_boot: int = 1000,
    seed: int = 0,
    progress: bool = True,
    out: str | Path | None = None,
    **how: Any,
) -> Teaching:
    """Teach components one by one, so that none loses for want of tuning.

    Three ways to make it fair, each of which favours another: equal ``steps`` (all weights of each), equal ``parameters`` (LoRA, the
    rank of each chosen so that as many numbers train), equal ``seconds`` of wall time (all weights; where frozen parts are computed
    once, a component gets more steps). In each, a component is tuned at several learning rates, and the rate is chosen by the loss on
    training references that are watched and not learnt, never on the stimuli that are reported.

    Args:
        mllm: the model; untouched.
        train: labelled training stimuli.
        stimuli: what is reported on; shares no reference with ``train``.
        components: as ``tune`` takes them; ``vision+constraint`` adds the constraint.
        budgets: of ``steps``, ``parameters``, ``seconds``.
        rates: factors on the default rate of each component.
        steps: of every run but those at equal time.
        parameters: numbers that train at equal parameters; by default what LoRA of rank 8 trains in the smallest component.
        seconds: of wall time; by default what the slowest component took for its steps at equal steps.
        validation: share of the training references that choose the rate.
        constraint: as ``tune`` takes it.
        taxonomy: name or file.
        n_boot: resamples of references.
        seed: of everything.
        progress: show progress bars.
        out: folder: one run per subfolder, each gone on with after a stop; then tables and JSON.
        **how: further arguments of ``tune``.

    Raises:
        InputError: unknown budget or component, or training references among the reported ones.
    """
    _check(budgets, rates, components, constraint, seconds)
    refuse_held_out(train, stimuli.references)
    root = Path(out) if out is not None else None
    parts = {name: find_part(mllm.model, mllm.stages, component_of(name)) for name in components}
    target = parameters or min(count(mllm.model, part, "lora", 8) for part in parts.values())
    replays = cache(lambda: own_words(mllm, train, seed=seed, progress=progress))
    fixed = {"validation": validation, "taxonomy": taxonomy, "seed": seed, "progress": progress, "replays": replays, **how}
    about: dict[str, Any] = {"n_boot": n_boot, "seed": seed, "progress": progress}
    answered = ask(mllm, stimuli, taxonomy=taxonomy, out=root and root / "answers" / "base", **about)
    knew = knowledge(mllm, stimuli, out=root and root / "answers" / "base", **about)
    tried: Table = []
    matrix: Table = []
    lost: Table = []
    for budget in sorted(budgets, key=BUDGETS.index):
        time = seconds or max((row["seconds"] for row in tried if row["budget"] == "steps"), default=0.0)
        for name, part in parts.items():
            course: dict[str, Any] = {"steps": steps}
            if budget == "parameters":
                course |= {"method": "lora", "lora_rank": rank_for(mllm.model, part, target)}
            if budget == "seconds":
                course = {"steps": None, "seconds": time}
            course |= {"constraint": constraint if name.endswith(CONSTRAINED) else None}
            best: Tuned | None = None
            for factor in rates:
                rate = factor * default_rate(mllm, part, course.get("method", "full"))
                folder = root and root / f"{budget}-{name}-{factor:g}"
                tuned = tune(mllm, train, component_of(name), lr=rate, evaluate_every=10**9, out=folder, **course, **fixed)
                tried.append(_tried(name, budget, factor, tuned))
                if best is None or tuned.validation[-1]["loss"] < best.validation[-1]["loss"]:
                    best = tuned
            assert best is not None
            own = [row for row in tried[-len(rates) :] if row["rate"] == best.config["lr"]]
            own[0]["chosen"] = True
            row, kept = _measured(
                best, stimuli, answered, knew, taxonomy, root and root / "answers" / f"{budget}-{name}", about
            )
            matrix.append({**own[0], **row})
            lost += [{"component": name, "budget": budget, **line} for line in kept]
    for row, p in zip(matrix, holm([row["p"] for row in matrix]), strict=True):
        row["p_holm"] = p
    base = {key: getattr(answered, key) for key in ("balanced_accuracy", "balanced_low", "balanced_high", "chance")}
    config = {"components": list(components), "budgets": list(budgets), "rates": list(rates), "steps": steps, "parameters": target,
              "seconds": seconds, "train": len(train), "stimuli": len(stimuli), "seed": seed}  # fmt: skip
    done = Teaching(tried, matrix, lost, base, config)
    if root is not None:
        done.write(root)
    return done


def _check(
    budgets: Sequence[str], rates: Sequence[float], components: Sequence[str], constraint: str, seconds: float | None
) -> None:
    unknown = [name for name in budgets if name not in BUDGETS]
    if unknown or not budgets:
        raise InputError(f"Got the budgets {list(budgets)}. Expected some of {', '.join(BUDGETS)}.")
    if not rates or min(rates) <= 0:
        raise InputError(f"Got the rates {list(rates)}. Expected factors above 0 on the default rate, such as 0.3, 1, 3.")
    if "seconds" in budgets and "steps" not in budgets and not seconds:
        raise InputError(
            "Got the budget 'seconds' without a number. Expected seconds=600, or 'steps' beside it, whose time is taken."
        )
    for name in components:
        check(component_of(name), "full", constraint if name.endswith(CONSTRAINED) else None)
    if twice := sorted({name for name in components if list(components).count(name) > 1}):
        raise InputError(f"The component '{twice[0]}' is given twice. Give each once.")


def _tried(name: str, budget: str, factor: float, tuned: Tuned) -> dict[str, Any]:
    last = tuned.history[-1]
    return {
        "component": name, "budget": budget, "method": tuned.config["method"], "rank": tuned.config["lora_rank"],
        "n_trained": tuned.audit.n_trained, "steps": last["step"] + 1, "seconds": last["seconds"], "factor": factor,
        "rate": tuned.config["lr"], "loss": tuned.validation[-1]["loss"], "chosen": False,
    }  # fmt: skip


def _measured(
    tuned: Tuned,
    stimuli: StimulusSet,
    answered: Answers,
    knew: Knowledge,
    taxonomy: str | Path,
    out: Path | None,
    about: dict[str, Any],
) -> tuple[dict[str, Any], Table]:
    """How a taught model answers, and what it has forgotten."""
    after = ask(tuned.mllm, stimuli, taxonomy=taxonomy, out=out, **about)
    gain = compare_answers(answered, after, about["n_boot"], about["seed"])
    row = {key: getattr(after, key) for key in ("balanced_accuracy", "balanced_low", "balanced_high")}
    row |= {"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high, "p": gain.p, "unchanged": tuned.audit.unchanged}
    return row, forgotten(knew, knowledge(tuned.mllm, stimuli, out=out, **about), about["n_boot"], about["seed"])
