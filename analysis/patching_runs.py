"""Every exchange of features between the images of pairs, batch by batch: what ``analysis.patching`` makes its table of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.special import softmax

from analysis.choice import Choice
from hooks.answer import Options
from hooks.edit import in_front
from hooks.exchange import chunks, donated, exchange, unlike
from hooks.inside import PARTS
from hooks.load import Mllm
from hooks.reuse import images_once
from hooks.token_sets import Regions, Rows, Survey, row_shape, survey, token_sets
from hooks.tokens import TokenLayout
from stimuli.errors import InputError
from stimuli.pairs import Pair
from stimuli.progress import tqdm
from stimuli.taxonomy import CLEAN
from stimuli.types import Stimulus

SIDES: Mapping[str, tuple[str, str]] = {"forward": ("before", "after"), "reverse": ("after", "before")}
"""Direction to the receiver's and the donor's side of a pair."""
Measured = np.ndarray
"""float64 (pairs, 2): probability of the right answer, and its score less that of the clean one (NaN where there is none)."""
Key = tuple[str, str, str]
"""Site (parts of blocks as ``llm.3.mlp``), token set, and ``forward``, ``reverse``, ``forward control`` or ``reverse control``."""


@dataclass(frozen=True)
class Plan:
    """What is exchanged."""

    sites: tuple[str, ...]
    sets: tuple[str, ...]
    directions: tuple[str, ...]
    strangers: Mapping[str, list[int | None]]
    """Direction to the pair whose image after is each pair's control; empty for no controls."""

    @property
    def arms(self) -> list[tuple[str, bool]]:
        """Direction, and whether the donor is a stranger."""
        return [(name, control) for name in self.directions for control in ((False, True) if self.strangers else (False,))]


@dataclass
class Exchanges:
    """All exchanges of one call, and what became known along the way."""

    mllm: Mllm
    donor: Mllm
    asked: Choice
    pairs: Sequence[Pair]
    right: Sequence[int]
    """Column of each pair's right answer."""
    plan: Plan
    regions: Regions
    notes: list[str] = field(default_factory=list)
    own: dict[str, Measured] = field(default_factory=dict)
    """``before`` and ``after`` to what the receiver answers by itself."""
    given: dict[str, Measured] = field(default_factory=dict)
    """The same of the donor."""
    tokens: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    """Site and set to how many tokens of each pair are exchanged."""
    patched: dict[Key, Measured] = field(default_factory=dict)

    def measure(self, batch_size: int, progress: bool) -> None:
        """Make every exchange of every pair.

        Raises:
            InputError: images of a pair have other sizes or token counts.
        """
        count = len(self.pairs)
        spans = [list(range(at, min(at + batch_size, count))) for at in range(0, count, batch_size)]
        with tqdm(desc="exchanging features", unit="pass", disable=not progress) as bar:
            for which in spans:
                batch = _Batch(self, which)
                if bar.total is None:
                    bar.total = len(spans) * len(self.plan.arms) * len(batch.chosen)
                    bar.refresh()
                for direction, control in self.plan.arms:
                    for (site, name), values in batch.exchanged(direction, control, bar.update):
                        kind = f"{direction} control" if control else direction
                        keep(self.patched, (site, name, kind), count)[which] = values

    def answers(self, mllm: Mllm, ready: Options, which: Sequence[int]) -> Measured:
        """What a model answers about some of the pairs, (which, 2)."""
        scores, rows, right = self.asked.scores(mllm, ready), np.arange(len(which)), np.array([self.right[i] for i in which])
        contrast = np.full(len(which), np.nan)
        if CLEAN in self.asked.classes:
            clean = self.asked.place(CLEAN)
            contrast = np.where(right == clean, np.nan, scores[rows, right] - scores[:, clean])
        return np.stack([softmax(scores, axis=1)[rows, right], contrast], 1)

    def ready(self, mllm: Mllm, stimuli: Sequence[Stimulus]) -> Options:
        """The question about some images."""
        return self.asked.prepared(mllm, [stimulus.image for stimulus in stimuli])

    def shares(self, site: str, which: Sequence[int]) -> list[torch.Tensor | None] | None:
        """Per pair how much of each image row lies in the distorted region; None where nobody asks or no pair has any."""
        kind = self.mllm.stages.layouts[site]
        if not {"region", "outside"} & set(self.plan.sets) or kind == "decoder":
            return None
        found: list[torch.Tensor | None] = []
        for pair in (self.pairs[i] for i in which):
            mask = pair.after.mask if pair.after.mask is not None else pair.before.mask
            try:
                found.append(None if mask is None else self.regions.shares(site, mask))
            except InputError as error:
                self.note(f"No region at '{site}': {error}")
                found.append(None)
        return None if all(own is None for own in found) else found

    def note(self, text: str) -> None:
        """Say once what was left out."""
        if text not in self.notes:
            self.notes.append(text)


