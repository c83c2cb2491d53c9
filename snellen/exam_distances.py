"""Semantic distance within an exam: measured of each model, compared, and drawn in a plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from analysis.plane import plane
from analysis.semantic_distance import Distances, compare, semantic_distance
from hooks.load import Mllm
from hooks.store import Store
from hooks.words import word_embeddings
from snellen.config import ExamConfig
from stimuli.errors import InputError
from stimuli.questions import question
from stimuli.types import StimulusSet


class Seen(Protocol):
    """What is needed of one model's part of the exam."""

    @property
    def store(self) -> Store:
        """Its activations."""

    @property
    def distances(self) -> Distances:
        """As ``measured`` gives them."""


def measured(mllm: Mllm, shown: StimulusSet, store: Store, taxonomy: str, **options: Any) -> Distances:
    """To words as the language model has them at each depth; to input words where it reads no text without an image."""
    try:
        return semantic_distance(mllm, shown, taxonomy=taxonomy, store=store, word="contextual", **options)
    except InputError:
        return semantic_distance(mllm, shown, taxonomy=taxonomy, store=store, word="input", **options)


def told(mllm: Mllm, base: Seen, arms: Mapping[str, Seen], shown_arm: str | None, settings: ExamConfig) -> dict[str, Any]:
    """The part ``distance`` of the results.

    Args:
        mllm: the model as loaded.
        base: what was seen of it.
        arms: what was seen of each tuned model.
        shown_arm: whose features are drawn.
        settings: of the exam.
    """
    found = base.distances
    compared = {name: compare(found, seen.distances, settings.n_boot, settings.seed) for name, seen in arms.items()}
    drawn = None if shown_arm is None else _plane(mllm, base, arms[shown_arm], settings)
    notes = [*found.notes, *([SHOWN] if shown_arm is not None and len(arms) > 1 else [])]
    return {
        "base": found.table,
        "words": found.words,
        "notes": notes,
        "compare": compared,
        "shown_arm": shown_arm,
        "plane": drawn,
    }


SHOWN = (
    "Shown is the arm whose answers to these very images gained most, so its changes are the most favourable of all arms; p is adjusted over "
    "the sites and classes of one arm. The tables have every arm."
)
"""What has to be known of the arm that is drawn."""


def _plane(mllm: Mllm, base: Seen, after: Seen, settings: ExamConfig) -> dict[str, Any]:
    """Features at the projector before and after, of the stimuli that both have, with the words."""
    asked = question("distortion", settings.taxonomy)
    first, second = (seen.store.read("projector") for seen in (base, after))
    both = set(second.ids)
    labels = {id: label for id, label in zip(base.distances.ids, base.distances.labels.tolist(), strict=True) if id in both}
    before, tuned = (np.stack([acts.of(id) for id in labels]).astype(float) for acts in (first, second))
    words = word_embeddings(mllm, list(asked.options.values())).cpu().numpy()
    return plane(
        before, tuned, words, list(labels.values()), tuple(labels), list(asked.options), settings.seed, settings.plane
    ).as_dict()
