"""What an exam shows: exam and training share no reference; unreadable and too few images are told."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from snellen.config import ExamConfig, build
from snellen.shown import stimulus_sets, summary
from stimuli.errors import InputError
from stimuli.sets import exam_set, taxonomy
from tests.miniatures import kadid


def settings(**chosen: Any) -> ExamConfig:
    return build(None, {"references": 4, "train_references": 4, "levels": (3, 5), **chosen})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten small images, one of them cut off."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(10):
        picture = exam_set(1, seed=i, measure=False, photographs=False, size=64)[-1].image
        Image.fromarray(picture).save(folder / f"{i}.png")
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:200])
    return folder


def test_built_in_exam_and_training_stimuli_share_no_reference_and_no_image() -> None:
    shown, train, skipped = stimulus_sets(settings(references=10, train_references=10))
    assert not set(shown.references) & set(train.references) and not skipped
    assert not {s.image.tobytes() for s in shown} & {s.image.tobytes() for s in train}


def test_a_folder_is_dealt_measured_and_its_broken_image_told(photos: Path) -> None:
    shown, train, skipped = stimulus_sets(settings(images=str(photos)))
    assert len(shown.references) == len(train.references) == 4 and not set(shown.references) & set(train.references)
    assert all(s.psnr is not None and s.ssim is not None for s in shown)
    assert [row["id"] for row in skipped] == ["3.png"] and "3.png cannot be read" in skipped[0]["reason"]
    found = summary(shown, train, skipped, settings(images=str(photos)))
    assert found["exam"]["n"] == 32 and found["exam"]["levels"] == [3, 5] and found["skipped"] == skipped
    assert all(row["psnr"] is not None for row in found["severity"])
    with pytest.raises(InputError, match="3.png cannot be read"):
        stimulus_sets(settings(images=str(photos), strict=True))


def test_a_csv_keeps_its_own_distortions_and_its_references_apart(tmp_path: Path) -> None:
    made = exam_set(6, levels=(5,), photographs=False, measure=False, size=64)
    rows = []
    for number, stimulus in enumerate(made):
        Image.fromarray(stimulus.image).save(tmp_path / f"{number}.png")
        rows.append({"image": f"{number}.png", "reference": stimulus.reference, "type": stimulus.type, "level": stimulus.level})
    with open(tmp_path / "list.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    shown, train, skipped = stimulus_sets(settings(images=str(tmp_path / "list.csv")))
    assert len(shown) == len(train) == 24 and not set(shown.references) & set(train.references) and not skipped
    assert np.array_equal(shown[0].image, made[[s.reference for s in made].index(shown[0].reference)].image)


def test_too_few_images_are_told_with_a_way_out(photos: Path) -> None:
    for path in list(photos.iterdir())[:7]:
        path.unlink()
    with pytest.raises(InputError, match=r"an exam with tuning needs at least 4. Show more images, or .*arms="):
        stimulus_sets(settings(images=str(photos)))
    for path in photos.iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(InputError, match="None of the 3 images can be read. The first: The image"):
        stimulus_sets(settings(images=str(photos)))


def test_a_dataset_is_dealt_by_reference_its_classes_and_levels_kept_and_its_gaps_told(tmp_path: Path) -> None:
    kadid(tmp_path, references=6)
    chosen = settings(images=f"kadid10k:{tmp_path}", references=3, train_references=3)
    (tmp_path / "images" / "I02_10_05.png").write_bytes(b"")
    shown, train, skipped = stimulus_sets(chosen)
    assert not set(shown.references) & set(train.references) and len(shown.references) + len(train.references) == 6
    assert [row["id"] for row in skipped] == ["I02_10_05.png"]
    labels = {taxonomy("paper8").label(s) for s in shown}
    assert labels == set(taxonomy("paper8").classes) and {s.level for s in shown} == {None, 3, 5}
    assert not any(s.type in ("mean_shift", "contrast_change") and s.level == 3 for s in shown)  # nominal identities
    assert summary(shown, train, skipped, chosen)["confounds"]["warnings"] == []
    with pytest.raises(InputError, match="No stimulus of .* has a class of the taxonomy 'paper8' at the levels"):
        stimulus_sets(settings(images=f"kadid10k:{tmp_path}", levels=(1,), taxonomy=str(only_distorted(tmp_path))))


def only_distorted(folder: Path) -> Path:
    """A taxonomy without a clean class, of the same name."""
    path = folder / "own.yaml"
    path.write_text("name: paper8\nclasses: [blur]\ntypes: {gaussian_blur: blur}\n")
    return path


def test_class_and_dataset_that_go_together_are_told(tmp_path: Path) -> None:
    lines = ["image,reference,type,level,source"]
    for i in range(6):
        picture = exam_set(1, seed=i, measure=False, photographs=False, size=32)[-1].image
        for type, source in (("jpeg", "live"), ("gaussian_blur", "tid2013")):
            Image.fromarray(picture).save(tmp_path / f"{type}{i}.png")
            lines.append(f"{type}{i}.png,r{i},{type},5,{source}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    chosen = settings(images=str(tmp_path / "list.csv"))
    found = summary(*stimulus_sets(chosen), chosen)["confounds"]
    assert any("'blur' occurs in one dataset only (tid2013)" in line for line in found["warnings"])
