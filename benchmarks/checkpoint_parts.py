"""What tiny checkpoints are put together from: tokenizers, chat templates, towers and language models."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

PATCH = 14
PAD, BOS, EOS, UNK = "<pad>", "<s>", "</s>", "<unk>"
TEXT_WIDTH, VISION_WIDTH = 32, 24


@dataclass(frozen=True)
class Parts:
    """What tells one family from the next."""

    tokenizer: Any
    config: dict[str, Any]
    """For the family's configuration class."""
    images: dict[str, Any]
    """For the family's image processor."""
    extras: dict[str, Any] = field(default_factory=dict)
    """For the family's processor."""


def byte_tokenizer(*special: str, template: str | None = None, bos: bool = True, unk: bool = False, **named: str) -> Any:
    """A byte-level tokenizer: one token a byte, and the special tokens.

    Args:
        *special: special tokens, besides padding, beginning and end.
        template: the chat template.
        bos: whether a text starts with the beginning-of-sequence token.
        unk: whether there is an unknown token, the last special one.
        **named: special tokens that processors read as attributes, such as ``image_token``.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokens = list(dict.fromkeys([PAD, BOS, EOS, *named.values(), *special, *([UNK] if unk else [])]))
    words = [*tokens, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    core = Tokenizer(models.BPE(vocab={word: index for index, word in enumerate(words)}, merges=[]))
    core.add_special_tokens(tokens)
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    if bos:
        core.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, words.index(BOS))])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK if unk else None,
        extra_special_tokens=named,
        chat_template=template,
        model_max_length=2048,
    )


def special_ids(tokenizer: Any) -> dict[str, int]:
    """The ids of padding, beginning and end, as configurations name them."""
    return {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}


def chat(image: str, user: str = "USER: ", end: str = " ", assistant: str = "ASSISTANT:", start: str = "") -> str:
    """A chat template from what stands for an image, before and after a turn, before the answer and at the very start."""
    role = f"{{% if m['role'] == 'assistant' %}}{_say(assistant)}{{% else %}}{_say(user)}{{% endif %}}"
    part = f"{{% if part['type'] == 'image' %}}{_say(image)}{{% else %}}{{{{ part['text'] }}}}{{% endif %}}"
    parts = "{% for part in m['content'] %}" + part + "{% endfor %}"
    content = "{% if m['content'] is string %}{{ m['content'] }}{% else %}" + parts + "{% endif %}"
    turns = "{% for m in messages %}" + role + content + _say(end) + "{% endfor %}"
    return _say(start) + turns + "{% if add_generation_prompt %}" + _say(assistant) + "{% endif %}"


def _say(text: str) -> str:
    return "{{ " + json.dumps(text) + " }}" if text else ""


TURNS = ("<|im_start|>", "<|im_end|>")


def chatml(image: str) -> str:
    """A chat template with the turns of ChatML."""
    return chat(image, "<|im_start|>user\n", "<|im_end|>\n", "<|im_start|>assistant\n")


def language(kind: str, tokenizer: Any, **more: Any) -> dict[str, Any]:
    """A language model of two layers."""
    sizes = {"hidden_size": TEXT_WIDTH, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    rest = {"num_key_value_heads": 2, "vocab_size": len(tokenizer), "max_position_embeddings": 2048}
    return {"model_type": kind, **sizes, **rest, **special_ids(tokenizer), **more}


def tower(kind: str, size: int | None, **more: Any) -> dict[str, Any]:
    """A vision transformer of four layers, for images of one size or, without, of any."""
    sizes = {"hidden_size": VISION_WIDTH, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 2}
    return {"model_type": kind, **sizes, **({"image_size": size} if size else {}), "patch_size": PATCH, **more}


def clip_tower(size: int) -> dict[str, Any]:
    """A CLIP vision transformer for images of one size."""
    return tower("clip_vision_model", size, projection_dim=VISION_WIDTH)


def siglip_tower(size: int, **more: Any) -> dict[str, Any]:
    """A SigLIP vision transformer for images of one size."""
    return tower("siglip_vision_model", size, vision_use_head=False, **more)


def config_of(vision: dict[str, Any], text: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A configuration of a tower and a language model."""
    return {"vision_config": vision, "text_config": text, **more}


def id_of(tokenizer: Any, token: str) -> int:
    """The id of a token."""
    return int(tokenizer.convert_tokens_to_ids(token))


def square(size: int) -> dict[str, int]:
    """A size as image processors want it."""
    return {"height": size, "width": size}


def tiles() -> dict[str, Any]:
    """An image processor that cuts an image into up to three tiles."""
    return {"size": square(56), "crop_to_patches": True, "min_patches": 1, "max_patches": 3}
