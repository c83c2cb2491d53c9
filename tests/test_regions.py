"""Regions: where a local distortion lies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stimuli.errors import InputError
from stimuli.regions import SHAPES, Region, cell_shares
from stimuli.scenes import scene

IMAGE = scene((3, 0, 0), 96).image


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 90), st.integers(8, 90), st.sampled_from(("box", "ellipse")), st.floats(0.02, 0.9), st.integers(0, 9))
def test_boxes_and_ellipses_cover_about_what_was_asked_for(height: int, width: int, kind: str, share: float, seed: int) -> None:
    mask = Region(kind, (share, share), seed).mask(np.zeros((height, width, 3), np.uint8), "r")  # type: ignore[arg-type]
    assert mask.shape == (height, width) and mask.dtype == bool and mask.any()
    wanted = min(share, np.pi / 4) if kind == "ellipse" else share
    assert abs(mask.mean() - wanted) < 0.03 + 3 / min(height, width)


def test_an_ellipse_is_round_and_a_box_is_not() -> None:
    box, ellipse = (Region(kind, (0.3, 0.3)).mask(IMAGE, "r") for kind in ("box", "ellipse"))  # type: ignore[arg-type]
    assert [_filled(mask) for mask in (box, ellipse)] == [1.0, pytest.approx(np.pi / 4, abs=0.03)]


def _filled(mask: np.ndarray) -> float:
    """The share of its bounding box that a mask covers."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean())


def test_segments_follow_the_image_and_come_near_the_share() -> None:
    masks = [Region("segment", (0.2, 0.3), seed).mask(IMAGE, "r") for seed in range(12)]
    assert all(0.1 < mask.mean() < 0.45 for mask in masks) and len({mask.tobytes() for mask in masks}) > 6
    grey = IMAGE.mean(2)
    border = [np.abs(np.diff(grey, axis=1))[np.diff(mask, axis=1)].mean() for mask in masks]
    assert np.mean(border) > 1.3 * np.abs(np.diff(grey, axis=1)).mean()  # where a segment ends, the image changes
    flat = Region("segment", (0.2, 0.3)).mask(np.zeros((40, 50, 3), np.uint8), "r")
    assert 0.15 < flat.mean() < 0.35  # a flat image has no segments


def test_the_place_depends_on_reference_and_seed_alone_and_any_takes_turns() -> None:
    first = Region("box", seed=1).mask(IMAGE, "a")
    assert np.array_equal(first, Region("box", seed=1).mask(255 - IMAGE, "a")) and not first.flags.writeable
    assert not np.array_equal(first, Region("box", seed=1).mask(IMAGE, "b"))
    assert not np.array_equal(first, Region("box", seed=2).mask(IMAGE, "a"))
    turns = [Region("any").mask(IMAGE, f"r{i}") for i in range(30)]
    single = [[Region(kind).mask(IMAGE, f"r{i}").tobytes() for kind in SHAPES] for i in range(30)]  # type: ignore[arg-type]
    assert {own.index(mask.tobytes()) for mask, own in zip(turns, single, strict=True)} == {0, 1, 2}


def test_shares_of_cells_are_exact_also_where_cells_cut_pixels() -> None:
    mask = np.zeros((6, 9), bool)
    mask[:3, :3] = True
    assert cell_shares(mask, 2, 3).tolist() == [[1, 0, 0], [0, 0, 0]]
    odd = cell_shares(mask, 4, 2)
    assert odd.sum() / 8 == pytest.approx(mask.mean()) and odd[0, 0] == pytest.approx(3 / 4.5)
    assert odd[1, 0] == pytest.approx(3 / 4.5) and odd[2].max() == 0


def test_wrong_regions_are_refused_in_words() -> None:
    with pytest.raises(InputError, match="Unknown kind of region 'blob'. Expected one of box, ellipse, segment, any"):
        Region("blob")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"share from 0 to 0.5; expected 0 < low <= high < 1"):
        Region("box", (0, 0.5))
    with pytest.raises(InputError, match="grid of 9 x 2 for a mask of 6 x 9 px"):
        cell_shares(np.zeros((6, 9), bool), 9, 2)
