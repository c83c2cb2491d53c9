"""The verdict from survival alone: which step along the way loses the distortion information, if that can be told.

The rule and its reasons are in docs/verdict.md. In short: a loss counts if it is significant and of practical size. The first one on
the way is named, unless a later one is significantly larger or an earlier one is not excluded: a reader is fitted to what it was
taught to read, so an early loss drags later ones along, and never the reverse.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.verdict_steps import Step, Way
from probes.intervals import difference, holm, least_p
from probes.sweep import SweepResult

MARGIN = 0.1
"""Share of the information above chance that a step must lose, with its whole interval, for the loss to count."""
MARGIN_SAID = 0.2
"""The same for the step from the last probe to the answers: a probe is fitted to what it reads, the language model is not, so that it
reads a little less for reasons that lie before it."""
SLACK = 0.2
"""A step is intact where the whole interval of the share that it loses is below this."""
CEILING = 0.25
"""The encoder is cleared where the best reading behind it misses less than this share of what a perfect one has above chance."""
ORDER = ("processor", "vision", "projector", "llm")
NONE, CANNOT_TELL = "none", "cannot tell"


@dataclass(frozen=True)
class Finding:
    """What survival says."""

    component: str
    """``processor``, ``vision``, ``projector``, ``llm``, ``none`` or ``cannot tell``."""
    reason: str
    """Half a sentence: why not more; empty where a component is named."""
    candidates: tuple[str, ...]
    """Components that the loss is in one of, the likeliest first; one where a component is named."""
    counted: tuple[str, ...]
    """Components whose loss counts, the largest first."""


def find(survival: SweepResult, found: Way, answers_above_chance: bool, alpha: float) -> Finding:
    """Apply the rule.

    Args:
        survival: the sweep, for the controls.
        found: the way.
        answers_above_chance: whether the interval of the answers is above chance.
        alpha: level of every test.
    """
    if not learnt(survival):
        return Finding(CANNOT_TELL, "no probe is above its shuffled control", (), ())
    if few := _too_few(survival.n_boot, found, alpha):
        return Finding(CANNOT_TELL, few, (), ())
    lost = [step for step in found.steps if counts(step, alpha)]
    names = tuple(step.component for step in sorted(lost, key=lambda step: step.change.value))
    if not lost:
        if answers_above_chance and found.whole.intact(SLACK):
            return Finding(NONE, "", (), ())
        doubtful = tuple(step.component for step in found.steps if step.change.value < 0 and step.change.p <= alpha)
        return Finding(CANNOT_TELL, "something is lost, but at no step enough to count", doubtful, ())
    first = lost[0]
    if dead := _dead(survival, first):
        return Finding(CANNOT_TELL, dead, (first.component,), names)
    rivals = _rivals(first, lost, found, alpha)
    if rivals:
        return Finding(
            CANNOT_TELL, f"it is lost in {first.component} or in {' or '.join(rivals)}", (first.component, *rivals), names
        )
    return Finding(first.component, "", (first.component,), names)


def _too_few(n_boot: int, found: Way, alpha: float) -> str:
    """Why no step can be significant whatever it loses; empty where one can."""
    for what, p in ((f"{n_boot} resamples", 2 / (n_boot + 1)), (f"{found.references} references", least_p(found.references))):
        least = p * len(found.steps)
        if least > alpha:
            return f"{what} are too few for {len(found.steps)} comparisons at level {alpha:g} (the least p is {least:.2g})"
    return ""


def _rivals(first: Step, lost: list[Step], found: Way, alpha: float) -> list[str]:
    """What else the loss may be due to: steps before that are not cleared, and steps behind that lose more."""
    before = [step.component for step in found.steps[: found.steps.index(first)] if not step.intact(SLACK)]
    before += [component for component in found.unread if ORDER.index(component) < ORDER.index(first.component)]
    if first.component in ("projector", "llm") and found.ceiling.value > CEILING and "vision" not in before:
        before.append("vision")
    duels = [
        difference(first.change.value - step.change.value, first.draws - step.draws, found.references) for step in lost[1:]
    ]
    worse = [
        duel.value > 0 and p <= alpha for duel, p in zip(duels, holm([duel.p for duel in duels]) if duels else [], strict=True)
    ]
    return [*before, *(step.component for step, more in zip(lost[1:], worse, strict=True) if more)]


def counts(step: Step, alpha: float) -> bool:
    """Whether the loss of a step is shown and of practical size."""
    return step.counts(MARGIN_SAID if step.component == "llm" else MARGIN, alpha)


def _dead(survival: SweepResult, step: Step) -> str:
    """Why the site behind a step is no witness: it holds nothing at all, not even what the images show."""
    row = next((row for row in survival.table if row["site"] == step.end), {})
    content, chance = row.get("content"), row.get("content_chance", 0.0)
    if content is None or not content <= 2 * chance:  # NaN, where it was not measured, is no reason
        return ""
    return f"the features at {step.end} cannot tell the references apart either, so the site is broken or wrongly mapped"


def learnt(survival: SweepResult) -> bool:
    """Whether any probe is above its shuffled control."""
    return any(row["low"] > row["control_high"] for row in survival.table)
