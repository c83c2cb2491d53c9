"""Whose rows are whose: every layout of towers and projectors, and what fits none."""

import pytest
import torch

from hooks.patches import Patches, patches

PACKED = Patches(tokens=(1, 2), crops=(1, 1), grid=(4, 8))


def sizes(found: list[torch.Tensor] | None) -> list[int]:
    assert found is not None
    return [len(rows) for rows in found]


@pytest.mark.parametrize("shape", [(12, 3), (1, 12, 3), (12, 3, 1, 1), (12, 1, 3)])
def test_packed_rows_are_split_as_the_processor_says(shape: tuple[int, ...]) -> None:
    value = torch.arange(36.0).reshape(shape)
    assert PACKED.kind([value]) == "packed"
    found = PACKED.split("packed", [value])
    assert sizes(found) == [4, 8] and found is not None and torch.equal(torch.cat(found), torch.arange(36.0).reshape(12, 3))


def test_packed_rows_are_shared_out_in_proportion_to_the_placeholders() -> None:
    assert sizes(Patches((2, 3), (1, 1)).split("packed", [torch.zeros(20, 3)])) == [8, 12]
    assert Patches((2, 3), (1, 1)).kind([torch.zeros(21, 3)]) is None
    assert sizes(PACKED.split("packed", [torch.zeros(3, 5)])) == [1, 2]  # a merger's output


def test_class_tokens_in_front_of_each_packed_image_are_left_out() -> None:
    value = torch.tensor([9.0, 1, 1, 9, 2, 2, 2, 2])[:, None]
    found = Patches((1, 2), (1, 1), extra=1).split("packed", [value])
    assert sizes(found) == [2, 4] and found is not None and not any(bool((rows == 9).any()) for rows in found)


def test_padded_slots_are_left_out() -> None:
    mask = torch.tensor([[1] * 8 + [0] * 4, [1] * 12]).bool()
    shown = Patches((2, 3), (1, 1), mask=mask)
    assert sizes(shown.split("packed", [torch.zeros(1, 1, 6, 5)])) == [2, 3]
    assert sizes(shown.split("image", [torch.zeros(2, 12, 5)])) == [8, 12]


def test_crops_are_joined_per_stimulus_and_leading_tokens_dropped() -> None:
    shown = Patches((4, 12), (1, 3), cls=1)
    value = torch.arange(4.0)[:, None, None].expand(4, 5, 2)
    found = shown.split("image", [value])
    assert shown.kind([value]) == "image" and sizes(found) == [4, 12]
    assert found is not None and found[1][:, 0].tolist() == [1.0] * 4 + [2.0] * 4 + [3.0] * 4
    assert sizes(shown.split("image", [value], tower=False)) == [5, 15]


def test_maps_have_their_channels_first() -> None:
    value = torch.arange(2 * 3 * 4).reshape(2, 3, 2, 2).float()
    shown = Patches((4, 4), (1, 1))
    assert shown.kind([value], width=3) == "map" and shown.kind([value.permute(0, 2, 3, 1)], width=3) == "image"
    found = shown.split("map", [value])
    assert found is not None and torch.equal(found[1][0], value[1, :, 0, 0])


def test_a_pixel_mask_keeps_the_patches_it_touches() -> None:
    mask = torch.zeros(2, 8, 8, dtype=torch.bool)
    mask[0, :4, :3], mask[1] = True, True
    assert sizes(Patches((1, 1), (1, 1), mask=mask).split("image", [torch.zeros(2, 16, 3)])) == [4, 16]


def test_one_firing_per_crop_or_stimulus() -> None:
    values = [torch.zeros(1, 2, 3), torch.zeros(1, 4, 3), torch.zeros(1, 5, 3)]
    assert Patches((3, 8), (1, 2)).kind(values) == "each"
    assert sizes(Patches((3, 8), (1, 2)).split("each", values)) == [2, 9]
    assert Patches((3, 8), (1, 1)).kind(values) is None and Patches((3, 8), (1, 1)).split("each", values) is None


def test_of_several_firings_the_last_that_fits_counts() -> None:
    shown = Patches((4, 4), (1, 1))
    found = shown.split("image", [torch.ones(2, 4, 3), torch.zeros(7, 3)])
    assert found is not None and bool(found[0].all())
    assert shown.split("image", [torch.zeros(3, 4, 3)]) is None


@pytest.mark.parametrize(
    ("tensors", "crops", "grid"),
    [
        ({"pixel_values": torch.zeros(12, 6), "image_grid_thw": torch.tensor([[1, 2, 2], [1, 2, 4]])}, (1, 1), (4, 8)),
        ({"pixel_values": torch.ones(2, 3, 8, 8)}, (1, 1), ()),
        ({"pixel_values": torch.ones(6, 3, 8, 8)}, (2, 4), ()),  # flat tiles, as many as placeholders ask for
        ({"pixel_values": torch.ones(5, 3, 8, 8)}, (), ()),  # cannot be told
        ({"pixel_values": torch.ones(2, 3, 8, 8), "image_sizes": torch.tensor([[4, 4], [8, 4]])}, (1, 1), (4, 8)),
        ({"input_ids": torch.zeros(2, 3)}, (1, 1), ()),
    ],
)
def test_the_vision_side_is_read_off_the_inputs(tensors: dict[str, torch.Tensor], crops: tuple[int], grid: tuple[int]) -> None:
    found = patches(tensors, (1, 2), side=2)
    assert (found.crops, found.grid) == (crops, grid)


def test_empty_tiles_are_no_crops() -> None:
    tiles = torch.ones(2, 3, 3, 4, 4)
    tiles[0, 2] = 0
    assert patches({"pixel_values": tiles}, (2, 3)).crops == (2, 3)


def test_padded_tiles_in_one_row_of_tokens_are_left_out() -> None:
    tiles = torch.ones(2, 1, 4, 3, 8, 8)
    tiles[0, 0, 1:] = 0
    shown = patches({"pixel_values": tiles}, (1, 1))
    value = torch.arange(4.0).repeat_interleave(5).expand(2, 20)[..., None]
    for tower in (True, False):
        found = shown.split("image", [value], tower=tower)
        assert sizes(found) == [5, 20] and found is not None and not bool(found[0].any())
