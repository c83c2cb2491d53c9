"""The verdict: the component where usable distortion information is lost, "none", or "cannot tell", with the evidence.

Two kinds of evidence are weighed. *Survival*: where a linear probe's score falls on the way, and whether what it finds at the
end is said (``verdict_steps``, ``verdict_survival``). *Cure*: which component, tuned alone, brings the answers back. Cure
decides, because a probe's score is a correlation and an intervention is not; survival confirms, contradicts, or stands alone
when nothing was tuned. The whole rule, its reasons and how often it was right on planted bottlenecks: ``docs/verdict.md``.

In order (all comparisons are paired over references, two-sided, at level ``alpha`` after Holm's correction):

1. **none**: survival finds no loss of practical size, and the answers are above chance.
2. If something was tuned: the component whose best arm gains most decides, provided that the gain is significant and that it
   is significantly above the best arm of every other component. If two components tie, survival breaks the tie if it counts a
   loss in exactly one of them; otherwise **cannot tell**. If no arm gains, **processor** if survival says so (nothing behind
   the processor can bring back what it removed), else **cannot tell**.
3. If nothing was tuned: what survival says.

Confidence is ``strong`` where cure and survival agree, ``mixed`` where they disagree, ``weak`` where there is only one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.mediation_shares import loss_by_arms
from analysis.perception import Answers, compare_answers
from analysis.verdict_steps import ANSWER, Step, Way, way
from analysis.verdict_survival import CANNOT_TELL, NONE, Finding, counts, find
from hooks.stages import COMPONENTS
from probes.intervals import Difference, holm
from probes.linear import Prediction
from probes.sweep import SweepResult
from stimuli.tables import Table

WHERE = {
    "processor": "in the processor, before the first weight",
    "vision": "in the vision encoder's alignment",
    "projector": "at the projector",
    "llm": "in the language model",
}


@dataclass(frozen=True)
class Arm:
    """One component tuned alone, and how it answers afterwards."""

    name: str
    component: str
    answers: Answers


@dataclass(frozen=True)
class Verdict:
    """Where usable distortion information is lost."""

    component: str
    """``processor``, ``vision``, ``projector``, ``llm``, ``none`` or ``cannot tell``."""
    sentence: str
    confidence: str
    """``strong``, ``mixed`` or ``weak``."""
    evidence: Table
    """Rows: what, value, low, high, p, supports, note."""
    candidates: tuple[str, ...] = ()
    """Where it may be lost, the likeliest first: the component, or those between which cannot be told; empty where nothing is known."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return dict(vars(self))


def decide(
    survival: SweepResult,
    read_layer: str,
    answers: Answers,
    arms: Sequence[Arm] = (),
    alpha: float = 0.05,
    *,
    inputs: Mapping[str, Prediction] | None = None,
) -> Verdict:
    """Weigh the evidence by the rule in this module's docstring.

    Args:
        survival: the base model's sweep; with pixel statistics at ``pixels`` and ``processed`` the processor is judged too.
        read_layer: the vision site that the projector reads.
        answers: the base model's answers to the same stimuli.
        arms: tuned models, any order; none if nothing was tuned.
        alpha: level of every test.
        inputs: a better reading of what the model is given, from ``verdict_inputs.read_inputs``.
    """
    path = way(survival, read_layer, answers, inputs)
    found = find(survival, path, answers.balanced_low > answers.chance, alpha)
    gains = {arm.name: compare_answers(answers, arm.answers) for arm in arms}
    adjusted = dict(zip(gains, holm([g.p for g in gains.values()]) if gains else [], strict=True))
    evidence = [*_survival_rows(survival, path, alpha), *_cure_rows(arms, gains, adjusted, alpha), *_loss_rows(answers, arms)]
    if found.component == NONE:
        best = f"the best probe ({_pct(path.scores[path.whole.start])} at {path.whole.start})"
        best = "any probe" if path.whole.start == ANSWER else best
        sentence = (
            f"No loss of practical size: the answers are {_pct(answers.balanced_accuracy)} right, about as good as {best}."
        )
        return Verdict(NONE, sentence, "strong" if arms else "weak", evidence)
    numbers = _numbers(survival, read_layer, answers)
    if not arms:
        return _by_survival(found, numbers, evidence)
    cured, rivals = _cure(arms, gains, adjusted, alpha)
    evidence += rivals
    tie = [c for c in cured if c in found.counted]
    component = cured[0] if len(cured) == 1 else tie[0] if len(tie) == 1 else CANNOT_TELL
    if not cured and found.component == "processor":
        sentence = f"Usable distortion information is lost {WHERE['processor']}: {numbers[:-1]}; tuning brings nothing back."
        return Verdict("processor", sentence, "strong", evidence, ("processor",))
    if component == CANNOT_TELL:
        why = "no component's tuning improves the answers" if not cured else f"tuning {' and '.join(cured)} helps alike"
        sentence = f"Cannot tell where it is lost: {why}. {_capital(numbers)}"
        return Verdict(CANNOT_TELL, sentence, "weak", evidence, tuple(cured) or found.candidates)
    confidence = "strong" if component in found.candidates else "mixed" if found.counted else "weak"
    return Verdict(component, _sentence(component, numbers, arms), confidence, evidence, (component,))


def _by_survival(found: Finding, numbers: str, evidence: Table) -> Verdict:
    if found.component == CANNOT_TELL:
        sentence = f"Cannot tell where it is lost: {found.reason}. {_capital(numbers)}"
    else:
        sentence = f"Usable distortion information is lost {WHERE[found.component]} (survival alone, nothing was tuned). {_capital(numbers)}"
    return Verdict(found.component, sentence, "weak", evidence, found.candidates)


