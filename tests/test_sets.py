"""Sets of stimuli: built in, from a folder, from a CSV, and distorted versions of the user's own images."""

import tracemalloc
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stimuli import distortions, generated, photos, references, sets
from stimuli.distortions import TYPES, distort
from stimuli.errors import InputError
from stimuli.taxonomy import taxonomy
from stimuli.types import Pixels, read_pixels


def test_balanced_set_shows_each_reference_once_per_class() -> None:
    exam = sets.exam_set(references=12, size=32, levels=(1, 3, 5), measure=False)
    labels = [taxonomy("paper8").label(s) for s in exam]
    assert len(exam) == 96 and set(Counter(labels).values()) == {12}
    assert len(exam.references) == 12
    assert {s.level for s in exam} == {None, 1, 3, 5}
    assert not any(s.is_identity for s in exam)


def test_crossed_set_shows_every_type_and_level_once() -> None:
    exam = sets.exam_set(references=1, size=32, levels=(3, 5), design="crossed", measure=False)
    types = [type for type in taxonomy("paper8").types if type in TYPES]
    cells = sum(2 - len({3, 5} & set(TYPES[type].identities)) for type in types)
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


@pytest.mark.parametrize("measure", [True, False])
def test_images_made_on_demand_are_those_held_in_memory(measure: bool) -> None:
    options = {"references": 20, "size": 32, "split": "train", "levels": (2, 5), "measure": measure}
    held, lazy = (sets.exam_set(**options, in_memory=choice) for choice in (True, False))  # type: ignore[arg-type]
    assert [s.metadata() for s in held] == [s.metadata() for s in lazy]
    assert all(isinstance(s.pixels, np.ndarray) for s in held) and not any(isinstance(s.pixels, np.ndarray) for s in lazy)
    for _ in range(2):
        assert all(np.array_equal(a.image, b.image) for a, b in zip(held, lazy, strict=True))
    assert np.array_equal(lazy[-1].image, held[-1].image)  # alone, and not in order


def test_a_set_holds_its_images_up_to_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    def held(design: sets.Design) -> bool:
        return isinstance(sets.exam_set(1, levels=(5,), design=design, size=16, measure=False)[-1].pixels, np.ndarray)

    assert generated.PIXELS_IN_MEMORY == 128_000_000 and held("balanced") and held("crossed")
    monkeypatch.setattr(generated, "PIXELS_IN_MEMORY", 8 * 16 * 16 * 3)
    assert held("balanced") and not held("crossed")  # 8 classes; 18 types and the clean image
    monkeypatch.setattr(generated, "PIXELS_IN_MEMORY", 8 * 16 * 16 * 3 - 1)
    assert not held("balanced")


def test_a_large_set_is_built_without_making_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> np.ndarray:
        raise AssertionError("an image was made")

    monkeypatch.setattr(references, "scene", never)
    monkeypatch.setattr(photos, "photograph", never)
    monkeypatch.setattr(distortions, "distort", never)
    large = sets.exam_set(references=2500, measure=False)
    assert len(large) == 20_000
    with pytest.raises(AssertionError, match="an image was made"):
        _ = large[0].image


def test_memory_does_not_grow_with_pixels() -> None:
    def bytes_of(count: int) -> int:
        tracemalloc.start()
        shown = sets.exam_set(references=count, size=64, photographs=False, measure=False, in_memory=False)
        for stimulus in shown[: 8 * 12]:  # more references than are kept
            _ = stimulus.image
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return held

    bytes_of(12)  # what is imported on first use
    assert (bytes_of(512) - bytes_of(12)) / (8 * 500) < 600  # pixels of one image: 12288


def test_several_threads_see_the_same_pixels() -> None:
    shown = sets.exam_set(references=12, size=32, levels=(2, 5), measure=False, in_memory=False, seed=5)
    alone = [s.image.copy() for s in shown]
    with ThreadPoolExecutor(4) as pool:
        for order in (range(len(shown)), np.random.default_rng(0).permutation(len(shown))):
            seen = list(pool.map(lambda i: shown[int(i)].image, order))
            assert all(np.array_equal(image, alone[i]) for image, i in zip(seen, order, strict=True))


def test_distorted_set_holds_paths_and_the_users_own_arrays(tmp_path: Path) -> None:
    gone, picture = tmp_path / "gone.png", np.zeros((8, 8, 3), np.uint8)
    made = sets.distorted_set({"a": gone, "b": picture}, measure=False)
    assert {id(s.pixels.reference.pixels) for s in made} == {id(gone), id(picture)}  # type: ignore[union-attr]
    with pytest.raises(InputError, match="gone.png cannot be read"):
        _ = made[0].image


def test_measuring_reads_a_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Pixels] = []

    def counted(pixels: Pixels) -> np.ndarray:
        read.append(pixels)
        return read_pixels(pixels)

    monkeypatch.setattr(references, "read_pixels", counted)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 56, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    made = sets.distorted_set({"a": tmp_path / "a.png"}, levels=(5,), design="crossed")
    assert len(read) == 1 and all(s.psnr is not None for s in made)
    assert not any(isinstance(s.pixels, np.ndarray) for s in made)


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
    with pytest.raises(InputError, match="Unknown taxonomy 'paper9'. Known taxonomies: .*paper8"):
        sets.exam_set(references=1, taxonomy="paper9")
