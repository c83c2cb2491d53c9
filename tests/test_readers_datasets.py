"""What is particular to TID2013, CSIQ, KonIQ-10k, SPAQ and PIPAL."""

from collections import Counter
from pathlib import Path

import pytest

from stimuli.errors import InputError
from stimuli.sets import csiq, koniq10k, pipal, spaq, tid2013
from tests import miniatures
from tests.miniatures import CSIQ_HEADER, SPAQ_HEADER, write


def test_tid_scores_deviations_and_lower_case_references_belong_together(tmp_path: Path) -> None:
    found = tid2013(miniatures.tid(tmp_path), strict=True)
    assert [s.id for s in found][:3] == ["I01.BMP", "i25.bmp", "I01_01_1.bmp"] and found.references == ("I01.BMP", "i25.bmp")
    first, last = found[2], found[-1]
    assert (first.type, first.level, first.mos, first.mos_std) == ("white_noise", 1, 5.51429, 0.13013)
    assert (last.id, last.reference, last.type, last.level) == ("i25_24_5.bmp", "i25.bmp", "sparse_sampling", 5)
    assert (last.mos, last.mos_std) == (round(5.51429 - 95 / 50, 5), 0.22513)
    types = {s.id[4:6]: s.type for s in found[2:]}
    assert (types["14"], types["16"], types["22"]) == ("non_eccentricity_patch", "mean_shift", "color_quantization")


def test_tid_without_deviations_is_read_and_with_too_few_refused(tmp_path: Path) -> None:
    root = miniatures.tid(tmp_path)
    write(root / "mos_std.txt", "0.1", "0.2")
    with pytest.raises(InputError, match="mos_std.txt has 2 lines and mos_with_names.txt 96; expected as many"):
        tid2013(root)
    (root / "mos_std.txt").unlink()
    assert {s.mos_std for s in tid2013(root)} == {None}


def test_tid_lines_that_are_none_are_named(tmp_path: Path) -> None:
    root = miniatures.tid(tmp_path)
    (root / "mos_std.txt").unlink()
    write(root / "mos_with_names.txt", "5.5 I01_01_1.bmp", "I01_01_2.bmp")
    with pytest.raises(InputError, match="line 2: 'I01_01_2.bmp' has 1 cells; expected 2: mos, name"):
        tid2013(root)
    write(root / "mos_with_names.txt", "5.5 I01_01_1.bmp", "5.1 I01_25_2.bmp")
    with pytest.raises(InputError, match="line 2: the image is called 'I01_25_2.bmp'"):
        tid2013(root)
    write(root / "mos_with_names.txt", "5.5 I01_01_1.bmp", "5.1 i01_01_1.bmp")
    with pytest.raises(InputError, match="line 1 and .*line 2 contradict each other"):
        tid2013(root)


def test_csiq_scores_are_turned_and_numbers_as_names_are_understood(tmp_path: Path) -> None:
    found = csiq(miniatures.csiq(tmp_path), strict=True)
    one = next(s for s in found if s.id == "1600.AWGN.2.png")
    assert (one.reference, one.type, one.level, one.mos, one.mos_original, one.mos_std) == (
        "1600.png", "white_noise", 2, -0.2, 0.2, 0.05,
    )  # fmt: skip
    assert Counter(s.type for s in found) == {None: 2} | dict.fromkeys(
        ("white_noise", "gaussian_blur", "contrast_decrement", "pink_noise", "jpeg", "jpeg2000"), 4
    )


def test_csiq_in_one_folder_with_the_text_file_is_the_same_but_for_deviations(tmp_path: Path) -> None:
    folders, flat = (csiq(miniatures.csiq(tmp_path / str(flat), flat=flat), strict=True) for flat in (False, True))
    assert [(s.id, s.reference, s.type, s.level, s.mos) for s in folders] == [
        (s.id, s.reference, s.type, s.level, s.mos) for s in flat
    ]
    assert {s.mos_std for s in flat} == {None} and miniatures.pixels_are_the_files(flat)


def test_csiq_sheets_and_rows_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has the sheets other; expected 'all_by_image'"):
        csiq(miniatures.csiq(tmp_path / "a", title="other"))
    with pytest.raises(InputError, match="has the columns image,dst_idx,dst_type,dst_lev,dmos_std,score; dmos is missing"):
        csiq(miniatures.csiq(tmp_path / "b", header=(*CSIQ_HEADER[:-1], "score")))
    root = miniatures.csiq(tmp_path / "c")
    miniatures.sheet(root / "csiq.DMOS.xlsx", [CSIQ_HEADER, ("1600", 1, "fog", 1, 0.1, 0.2)], "all_by_image")
    with pytest.raises(InputError, match="row 2: dst_type is 'fog'. Expected one of noise, blur"):
        csiq(root)
    (root / "csiq.DMOS.xlsx").write_text("no workbook")
    with pytest.raises(InputError, match="csiq.DMOS.xlsx cannot be read .*Expected an Excel workbook"):
        csiq(root)
    (root / "csiq.DMOS.xlsx").unlink()
    for name in ("1600.fog.1.png", "1600.AWGN.12.png", "1600.png"):
        write(root / "csiq_label.txt", f"{name} 0.1")
        with pytest.raises(InputError, match=f"line 1: the image is called '{name}'. Expected its source"):
            csiq(root)


