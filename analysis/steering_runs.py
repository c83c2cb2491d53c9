"""Every steered pass of one call, batch by batch: what ``analysis.steering`` makes its tables of."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from analysis.captions import caption_asks, named, token_f1
from analysis.choice import Choice
from analysis.steering_table import Series
from hooks.answer import free, say
from hooks.edit import in_front
from hooks.load import Mllm
from hooks.reuse import images_once
from hooks.steering import Meter, Places, steered
from probes.directions import Directions
from stimuli.progress import tqdm
from stimuli.taxonomy import CLEAN
from stimuli.types import Stimulus

CONTENT = ("colour", "shape", "agreement")
"""Of a description: whether it names the colour and the shape, where known; token F1 with that at dose 0."""
TAILS = (0.5, 99.5)
"""Percent of the norms of unsteered tokens between which a norm is usual."""
BASE, BASE_KIND = 0.0, "base"
"""The dose and the kind of the model as it is."""


@dataclass(frozen=True)
class Arm:
    """One way of steering to a class at one dose."""

    label: str
    """The class."""
    kind: str
    """Of the directions, or a control's name; ``base`` at dose 0."""
    like: str
    """The kind whose length it has."""
    dose: float


@dataclass
class Passed:
    """What came of an arm, stimulus by stimulus, in the order of ``Runs.shown``."""

    probabilities: np.ndarray
    """(n, all classes)."""
    relative_norm: np.ndarray
    """(n,): mean norm of the steered tokens over the mean of their own."""
    outside: np.ndarray
    """(n,): share of them whose norm is not usual (``TAILS``)."""
    content: dict[str, np.ndarray] = field(default_factory=dict)
    """Of ``CONTENT`` to (n,), NaN where it is not known; empty where it was not asked."""


