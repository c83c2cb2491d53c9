"""Taxonomies are data files, checked when they are read."""

from pathlib import Path

import pytest

from stimuli.distortions import TYPES
from stimuli.errors import InputError
from stimuli.taxonomy import known, taxonomy
from stimuli.types import Stimulus


def test_paper8_has_the_papers_eight_classes_over_known_types() -> None:
    paper8 = taxonomy("paper8")
    assert paper8.classes == (
        "blur", "noise", "brightness", "compression", "contrast", "colorfulness", "jitter", "clean",
    )  # fmt: skip
    assert set(paper8.types) == set(TYPES)
    assert all(paper8.types_of(label) for label in paper8.classes if label != "clean")
    assert "paper8" in known()


def test_labels_of_clean_identity_and_unlisted_stimuli() -> None:
    paper8 = taxonomy("paper8")
    assert paper8.label(Stimulus("a", "a", None, None)) == "clean"
    assert paper8.label(Stimulus("b", "a", "jpeg", 3)) == "compression"
    assert paper8.label(Stimulus("c", "a", "mean_shift", 3, is_identity=True)) is None
    assert paper8.label(Stimulus("d", "a", "color_block", 3)) is None


def test_a_users_own_file_works_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("name: own\nclasses: [codec, clean]\ntypes: {jpeg: codec}\n")
    assert taxonomy(own).types_of("codec") == ("jpeg",)
    own.write_text("name: own\nclasses: [clean]\ntypes: {jpeg: codec}\n")
    with pytest.raises(InputError, match="maps types to codec, which its classes do not list"):
        taxonomy(own)
    own.write_text("just text")
    with pytest.raises(InputError, match="cannot be used"):
        taxonomy(own)
