"""What a component is taught: distortion answers, quality words, and replays of what the untouched model says of the content."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hooks.answer import free, say
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.progress import tqdm
from stimuli.questions import question
from stimuli.taxonomy import taxonomy as load_taxonomy
from stimuli.types import Images, Stimulus
from tuning.ladders import ladder, quality_words

REPLAYED = ("describe", "quality")
CORRELATED = 8
"""Distortion lessons that a pass must hold for a correlation between images."""
REPLAY_TOKENS = 96
REPLAY_IMAGES = 512
"""How many training images the untouched model is asked about."""
Kind = Literal["answer", "quality", "replay"]


@dataclass(frozen=True)
class Lesson:
    """One image, question and answer."""

    stimulus: Stimulus
    prompt: str
    answer: str
    target: int
    """Class number of a distortion answer; -1 for the others."""
    kind: Kind = "answer"
    """Whether it teaches a distortion answer or a quality word, or replays what the untouched model said."""
    clean: Stimulus | None = None
    """Of a distortion answer, the undistorted image of the same reference, where the training set shows it."""

    def paired(self, other: Lesson) -> bool:
        """Whether the two show one reference and one type at two levels, of which the higher is the more severe."""
        own, its = ladder(self.stimulus), ladder(other.stimulus)
        both = self.kind == other.kind == "answer" and self.target == other.target
        return both and own is not None and own == its and self.stimulus.level != other.stimulus.level


@dataclass(frozen=True)
class Lessons:
    """Everything a run draws from."""

    by_class: tuple[tuple[Lesson, ...], ...]
    """Distortion lessons, per class."""
    replays: tuple[Lesson, ...]
    wordings: tuple[str, ...]
    by_word: tuple[tuple[Lesson, ...], ...] = ()
    """Quality lessons, per word that occurs, from excellent to bad."""
    partners: tuple[tuple[tuple[int, ...], ...], ...] = ()
    """Per class and lesson, the rows of the class with the same reference and type at another level; empty where levels are not
    ordered by severity."""

    def batch(
        self, size: int, replay: float, rng: np.random.Generator, quality: float = 0.0, pairs: bool = False
    ) -> list[Lesson]:
        """A batch: distortion lessons with every class equally likely, then quality lessons, then replays.

        Quality words are equally likely as well (ours: in most sets the extremes are rare).

        Args:
            size: lessons.
            replay: share of replays, 0 to 1; none if there are none.
            rng: where all chance comes from.
            quality: share of quality lessons, 0 to 1.
            pairs: draw distortion lessons in units of two that stand at positions 0 and 1, 2 and 3, …: the same reference and
                type at two levels, or two of the class where a lesson has no partner. An odd number of them cuts the last unit.

        Raises:
            InputError: quality lessons or pairs are wanted, and the training set gives none.
        """
        replays = round(size * replay) if self.replays else 0
        rated = round(size * quality)
        self.check(rated, pairs)
        asked = (self._twos if pairs else self._ones)(size - replays - rated, rng)
        if rated:
            words = rng.integers(0, len(self.by_word), rated)
            asked += [self.by_word[w][rng.integers(len(self.by_word[w]))] for w in words]
        return [*asked, *(self.replays[i] for i in rng.integers(0, max(1, len(self.replays)), replays))]

    def check(self, rated: float, pairs: bool, constraints: Collection[str] = (), per_pass: float = math.inf) -> None:
        """Refuse quality lessons, pairs or constraints that the training set or the size of a pass does not give.

        Args:
            rated: share of quality lessons.
            pairs: whether lessons come in pairs.
            constraints: their names.
            per_pass: distortion lessons in a forward pass.

        Raises:
            InputError: see ``batch``.
        """
        if rated and not self.by_word:
            raise InputError(
                "Quality lessons were asked for, but no training stimulus tells its quality. Expected a differing MOS of every stimulus, "
                "or clean images or levels of types that are not signed. Give those, or quality=0."
            )
        if pairs and not any(others for own in self.partners for others in own):
            raise InputError(
                "The training stimuli hold no two levels of one distortion type of one reference (signed types and identities do not "
                "count), which the constraint 'order' compares. Show more levels (design='crossed'), or leave it out."
            )
        if "distill" in constraints and not any(
            s.type is None or s.is_identity for own in self.by_class for s in (x.stimulus for x in own)
        ):
            raise InputError(
                "The training stimuli hold no clean image, on which the constraint 'distill' is. Show some, or leave it out."
            )
        if "decorrelate" in constraints and per_pass < CORRELATED:
            raise InputError(
                f"A pass holds {per_pass:.0f} distortion lessons, too few to tell a correlation from chance for the constraint 'decorrelate'. "
                f"Expected at least {CORRELATED}. Raise micro_batch, or leave it out."
            )

    def _ones(self, count: int, rng: np.random.Generator) -> list[Lesson]:
        classes = rng.integers(0, len(self.by_class), count)
        return [self.by_class[c][rng.integers(len(self.by_class[c]))] for c in classes]

    def _twos(self, count: int, rng: np.random.Generator) -> list[Lesson]:
        drawn: list[Lesson] = []
        for c in rng.integers(0, len(self.by_class), math.ceil(count / 2)):
            own = self.by_class[c]
            first = rng.integers(len(own))
            others = self.partners[c][first] or range(len(own))
            drawn += [own[first], own[others[rng.integers(len(others))]]]
        return drawn[:count]


def prepare(
    stimuli: Sequence[Stimulus],
    taxonomy: str | Path,
    replays: Sequence[Lesson] = (),
) -> Lessons:
    """Distortion lessons from the labels, quality lessons from MOS or severity, and replays (``own_words``) if any.

    Raises:
        InputError: no stimuli, or fewer than two classes.
    """
    if len(stimuli) == 0:
        raise InputError("Got zero training stimuli; expected labelled images of at least two classes.")
    chosen = load_taxonomy(taxonomy)
    asked = question("distortion", taxonomy)
    labels = [chosen.label(s) for s in stimuli]
    present = [label for label in chosen.classes if label in labels]
    if len(present) < 2:
        raise InputError(
            f"The training stimuli show only {present or 'no class of the taxonomy'}; expected at least two classes of "
            f"'{chosen.name}'. Show more distortion types."
        )
    clean = {s.reference: s for s in reversed(stimuli) if s.type is None}
    by_class = tuple(
        tuple(
            Lesson(s, asked.prompt, asked.options[label], number, "answer", clean.get(s.reference))
            for s, own in zip(stimuli, labels, strict=True)
            if own == label
        )
        for number, label in enumerate(present)
    )
    wordings = tuple(asked.options[label] for label in present)
    return Lessons(by_class, tuple(replays), wordings, _rated(stimuli), tuple(map(_partners, by_class)))


def _partners(own: Sequence[Lesson]) -> tuple[tuple[int, ...], ...]:
    ladders: dict[tuple[str, str] | None, list[int]] = {}
    keys = [ladder(lesson.stimulus) for lesson in own]
    for i, key in enumerate(keys):
        ladders.setdefault(key, []).append(i)
    return tuple(
        () if key is None else tuple(i for i in ladders[key] if own[i].stimulus.level != lesson.stimulus.level)
        for key, lesson in zip(keys, own, strict=True)
    )


def _rated(stimuli: Sequence[Stimulus]) -> tuple[tuple[Lesson, ...], ...]:
    """Quality lessons per word that occurs."""
    asked = question("quality")
    words = quality_words(stimuli, tuple(asked.options))
    found = {word: [s for s, own in zip(stimuli, words, strict=True) if own == word] for word in asked.options}
    return tuple(
        tuple(Lesson(s, asked.prompt, asked.options[word], -1, "quality") for s in own) for word, own in found.items() if own
    )


def refuse_held_out(stimuli: Sequence[Stimulus], held_out: Collection[str]) -> None:
    """Keep the references of the exam out of the training set.

    Raises:
        InputError: references that are held out.
    """
    both = sorted({s.reference for s in stimuli} & set(held_out))
    if both:
        raise InputError(
            f"{len(both)} training references are held out for the exam ({', '.join(both[:3])}). "
            "Train on other references, or the evaluation would test what was taught."
        )


def fingerprint(stimuli: Sequence[Stimulus], taxonomy: str | Path, quality: bool = False) -> str:
    """SHA-256 over ids, references and classes in order: tells one training set, as it is labelled, from another.

    Args:
        stimuli: in order.
        taxonomy: name or file.
        quality: whether opinion scores and levels count, of which quality words are made.
    """
    label = load_taxonomy(taxonomy).label
    rows = [(s.id, s.reference, label(s), *((s.mos, s.level) if quality else ())) for s in stimuli]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def own_words(
    mllm: Mllm,
    stimuli: Sequence[Stimulus],
    count: int = REPLAY_IMAGES,
    seed: int = 0,
    progress: bool = True,
    *,
    batch_size: int = 64,
    max_new_tokens: int = REPLAY_TOKENS,
    quality: bool = True,
    rank: int = 0,
    world: int = 1,
) -> tuple[Lesson, ...]:
    """Replays: the untouched model's own greedy answers about content and quality, to be kept while tuning.

    A replay teaches where an answer ends, too. One that has not ended at the limit is cut after its last whole sentence, if it has one.

    Args:
        mllm: the model before tuning.
        stimuli: the training stimuli.
        count: how many of them, at random, are asked about.
        seed: of that choice.
        progress: show a progress bar.
        batch_size: images per forward pass.
        max_new_tokens: of an answer.
        quality: whether the quality question is among them; not where quality words are taught, which would contradict it.
        rank: of several processes, this one asks about every ``world``-th image from its own number on.
        world: how many processes.
    """
    chosen = replayed(stimuli, count, seed)[rank::world]
    lessons: list[Lesson] = []
    for name in (name for name in REPLAYED if quality or name != "quality"):
        prompt, images = question(name).prompt, Images(chosen)
        for start in tqdm(range(0, len(chosen), batch_size), desc=f"ask the untouched model: {name}", disable=not progress):
            shown = chosen[start : start + batch_size]
            said = say(mllm, free(mllm, images[start : start + batch_size], [prompt] * len(shown)), max_new_tokens)
            texts = [whole_sentences(one.text) if one.tokens >= max_new_tokens else one.text for one in said]
            lessons += [Lesson(s, prompt, text, -1, "replay") for s, text in zip(shown, texts, strict=True) if text]
    return tuple(lessons)


def whole_sentences(text: str) -> str:
    """A text up to the end of its last whole sentence; all of it, if none ends."""
    ends = [found.end() for found in re.finditer(r"[.!?。！？](?=\s|$)", text)]
    return text[: ends[-1]] if ends else text


def replayed(stimuli: Sequence[Stimulus], count: int, seed: int) -> list[Stimulus]:
    """The images that ``own_words`` asks about, in order."""
    return [stimuli[i] for i in np.random.default_rng([seed, 7]).permutation(len(stimuli))[:count]]
