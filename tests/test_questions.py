"""Questions and their wordings."""

from pathlib import Path

import pytest

from stimuli.errors import InputError
from stimuli.questions import question
from stimuli.taxonomy import taxonomy


def test_the_distortion_question_words_every_class_of_the_taxonomy_in_order() -> None:
    asked = question("distortion", "paper8")
    assert tuple(asked.options) == taxonomy("paper8").classes
    assert asked.synonyms["blur"][0] == "blurry" and asked.source


def test_an_own_taxonomy_is_worded_by_its_class_names(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("name: own\nclasses: [codec, clean]\ntypes: {jpeg: codec}\n")
    assert question("distortion", own).options == {"codec": "codec", "clean": "clean"}


def test_quality_has_five_levels_and_describe_is_open() -> None:
    assert tuple(question("quality").options) == ("excellent", "good", "fair", "poor", "bad")
    assert question("describe").options == {}


def test_an_unknown_question_is_refused() -> None:
    with pytest.raises(InputError, match="Unknown question 'why'. Known questions: distortion, describe, quality"):
        question("why")
