"""Packed patches go back where they stood, in every order of numbers and blocks."""

import numpy as np
import pytest
import torch

from hooks.packed import ORDERS, Layout, array, assembled, packed
from stimuli.errors import InputError

RNG = np.random.default_rng(0)
IMAGE = RNG.random((24, 32, 3)).astype(np.float32)
SIDE = 4


def cut(order: str, merge: int, frames: int) -> np.ndarray:
    """The image in patches, cut by loops."""
    found = []
    for top in range(0, 24, SIDE * merge):
        for left in range(0, 32, SIDE * merge):
            for row in range(merge):
                for column in range(merge):
                    y, x = top + row * SIDE, left + column * SIDE
                    patch = np.stack([IMAGE[y : y + SIDE, x : x + SIDE]] * frames)  # t y x c
                    found.append(patch.transpose(["tyxc".index(axis) for axis in order]).ravel())
    return np.stack(found)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("merge", "frames"), [(1, 1), (2, 2)])
def test_an_image_comes_back(order: str, merge: int, frames: int) -> None:
    patches = cut(order, merge, frames)
    found = packed({"image_grid_thw": torch.tensor([[1, 6, 8]])}, patches, 1)
    assert found is not None
    assert np.array_equal(assembled(*found, Layout(order, merge))[0][0], IMAGE)


def test_each_image_gets_its_own_patches() -> None:
    patches = cut("tyxc", 1, 1)
    padded = np.stack([patches, np.concatenate([patches[:16], np.zeros_like(patches[16:])])])
    shapes = packed({"spatial_shapes": torch.tensor([[6, 8], [2, 8]])}, padded, 2)
    places = np.full((2, 48, 2), -1)
    places[0], places[1, :16] = [(i % 8, i // 8) for i in range(48)], [(i % 8, i // 8) for i in range(16)]
    placed = packed({"image_position_ids": torch.tensor(places)}, padded, 2)
    both = packed({"image_grid_hw": torch.tensor([[6, 8], [2, 8]])}, np.concatenate([patches, patches[:16]]), 2)
    for found in (shapes, placed, both):
        assert found is not None
        (whole,), (part,) = assembled(*found, Layout("tyxc", 1))
        assert np.array_equal(whole, IMAGE) and np.array_equal(part, IMAGE[:8])


def test_a_long_strip_is_cut_and_slices_of_one_image_are_its_tiles() -> None:
    strip = np.concatenate([IMAGE[y : y + SIDE, x : x + SIDE] for y in range(0, 24, SIDE) for x in range(0, 32, SIDE)], 1)
    found = packed({"target_sizes": torch.tensor([[4, 8], [2, 8]])}, strip.transpose(2, 0, 1)[None], 1)
    assert found is not None
    ((first, second),) = assembled(*found, Layout("ctyx", 1))
    assert np.array_equal(first, IMAGE[:16]) and np.array_equal(second, IMAGE[16:])


def test_what_is_no_patches_is_left_alone_or_refused() -> None:
    assert packed({}, IMAGE.transpose(2, 0, 1)[None], 1) is None
    assert packed({"image_grid_thw": torch.tensor([[1, 5, 5]])}, cut("tyxc", 1, 1), 1) is None
    found = packed({"image_grid_thw": torch.tensor([[1, 1, 2]])}, np.zeros((2, 50)), 1)
    assert found is not None
    with pytest.raises(InputError, match="Got patches of 50 numbers; expected a square of three channels"):
        assembled(*found, Layout("tyxc", 1))
    assert array([[1], [2, 3]]).dtype == object and array(torch.ones(2, dtype=torch.bfloat16)).dtype == np.float32
