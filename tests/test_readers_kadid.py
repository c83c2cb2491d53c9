"""KADID-10k: parameters, identities, deviations, and what its file of scores may and may not hold."""

import math
from pathlib import Path

import pytest

from stimuli.distortions import TYPES
from stimuli.errors import InputError
from stimuli.sets import kadid10k
from tests.miniatures import KADID_HEADER, kadid, picture, write

ONE = (18, 25)


def test_rows_become_stimuli_as_published(tmp_path: Path) -> None:
    found = kadid10k(kadid(tmp_path))
    one = next(s for s in found if s.id == "I01_09_05.png")
    assert (one.reference, one.type, one.level, one.signed_param) == ("I01.png", "jpeg2000", 5, 400.0)
    assert (one.mos, one.mos_original, one.mos_std) == (2.5, 2.5, math.sqrt(0.496))
    assert [(s.id, s.reference, s.mos) for s in found][:2] == [("I01.png", "I01.png", None), ("I02.png", "I02.png", None)]
    for s in found[2:]:
        assert s.signed_param == TYPES[str(s.type)].parameters[int(str(s.level)) - 1]
    assert {s.signed_param for s in found if s.type == "mean_shift"} == {0.15, 0.08, 0.0, -0.08, -0.15}


def test_nominal_identities_are_marked_and_no_others(tmp_path: Path) -> None:
    found = kadid10k(kadid(tmp_path))
    marked = {(s.type, s.level) for s in found if s.is_identity}
    assert marked == {
        ("gaussian_blur", 1),
        ("motion_blur", 1),
        ("color_saturation_2", 1),
        ("mean_shift", 3),
        ("contrast_change", 3),
    }


def test_the_other_common_layout_is_found(tmp_path: Path) -> None:
    root = kadid(tmp_path, ONE)
    (root / "images").rename(root / "distorted_images")
    for name in ("I01.png", "I02.png"):
        picture(root / "reference_images" / name)
        (root / "distorted_images" / name).unlink()
    assert len(kadid10k(root, strict=True)) == 22


def test_another_header_is_refused_and_extra_columns_are_told(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"dmos.csv, line 1 has the columns dist_img,ref_img,mos,var; dmos is missing. Expected"
    ):
        kadid10k(kadid(tmp_path / "a", ONE, header="dist_img,ref_img,mos,var"))
    root = kadid(tmp_path / "b", ONE)
    text = (root / "dmos.csv").read_text().splitlines()
    write(root / "dmos.csv", "\ufeff" + text[0] + ",votes", *(line + ",30" for line in text[1:]))
    assert kadid10k(root).info["extra_columns"] == ["votes"]


def test_a_row_that_is_there_twice_is_counted_and_one_that_contradicts_is_refused(tmp_path: Path) -> None:
    found = kadid10k(kadid(tmp_path / "a", ONE, "I01_18_01.png,I01.png,4.5,0.496", "i01_18_01.PNG,I01.png,4.50,0.496"))
    assert found.info["duplicates"] == 2 and found.info["rows"] == 22 and len(found) == 22
    with pytest.raises(InputError, match=r"dmos.csv, line 2 and dmos.csv, line 22 contradict .*\(score 4.5 and 3.5\)"):
        kadid10k(kadid(tmp_path / "b", ONE, "I01_18_01.png,I01.png,3.5,0.496"))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("I01-18-01.png,I01.png,4,0.1", "line 22: the image is called 'I01-18-01.png'. Expected I, the number"),
        ("I01_26_01.png,I01.png,4,0.1", "'I01_26_01.png'"),
        ("I01_18_06.png,I01.png,4,0.1", "'I01_18_06.png'"),
        ("I03_18_01.png,I01.png,4,0.1", "the reference of I03_18_01.png is 'I01.png'. Expected I03.png"),
        ("I03_18_01.png,I03.png,four,0.1", "dmos is 'four'. Expected a number"),
        ("I03_18_01.png,I03.png,nan,0.1", "dmos is 'nan'. Expected a number"),
        ("I03_18_01.png,I03.png,4,-1", "var is -1. Expected a variance"),
        ("I03_18_01.png,I03.png,4", "line 22 has 3 cells; expected 4"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        kadid10k(kadid(tmp_path, ONE, row))


def test_scores_that_name_no_image_or_are_no_text_are_refused(tmp_path: Path) -> None:
    root = kadid(tmp_path, ONE)
    write(root / "dmos.csv", KADID_HEADER)
    with pytest.raises(InputError, match="The scores of kadid10k name no image. Expected 10125"):
        kadid10k(root)
    (root / "dmos.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as text .*Expected UTF-8"):
        kadid10k(root)


def test_of_two_files_that_differ_by_case_the_exact_one_is_shown(tmp_path: Path) -> None:
    root = kadid(tmp_path, ONE)
    picture(root / "images" / "i01_18_01.png")
    found = kadid10k(root)
    shown = next(s for s in found if s.id == "I01_18_01.png")
    assert shown.pixels == root / "images" / "I01_18_01.png" and found.info["unlisted"]["first"] == ["i01_18_01.png"]
