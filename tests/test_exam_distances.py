"""Distances within an exam: to words at each depth where they can be read, and said of which arm is drawn."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hooks.extract import extract
from hooks.load import Mllm
from snellen import exam_distances
from snellen.config import ExamConfig
from stimuli.errors import InputError
from stimuli.types import StimulusSet

SETTINGS: Any = SimpleNamespace(taxonomy="paper8", n_boot=20, seed=0, plane="pca")


@pytest.fixture(scope="module")
def seen(llava: Mllm, six: StimulusSet) -> Any:
    store = extract(llava, six, ["projector", "llm.embed", "llm.0", "llm.1"], progress=False)
    return SimpleNamespace(
        store=store, distances=exam_distances.measured(llava, six, store, "paper8", n_boot=20, progress=False)
    )


def test_words_are_read_at_each_depth_or_where_they_enter(
    llava: Mllm, six: StimulusSet, seen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert seen.distances.words == "contextual"
    plain = exam_distances.semantic_distance(llava, six, store=seen.store, word="input", n_boot=20, progress=False)
    for site, same in (("projector", True), ("llm.embed", True), ("llm.1", False)):
        assert np.allclose(plain.per_stimulus[site]["cosine"], seen.distances.per_stimulus[site]["cosine"]) is same

    own = exam_distances.semantic_distance

    def blind(*args: Any, word: str, **options: Any) -> Any:
        if word == "contextual":
            raise InputError("It reads no text without an image.")
        return own(*args, word=word, **options)

    monkeypatch.setattr(exam_distances, "semantic_distance", blind)
    found = exam_distances.measured(llava, six, seen.store, "paper8", n_boot=20, progress=False)
    assert found.words == "input" and found.row("llm.1") == plain.row("llm.1")


def test_the_arm_that_is_drawn_is_said_to_be_the_best(llava: Mllm, seen: Any) -> None:
    settings: ExamConfig = SETTINGS
    none = exam_distances.told(llava, seen, {}, None, settings)
    assert none["plane"] is None and none["compare"] == {} and exam_distances.SHOWN not in none["notes"]
    one = exam_distances.told(llava, seen, {"llm": seen}, "llm", settings)
    assert exam_distances.SHOWN not in one["notes"], "there was no choice"
    two = exam_distances.told(llava, seen, {"llm": seen, "vision": seen}, "llm", settings)
    assert exam_distances.SHOWN in two["notes"] and set(two["compare"]) == {"llm", "vision"}
    assert all(row["change"] == 0 for row in two["compare"]["llm"]) and two["plane"]["words"]
