"""The way from pixel to answer in four steps, and what usable distortion information each of them loses.

What is known of a point on the way is the best of what is read there *and behind it*: nothing behind a point can know more
than the point itself (the data-processing inequality, Cover and Thomas 2006, 2.8), so a later probe that finds more shows that
the earlier one found too little. A step's loss is then never negative, and the losses of vision, projector and language model
add up to the whole distance between the best probe and the answers. The processor is compared by the same reader of the same
pixel statistics before and after it; where anything behind it reads as much as was read before it, that comparison is refuted.
All readings are of the same stimuli, and all intervals are over references.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from analysis.perception import Answers
from probes.intervals import (
    Difference,
    Interval,
    balanced_accuracies,
    difference,
    group_counts,
    holm,
    interval,
    resamples,
    widening,
)
from probes.linear import Prediction
from probes.sweep import SweepResult

ANSWER = "answer"
READER = " (trees)"
"""Behind the name of an input: read by ``verdict_inputs.read_inputs``, not by a linear probe."""
BEFORE_THE_PROCESSOR = ("pixels", "baseline:pixel-statistics")


@dataclass(frozen=True)
class Step:
    """What one component makes of what it is given."""

    component: str
    start: str
    """The best reading of what enters; ``answer`` where nothing reads more than the answers."""
    end: str
    """The best reading of what leaves."""
    change: Difference
    """Balanced accuracy at the end − at the start: 0 or less but for the processor; ``p`` after Holm's correction over steps."""
    share: Interval
    """Share of the information above chance that is lost; NaN where there is none."""
    draws: np.ndarray = field(repr=False)
    """The change in each resample."""
    refuted: bool = False
    """Whether something further on reads about as much as was read at the start, so that the loss is the reader's own."""

    def counts(self, margin: float, alpha: float) -> bool:
        """Whether a loss is shown: significant, by the whole interval of its share above the margin, and not refuted."""
        return bool(self.change.value < 0 and self.change.p <= alpha and self.share.low > margin and not self.refuted)

    def intact(self, slack: float) -> bool:
        """Whether a loss is excluded: the whole interval of its share is below the slack."""
        return bool(self.share.high < slack)


@dataclass(frozen=True)
class Way:
    """All readings of the same stimuli, and the steps between them."""

    steps: tuple[Step, ...]
    whole: Step
    """From the best reading behind the processor to the answers; its component is empty."""
    scores: Mapping[str, float]
    """Balanced accuracy of every reading, in the order of the way."""
    ceiling: Interval
    """Share of what a perfect reading has above chance that the best reading behind the encoder misses."""
    unread: tuple[str, ...]
    """Components that cannot be told from the step before the next reading, for want of a site."""
    references: int
    """How many the draws are of: so few can only be so sure (``least_p``)."""


def way(survival: SweepResult, read_layer: str, answers: Answers, inputs: Mapping[str, Prediction] | None = None) -> Way:
    """The steps of one model.

    Args:
        survival: its sweep.
        read_layer: the vision site that the projector reads.
        answers: its answers to the same stimuli.
        inputs: what ``verdict_inputs.read_inputs`` gave.
    """
    said = {row["id"]: bool(row["correct"]) for row in answers.table}
    keep = np.array([id in said for id in survival.ids])
    labels, groups = survival.labels[keep], survival.groups[keep]
    n = group_counts(groups)[1]
    weights = np.vstack([np.ones((1, n)), resamples(n, survival.n_boot, survival.seed)])
    found = {site: survival.hits(site)[keep] for site in survival.predictions}
    found |= {name + READER: np.asarray(p.predicted == survival.labels)[keep] for name, p in (inputs or {}).items()}
    found[ANSWER] = np.array([said[id] for id in survival.ids if id in said])
    draws = {name: balanced_accuracies(hits, labels, groups, weights) for name, hits in found.items()}
    wide = widening(survival.folds)  # probes are trained, the answers are not
    draws = {name: own if name == ANSWER else own[0] + wide * (own - own[0]) for name, own in draws.items()}
    points, unread = _points(survival, read_layer, list(found))
    chance = 1 / len(np.unique(survival.labels))
    best = [_best([name for _, names in points[i:] for name in names], draws) for i in range(len(points))]
    pairs = [(points[i][0], best[i], best[i + 1]) for i in range(len(points) - 1)]
    steps = [*_processor(survival, best[0], draws, chance, n), *(_step(*pair, draws, chance, n) for pair in pairs)]
    adjusted = holm([step.change.p for step in steps])
    behind = draws[best[min(1, len(best) - 1)]]
    missed = (1 - behind) / (1 - chance)
    return Way(
        tuple(_with_p(step, p) for step, p in zip(steps, adjusted, strict=True)),
        _step("", best[0], ANSWER, draws, chance, n),
        {name: float(values[0]) for name, values in draws.items()},
        interval(float(missed[0]), missed[1:]),
        unread,
        n,
    )


