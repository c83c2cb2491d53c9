"""LIVE release 2, with the real number and order of its entries."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from stimuli.errors import InputError
from stimuli.readers.report import summary_lines
from stimuli.sets import live
from tests import miniatures


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniatures.live(tmp_path_factory.mktemp("live") / "databaserelease2")


def test_entries_are_taken_in_the_order_of_the_folders(root: Path) -> None:
    found = live(root, strict=True)
    assert len(found) == 779 + 29 and found.info["repeated_references"] == 203 and not found.info["incomplete"]
    by_id = {s.id: s for s in found}
    for place, (entry, original) in enumerate(miniatures.LIVE_ENTRIES):
        s = by_id.get(entry)
        assert (s is None) == original
        if s is not None:
            assert (s.mos_original, s.mos, s.mos_std) == (place / 9.0, -place / 9.0, 2.5)
            assert s.reference == f"refimgs/source{place % 29}.bmp" and s.level is None
    counts = Counter(s.id.split("/")[0] for s in found)
    assert counts == {"refimgs": 29, **{folder: distorted for folder, _, distorted in miniatures.LIVE_COUNTS}}


def test_pixels_are_the_files_and_types_are_named(root: Path) -> None:
    found = live(root.parent)
    assert miniatures.pixels_are_the_files(found)
    kinds = {s.id.split("/")[0]: s.type for s in found}
    assert kinds == {"refimgs": None, "jp2k": "jpeg2000", "jpeg": "jpeg", "wn": "white_noise", "gblur": "gaussian_blur",
                     "fastfading": "fast_fading"}  # fmt: skip
    assert Counter(s.type for s in found)[None] == 29 and found.references == tuple(s.id for s in found if s.type is None)


def test_repeated_references_are_not_called_unlisted_and_others_are(root: Path) -> None:
    assert live(root).info["unlisted"]["count"] == 0
    stranger = miniatures.picture(root / "jpeg" / "img999.bmp")
    found = live(root)
    stranger.unlink()
    assert found.info["unlisted"] == {"count": 1, "first": ["jpeg/img999.bmp"]}
    assert "repeated references: 203 entries repeat a reference and were left out" in summary_lines(found)
    assert any("lower is better, sign turned" in line for line in summary_lines(found))


def test_scores_that_are_not_realigned_serve_where_there_are_no_others(root: Path) -> None:
    kept = (root / "dmos_realigned.mat").read_bytes()
    (root / "dmos_realigned.mat").unlink()
    found = live(root, references=False, check=False)
    (root / "dmos_realigned.mat").write_bytes(kept)
    assert (found[-1].mos_original, found[-1].mos_std, found.info["scores"]) == (98.1, None, "dmos.mat")


def test_a_missing_image_is_told_by_its_folder(root: Path) -> None:
    lost = (root / "wn" / "img7.bmp").read_bytes()
    (root / "wn" / "img7.bmp").unlink()
    found = live(root, check=False)
    (root / "wn" / "img7.bmp").write_bytes(lost)
    assert found.info["missing"] == {"count": 1, "first": ["wn/img7.bmp"]}
    assert found.info["incomplete"] == {"scored images": {"expected": 779, "found": 778}}


def test_arrays_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "refnames_all.mat").write_text("no such file")
    with pytest.raises(InputError, match="There is no file dmos.mat"):
        live(tmp_path)
    savemat(tmp_path / "dmos.mat", {"dmos": np.zeros((1, 4)), "orgs": np.zeros((1, 982))})
    with pytest.raises(InputError, match=r"dmos.mat holds dmos with 4, orgs with 982. Expected dmos with 982 entries"):
        live(tmp_path)
    savemat(tmp_path / "dmos.mat", {"dmos": np.zeros((1, 982)), "orgs": np.zeros((1, 982))})
    with pytest.raises(InputError, match="refnames_all.mat cannot be read .*Expected a MATLAB file"):
        live(tmp_path)
    with pytest.raises(InputError, match="is not the folder of LIVE release 2"):
        live(miniatures.spaq(tmp_path / "deeper" / "other"))
