"""Processors work without torchvision, also where their video half does not."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from benchmarks import checkpoints
from hooks.load import Mllm
from hooks.processor import _NoVideo, describe, load_processor


def test_no_torchvision_is_needed() -> None:
    assert importlib.util.find_spec("torchvision") is None, "these tests must prove that Snellen works without it"


def test_a_qwen_processor_makes_packed_patches(qwen: Mllm) -> None:
    assert describe(qwen.processor)["processor"] == "Qwen2VLProcessor"
    batch = qwen.inputs([np.zeros((56, 84, 3), np.uint8)], ["What is it?"])
    assert batch.tensors["pixel_values"].ndim == 2 and batch.tensors["image_grid_thw"].tolist() == [[1, 4, 6]]
    assert batch.layout.image_tokens == (6,)


def test_backend_and_resize_are_recorded(llava: Mllm, qwen: Mllm) -> None:
    told = describe(llava.processor)
    assert told["image_backend"] == "pil" and told["image_settings"]["do_resize"] is True
    assert (
        told["image_settings"]["crop_size"] == {"height": 128, "width": 128} == llava.provenance["image_settings"]["crop_size"]
    )
    assert describe(qwen.processor)["image_settings"]["size"] == {"longest_edge": 50176, "shortest_edge": 3136}


@pytest.mark.parametrize(
    ("family", "setting", "value"),
    [("internvl", "image_seq_length", 4), ("mistral3", "spatial_merge_size", 2), ("llava_onevision", "num_image_tokens", 4)],
)
def test_what_a_processor_stores_is_kept_without_its_video_half(family: str, setting: str, value: int, tmp_path: Path) -> None:
    checkpoints.save(family, tmp_path)
    assert getattr(load_processor(str(tmp_path)), setting) == value


def test_a_missing_video_processor_has_no_settings_of_its_own() -> None:
    absent = _NoVideo()
    assert absent.fps is None
    with pytest.raises(AttributeError):
        absent.__len__()