def _points(survival: SweepResult, read_layer: str, names: list[str]) -> tuple[list[tuple[str, list[str]]], tuple[str, ...]]:
    """What enters vision, projector and language model, and what leaves it: the component behind a point, readings there.

    Components of which no site was probed have no point of their own; they are given second.
    """
    live = [row["site"] for row in survival.table if not row.get("dead_end")]
    vision = [site for site in live if site.startswith("vision.")]
    read = vision.index(read_layer) if read_layer in vision else len(vision) - 1
    entering = [n for n in names if n.removesuffix(READER) == "processed" or n.startswith("baseline:")]
    entering = [n for n in entering if n.removesuffix(READER) not in BEFORE_THE_PROCESSOR]
    behind = [site for site in live if site.startswith("llm.")]
    projected = ["projector"] if "projector" in live else []
    points = [("vision", [*entering, *vision[: read + 1]]), ("projector", vision[read:]), ("llm", [*projected, *behind])]
    unread = tuple(c for c, there in (("vision", vision), ("projector", projected)) if not there)
    if not projected:
        points = [points[0], ("llm", [*vision[read:], *behind])]
    if not vision:
        points = points[1:]
    return [*(point for point in points if point[1]), (ANSWER, [ANSWER])], unread


def _processor(survival: SweepResult, behind: str, draws: Mapping[str, np.ndarray], chance: float, n: int) -> list[Step]:
    """The processor's step by the stronger of the readers that saw the same statistics before and after it."""
    pairs = [(f"pixels{r}", f"processed{r}") for r in ("", READER)]
    pairs = [pair for pair in pairs if set(pair) <= set(draws) and (pair[0].endswith(READER) or _alike(survival))]
    if not pairs:
        return []
    start, end = max(pairs, key=lambda pair: draws[pair[0]][0])
    left = draws[behind] - draws[start]
    further = difference(float(left[0]), left[1:], n)
    refuted = further.value >= 0 or further.high >= 0
    return [replace(_step("processor", start, end, draws, chance, n), refuted=refuted)]


def _best(names: list[str], draws: Mapping[str, np.ndarray]) -> str:
    return max(names, key=lambda name: float(draws[name][0]))


def _alike(survival: SweepResult) -> bool:
    """Whether the linear probes at ``pixels`` and ``processed`` read the same features."""
    return survival.row("pixels").get("dim") == survival.row("processed").get("dim")


def _step(component: str, start: str, end: str, draws: Mapping[str, np.ndarray], chance: float, n: int) -> Step:
    change = draws[end] - draws[start]
    there = draws[start] - chance
    share = np.divide(-change, there, out=np.full_like(change, np.nan), where=there > 1e-9)
    found = difference(float(change[0]), change[1:], n)
    return Step(component, start, end, found if start != end else _nothing(), interval(float(share[0]), share[1:]), change[1:])


def _nothing() -> Difference:
    return Difference(0.0, 0.0, 0.0, 1.0)


def _with_p(step: Step, p: float) -> Step:
    return replace(step, change=replace(step.change, p=p))
