"""The user's own list of images, with whatever is known of each."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stimuli.errors import InputError
from stimuli.sets import exam_set, from_csv, save
from tests.miniatures import picture, pixels_are_the_files, write

EVERYTHING = (
    "image,id,reference,distortion,level,mos,mos_std,mos_original,signed_param,psnr,ssim,is_identity,source,attributes,measured,parts,mask",
    'x.png,a,r,gaussian_blur+jpeg,3,-45.5,2.5,45.5,0.08,30.1,0.9,True,mine,"{""colour"": ""red""}","{""lpips"": 0.2}",'
    '"[[""gaussian_blur"", 3], [""jpeg"", 3]]",m.png',
)


def test_every_column_is_understood(tmp_path: Path) -> None:
    picture(tmp_path / "x.png")
    Image.fromarray(np.eye(5, 6, dtype=np.uint8) * 255).save(tmp_path / "m.png")
    (s,) = from_csv(write(tmp_path / "s.csv", *EVERYTHING))
    assert (s.id, s.reference, s.type, s.level, s.source, s.is_identity) == ("a", "r", "gaussian_blur+jpeg", 3, "mine", True)
    assert (s.mos, s.mos_std, s.mos_original, s.signed_param, s.psnr, s.ssim) == (-45.5, 2.5, 45.5, 0.08, 30.1, 0.9)
    assert s.attributes == {"colour": "red"} and s.measured == {"lpips": 0.2}
    assert s.parts == (("gaussian_blur", 3), ("jpeg", 3))
    assert s.mask is not None and np.array_equal(s.mask, np.eye(5, 6) > 0) and s.area == tmp_path / "m.png"


def test_an_image_alone_is_its_own_clean_reference_and_pixels_are_the_files(tmp_path: Path) -> None:
    picture(tmp_path / "x.png")
    found = from_csv(write(tmp_path / "s.csv", "image", "x.png"))
    (s,) = found
    assert (s.id, s.reference, s.type, s.level, s.mos, s.is_identity, s.source) == (
        "x.png",
        "x.png",
        None,
        None,
        None,
        False,
        "file",
    )
    assert pixels_are_the_files(found) and found.info == {"csv": "s.csv", "rows": 1, "extra_columns": [], "duplicates": 0}


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    made = exam_set(2, levels=(5,), size=32, photographs=False)
    again = from_csv(save(made, tmp_path / "out"))
    assert [s.metadata() for s in again] == [s.metadata() for s in made]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(again, made, strict=True))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_upper_case_headers_and_a_byte_order_mark_are_understood(tmp_path: Path, separator: str) -> None:
    lines = ("\ufeffImage,MOS,Type,Level", "x.png,4.5,jpeg,3.0")
    (s,) = from_csv(write(tmp_path / "s.csv", *(line.replace(",", separator) for line in lines)))
    assert (s.id, s.mos, s.type, s.level) == ("x.png", 4.5, "jpeg", 3)


def test_where_lower_is_better_the_sign_is_turned(tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv", "image,mos", "x.png,30", "y.png,")
    assert [(s.mos, s.mos_original) for s in from_csv(path, higher_is_better=False)] == [(-30.0, 30.0), (None, None)]
    assert [(s.mos, s.mos_original) for s in from_csv(path)] == [(30.0, 30.0), (None, None)]


def test_unknown_columns_and_repeated_rows_are_told(tmp_path: Path) -> None:
    found = from_csv(write(tmp_path / "s.csv", "image,Camera,mos", "x.png,A,1", "y.png,B,2", "x.png,C,1.0"))
    assert len(found) == 2 and found.info["rows"] == 3
    assert found.info["extra_columns"] == ["Camera"] and found.info["duplicates"] == 1


@pytest.mark.parametrize(("header", "one", "other"), [("image,mos", "x.png,1", "x.png,2"), ("image,id", "x.png,a", "y.png,a")])
def test_rows_that_contradict_each_other_are_both_named(tmp_path: Path, header: str, one: str, other: str) -> None:
    path = write(tmp_path / "s.csv", header, one, "z.png,7", other)
    with pytest.raises(InputError, match="line 2 and .*line 4 contradict each other: both are about"):
        from_csv(path)


def test_missing_and_unreadable_images_are_told_where_asked_for_and_stay(tmp_path: Path) -> None:
    picture(tmp_path / "x.png")
    (tmp_path / "e.png").write_bytes(b"")
    path = write(tmp_path / "s.csv", "image", "x.png", "gone.png", "e.png")
    assert "images" not in from_csv(path).info
    found = from_csv(path, check=True)
    assert len(found) == 3 and found.info["images"]["missing"]["first"] == ["gone.png"]
    assert found.info["images"]["unreadable"]["first"] == ["e.png"]
    with pytest.raises(InputError, match="gone.png cannot be read"):
        _ = found[1].image


@pytest.mark.parametrize(
    ("header", "row", "words"),
    [
        ("image,level", "x.png,2.5", "line 2: level is '2.5'. Expected a whole number as level"),
        ("image,mos", 'x.png,"4,5"', "mos is '4,5'. Expected a number with a decimal point"),
        ("image,mos", "x.png,nan", "mos is 'nan'"),
        ("image,is_identity", "x.png,maybe", "Expected true or false as is_identity"),
        ("image,attributes", "x.png,red", "Expected a JSON object such as .* as attributes"),
        ("image,attributes", "x.png,[1]", "as attributes"),
        ("image,measured", 'x.png,"{""a"": ""b""}"', "as measured"),
        ("image,parts", "x.png,jpeg", "Expected a list such as .* as parts"),
        ("image,parts", "x.png,[1]", "as parts"),
        ("image,mos", ",1", "line 2: image is empty"),
        ("image,mos", "x.png,1,2", "line 2 has 3 cells; expected 2"),
        ("image,type,Distortion", "x.png,a,b", "columns twice: both 'type' and 'distortion'"),
        ("image,mos,MOS", "x.png,1,2", "columns twice: mos"),
    ],
)
def test_a_bad_cell_is_named(tmp_path: Path, header: str, row: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        from_csv(write(tmp_path / "s.csv", header, row))


def test_a_list_of_nothing_or_of_other_letters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="zero images were found"):
        from_csv(write(tmp_path / "s.csv", "image"))
    (tmp_path / "t.csv").write_bytes("image\nürgh.png\n".encode("latin-1"))
    with pytest.raises(InputError, match="cannot be read as text .*Expected UTF-8"):
        from_csv(tmp_path / "t.csv")
    with pytest.raises(InputError, match="There is no file"):
        from_csv(tmp_path / "none.csv")
