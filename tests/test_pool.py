"""Pooling: means, maxima and grids, in float32."""

import numpy as np
import pytest
import torch

from hooks.load import Mllm
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
    packed = torch.arange(20.0).reshape(10, 2)
    assert torch.equal(processed_rows(packed, (4, 6)), torch.stack([packed[:4].mean(0), packed[4:].mean(0)]))
