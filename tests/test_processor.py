"""Processors work without torchvision, also where their video half does not."""

import importlib.util

import numpy as np

from hooks.load import Mllm
from hooks.processor import describe


def test_no_torchvision_is_needed() -> None:
    assert importlib.util.find_spec("torchvision") is None, "these tests must prove that Snellen works without it"


def test_a_qwen_processor_makes_packed_patches(qwen: Mllm) -> None:
    assert describe(qwen.processor)["processor"] == "Qwen2VLProcessor"
    batch = qwen.inputs([np.zeros((56, 84, 3), np.uint8)], ["What is it?"])
    assert batch.tensors["pixel_values"].ndim == 2 and batch.tensors["image_grid_thw"].tolist() == [[1, 4, 6]]
    assert batch.layout.image_tokens == (6,)