def test_csiq_zero_stays_zero(tmp_path: Path) -> None:
    root = miniatures.csiq(tmp_path, flat=True)
    write(root / "csiq_label.txt", "1600.AWGN.1.png 0")
    assert str(csiq(root, references=False)[0].mos) == "0.0"


def test_koniq_has_the_same_scores_from_either_file(tmp_path: Path) -> None:
    both, one, other = (
        koniq10k(miniatures.koniq(tmp_path / name, scores=scores, sets=sets))
        for name, scores, sets in (("both", True, True), ("one", True, False), ("other", False, True))
    )
    assert [(s.mos, s.mos_std) for s in both] == [(s.mos, s.mos_std) for s in one]
    assert [s.mos for s in other] == pytest.approx([s.mos for s in both]) and both[0].mos == 402 / 105
    assert {(s.type, s.level, s.reference == s.id) for s in both} == {("authentic", None, True)}


def test_koniq_is_divided_as_published(tmp_path: Path) -> None:
    root = miniatures.koniq(tmp_path / "a")
    training = koniq10k(root, "training")
    assert [s.id for s in training] == ["1.jpg", "3.jpg"] and training.info["unlisted"]["count"] == 0
    assert training.info["subset"] == "training" and training.info["incomplete"]["scored images"]["expected"] == 7058
    assert [s.id for s in koniq10k(root, "test")] == ["2.jpg"] and len(koniq10k(root)) == 3
    with pytest.raises(InputError, match="Unknown subset 'train'. Expected training, validation, test"):
        koniq10k(root, "train")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="needs koniq10k_distributions_sets.csv, which is not there"):
        koniq10k(miniatures.koniq(tmp_path / "b", sets=False), "test")


def test_koniq_shows_the_larger_images_that_are_there_or_those_asked_for(tmp_path: Path) -> None:
    assert koniq10k(miniatures.koniq(tmp_path / "a"))[0].image.shape == (6, 8, 3)
    assert koniq10k(tmp_path / "a", size="512x384")[0].image.shape == (3, 4, 3)
    assert koniq10k(miniatures.koniq(tmp_path / "b", sizes=["512x384"]))[0].image.shape == (3, 4, 3)


def test_koniq_refuses_scores_of_another_scale(tmp_path: Path) -> None:
    root = miniatures.koniq(tmp_path, sets=False)
    write(root / "koniq10k_scores_and_distributions.csv", "image_name,MOS,SD", "1.jpg,77.4,0.5")
    with pytest.raises(InputError, match="line 2: MOS is 77.4. Expected 1 to 5"):
        koniq10k(root)


def test_spaq_attribute_scores_are_kept_as_text(tmp_path: Path) -> None:
    found = spaq(miniatures.spaq(tmp_path / "a"), strict=True)
    assert found[1].mos == 41.0 and found[1].attributes == {
        "Brightness": "20", "Colorfulness": "30.25", "Contrast": "40", "Noisiness": "50", "Sharpness": "60",
    }  # fmt: skip
    extra = spaq(miniatures.spaq(tmp_path / "b", (*SPAQ_HEADER, "Scene")))
    assert extra.info["extra_columns"] == ["Scene"]
    with pytest.raises(InputError, match="has the columns Image,MOS,.*; Image name is missing"):
        spaq(miniatures.spaq(tmp_path / "c", ("Image", *SPAQ_HEADER[1:])))


def test_spaq_without_its_workbook_is_refused(tmp_path: Path) -> None:
    root = miniatures.spaq(tmp_path)
    next((root / "Annotations").iterdir()).unlink()
    with pytest.raises(InputError, match="holds no 'MOS and Image attribute scores.xlsx', in Annotations or beside it"):
        spaq(root)


def test_pipal_groups_are_types_and_subtypes_attributes(tmp_path: Path) -> None:
    found = pipal(miniatures.pipal(tmp_path), strict=True)
    one = next(s for s in found if s.id == "A0002_06_02.bmp")
    assert (one.reference, one.type, one.level, one.attributes) == ("A0002.bmp", "pipal_06", None, {"subtype": "02"})
    assert one.mos == one.mos_original == pytest.approx(1460.0648) and found.info["label_files"] == 2
    write(tmp_path / "Train_Label" / "A0003.txt", "A0003_07_00.bmp,1500")
    with pytest.raises(InputError, match="A0003.txt, line 1: the image is called 'A0003_07_00.bmp'"):
        pipal(tmp_path)


def test_pipal_images_may_be_in_parts(tmp_path: Path) -> None:
    root = miniatures.pipal(tmp_path)
    for path in sorted((root / "Dist_Imgs").iterdir())[:7]:
        (root / "Train_Dist_Part1").mkdir(exist_ok=True)
        path.rename(root / "Train_Dist_Part1" / path.name)
    assert len(pipal(root, strict=True)) == 22
