"""What all readers of datasets have in common, proven for every one of them on small faithful copies."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import snellen as sn
from stimuli import sets
from stimuli.errors import InputError
from stimuli.readers.names import DATASET_TYPES, KADID10K, TID2013
from stimuli.readers.report import summary_lines
from stimuli.types import StimulusSet
from tests import miniatures

Reader = Callable[..., StimulusSet]
CASES: dict[str, tuple[Callable[..., Path], Reader, int, int, str]] = {
    "kadid10k": (miniatures.kadid, sets.kadid10k, 250, 2, "images"),
    "tid2013": (miniatures.tid, sets.tid2013, 96, 2, "distorted_images"),
    "csiq": (miniatures.csiq, sets.csiq, 24, 2, "dst_imgs/awgn"),
    "koniq10k": (miniatures.koniq, sets.koniq10k, 3, 0, "1024x768"),
    "spaq": (miniatures.spaq, sets.spaq, 3, 0, "TestImage"),
    "pipal": (miniatures.pipal, sets.pipal, 20, 2, "Dist_Imgs"),
}
"""How to make one, the reader, the numbers of its scored and clean images, and a folder of images. LIVE has its own module."""
each = pytest.mark.parametrize("name", CASES)


@pytest.fixture
def made(tmp_path: Path, name: str) -> tuple[Path, Reader, int, int, Path]:
    make, read, scored, clean, folder = CASES[name]
    root = make(tmp_path / "data")
    return root, read, scored, clean, root / folder


@each
def test_pixels_are_the_files_and_scores_belong_to_scored_images_alone(name: str, made: tuple) -> None:
    root, read, scored, clean, _ = made
    found = read(root, strict=True)
    assert len(found) == scored + clean and found.name == name and {s.source for s in found} == {name}
    assert miniatures.pixels_are_the_files(found)
    with_score = [s for s in found if s.mos is not None]
    assert len(with_score) == scored and all(s.type in DATASET_TYPES for s in with_score)
    for s in found:
        assert (s.mos is None) == (s.mos_original is None) == (s.type is None)
        assert s.mos is None or s.mos == (-s.mos_original if name == "csiq" else s.mos_original)  # type: ignore[operator]
    assert (
        {s.reference for s in found if s.mos is not None}
        >= {s.id for s in found if s.mos is None}
        == (set(found.references) if clean else set())
    )


@each
def test_what_was_found_is_told_as_json_and_as_text(name: str, made: tuple) -> None:
    root, read, scored, clean, _ = made
    found = read(root)
    info = json.loads(json.dumps(found.info))
    assert (info["dataset"], info["rows"], info["stimuli"], info["references"]) == (
        name,
        scored,
        scored + clean,
        clean or scored,
    )
    assert sum(info["types"].values()) == scored + clean and info["types"].get("clean", 0) == clean
    assert info["missing"] == info["unlisted"] == {"count": 0, "first": []} and info["duplicates"] == 0
    assert info["incomplete"]["scored images"]["found"] == scored < info["incomplete"]["scored images"]["expected"]
    scores = [s.mos_original for s in found if s.mos_original is not None]
    direction = "lower is better" if name == "csiq" else "higher is better"
    assert info["mos"]["range"] == [min(scores), max(scores)] and info["mos"]["original_direction"] == direction
    assert info["images"]["images"] == scored + clean and not info["images"]["converted"]
    lines = summary_lines(found)
    assert lines[0] == f"{name}: {scored + clean} images of {clean or scored} references"
    assert any(line.startswith(f"incomplete: {scored} of ") for line in lines) and any(direction in line for line in lines)
    assert not any(word in line for line in lines for word in ("missing", "unlisted", "unreadable", "extra", "converted"))


@each
def test_the_folder_above_and_an_inner_one_will_do(name: str, made: tuple) -> None:
    root, read, *_, folder = made
    ids = [s.id for s in read(root)]
    assert [s.id for s in read(root.parent)] == ids == [s.id for s in read(root / Path(folder).relative_to(root).parts[0])]
    shutil.copytree(root, root.parent / "again")
    with pytest.raises(InputError, match=r"2 times \(again, data\); expected it once"):
        read(root.parent)


def test_the_home_folder_may_be_abbreviated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    miniatures.spaq(tmp_path / "data")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert len(sets.spaq("~/data")) == 3


@each
def test_a_missing_image_is_left_out_and_told_and_strict_stops(name: str, made: tuple) -> None:
    root, read, scored, clean, folder = made
    lost = max(folder.iterdir())
    lost.unlink()
    found = read(root)
    assert len(found) == scored + clean - 1
    assert found.info["missing"]["count"] == 1 and found.info["missing"]["first"][0].casefold() == lost.name.casefold()
    assert any("missing: 1 images are listed but not there" in line for line in summary_lines(found))
    with pytest.raises(InputError, match="1 images of .* listed but not there, the first being .*leave strict out"):
        read(root, strict=True)


@each
def test_an_unreadable_image_is_told_and_strict_stops(name: str, made: tuple) -> None:
    root, read, scored, clean, folder = made
    broken, empty = sorted(folder.iterdir())[-2:]
    broken.write_text("no image")
    empty.write_bytes(b"")
    found = read(root)
    assert len(found) == scored + clean and found.info["images"]["unreadable"]["count"] == 2
    assert any(line.startswith("unreadable: 2 images cannot be read (") for line in summary_lines(found))
    with pytest.raises(InputError, match="cannot be read .*replace or remove it"):
        _ = next(s for s in found if Path(str(s.pixels)) == broken).image
    with pytest.raises(InputError, match="2 images are unreadable, the first being"):
        read(root, strict=True)
    assert "images" not in read(root, check=False).info


@each
def test_an_image_without_a_row_is_told(name: str, made: tuple) -> None:
    root, read, scored, clean, folder = made
    miniatures.picture(folder / "stranger.png")
    (folder / "Thumbs.db").write_text("no image, not told")
    found = read(root)
    assert len(found) == scored + clean and found.info["unlisted"] == {"count": 1, "first": ["stranger.png"]}
    assert any("unlisted: 1 images are there but not listed, left out (stranger.png)" in line for line in summary_lines(found))


@each
def test_upper_case_names_on_the_disk_are_found_and_ids_stay(name: str, made: tuple) -> None:
    root, read, *_, folder = made
    ids = [s.id for s in read(root)]
    for path in list(folder.iterdir()):
        path.rename(path.with_name(f"{path.name}.moving")).rename(path.with_name(path.name.upper()))
    again = read(root, strict=True)
    assert [s.id for s in again if s.mos is not None] == ids[len(ids) - len([s for s in again if s.mos is not None]) :]
    assert miniatures.pixels_are_the_files(again)


@each
def test_without_references_only_scored_images_are_shown(name: str, made: tuple) -> None:
    root, read, scored, clean, _ = made
    found = read(root, references=False)
    assert len(found) == scored and all(s.mos is not None for s in found)
    assert "references" not in found.info["incomplete"]


@each
def test_another_folder_is_refused_with_what_was_found_and_what_was_expected(name: str, tmp_path: Path) -> None:
    read = CASES[name][1]
    miniatures.picture(tmp_path / "photos" / "a.png")
    with pytest.raises(
        InputError, match=r"photos is not the folder of .*: it holds a\.png, and none of .*\. Expected .* Give the folder"
    ):
        read(tmp_path / "photos")
    with pytest.raises(InputError, match="There is no folder .*Expected the folder of"):
        read(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="it holds nothing"):
        read(tmp_path / "empty")


@each
def test_a_dataset_without_its_images_is_refused(name: str, made: tuple) -> None:
    root, read, *_ = made
    for path in [path for path in root.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".bmp")]:
        path.unlink()
    with pytest.raises(InputError, match="listed but not there, the first being .*; 0 are there"):
        read(root)


def test_conversions_are_told_by_kind(tmp_path: Path) -> None:
    from PIL import Image

    root = miniatures.koniq(tmp_path / "data")
    with Image.open(root / "1024x768" / "2.jpg") as handle:
        exif = Image.Exif()
        exif[274] = 6
        handle.convert("L").save(root / "1024x768" / "2.jpg", exif=exif)
    found = sets.koniq10k(root)
    told = {kind: tally["first"] for kind, tally in found.info["images"]["converted"].items()}
    assert told == {"rotated by EXIF": ["2.jpg"], "grey": ["2.jpg"]} and found[1].image.shape == (8, 6, 3)
    assert "converted when read: 1 images, rotated by EXIF (2.jpg)" in summary_lines(found)


def test_readers_are_at_the_front_door() -> None:
    assert all(getattr(sn.stimuli, name) is read for name, (_, read, *_) in CASES.items())


def test_type_names_follow_kadid_where_the_kind_is_the_same() -> None:
    from stimuli.distortions.kadid import KADID10K as OWN

    assert KADID10K == tuple(distortion.name for distortion in OWN)
    assert len(TID2013) == 24 and len(set(DATASET_TYPES)) == len(DATASET_TYPES)
    shared = {"white_noise", "impulse_noise", "gaussian_blur", "jpeg", "jpeg2000", "non_eccentricity_patch", "mean_shift",
              "contrast_change", "multiplicative_noise", "color_quantization"}  # fmt: skip
    assert set(TID2013) & set(KADID10K) == shared


def test_selecting_keeps_what_is_told(tmp_path: Path) -> None:
    found = sets.spaq(miniatures.spaq(tmp_path / "data"))
    assert found.select(lambda s: s.id == "00001.jpg").info == found.info
