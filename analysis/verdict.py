"""The verdict: the component where usable distortion information is lost, "none", or "cannot tell", with the evidence.

Two kinds of evidence are weighed. *Survival*: where a linear probe's score falls on the way, and whether what it finds at the
end is said. *Cure*: which component, tuned alone, brings the answers back. Cure decides, because a probe's score is a
correlation and an intervention is not; survival confirms, contradicts, or stands alone when nothing was tuned.

The rule, in order (all comparisons are paired over references, two-sided, at level ``alpha`` after Holm's correction):

1. **none**: the answers are not below the best probe, and above chance.
2. If something was tuned: the component whose best arm gains most decides, provided that the gain is significant and that it
   is significantly above the best arm of every other component. If two components tie, survival breaks the tie if it points
   to exactly one of them; otherwise **cannot tell**. If no arm gains, **cannot tell**.
3. If nothing was tuned: the component of the largest significant loss along the way (inside vision, at the projector, from
   the projector to the answer), or **cannot tell** if no probe is above its shuffled control.

Confidence is ``strong`` where cure and survival agree, ``mixed`` where they disagree, ``weak`` where there is only one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.perception import Answers, compare_answers
from probes.intervals import Difference, balanced_difference, holm
from probes.sweep import SweepResult, lost
from stimuli.tables import Table

NONE, CANNOT_TELL = "none", "cannot tell"
WHERE = {
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
    """``vision``, ``projector``, ``llm``, ``none`` or ``cannot tell``."""
    sentence: str
    confidence: str
    """``strong``, ``mixed`` or ``weak``."""
    evidence: Table
    """Rows: what, value, low, high, p, supports, note."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return dict(vars(self))


def decide(survival: SweepResult, read_layer: str, answers: Answers, arms: Sequence[Arm] = (), alpha: float = 0.05) -> Verdict:
    """Weigh the evidence by the rule in this module's docstring.

    Args:
        survival: the base model's sweep.
        read_layer: the vision site that the projector reads.
        answers: the base model's answers to the same stimuli.
        arms: tuned models, any order; none if nothing was tuned.
        alpha: level of every test.
    """
    falls = lost(survival, read_layer)
    unsaid = _unsaid(survival, answers)
    gains = {arm.name: compare_answers(answers, arm.answers) for arm in arms}
    adjusted = dict(zip(gains, holm([g.p for g in gains.values()]) if gains else [], strict=True))
    evidence = [*_survival_rows(survival, falls, unsaid, alpha), *_cure_rows(arms, gains, adjusted, alpha)]
    losses = _losses(falls, unsaid, alpha)
    if _heard(survival, answers, alpha):
        sentence = f"No loss: the answers ({_pct(answers.balanced_accuracy)}) are as good as the best probe."
        return Verdict(NONE, sentence, "strong" if arms else "weak", evidence)
    if not arms:
        return _by_survival(survival, read_layer, answers, losses, evidence)
    cured, rivals = _cure(arms, gains, adjusted, alpha)
    evidence += rivals
    tie = [c for c in cured if c in losses]
    component = cured[0] if len(cured) == 1 else tie[0] if len(tie) == 1 else CANNOT_TELL
    if component == CANNOT_TELL:
        why = "no component's tuning improves the answers" if not cured else f"tuning {' and '.join(cured)} helps alike"
        return Verdict(CANNOT_TELL, f"Cannot tell where it is lost: {why}. {_capital(_numbers(survival, read_layer, answers))}",
                       "weak", evidence)  # fmt: skip
    confidence = "strong" if component in losses else "mixed" if losses else "weak"
    return Verdict(component, _sentence(component, survival, read_layer, answers, arms), confidence, evidence)


def _heard(survival: SweepResult, answers: Answers, alpha: float) -> bool:
    """Whether the answers are above chance and not below the best probe."""
    best = survival.best()
    if best is None or answers.balanced_low <= answers.chance:
        return False
    gap = _against(survival, best, answers)
    return gap.value >= 0 or gap.p > alpha