@dataclass
class Runs:
    """All passes of one call, and what became known along the way."""

    mllm: Mllm
    asked: Choice
    site: str
    tokens: str
    directions: Directions
    shown: Mapping[str, Sequence[Stimulus]]
    """Class to the stimuli that are steered to it."""
    arms: Mapping[str, Sequence[Arm]]
    """Class to what is done, dose 0 first."""
    content: frozenset[float]
    """Doses at which the images are described too; 0 is then as well."""
    seed: int
    found: dict[Arm, Passed] = field(default_factory=dict)
    usual: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Class to the usual norms of unsteered tokens."""
    _drawn: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def measure(self, batch_size: int, progress: bool) -> None:
        """Make every pass: dose 0 of all stimuli of a class first, which tells the usual norms."""
        total = sum(len(self.shown[label]) * len(arms) for label, arms in self.arms.items())
        with tqdm(total=total, desc=f"steering at {self.site}", unit="image", disable=not progress) as bar:
            for label, arms in self.arms.items():
                spans = [self.shown[label][at : at + batch_size] for at in range(0, len(self.shown[label]), batch_size)]
                norms = [self._answered(label, own, arms[:1], bar) for own in spans]
                low, high = np.percentile(np.concatenate(norms), TAILS)
                self.usual[label] = (float(low), float(high))
                for own in spans:
                    self._answered(label, own, arms[1:], bar)
                self._described(label, spans, arms)

    def _answered(self, label: str, stimuli: Sequence[Stimulus], arms: Sequence[Arm], bar: Any) -> np.ndarray:
        """Put the question about some stimuli under some arms; the norms of the tokens, unsteered where dose 0 is among the arms."""
        ready = self.asked.prepared(self.mllm, [stimulus.image for stimulus in stimuli])
        rows, norms = Places.of(self.mllm, ready.batches[0], self.site, self.tokens), np.empty(0)
        with self._once():
            for arm in arms:
                meter = Meter(len(stimuli), self.usual.get(label, (-np.inf, np.inf)))
                with steered(self.mllm, self.site, rows, self._vectors(arm, stimuli), meter):
                    probabilities = self.asked.probabilities(self.mllm, ready)
                norms = meter.own if arm.dose == BASE else norms
                keep(self.found, arm, Passed(probabilities, meter.relative, meter.outside))
                bar.update(len(stimuli))
        return norms

    def _once(self) -> AbstractContextManager[object]:
        """Inside the block, what lies in front of the site is computed once per batch."""
        return images_once(self.mllm.model, in_front(self.mllm.stages, [self.site]))

    def _described(self, label: str, spans: Sequence[Sequence[Stimulus]], arms: Sequence[Arm]) -> None:
        """Descriptions of the stimuli of a class, at the doses where they are wanted and at 0."""
        ask = caption_asks()[0]
        chosen = [arm for arm in arms if arm.dose in self.content or arm.dose == BASE] if self.content else []
        scores: dict[Arm, list[dict[str, float]]] = {arm: [] for arm in chosen}
        for own in spans if chosen else []:
            images = [stimulus.image for stimulus in own]
            batch = free(self.mllm, images, [ask.text(0)] * len(own))
            rows, before = Places.of(self.mllm, batch, self.site, self.tokens), [""] * len(own)
            with self._once():
                for arm in chosen:
                    with steered(self.mllm, self.site, rows, self._vectors(arm, own), once=True):
                        texts = [one.text for one in say(self.mllm, batch, ask.max_new_tokens)]
                    before = texts if arm.dose == BASE else before
                    scores[arm] += [_scored(*one) for one in zip(own, texts, before, strict=True)]
        for arm, rows_of_arm in scores.items():
            self.found[arm].content = {name: np.array([row[name] for row in rows_of_arm]) for name in CONTENT}

    def _vectors(self, arm: Arm, stimuli: Sequence[Stimulus]) -> torch.Tensor | None:
        """What is added to the tokens of each stimulus, float32 (n, d); None at dose 0.

        Controls are drawn anew for each reference, so that intervals over references say how much depends on the draw.
        """
        if arm.dose == BASE:
            return None
        own, place = self.directions, self.directions.classes.index(arm.label)
        if arm.kind in own.steps:
            rows = np.repeat(own.steps[arm.kind][place][None], len(stimuli), 0)
        else:
            draws = [self._draw(arm.kind, stimulus.reference)[place] for stimulus in stimuli]
            rows = np.stack(draws) * own.norms(arm.like)[place]
        return torch.from_numpy(arm.dose * rows).float().to(self.mllm.device)

    def _draw(self, control: str, reference: str) -> np.ndarray:
        if (control, reference) not in self._drawn:
            own = zlib.crc32(f"{self.seed}/{reference}".encode())  # the same wherever the reference is shown
            self._drawn[control, reference] = self.directions.unit(control, own)
        return self._drawn[control, reference]


def keep(found: dict[Arm, Passed], arm: Arm, own: Passed) -> None:
    """Add the stimuli of one batch to those before."""
    if arm not in found:
        found[arm] = own
        return
    before = found[arm]
    found[arm] = Passed(
        np.concatenate([before.probabilities, own.probabilities]),
        np.concatenate([before.relative_norm, own.relative_norm]),
        np.concatenate([before.outside, own.outside]),
    )


def _scored(stimulus: Stimulus, text: str, before: str) -> dict[str, float]:
    """What of ``CONTENT`` is right in a description."""
    row = {"agreement": token_f1(text, before)}
    for name in ("colour", "shape"):
        found = named(stimulus, text, name)
        row[name] = float("nan") if found is None else found
    return row


# ---- what came of it ------------------------------------------------------------------------------------------------------------


def series_of(runs: Runs, truth: dict[str, str | None], label: str, kind: str, like: str, doses: Sequence[float]) -> Series:
    """What came of steering to a class in one way, over the doses.

    Args:
        runs: measured.
        truth: stimulus id to its class, None where it has none.
        label: the class.
        kind: of the directions, or a control.
        like: whose length it has.
        doses: ascending, with 0.
    """
    arms = [runs.arms[label][0] if dose == BASE else Arm(label, kind, like, dose) for dose in doses]
    passed, column = [runs.found[arm] for arm in arms], runs.asked.place(label)
    right = np.array([runs.asked.place(name) if (name := truth[s.id]) is not None else -1 for s in runs.shown[label]])
    answers = [own.probabilities.argmax(1) for own in passed]
    measured = {
        "probability": np.stack([own.probabilities[:, column] for own in passed]),
        "contrast": np.stack([_contrast(own.probabilities, column, runs.asked.classes) for own in passed]),
        "share": np.stack([one == column for one in answers]).astype(float),
        "accuracy": np.stack([one == right for one in answers]).astype(float),
        "relative_norm": np.stack([own.relative_norm for own in passed]),
        "outside": np.stack([own.outside for own in passed]),
        **({name: np.stack([_content(own, name) for own in passed]) for name in CONTENT} if runs.content else {}),
    }
    norm = float(runs.directions.norms(like)[runs.directions.classes.index(label)])
    groups = np.array([stimulus.reference for stimulus in runs.shown[label]])
    return Series(label, kind, like, tuple(doses), norm, groups, measured)


def _contrast(probabilities: np.ndarray, column: int, classes: Sequence[str]) -> np.ndarray:
    """Log odds of a class against clean, (n,) in nats: the difference of their scores."""
    clean = classes.index(CLEAN) if CLEAN in classes else column
    if clean == column:
        return np.full(len(probabilities), np.nan)
    logs = np.log(np.clip(probabilities, 1e-300, 1))
    return np.asarray(logs[:, column] - logs[:, clean])


def _content(own: Passed, name: str) -> np.ndarray:
    return own.content.get(name, np.full(len(own.probabilities), np.nan))
