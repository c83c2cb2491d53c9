"""Semantic distance: known values, centring, pairing."""

import numpy as np
import pytest

from analysis.semantic_distance import compare, measures, semantic_distance
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.types import StimulusSet


def test_features_that_are_their_words_have_distance_zero() -> None:
    words = np.eye(4)
    found = measures(words.repeat(3, 0), words, np.arange(4).repeat(3))
    assert np.allclose(found["cosine"], 0) and np.allclose(found["centred"], 0)
    assert np.allclose(found["margin"], 4 / 3) and found["zero_shot"].all()


def test_centring_removes_a_gap_between_modalities_and_raw_does_not() -> None:
    rng = np.random.default_rng(0)
    words = rng.normal(size=(4, 16))
    features = words.repeat(5, 0) + 0.05 * rng.normal(size=(20, 16))
    shifted = measures(features + 30, words, np.arange(4).repeat(5))
    straight = measures(features, words, np.arange(4).repeat(5))
    assert np.allclose(shifted["centred"], straight["centred"]) and shifted["zero_shot"].all()
    assert shifted["cosine"].mean() > straight["cosine"].mean() + 0.3


def test_ranges() -> None:
    rng = np.random.default_rng(1)
    found = measures(rng.normal(size=(50, 8)), rng.normal(size=(5, 8)), rng.integers(0, 5, 50))
    assert (0 <= found["cosine"]).all() and (found["cosine"] <= 2).all() and (np.abs(found["margin"]) <= 2).all()


def test_a_model_is_measured_and_compared_with_itself(llava: Mllm, six: StimulusSet) -> None:
    found = semantic_distance(llava, six, progress=False)
    assert {row["site"] for row in found.table} == {"projector", "llm.embed", *(f"llm.{i}" for i in range(4))}
    row = found.row("projector")
    assert row["n"] == 6 and row["cosine_low"] <= row["cosine"] <= row["cosine_high"]
    change = compare(found, found)
    assert all(r["change"] == 0 and r["p_holm"] == 1 for r in change)
    backwards = StimulusSet([*six][3::-1], "fewer")
    fewer = semantic_distance(llava, backwards, progress=False)
    paired = [r for r in compare(found, fewer) if r["measure"] == "cosine"]
    assert paired and all(abs(r["change"]) < 1e-5 for r in paired)  # by stimulus, whatever the order
    with pytest.raises(InputError, match="over different stimuli"):
        compare(semantic_distance(llava, six[4:], progress=False), fewer)