class _Batch:
    """Some pairs: the inputs of either side, and which tokens are exchanged where."""

    def __init__(self, work: Exchanges, which: list[int]) -> None:
        self.work, self.which = work, which
        self.shown = {side: [getattr(work.pairs[i], side) for i in which] for side in ("before", "after")}
        for one, other in zip(self.shown["before"], self.shown["after"], strict=True):
            _refuse_sizes(one, other)
        self.ready = {side: work.ready(work.mllm, own) for side, own in self.shown.items()}
        _refuse_tokens(self.shown["before"], self.shown["after"], self.ready["before"], self.ready["after"])
        self._answered()
        seen = survey(work.mllm, self.ready["after"].batches[0], work.plan.sites)
        self.sizes = seen.sizes
        self.chosen = dict(self._sets(seen))

    def _answered(self) -> None:
        """What receiver and donor answer by themselves."""
        work, count = self.work, len(self.work.pairs)
        self.theirs = (
            self.ready if work.donor is work.mllm else {s: work.ready(work.donor, own) for s, own in self.shown.items()}
        )
        for side, own in self.ready.items():
            alone = work.answers(work.mllm, own, self.which)
            keep(work.own, side, count)[self.which] = alone
            if self.theirs is not self.ready:
                _refuse_tokens(self.shown[side], self.shown[side], own, self.theirs[side])
                alone = work.answers(work.donor, self.theirs[side], self.which)
            keep(work.given, side, count)[self.which] = alone

    def _sets(self, seen: Survey) -> Iterator[tuple[tuple[str, str], Rows | None]]:
        """Site and set to rows per pair."""
        work = self.work
        for site in work.plan.sites:
            try:
                found = token_sets(seen.layout, site, seen.shapes[site], work.shares(site, self.which))
            except InputError as error:
                if not site.endswith(PARTS):
                    raise
                work.note(f"Nothing exchanged at '{site}', whose rows are arranged unlike its block's: {error}")
                continue
            for name in (name for name in work.plan.sets if name in found):
                rows, kind = found[name], seen.layout.layouts[site]
                whole = sum(int(np.prod(row_shape(kind, shape))) for shape in seen.shapes[site]) / len(self.which)
                tokens = work.tokens.setdefault((site, name), np.zeros(len(work.pairs)))
                tokens[self.which] = whole if rows is None else [len(own) for own in rows]
                yield (site, name), rows

    def exchanged(
        self, direction: str, control: bool, done: Callable[[], object]
    ) -> Iterator[tuple[tuple[str, str], Measured]]:
        """Site, set and what became of the answers, for each exchange of one kind; NaN without a donor or such tokens."""
        work = self.work
        receiver, side = SIDES[direction]
        given, there = self._strange(direction) if control else (self.theirs[side], np.ones(len(self.which), bool))
        for run in chunks({site: self.sizes[site] for site, _ in self.chosen}):
            donation, found = donated(work.donor, given.batches[0], run), []
            with images_once(work.mllm.model, in_front(work.mllm.stages, run)):  # what lies in front of a site is computed once
                for (site, name), rows in self.chosen.items():
                    if site not in run:
                        continue
                    real = there & np.array([rows is None or len(rows[i]) > 0 for i in range(len(there))])
                    if real.any():
                        with exchange(work.mllm, donation, {site: rows}):
                            values = work.answers(work.mllm, self.ready[receiver], self.which)
                        found.append(((site, name), np.where(real[:, None], values, np.nan)))
                    done()
            yield from found

    def _strange(self, direction: str) -> tuple[Options, np.ndarray]:
        """The inputs of strangers, and for which pairs there is one; the others stand there for themselves."""
        work, ours = self.work, self.shown["after"]
        others = [work.plan.strangers[direction][i] for i in self.which]
        theirs = [own if j is None else work.pairs[j].after for own, j in zip(ours, others, strict=True)]
        given = work.ready(work.donor, theirs)
        _refuse_tokens(ours, theirs, self.ready["after"], given)
        return given, np.array([j is not None for j in others])


def keep(kept: dict[Any, Measured], key: Any, count: int) -> Measured:
    """What is kept under a key, (count, 2): NaN to begin with."""
    return kept.setdefault(key, np.full((count, 2), np.nan))


def strangers(
    pairs: Sequence[Pair], labels: Sequence[str], sizes: Sequence[tuple[int, ...]], same: bool, seed: int
) -> list[int | None]:
    """For each pair another one of another reference, each taken once as far as possible; None where there is none.

    Args:
        pairs: the pairs.
        labels: their classes.
        sizes: of their images; donors have the same.
        same: whether the other is of the same class, else of another.
        seed: of the choice.
    """
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng([seed, int(same), 11])
    names = [pair.reference for pair in pairs], list(labels), [str(size) for size in sizes]
    reference, label, size = (np.unique(np.asarray(own), return_inverse=True)[1] for own in names)
    allowed = (reference[:, None] != reference) & ((label[:, None] == label) == same) & (size[:, None] == size)
    chosen = linear_sum_assignment(np.where(allowed, rng.random(allowed.shape), 1e3))[1]
    found: list[int | None] = []
    for i, j in enumerate(chosen):
        others = np.flatnonzero(allowed[i])
        found.append(int(j) if allowed[i, j] else int(rng.choice(others)) if len(others) else None)
    return found


def _refuse_sizes(one: Stimulus, other: Stimulus) -> None:
    sizes = ["{} x {} px".format(*stimulus.image.shape[:2]) for stimulus in (one, other)]
    if sizes[0] != sizes[1]:
        raise InputError(
            f"The pair '{one.id}' and '{other.id}' has images of {sizes[0]} and {sizes[1]}; expected the same size, so that their "
            "tokens look at the same places. Resize or crop one of them, or leave the pair out."
        )


def _refuse_tokens(ones: Sequence[Stimulus], others: Sequence[Stimulus], one: Options, other: Options) -> None:
    layouts = one.batches[0].layout, other.batches[0].layout
    at = unlike(*layouts)
    if at is not None:
        counts = [layout.image_tokens[at] for layout in layouts]
        raise InputError(
            f"'{ones[at].id}' and '{others[at].id}' are shown to the model as {counts[0]} and {counts[1]} image tokens, in prompts of "
            f"{_prompt(layouts[0], at)} and {_prompt(layouts[1], at)}; expected the same, so that each token has its counterpart. "
            "Leave the pair out."
        )


def _prompt(layout: TokenLayout, at: int) -> int:
    return int((~layout.padding[at]).sum())
