"""Models shared by the tests: a small random LLaVA and a tiny random packed Qwen2-VL, saved and loaded as users would."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hooks.load import Mllm, load
from snellen.embedded import architecture, data
from stimuli.types import Stimulus, StimulusSet

torch.set_num_threads(min(2, torch.get_num_threads()))
signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background ignores it, and its children would too


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Heavy proofs run where they are asked for: ``make test-all``, which CI does."""
    if not os.environ.get("SNELLEN_TEST_ALL"):
        for item in items:
            if "heavy" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="a heavy proof: make test-all"))


@pytest.fixture(scope="session")
def llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llava")
    architecture.save(architecture.model(3), architecture.processor(architecture.tokenizer(data.sentences())), folder)
    return folder


@pytest.fixture(scope="session")
def llava(llava_folder: Path) -> Mllm:
    return load(llava_folder, device="cpu")


@pytest.fixture(scope="session")
def qwen_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2-VL of three vision and two language blocks; its processor's video half needs torchvision."""
    from transformers import PreTrainedTokenizerFast, Qwen2VLConfig, Qwen2VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    folder = tmp_path_factory.mktemp("qwen")
    core = architecture.tokenizer(data.sentences())._tokenizer
    special = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    template = (
        "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'image' %}<|vision_start|><|image_pad|>"
        "<|vision_end|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %} ANSWER:{% endif %}"
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>", chat_template=template
    )
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    ids = {name: int(tokenizer.convert_tokens_to_ids(name)) for name in special}
    torch.manual_seed(0)
    config: Any = Qwen2VLConfig(
        vision_config={"depth": 3, "embed_dim": 32, "num_heads": 2, "hidden_size": 48, "mlp_ratio": 2},
        text_config={
            "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 2, "vocab_size": len(tokenizer), "max_position_embeddings": 512,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 4, 4]},
            "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
        },
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(min_pixels=28 * 28 * 4, max_pixels=28 * 28 * 64).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def qwen(qwen_folder: Path) -> Mllm:
    return load(qwen_folder, device="cpu")


@pytest.fixture(scope="session")
def six() -> StimulusSet:
    """Six random images of three references."""
    rng = np.random.default_rng(0)
    types = (None, "jpeg")
    return StimulusSet(
        [
            Stimulus(
                f"s{i}", f"r{i // 2}", types[i % 2], (None, 3)[i % 2], pixels=rng.integers(0, 255, (128, 128, 3), np.uint8)
            )
            for i in range(6)
        ],
        "six",
    )
