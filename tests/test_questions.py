"""Questions and their wordings."""

from pathlib import Path

import pytest

from stimuli.errors import InputError
from stimuli.questions import question
from stimuli.taxonomy import known, taxonomy


@pytest.mark.parametrize("name", known())
def test_the_distortion_question_words_every_class_of_the_taxonomy_in_order(name: str) -> None:
    asked = question("distortion", name)
    assert tuple(asked.options) == tuple(asked.synonyms) == taxonomy(name).classes
    assert asked.source.startswith("ours; the prompt") and asked.source.endswith(taxonomy(name).source)


def test_paper8_is_asked_as_the_shipped_models_were_taught() -> None:
    asked = question("distortion")
    assert asked.prompt == "Which distortion does this image have?"
    assert all(label == wording for label, wording in asked.options.items())
    assert asked.synonyms["blur"] == ("blurry", "blurred", "blurriness", "defocus") and asked.synonyms["contrast"] == ()


def test_answers_are_worded_as_others_publish_them() -> None:
    assert question("distortion", "qinsight5").options["clean"] == "null"
    depictqa12 = question("distortion", "depictqa12").options
    assert depictqa12["overly_high_saturation"] == "overly high saturation" and depictqa12["clean"] == "None"
    assert question("distortion", "liqe11").options["jpeg2000_compression"] == "jpeg2000 compression"


def test_an_own_taxonomy_is_worded_by_its_class_names(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("name: own\nclasses: [bad_codec, clean]\ntypes: {jpeg: bad_codec}\n")
    assert question("distortion", own).options == {"bad_codec": "bad codec", "clean": "clean"}


def test_quality_has_five_levels_and_describe_is_open() -> None:
    assert tuple(question("quality").options) == ("excellent", "good", "fair", "poor", "bad")
    assert question("describe").options == {}


def test_an_unknown_question_is_refused() -> None:
    with pytest.raises(InputError, match="Unknown question 'why'. Known questions: distortion, describe, quality"):
        question("why")
