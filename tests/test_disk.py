"""Sets written to disk and read back."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stimuli import disk
from stimuli.disk import save
from stimuli.errors import InputError
from stimuli.sets import exam_set, from_csv, mixed_set
from stimuli.taxonomy import taxonomy
from stimuli.types import Stimulus, StimulusSet

LOCAL = exam_set(2, levels=(5,), size=32, region="any", measures={"worst": lambda a, b: float(np.abs(a.astype(int) - b).max())})


@pytest.mark.parametrize("stimuli", [LOCAL, mixed_set(2, size=32)], ids=["local", "mixed"])
def test_everything_known_is_read_back(stimuli: StimulusSet, tmp_path: Path) -> None:
    back = from_csv(save(stimuli, tmp_path, taxonomy=taxonomy("paper8")))
    assert len(back) == len(stimuli)
    for a, b in zip(stimuli, back, strict=True):
        ours, theirs = a.metadata(), b.metadata()
        assert theirs == {**ours, "measured": theirs["measured"]} and np.array_equal(a.image, b.image)
        assert (a.mask is None) == (b.mask is None) and (a.mask is None or np.array_equal(a.mask, b.mask))


def test_other_tools_find_plain_columns_and_lossless_files(tmp_path: Path) -> None:
    with open(save(LOCAL, tmp_path, taxonomy=taxonomy("paper8"))) as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0])[:5] == ["image", "id", "reference", "distortion", "level"]
    assert {row["class"] for row in rows} == set(taxonomy("paper8").classes)
    for row, stimulus in zip(rows, LOCAL, strict=True):
        with Image.open(tmp_path / row["image"]) as picture:
            assert picture.format == "PNG" and np.array_equal(np.asarray(picture), stimulus.image)


@pytest.mark.slow
def test_workers_write_the_same_files(tmp_path: Path) -> None:
    for name, workers in (("one", 1), ("two", 2)):
        save(LOCAL, tmp_path / name, workers=workers)
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_a_killed_run_goes_on_and_writes_no_image_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = disk._png
    written: list[str] = []

    def dying(path: Path, pixels: object) -> None:
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(path.name)
        whole(path, pixels)

    monkeypatch.setattr(disk, "_png", dying)
    with pytest.raises(KeyboardInterrupt):
        save(LOCAL, tmp_path)
    assert not (tmp_path / disk.TABLE).exists()
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    monkeypatch.setattr(disk, "_png", whole)
    save(LOCAL, tmp_path)
    assert stamps and all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert len(from_csv(tmp_path / disk.TABLE)) == len(LOCAL)


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    save(LOCAL, tmp_path / "a")
    with pytest.raises(InputError, match="holds another set"):
        save(exam_set(2, levels=(5,), size=32, seed=1), tmp_path / "a")
    (tmp_path / disk.TABLE).write_text("mine")
    with pytest.raises(InputError, match="was not written here"):
        save(LOCAL, tmp_path)
    assert (tmp_path / disk.TABLE).read_text() == "mine"


def test_ids_cannot_leave_the_folder_or_hide_one_another(tmp_path: Path) -> None:
    def named(*ids: str) -> StimulusSet:
        return StimulusSet([Stimulus(id, "r", None, None, pixels=np.zeros((4, 4, 3), np.uint8)) for id in ids], "odd")

    save(named("../../up", "/etc/x", "ünï cödé", ".hidden"), tmp_path / "a")
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert len(files) == 4 and all(name.startswith("a/images/") and ".." not in name.split("/") for name in files)
    for ids in (("a/b", "a_b"), ("A", "a")):
        with pytest.raises(InputError, match="would both become the file"):
            save(named(*ids), tmp_path / "b")


def test_about_the_set_is_written_beside_it(tmp_path: Path) -> None:
    save(LOCAL, tmp_path)
    about = json.loads((tmp_path / disk.ABOUT).read_text())
    assert about["info"]["region"]["kind"] == "any" and about["ids"] == [s.id for s in LOCAL]
