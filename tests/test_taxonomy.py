"""Taxonomies: which class a stimulus has, and those that ship."""

from pathlib import Path

import pytest

from stimuli.designs import plan
from stimuli.distortions import TYPES, Options, parameter
from stimuli.errors import InputError
from stimuli.readers.names import DATASET_TYPES
from stimuli.taxonomy import Taxonomy, known, taxonomy
from stimuli.types import Stimulus

SIGNED = Taxonomy("signed", ("up", "down", "clean"), {"mean_shift": {1: "up", 2: "up", 4: "down", 5: "down"}, "darken": "down"})


def test_paper8_has_the_papers_eight_classes_and_shows_seventeen_types() -> None:
    paper8 = taxonomy("paper8")
    assert paper8.classes == (
        "blur", "noise", "brightness", "compression", "contrast", "colorfulness", "jitter", "clean",
    )  # fmt: skip
    assert sum(type in TYPES for type in paper8.types) == 17 and paper8.ours
    assert paper8.types_of("brightness") == ("brighten", "darken", "mean_shift")


@pytest.mark.parametrize(
    ("name", "classes", "clean"),
    [("depictqa12", 13, True), ("kadid25", 26, True), ("liqe11", 11, False), ("paper8", 8, True), ("qinsight5", 5, True)],
)
def test_a_shipped_taxonomy_places_every_type_once_and_can_be_generated(name: str, classes: int, clean: bool) -> None:
    shipped = taxonomy(name)
    assert name in known() and shipped.name == name and shipped.source
    assert len(shipped.classes) == classes and ("clean" in shipped.classes) == clean
    for type in (*TYPES, *DATASET_TYPES):
        assert (type in shipped.types) != (shipped.why_excluded(type) is not None), type
    planned = plan(shipped, (2, 3, 4, 5), 0, "crossed")
    for label, shown in planned.choices.items():
        assert shown
        for parts in shown:
            assert {shipped.label_of(type, level=level) for type, level in parts} == ({label} if parts else set())


def test_labels_of_clean_identity_and_unlisted_stimuli() -> None:
    paper8 = taxonomy("paper8")
    assert paper8.label(Stimulus("a", "a", None, None)) == "clean"
    assert paper8.label(Stimulus("b", "a", "jpeg", 3)) == "compression"
    assert paper8.label(Stimulus("c", "a", "mean_shift", 3, is_identity=True)) is None
    assert paper8.label(Stimulus("d", "a", "color_block", 3)) is None
    assert paper8.label_of("jpeg") == "compression" and paper8.label_of("jpeg", True) is None


def test_a_signed_type_has_a_class_per_published_level() -> None:
    labels = [SIGNED.label(Stimulus("a", "a", "mean_shift", level)) for level in (1, 2, 3, 4, 5, None)]
    assert labels == ["up", "up", None, "down", "down", None]
    assert SIGNED.types_of("down") == ("mean_shift", "darken") and SIGNED.types_of("up") == ("mean_shift",)
    assert SIGNED.levels_of("mean_shift", "down") == (4, 5) and SIGNED.levels_of("darken", "down") == (1, 2, 3, 4, 5)
    assert SIGNED.levels_of("jpeg", "down") == ()


def test_reordered_levels_are_told_by_their_parameter() -> None:
    sorted_levels = Options(ordering="magnitude")
    for level in (2, 3, 4, 5):
        shift = parameter("mean_shift", level, sorted_levels)
        stimulus = Stimulus("a", "a", "mean_shift", level, signed_param=shift)
        assert SIGNED.label(stimulus) == ("up" if shift > 0 else "down")
    shown = plan(SIGNED, (2, 3, 4, 5), 0, "crossed", sorted_levels).choices["up"]
    assert {parameter(type, level, sorted_levels) for parts in shown for type, level in parts} == {0.08, 0.15}


def test_a_mixture_has_a_class_only_if_its_parts_share_it() -> None:
    paper8 = taxonomy("paper8")
    noises = Stimulus("a", "a", "white_noise+impulse_noise", 3, parts=(("white_noise", 3), ("impulse_noise", 3)))
    assert paper8.label(noises) == "noise"
    for other in ("jpeg", "color_block"):
        assert paper8.label(Stimulus("a", "a", f"white_noise+{other}", 3, parts=(("white_noise", 3), (other, 3)))) is None
    assert SIGNED.label(Stimulus("a", "a", "darken+mean_shift", 5, parts=(("darken", 5), ("mean_shift", 5)))) == "down"
    assert SIGNED.label(Stimulus("a", "a", "darken+mean_shift", 1, parts=(("darken", 1), ("mean_shift", 1)))) is None


def test_an_entry_for_one_dataset_goes_before_that_for_all() -> None:
    depictqa12 = taxonomy("depictqa12")
    assert depictqa12.label(Stimulus("a", "a", "contrast_change", 4, source="kadid10k")) == "insufficient_contrast"
    assert depictqa12.label(Stimulus("a", "a", "contrast_change", 4, source="tid2013")) is None
    own = Taxonomy("own", ("one", "two"), {"jpeg": "one", "live/jpeg": "two"})
    assert [own.label(Stimulus("a", "a", "jpeg", 1, source=source)) for source in ("live", "csiq")] == ["two", "one"]


def test_what_cannot_be_generated_is_said() -> None:
    only = Taxonomy("only", ("lost", "clean"), {"fast_fading": "lost"})
    with pytest.raises(
        InputError, match=r"The class 'lost' .* cannot be generated: its types \(fast_fading\) occur in datasets"
    ):
        plan(only, (1, 2), 0, "balanced")
    with pytest.raises(InputError, match=r"The class 'up' .* nothing to show at levels \(4, 5\)"):
        plan(SIGNED, (4, 5), 0, "balanced")


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Unknown taxonomy 'paper9'. Known taxonomies: depictqa12, kadid25, liqe11, paper8"):
        taxonomy("paper9")
    with pytest.raises(InputError, match="Unknown taxonomy '.*none.yaml'"):
        taxonomy(tmp_path / "none.yaml")