def _against(survival: SweepResult, site: str, answers: Answers) -> Difference:
    """Answers − probe at a site, in balanced accuracy, on the stimuli that both have."""
    at = {row["id"]: row["correct"] for row in answers.table}
    keep = np.array([id in at for id in survival.ids])
    said = np.array([at[id] for id in survival.ids if id in at])
    return balanced_difference(
        survival.hits(site)[keep], said, survival.labels[keep], survival.groups[keep], survival.n_boot, survival.seed
    )


def _unsaid(survival: SweepResult, answers: Answers) -> tuple[str, Difference] | None:
    """Answers − best probe of the language model (or the projector): encoded, not said."""
    site = survival.best("llm") or survival.best("projector")
    return None if site is None else (site, _against(survival, site, answers))


def _losses(falls: Table, unsaid: tuple[str, Difference] | None, alpha: float) -> list[str]:
    """Components with a significant loss, the largest first."""
    found = [(row["change"], row["component"]) for row in falls if row["change"] < 0 and row["p_holm"] <= alpha]
    if unsaid is not None and unsaid[1].value < 0 and unsaid[1].p <= alpha:
        found.append((unsaid[1].value, "llm"))
    return list(dict.fromkeys(component for _, component in sorted(found)))


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


def _by_survival(survival: SweepResult, read_layer: str, answers: Answers, losses: list[str], evidence: Table) -> Verdict:
    best = survival.best()
    learnt = best is not None and survival.row(best)["low"] > survival.row(best)["control_high"]
    numbers = _numbers(survival, read_layer, answers)
    if not learnt or not losses:
        why = "no probe is above its shuffled control" if not learnt else "no step loses significantly"
        return Verdict(CANNOT_TELL, f"Cannot tell where it is lost: {why}. {_capital(numbers)}", "weak", evidence)
    sentence = (
        f"Usable distortion information is lost {WHERE[losses[0]]} (survival alone, nothing was tuned). {_capital(numbers)}"
    )
    return Verdict(losses[0], sentence, "weak", evidence)


def _sentence(component: str, survival: SweepResult, read_layer: str, answers: Answers, arms: Sequence[Arm]) -> str:
    """One sentence from the numbers."""
    own = max((a for a in arms if a.component == component), key=lambda a: a.answers.balanced_accuracy)
    rest = [a for a in arms if a.component != component]
    others = ", ".join(f"{a.name} {_pct(a.answers.balanced_accuracy)}" for a in rest)
    cure = f"tuning {own.name} alone brings them to {_pct(own.answers.balanced_accuracy)}"
    return (
        f"Usable distortion information is lost {WHERE[component]}: {_numbers(survival, read_layer, answers)[:-1]}; "
        f"{cure}{f' ({others})' if others else ''}."
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


def _survival_rows(survival: SweepResult, falls: Table, unsaid: tuple[str, Difference] | None, alpha: float) -> Table:
    rows: Table = []
    for fall in falls:
        points = fall["component"] if fall["change"] < 0 and fall["p_holm"] <= alpha else ""
        change = Difference(fall["change"], fall["low"], fall["high"], fall["p_holm"])
        rows.append(_evidence(f"probe, {fall['from']} → {fall['to']}", change, fall["p_holm"], points, "survival"))
    if unsaid is not None:
        site, gap = unsaid
        points = "llm" if gap.value < 0 and gap.p <= alpha else ""
        rows.append(_evidence(f"answers against the probe at {site}", gap, gap.p, points, "encoded, not said"))
    return rows


def _cure_rows(arms: Sequence[Arm], gains: dict[str, Difference], adjusted: dict[str, float], alpha: float) -> Table:
    rows: Table = []
    for arm in sorted(arms, key=lambda arm: arm.name):
        gain, p = gains[arm.name], adjusted[arm.name]
        points = arm.component if gain.value > 0 and p <= alpha else ""
        rows.append(_evidence(f"answers after tuning {arm.name}", gain, p, points, "cure: gain over the base model"))
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
