"""The patients' architecture: a small but genuine LLaVA, with tokenizer, image processor and chat template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

IMAGE_SIZE = 128
PATCH = 16
IMAGE_TOKENS = (IMAGE_SIZE // PATCH) ** 2
MEAN, STD = 0.5, 0.25
VISION: dict[str, Any] = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 6, "num_attention_heads": 6}
LANGUAGE: dict[str, Any] = {"hidden_size": 160, "intermediate_size": 432, "num_hidden_layers": 4, "num_attention_heads": 5}
VOCABULARY = 768
PAD, BOS, EOS, IMAGE = "<pad>", "<s>", "</s>", "<image>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ 'USER: ' if message['role'] == 'user' else 'ASSISTANT: ' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{{ '<image>\\n' if part['type'] == 'image' else part['text'] }}"
    "{% endfor %}{% endif %}"
    "{{ ' ' if message['role'] == 'user' else '</s>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def prompt(question: str) -> str:
    """The prompt of one image question, as the chat template renders it."""
    return f"USER: {IMAGE}\n{question} ASSISTANT:"


def tokenizer(sentences: Iterable[str]) -> Any:
    """A byte-level BPE tokenizer trained on ``sentences``: every text is encodable, every word of the corpus is one token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, BOS, EOS, IMAGE],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(sentences, trainer)
    core.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        extra_special_tokens={"image_token": IMAGE},
        chat_template=CHAT_TEMPLATE,
        model_max_length=1024,
    )


def model(seed: int, language: Mapping[str, Any] = LANGUAGE) -> Any:
    """A freshly initialised ``LlavaForConditionalGeneration`` in float32, with a language model of the given sizes."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    torch.manual_seed(seed)
    vision = CLIPVisionConfig(**VISION, image_size=IMAGE_SIZE, patch_size=PATCH, hidden_act="gelu")
    text = LlamaConfig(
        **language,
        num_key_value_heads=language["num_attention_heads"],
        vocab_size=VOCABULARY,
        max_position_embeddings=1024,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=3,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        projector_hidden_act="gelu",
        image_seq_length=IMAGE_TOKENS,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
        dtype="float32",
    )
    return LlavaForConditionalGeneration(config).eval()


def image_processor() -> Any:
    """CLIP's, by Pillow."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    return CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=[MEAN] * 3,
        image_std=[STD] * 3,
    )


def processor(tokenizer: Any) -> Any:
    """A ``LlavaProcessor`` whose image processor needs no torchvision; an image of the model's own size passes unresized."""
    from transformers import LlavaProcessor

    return LlavaProcessor(
        image_processor=image_processor(),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE,
        chat_template=CHAT_TEMPLATE,
    )


def save(model: Any, processor: Any, folder: Path) -> None:
    """Write a folder that ``AutoModelForImageTextToText`` and ``AutoProcessor`` load: float16 on disk, float32 in use."""
    from safetensors.torch import load_file, save_file

    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    weights = folder / "model.safetensors"
    halved = {name: value.half() for name, value in load_file(weights).items()}
    save_file(halved, weights, metadata={"format": "pt"})


def pixel_values(images: Any) -> torch.Tensor:
    """What the image processor makes of uint8 images (n, 128, 128, 3): float (n, 3, 128, 128)."""
    return (torch.as_tensor(images).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