def _cure(
    arms: Sequence[Arm], gains: dict[str, Difference], adjusted: dict[str, float], alpha: float
) -> tuple[list[str], Table]:
    """The component that cures, or those that tie for it; and the comparisons with the rivals."""
    best: dict[str, Arm] = {}
    for arm in sorted(arms, key=lambda arm: arm.name):
        if arm.component not in best or gains[arm.name].value > gains[best[arm.component].name].value:
            best[arm.component] = arm
    winners = [a for a in best.values() if gains[a.name].value > 0 and adjusted[a.name] <= alpha]
    if not winners:
        return [], []
    first = max(winners, key=lambda arm: gains[arm.name].value)
    others = [arm for arm in best.values() if arm is not first]
    duels = [compare_answers(arm.answers, first.answers) for arm in others]
    p = holm([duel.p for duel in duels]) if duels else []
    rows = [
        _evidence(f"{first.name} against {arm.name}", duel, duel.p if not p else p[i], first.component if p[i] <= alpha else "",
                  "paired difference of the best arms")
        for i, (arm, duel) in enumerate(zip(others, duels, strict=True))
    ]  # fmt: skip
    tied = [arm.component for i, arm in enumerate(others) if not (duels[i].value > 0 and p[i] <= alpha) and arm in winners]
    return [first.component, *tied], rows


def _sentence(component: str, numbers: str, arms: Sequence[Arm]) -> str:
    """One sentence from the numbers."""
    own = max((a for a in arms if a.component == component), key=lambda a: a.answers.balanced_accuracy)
    rest = [a for a in arms if a.component != component]
    others = ", ".join(f"{a.name} {_pct(a.answers.balanced_accuracy)}" for a in rest)
    cure = f"tuning {own.name} alone brings them to {_pct(own.answers.balanced_accuracy)}"
    return (
        f"Usable distortion information is lost {WHERE[component]}: {numbers[:-1]}; {cure}{f' ({others})' if others else ''}."
    )


def _numbers(survival: SweepResult, read_layer: str, answers: Answers) -> str:
    steps = []
    for site in dict.fromkeys((survival.best("vision"), read_layer, "projector", survival.best("llm"))):
        if site is not None and site in survival.predictions:
            steps.append(f"{_pct(survival.row(site)['score'])} at {site}")
    said = f"answers are {_pct(answers.balanced_accuracy)} right (chance {_pct(answers.chance)})"
    return f"probes find {', '.join(steps)}, while {said}." if steps else f"{said.capitalize()}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _survival_rows(survival: SweepResult, path: Way, alpha: float) -> Table:
    rows: Table = []
    for step in path.steps:
        points = step.component if counts(step, alpha) else ""
        rows.append(_evidence(_what(step) + _widths(survival, step), step.change, step.change.p, points, _kind(step)))
    return rows


def _what(step: Step) -> str:
    """The step in words; its sites may be behind the component, where more is read than at its own."""
    if step.start == step.end:
        return f"{step.component}: nothing before it reads more than {step.start}"
    if step.component == "processor":
        return f"processor: pixel statistics, {step.start} → {step.end}"
    if step.end == ANSWER:
        return f"{step.component}: answers against the probe at {step.start}"
    return f"{step.component}: probe, {step.start} → {step.end}"


def _widths(survival: SweepResult, step: Step) -> str:
    """A warning where a step compares probes on very different numbers of features."""
    dims = [row["dim"] for site in (step.start, step.end) for row in survival.table if row["site"] == site and "dim" in row]
    if len(dims) < 2 or max(dims) < 2 * min(dims):
        return ""
    return f" ({dims[0]} → {dims[1]} features: compare at equal dimension)"


def _kind(step: Step) -> str:
    return "encoded, not said" if step.component == "llm" else "survival"


def _cure_rows(arms: Sequence[Arm], gains: dict[str, Difference], adjusted: dict[str, float], alpha: float) -> Table:
    rows: Table = []
    for arm in sorted(arms, key=lambda arm: arm.name):
        gain, p = gains[arm.name], adjusted[arm.name]
        points = arm.component if gain.value > 0 and p <= alpha else ""
        rows.append(_evidence(f"answers after tuning {arm.name}", gain, p, points, "cure: gain over the base model"))
    return rows


def _loss_rows(answers: Answers, arms: Sequence[Arm]) -> Table:
    """Each component's share of the loss that tuning repairs, arms being readers; they confirm and decide nothing."""
    by: dict[str, list[Answers]] = {}
    for arm in arms:
        if arm.component in COMPONENTS:  # a union reads at no one place
            by.setdefault(arm.component, []).append(arm.answers)
    rows: Table = []
    for row in loss_by_arms(answers, by) if len(by) > 1 else []:
        if row["share"] is not None:
            share = Difference(row["share"], row["share_low"], row["share_high"], row["p_holm"])
            what = f"{row['component']}: share of the loss that tuning repairs"
            points = row["component"] if row["beyond_next_low"] > 0 else ""
            rows.append(_evidence(what, share, share.p, points, "mediation: arms as readers; p of being the largest"))
    return rows


def _evidence(what: str, change: Difference, p: float, supports: str, note: str) -> dict[str, Any]:
    return {
        "what": what,
        "value": change.value,
        "low": change.low,
        "high": change.high,
        "p": p,
        "supports": supports,
        "note": note,
    }


def _pct(share: float) -> str:
    return f"{100 * share:.1f} %"
