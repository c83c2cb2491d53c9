"""What a component is taught: distortion answers, and replays of what the untouched model says of the content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hooks.answer import generate
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.questions import question
from stimuli.taxonomy import taxonomy as load_taxonomy
from stimuli.types import Images, Stimulus

REPLAYED = ("describe", "quality")
REPLAY_IMAGES = 512
"""How many training images the untouched model is asked about."""


@dataclass(frozen=True)
class Lesson:
    """One image, question and answer."""

    stimulus: Stimulus
    prompt: str
    answer: str
    target: int
    """Class number of a distortion answer; -1 for a replay."""


@dataclass(frozen=True)
class Lessons:
    """Everything a run draws from."""

    by_class: tuple[tuple[Lesson, ...], ...]
    """Distortion lessons, per class."""
    replays: tuple[Lesson, ...]
    wordings: tuple[str, ...]

    def batch(self, size: int, replay: float, rng: np.random.Generator) -> list[Lesson]:
        """A batch with every class equally likely and a share of replays."""
        replays = round(size * replay) if self.replays else 0
        classes = rng.integers(0, len(self.by_class), size - replays)
        asked = [self.by_class[c][rng.integers(len(self.by_class[c]))] for c in classes]
        return [*asked, *(self.replays[i] for i in rng.integers(0, max(1, len(self.replays)), replays))]


def prepare(
    stimuli: Sequence[Stimulus],
    taxonomy: str | Path,
    replays: Sequence[Lesson] = (),
) -> Lessons:
    """Distortion lessons from the labels, and replays (``own_words``) if any.

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
    by_class = tuple(
        tuple(
            Lesson(s, asked.prompt, asked.options[label], number)
            for s, own in zip(stimuli, labels, strict=True)
            if own == label
        )
        for number, label in enumerate(present)
    )
    return Lessons(by_class, tuple(replays), tuple(asked.options[label] for label in present))


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


def fingerprint(stimuli: Sequence[Stimulus], taxonomy: str | Path) -> str:
    """SHA-256 over ids, references and classes in order: tells one training set, as it is labelled, from another."""
    label = load_taxonomy(taxonomy).label
    return hashlib.sha256(json.dumps([(s.id, s.reference, label(s)) for s in stimuli]).encode()).hexdigest()


def own_words(
    mllm: Mllm, stimuli: Sequence[Stimulus], count: int = REPLAY_IMAGES, seed: int = 0, progress: bool = True
) -> tuple[Lesson, ...]:
    """Replays: the untouched model's own greedy answers about content and quality, to be kept while tuning.

    Args:
        mllm: the model before tuning.
        stimuli: the training stimuli.
        count: how many of them, at random, are asked about.
        seed: of that choice.
        progress: show a progress bar.
    """
    rng = np.random.default_rng([seed, 7])
    chosen = [stimuli[i] for i in rng.permutation(len(stimuli))[:count]]
    lessons: list[Lesson] = []
    for name in REPLAYED:
        prompt = question(name).prompt
        said = generate(mllm, Images(chosen), [prompt] * len(chosen), batch_size=64, progress=progress)
        lessons += [Lesson(s, prompt, text, -1) for s, text in zip(chosen, said, strict=True) if text]
    return tuple(lessons)
