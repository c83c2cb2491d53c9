"""Sets of stimuli: built in, from a folder, from a CSV, and distorted versions of the user's own images."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stimuli import sets
from stimuli.distortions import TYPES, distort
from stimuli.errors import InputError
from stimuli.taxonomy import taxonomy


def test_balanced_set_shows_each_reference_once_per_class() -> None:
    exam = sets.exam_set(references=12, size=32, levels=(1, 3, 5), measure=False)
    labels = [taxonomy("paper8").label(s) for s in exam]
    assert len(exam) == 96 and set(Counter(labels).values()) == {12}
    assert len(exam.references) == 12
    assert {s.level for s in exam} == {None, 1, 3, 5}
    assert not any(s.is_identity for s in exam)


def test_crossed_set_shows_every_type_and_level_once() -> None:
    exam = sets.exam_set(references=1, size=32, levels=(3, 5), design="crossed", measure=False)
    cells = sum(2 - len({3, 5} & set(d.identities)) for d in TYPES.values())
    assert len(exam) == cells + 1


def test_everything_is_known_about_a_stimulus() -> None:
    exam = sets.exam_set(references=10, size=32)
    for stimulus in exam:
        assert stimulus.psnr is not None and -1 <= (stimulus.ssim or 0) <= 1
        assert (stimulus.signed_param is None) == (stimulus.type is None)
        if stimulus.type is None:
            assert stimulus.psnr == 100.0
    assert Counter(s.source for s in exam) == {"scene": 72, "photo": 8}


def test_sets_are_deterministic_and_exam_and_training_share_no_reference() -> None:
    first, again = (sets.exam_set(references=11, size=32, measure=False) for _ in range(2))
    assert [s.id for s in first] == [s.id for s in again]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    train = sets.exam_set(references=11, size=32, split="train", measure=False)
    assert not set(first.references) & set(train.references)
    pixels = {s.image.tobytes() for s in first}
    assert not any(s.image.tobytes() in pixels for s in train)


def test_distorted_set_reads_the_users_files_on_demand(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (40, 56, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    made = sets.distorted_set({"a": tmp_path / "a.png", "b": picture}, levels=(5,), design="crossed")
    by_id = {s.id: s for s in made}
    assert np.array_equal(by_id["a"].image, picture)
    assert np.array_equal(by_id["a+jpeg-5"].image, distort(picture, "jpeg", 5, reference="a"))
    assert not isinstance(by_id["a"].pixels, np.ndarray)


def test_from_folder_takes_every_image_as_it_is(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    (tmp_path / "deep").mkdir()
    Image.fromarray(picture).save(tmp_path / "deep" / "x.png")
    (tmp_path / "notes.txt").write_text("no image")
    found = sets.from_folder(tmp_path)
    assert [s.id for s in found] == ["deep/x.png"] and np.array_equal(found[0].image, picture)


def test_from_csv_reads_labels_relative_to_the_file(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    (tmp_path / "s.csv").write_text("image,reference,type,level,mos\nx.png,r,jpeg,3,4.5\n")
    (stimulus,) = sets.from_csv(tmp_path / "s.csv")
    assert (stimulus.reference, stimulus.type, stimulus.level, stimulus.mos) == ("r", "jpeg", 3, 4.5)
    assert stimulus.image.shape == (8, 8, 3)


def test_bad_input_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no folder"):
        sets.from_folder(tmp_path / "none")
    with pytest.raises(InputError, match="holds zero images. Expected files ending in .png"):
        sets.from_folder(tmp_path)
    (tmp_path / "s.csv").write_text("file\nx.png\n")
    with pytest.raises(InputError, match="expected at least 'image'"):
        sets.from_csv(tmp_path / "s.csv")
    (tmp_path / "t.csv").write_text("image,level\nx.png,high\n")
    with pytest.raises(InputError, match="line 2: .*Expected a whole number as level"):
        sets.from_csv(tmp_path / "t.csv")
    with pytest.raises(InputError, match="at least one source image"):
        sets.exam_set(references=0)
    with pytest.raises(InputError, match="Unknown design 'square'"):
        sets.exam_set(references=1, design="square")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="level 9 does not exist"):
        sets.exam_set(references=1, levels=(9,))
    with pytest.raises(InputError, match="Unknown taxonomy 'paper9'. Known taxonomies: paper8"):
        sets.exam_set(references=1, taxonomy="paper9")
