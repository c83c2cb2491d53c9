"""What ``--images`` can name."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from snellen import sources
from snellen.sources import DATASETS, chosen_set, labelled
from stimuli import sets
from stimuli.disk import save
from stimuli.errors import InputError
from stimuli.sets import exam_set
from stimuli.types import Stimulus, StimulusSet


def test_built_in_sets_take_the_arguments_of_exam_set() -> None:
    scenes, leaves = (chosen_set(name, 2, (5,), 0, size=32, measure=False) for name in ("embedded", "leaves"))
    assert [s.source for s in (scenes[0], leaves[0])] == ["scene", "leaves"] and scenes[0].image.shape == (32, 32, 3)


def test_a_folder_is_distorted_and_keeps_its_size(tmp_path: Path) -> None:
    for i in range(3):
        Image.fromarray(np.full((40 + i, 50, 3), 90 * i, np.uint8)).save(tmp_path / f"{i}.png")
    shown = chosen_set(str(tmp_path), 2, (5,), 0, size=32, design="crossed", region="box")
    assert shown.references == ("0.png", "1.png") and shown[0].image.shape == (40, 50, 3) and shown[0].mask is not None


def test_what_is_labelled_is_shown_whole_and_as_it_is(tmp_path: Path) -> None:
    made = exam_set(3, levels=(5,), size=32)
    shown = chosen_set(str(save(made, tmp_path)), 1, (3,), 0)
    assert [s.id for s in shown] == [s.id for s in made]
    assert labelled(str(tmp_path)) is None and labelled("C:\\photos") is None


def test_every_reader_has_a_name_and_a_wrong_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def reader(folder: str, *, progress: bool) -> StimulusSet:
        read.append(folder)
        return StimulusSet([Stimulus("a", "a", None, None)], "x")

    for name in DATASETS:
        assert callable(getattr(sets, name))
        monkeypatch.setattr(sets, name, reader)
        assert labelled(f"{name}:some/where") is not None
    assert read == ["some/where"] * len(DATASETS)
    with pytest.raises(InputError, match="Unknown dataset 'kadid'.*kadid10k"):
        labelled("kadid:x")
    assert set(sources.BUILTIN) == {"embedded", "leaves"}
