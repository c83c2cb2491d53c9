"""Stimuli and sets of them."""

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stimuli.errors import InputError
from stimuli.types import Images, Stimulus, StimulusSet


def some(n: int = 6) -> StimulusSet:
    return StimulusSet([Stimulus(f"s{i}", f"r{i // 2}", None, None) for i in range(n)], "some")


def test_files_are_read_exactly_and_lazily(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert np.array_equal(Stimulus("a", "a", None, None, pixels=tmp_path / "a.png").image, picture)


def test_unreadable_and_truncated_images_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match="broken.png cannot be read.*replace or remove it"):
        _ = Stimulus("a", "a", None, None, pixels=tmp_path / "broken.png").image
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "t.png")
    (tmp_path / "t.png").write_bytes((tmp_path / "t.png").read_bytes()[:500])
    with pytest.raises(InputError, match="t.png cannot be read"):
        _ = Stimulus("a", "a", None, None, pixels=tmp_path / "t.png").image


def test_metadata_is_json_and_holds_no_pixels() -> None:
    stimulus = Stimulus("a", "r", "jpeg", 3, 24.0, pixels=np.zeros((2, 2, 3), np.uint8))
    assert json.loads(json.dumps(stimulus.metadata()))["signed_param"] == 24.0
    assert "pixels" not in stimulus.metadata()


def test_a_stimulus_is_light_and_can_be_copied_replaced_and_pickled(tmp_path: Path) -> None:
    stimulus = Stimulus("a", "r", "jpeg", 3, 24.0, attributes={"colour": "red"}, pixels=tmp_path / "a.png")
    assert not hasattr(stimulus, "__dict__")
    for other in (copy.copy(stimulus), copy.deepcopy(stimulus), pickle.loads(pickle.dumps(stimulus)), replace(stimulus)):
        assert other == stimulus and other.pixels == stimulus.pixels
    assert replace(stimulus, level=4).level == 4


def test_sets_slice_select_and_split_by_reference() -> None:
    stimuli = some()
    assert len(stimuli[1:3]) == 2 and stimuli.references == ("r0", "r1", "r2")
    assert [s.id for s in stimuli.select(lambda s: s.id == "s3")] == ["s3"]
    inside, outside = stimuli.of_references(["r1"])
    assert inside.references == ("r1",) and outside.references == ("r0", "r2")


def test_empty_sets_and_double_ids_are_refused() -> None:
    with pytest.raises(InputError, match="zero images were found"):
        StimulusSet([], "none")
    with pytest.raises(InputError, match="'a' occurs twice"):
        StimulusSet([Stimulus(id, id, None, None) for id in "abca"], "double")


def test_images_are_read_only_when_looked_at() -> None:
    read: list[int] = []

    def picture(i: int) -> np.ndarray:
        read.append(i)
        return np.full((2, 2, 3), i, np.uint8)

    images = Images([Stimulus(f"s{i}", "r", None, None, pixels=lambda i=i: picture(i)) for i in range(5)], lambda x: x + 1)
    assert len(images) == 5 and not read
    assert [int(image[0, 0, 0]) for image in images[1:3]] == [2, 3] and read == [1, 2]
    assert images[4][0, 0, 0] == 5
