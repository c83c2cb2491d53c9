"""The vectors of a class: means over tokens, synonyms of equal weight."""

import numpy as np
import pytest

from analysis.word_vectors import MEANINGS, word_sets, word_vectors
from hooks.load import Mllm
from hooks.words import KINDS, word_rows
from stimuli.taxonomy import taxonomy


def test_every_kind_of_words_is_explained() -> None:
    assert set(MEANINGS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_one_vector_per_word_is_the_mean_over_its_tokens_whatever_the_kind(llava: Mllm, kind: str) -> None:
    rows = word_rows(llava, ["blur", "xylophone"], ["llm.1"], kind)["llm.1"]
    found = word_vectors(llava, ["blur", "xylophone"], ["llm.1"], kind)["llm.1"]
    assert found.dtype == np.float64 and len(rows[1]) > 1
    assert np.allclose(found, [own.mean(0) for own in rows], atol=1e-6) and not np.allclose(found[1], rows[1][-1], atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_classs_vector_is_the_middle_of_its_tokens(llava: Mllm, kind: str) -> None:
    paper8 = taxonomy("paper8")
    vectors = word_vectors(llava, [paper8.wordings[label] for label in paper8.classes], ["llm.0"], kind)["llm.0"]
    sets = word_sets(llava, paper8, ["llm.0"], kind)["llm.0"]
    assert np.allclose(vectors, [own.weights @ own.rows for own in sets], atol=1e-6)


def test_wordings_of_a_class_have_the_same_mass_however_many_tokens_they_have(llava: Mllm) -> None:
    paper8 = taxonomy("paper8")
    plain, more = (word_sets(llava, paper8, ["projector"], synonyms=wanted)["projector"] for wanted in (False, True))
    assert len(plain) == len(more) == len(paper8.classes)
    for label, few, many in zip(paper8.classes, plain, more, strict=True):
        assert few.weights.sum() == pytest.approx(1) and many.weights.sum() == pytest.approx(1)
        assert np.array_equal(many.rows[: len(few.rows)], few.rows)
        wordings = 1 + len(paper8.synonyms.get(label, ()))
        assert many.weights[: len(few.rows)].sum() == pytest.approx(1 / wordings)
