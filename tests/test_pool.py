"""Pooling: means, maxima and grids, in float32."""

import numpy as np
import pytest
import torch

from hooks.load import Mllm
from hooks.patches import Patches
from hooks.pool import grid_of_pixels, pool, processed_rows
from stimuli.errors import InputError


def test_pools_are_what_they_say(llava: Mllm) -> None:
    layout = llava.inputs([np.zeros((128, 128, 3), np.uint8)] * 2, ["What?", "Which one?"]).layout
    value = torch.randn(2, 65, 4, dtype=torch.float64).bfloat16()
    assert torch.allclose(pool(layout, "vision.0", value, "mean"), value[:, 1:].float().mean(1), atol=1e-6)
    assert torch.equal(pool(layout, "vision.0", value, "max"), value[:, 1:].float().amax(1))
    assert torch.equal(pool(layout, "vision.0", value, "cls"), value[:, 0].float())
    assert pool(layout, "vision.0", value, "mean").dtype == torch.float32
    with pytest.raises(InputError, match="Unknown pooling 'sum'. Expected one of mean, max, last, cls"):
        pool(layout, "vision.0", value, "sum")


def test_grids_average_areas() -> None:
    image = torch.arange(3 * 16 * 16).reshape(3, 16, 16)
    assert grid_of_pixels(image)[0] == image[0, :2, :2].float().mean() and len(grid_of_pixels(image)) == 192
    rows = torch.arange(20.0).reshape(10, 2)
    means = torch.stack([rows[:4].mean(0), rows[4:].mean(0)])
    assert torch.equal(processed_rows({"pixel_values": rows}, Patches((1, 2), grid=(4, 6))), means)


def test_what_the_model_sees_is_averaged_without_padding_and_over_crops() -> None:
    images = torch.rand(2, 3, 16, 32)
    cut = processed_rows({"pixel_values": images, "image_sizes": torch.tensor([[16, 16], [16, 32]])}, Patches((1, 2), (1, 1)))
    assert torch.allclose(cut[0], grid_of_pixels(images[0, :, :, :16])) and torch.allclose(cut[1], grid_of_pixels(images[1]))
    tiles = torch.rand(2, 3, 3, 16, 16)
    tiles[0, 1:] = 0
    tiled = processed_rows({"pixel_values": tiles}, Patches((1, 2), (1, 3)))
    assert torch.allclose(tiled[0], grid_of_pixels(tiles[0, 0]))
    assert torch.allclose(tiled[1], torch.stack([grid_of_pixels(tile) for tile in tiles[1]]).mean(0))
    flat = processed_rows({"pixel_values": tiles[1]}, Patches((1, 2), (1, 2)))
    assert torch.allclose(flat[1], (grid_of_pixels(tiles[1, 1]) + grid_of_pixels(tiles[1, 2])) / 2)
