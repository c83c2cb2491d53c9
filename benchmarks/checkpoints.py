"""Tiny random checkpoints of many multimodal families, each a folder as its users have it: model, tokenizer, processor."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

PATCH = 14
PAD, BOS, EOS, UNK = "<pad>", "<s>", "</s>", "<unk>"
TEXT_WIDTH, VISION_WIDTH = 32, 24
_UNLISTED = {"kosmos-2": "Kosmos2Processor", "qwen3_vl_moe": "Qwen2VLImageProcessorPil"}
"""Classes that transformers' own tables leave out."""


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


class _Video(dict):
    """Stands for a video processor, which cannot be built without torchvision, where a processor is written to disk."""

    _auto_class = None


def save(family: str, folder: Path, seed: int = 0) -> None:
    """Write one family's tiny random checkpoint.

    Args:
        family: a model type, one of ``FAMILIES``.
        folder: where to; made if missing.
        seed: of the weights.
    """
    parts = _FAMILIES[family]()
    folder.mkdir(parents=True, exist_ok=True)
    _model(family, parts, seed).save_pretrained(folder)
    try:
        _processor(family, parts).save_pretrained(folder)
    except ImportError:
        _write_processor(family, parts, folder)


def _model(family: str, parts: Parts, seed: int) -> Any:
    from transformers import AutoConfig, AutoModelForImageTextToText

    torch.manual_seed(seed)
    special = _special(parts.tokenizer)
    config = AutoConfig.for_model(family, **{**special, **parts.config}, dtype="float32")
    model = AutoModelForImageTextToText.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        elif parameter.numel() == 1:
            torch.nn.init.constant_(parameter, 0.5)  # gates start closed
    model.generation_config.update(**special)
    return model


def _processor_name(family: str) -> str:
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    return str(PROCESSOR_MAPPING_NAMES.get(family) or _UNLISTED[family])


def _image_processor(family: str, parts: Parts) -> Any:
    import transformers
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    name = IMAGE_PROCESSOR_MAPPING_NAMES[family]["pil"] if family in IMAGE_PROCESSOR_MAPPING_NAMES else _UNLISTED[family]
    return getattr(transformers, str(name))(**parts.images)


def _processor(family: str, parts: Parts) -> Any:
    import transformers

    kind = getattr(transformers, _processor_name(family))
    arguments = {"image_processor": _image_processor(family, parts), "tokenizer": parts.tokenizer, **parts.extras}
    if "video_processor" in kind.get_attributes():
        arguments["video_processor"] = _video(family)
        kind = type(kind.__name__, (kind,), {"check_argument_for_proper_class": lambda self, argument, value: None})
    if parts.tokenizer.chat_template is not None:
        arguments["chat_template"] = parts.tokenizer.chat_template
    return kind(**arguments)


def _video(family: str) -> _Video:
    from transformers.models.auto.video_processing_auto import VIDEO_PROCESSOR_MAPPING_NAMES

    return _Video(video_processor_type=VIDEO_PROCESSOR_MAPPING_NAMES[family]["torchvision"])


def _write_processor(family: str, parts: Parts, folder: Path) -> None:
    """What ``save_pretrained`` writes, for processors that cannot be built without further packages."""
    values = {"image_processor": _image_processor(family, parts).to_dict(), **parts.extras}
    if family == "smolvlm":
        values["video_processor"] = _video(family)
    values["processor_class"] = _processor_name(family)
    (folder / "processor_config.json").write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    parts.tokenizer.save_pretrained(folder)


def _tokenizer(*special: str, template: str | None = None, bos: bool = True, unk: bool = False, **named: str) -> Any:
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


def _special(tokenizer: Any) -> dict[str, int]:
    return {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}


def _chat(image: str, user: str = "USER: ", end: str = " ", assistant: str = "ASSISTANT:", start: str = "") -> str:
    """A chat template from what stands for an image, before and after a turn, before the answer and at the very start."""
    role = f"{{% if m['role'] == 'assistant' %}}{_say(assistant)}{{% else %}}{_say(user)}{{% endif %}}"
    part = f"{{% if part['type'] == 'image' %}}{_say(image)}{{% else %}}{{{{ part['text'] }}}}{{% endif %}}"
    parts = "{% for part in m['content'] %}" + part + "{% endfor %}"
    content = "{% if m['content'] is string %}{{ m['content'] }}{% else %}" + parts + "{% endif %}"
    turns = "{% for m in messages %}" + role + content + _say(end) + "{% endfor %}"
    return _say(start) + turns + "{% if add_generation_prompt %}" + _say(assistant) + "{% endif %}"


def _say(text: str) -> str:
    return "{{ " + json.dumps(text) + " }}" if text else ""


_TURNS = ("<|im_start|>", "<|im_end|>")


def _chatml(image: str) -> str:
    return _chat(image, "<|im_start|>user\n", "<|im_end|>\n", "<|im_start|>assistant\n")


def _text(kind: str, tokenizer: Any, **more: Any) -> dict[str, Any]:
    """A language model of two layers."""
    sizes = {"hidden_size": TEXT_WIDTH, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    rest = {"num_key_value_heads": 2, "vocab_size": len(tokenizer), "max_position_embeddings": 2048}
    return {"model_type": kind, **sizes, **rest, **_special(tokenizer), **more}


def _vision(kind: str, size: int | None, **more: Any) -> dict[str, Any]:
    """A vision transformer of four layers, for images of one size or, without, of any."""
    sizes = {"hidden_size": VISION_WIDTH, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 2}
    return {"model_type": kind, **sizes, **({"image_size": size} if size else {}), "patch_size": PATCH, **more}


def _clip(size: int) -> dict[str, Any]:
    return _vision("clip_vision_model", size, projection_dim=VISION_WIDTH)


def _siglip(size: int, **more: Any) -> dict[str, Any]:
    return _vision("siglip_vision_model", size, vision_use_head=False, **more)


def _config(vision: dict[str, Any], text: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"vision_config": vision, "text_config": text, **more}


def _id(tokenizer: Any, token: str) -> int:
    return int(tokenizer.convert_tokens_to_ids(token))


def _square(size: int) -> dict[str, int]:
    return {"height": size, "width": size}


def _tiles() -> dict[str, Any]:
    """An image processor that cuts an image into up to three tiles."""
    return {"size": _square(56), "crop_to_patches": True, "min_patches": 1, "max_patches": 3}


# LLaVA and its relatives


def _crop(size: int) -> dict[str, Any]:
    return {"size": {"shortest_edge": size}, "crop_size": _square(size)}


def _llava(size: int = 56, pinpoints: list[list[int]] | None = None, video: bool = False, **more: Any) -> Parts:
    names: dict[str, Any] = {"image_token": "<image>", **({"video_token": "<video>"} if video else {})}
    tokenizer = _tokenizer(**names, template=_chat("<image>\n"))
    ids = {f"{name}_index": _id(tokenizer, token) for name, token in names.items()}
    grid = {"image_grid_pinpoints": pinpoints} if pinpoints else {}
    tokens = (size // PATCH) ** 2
    config = _config(_clip(size), _text("llama", tokenizer), **ids, **grid, image_seq_length=tokens, **more)
    extras = {"patch_size": PATCH, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return Parts(tokenizer, config, {**_crop(size), **grid}, extras)


def _llava_onevision() -> Parts:
    tokenizer = _tokenizer(*_TURNS, image_token="<image>", video_token="<video>", template=_chatml("<image>\n"), bos=False)
    ids = {"image_token_index": tokenizer.image_token_id, "video_token_index": tokenizer.video_token_id}
    grid = {"image_grid_pinpoints": [[28, 28], [28, 56], [56, 28], [56, 56]]}
    config = _config(_siglip(28), _text("qwen2", tokenizer), **ids, **grid)
    extras = {"num_image_tokens": 4, "vision_feature_select_strategy": "full", "vision_aspect_ratio": "anyres_max_9"}
    return Parts(tokenizer, config, {"size": _square(28), **grid}, extras)


def _internvl() -> Parts:
    names: dict[str, Any] = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    tokenizer = _tokenizer(*_TURNS, **names, video_token="<video>", template=_chatml("<IMG_CONTEXT>\n"), bos=False)
    vision = _vision("internvl_vision", 56, image_size=[56, 56], patch_size=[PATCH, PATCH])
    image = tokenizer.context_image_token_id
    config = _config(vision, _text("qwen2", tokenizer), image_token_id=image, image_seq_length=4)
    return Parts(tokenizer, config, _tiles(), {"image_seq_length": 4})


# Packed patches of any image size


def _qwen(prefix: str, patch: int, vision: dict[str, Any], **text: Any) -> Parts:
    names = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    template = _chatml("<|vision_start|><|image_pad|><|vision_end|>")
    tokenizer = _tokenizer(*names, *_TURNS, template=template, bos=False)
    keys = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    blocks = {"depth": 4, "num_heads": 2, "hidden_size": VISION_WIDTH, "intermediate_size": 48, "out_hidden_size": TEXT_WIDTH}
    config = _config(
        {**blocks, "patch_size": patch, **vision},
        {**_text(f"{prefix}_text", tokenizer), "rope_parameters": rope, **text},
        **dict(zip(keys, (_id(tokenizer, name) for name in names), strict=True)),
    )
    area = (2 * patch) ** 2
    images = {"size": {"shortest_edge": 4 * area, "longest_edge": 64 * area}, "patch_size": patch}
    return Parts(tokenizer, config, images)


def _qwen2_vl() -> Parts:
    parts = _qwen("qwen2_vl", 14, {"embed_dim": VISION_WIDTH, "hidden_size": TEXT_WIDTH, "mlp_ratio": 2})
    del parts.config["vision_config"]["intermediate_size"], parts.config["vision_config"]["out_hidden_size"]
    return parts


def _qwen3_vl(prefix: str = "qwen3_vl", **text: Any) -> Parts:
    vision = {"num_position_embeddings": 64, "deepstack_visual_indexes": [1, 2]}
    return _qwen(prefix, 16, vision, head_dim=16, **text)


def _qwen3_5(prefix: str = "qwen3_5", **text: Any) -> Parts:
    heads = {"linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1], "partial_rotary_factor": 0.5}
    kinds = {"layer_types": ["linear_attention", "full_attention"]}
    return _qwen(prefix, 16, {"num_position_embeddings": 64}, head_dim=16, rope_parameters=rope, **kinds, **heads, **text)


def _video_llama_3() -> Parts:
    tokenizer = _tokenizer("<|image_pad|>", "<|video_pad|>", *_TURNS, template=_chatml("<|image_pad|>"), bos=False)
    vision = _vision("video_llama_3_vision", None)
    ids = {"image_token_id": _id(tokenizer, "<|image_pad|>"), "video_token_id": _id(tokenizer, "<|video_pad|>")}
    images = {"size": {"shortest_edge": 28 * 28, "longest_edge": 112 * 112}}
    return Parts(tokenizer, _config(vision, _text("qwen2", tokenizer), **ids), images)


def _glm4v() -> Parts:
    keys = [f"{kind}{end}_token_id" for kind in ("image", "video") for end in ("_start", "", "_end")]
    marks = [f"<|{end}{kind}|>" for kind in ("image", "video") for end in ("begin_of_", "", "end_of_")]
    template = _chat("".join(marks[:3]), "<|user|>\n", "", "<|assistant|>\n", "[gMASK]<sop>")
    tokenizer = _tokenizer(*marks, "<|user|>", "<|assistant|>", "[gMASK]", "<sop>", template=template, bos=False)
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2], "partial_rotary_factor": 0.5}
    blocks = {"depth": 4, "hidden_size": VISION_WIDTH, "num_heads": 2, "intermediate_size": 48}
    vision = {**blocks, "out_hidden_size": TEXT_WIDTH, "image_size": 112, "patch_size": PATCH}
    ids = {key: _id(tokenizer, mark) for key, mark in zip(keys, marks, strict=True)}
    config = _config(vision, _text("glm4v_text", tokenizer, rope_parameters=rope), **ids)
    return Parts(tokenizer, config, {"size": {"shortest_edge": 56 * 56, "longest_edge": 224 * 224}})


def _mistral3() -> Parts:
    marks = ("[IMG]", "[IMG_BREAK]", "[IMG_END]", "[INST]", "[/INST]")
    tokenizer = _tokenizer(*marks, template=_chat("[IMG]", "[INST]", "[/INST]", "", BOS))
    text = _text("mistral", tokenizer, head_dim=16)
    config = _config(_vision("pixtral", 112), text, image_token_index=_id(tokenizer, "[IMG]"), spatial_merge_size=2)
    images = {"size": {"longest_edge": 112}, "patch_size": _square(PATCH)}
    return Parts(tokenizer, config, images, {"patch_size": PATCH, "spatial_merge_size": 2})


def _lighton_ocr() -> Parts:
    names: dict[str, Any] = {
        "image_token": "<|image_pad|>",
        "image_break_token": "<|vision_pad|>",
        "image_end_token": "<|vision_end|>",
    }
    tokenizer = _tokenizer(*_TURNS, **names, template=_chatml("<|image_pad|>"), bos=False)
    text = _text("qwen3", tokenizer, head_dim=16)
    config = _config(_vision("pixtral", 112), text, image_token_id=tokenizer.image_token_id, spatial_merge_size=2)
    images = {"size": {"longest_edge": 112}, "patch_size": PATCH}
    return Parts(tokenizer, config, images, {"patch_size": PATCH, "spatial_merge_size": 2})


def _gemma4() -> Parts:
    from transformers import Gemma4AudioFeatureExtractor

    names: dict[str, Any] = {"image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>"}
    sounds: dict[str, Any] = {"audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>"}
    template = _chat("<|image|>", "<|turn>user\n", "<turn|>\n", "<|turn>model\n", BOS)
    tokenizer = _tokenizer("<|turn>", "<turn|>", "<|video|>", **names, **sounds, template=template)
    ids = {f"{name}_id": _id(tokenizer, token) for name, token in {**names, "video_token": "<|video|>"}.items()}
    sides = {"head_dim": 16, "sliding_window": 64, "hidden_size_per_layer_input": 8}
    sides |= {"vocab_size_per_layer_input": len(tokenizer), "global_head_dim": 16}
    text = _text("gemma4_text", tokenizer, **sides, layer_types=["sliding_attention", "full_attention"])
    pool = {"patch_size": 8, "pooling_kernel_size": 2}
    vision = _vision("gemma4_vision", None, **pool, head_dim=12, num_key_value_heads=2, position_embedding_size=64)
    config = _config(vision, text, **ids, audio_config=None)
    images = {**pool, "max_soft_tokens": 70}
    return Parts(tokenizer, config, images, {"feature_extractor": Gemma4AudioFeatureExtractor(), "image_seq_length": 70})


# Idefics and its relatives: an image between marker tokens, from the third on cut into tiles

_MARKERS = ("<fake_token_around_image>", "<image>", "<end_of_utterance>")
_IDEFICS = _chat("<image>", "User:", "<end_of_utterance>\n", "Assistant:")


def _idefics2() -> Parts:
    tokenizer = _tokenizer(*_MARKERS, template=_IDEFICS)
    latents = {"resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2, "resampler_head_dim": 8}
    perceiver = {**latents, "num_key_value_heads": 2, "hidden_size": TEXT_WIDTH}
    vision, text = _vision("idefics2_vision", 56), _text("mistral", tokenizer)
    config = _config(vision, text, perceiver_config=perceiver, image_token_id=_id(tokenizer, "<image>"))
    images = {"size": {"shortest_edge": 28, "longest_edge": 56}, "do_image_splitting": False}
    return Parts(tokenizer, config, images, {"image_seq_len": 4})


def _idefics3(vision: str = "idefics3_vision") -> Parts:
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = _tokenizer(*_MARKERS, "<global-img>", *tiles, template=_IDEFICS)
    image = _id(tokenizer, "<image>")
    config = _config(_vision(vision, 56), _text("llama", tokenizer), image_token_id=image, scale_factor=2)
    images = {"size": {"longest_edge": 112}, "max_image_size": {"longest_edge": 56}}
    return Parts(tokenizer, config, images, {"image_seq_len": 4})


# Towers of one image size with other joints


def _paligemma() -> Parts:
    from transformers.models.paligemma.processing_paligemma import EXTRA_TOKENS

    tokenizer = _tokenizer(image_token="<image>")
    tokenizer.add_tokens(EXTRA_TOKENS)
    vision, text = _siglip(56, projection_dim=TEXT_WIDTH), _text("gemma", tokenizer, head_dim=16)
    config = _config(vision, text, projection_dim=TEXT_WIDTH, image_token_index=tokenizer.image_token_id)
    return Parts(tokenizer, config, {"size": _square(56), "image_seq_length": 16})


def _gemma3() -> Parts:
    names: dict[str, Any] = {
        "image_token": "<image_soft_token>",
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
    }
    template = _chat("<start_of_image>", "<start_of_turn>user\n", "<end_of_turn>\n", "<start_of_turn>model\n", BOS)
    tokenizer = _tokenizer("<start_of_turn>", "<end_of_turn>", **names, template=template)
    ids = {f"{name}_index": _id(tokenizer, token) for name, token in names.items()}
    text = _text("gemma3_text", tokenizer, head_dim=16, sliding_window=64)
    config = _config(_siglip(56), text, mm_tokens_per_image=4, **ids)
    return Parts(tokenizer, config, {"size": _square(56)}, {"image_seq_length": 4})


def _aya_vision() -> Parts:
    turn, user, bot, end = (f"<|{name}_TOKEN|>" for name in ("START_OF_TURN", "USER", "CHATBOT", "END_OF_TURN"))
    marks = ("<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>", "TILE_GLOBAL", "TILE_1", "TILE_2")
    template = _chat("<image>", turn + user, end, turn + bot, BOS)
    tokenizer = _tokenizer("<image>", *marks, "TILE_3", turn, user, bot, end, template=template)
    text = _text("cohere2", tokenizer, sliding_window=64)
    config = _config(_siglip(56), text, image_token_index=_id(tokenizer, "<|IMG_PATCH|>"), downsample_factor=2)
    return Parts(tokenizer, config, _tiles(), {"patch_size": PATCH, "img_size": 56, "downsample_factor": 2})


def _deepseek_vl() -> Parts:
    template = _chat("<image_placeholder>", "User: ", "\n\n", "Assistant:", BOS)
    tokenizer = _tokenizer(image_token="<image_placeholder>", template=template)
    config = _config(_siglip(56), _text("llama", tokenizer), image_token_id=tokenizer.image_token_id)
    return Parts(tokenizer, config, {"size": _square(56)}, {"num_image_tokens": 16})


def _janus() -> Parts:
    names: dict[str, Any] = {
        "image_token": "<image_placeholder>",
        "boi_token": "<begin_of_image>",
        "eoi_token": "<end_of_image>",
    }
    template = _chat("<image_placeholder>\n", "<|User|>: ", "\n\n", "<|Assistant|>:")
    tokenizer = _tokenizer(**names, template=template)
    codes = {"embed_dim": 8, "num_embeddings": 32, "latent_channels": 32, "base_channels": 32, "channel_multiplier": [1, 1]}
    codes |= {"num_res_blocks": 1, "num_patches": 4, "projection_dim": TEXT_WIDTH, "image_token_embed_dim": TEXT_WIDTH}
    vision = _vision("janus_vision_model", 56, projection_dim=TEXT_WIDTH, num_image_tokens=16, mlp_ratio=2.0)
    config = _config(vision, _text("llama", tokenizer), vq_config=codes, image_token_id=tokenizer.image_token_id)
    return Parts(tokenizer, config, {"size": _square(56)}, {"num_image_tokens": 16})


def _aria() -> Parts:
    """Its processor insists on images of 980 pixels, hence the large patches."""
    tokenizer = _tokenizer(*_TURNS, image_token="<|img|>", template=_chatml("<|img|>"), bos=False)
    vision = _vision("idefics3_vision", 980, patch_size=70, hidden_size=16)
    text = _text("aria_text", tokenizer, moe_num_experts=2, moe_topk=1, moe_num_shared_experts=1)
    queries = {"projector_patch_to_query_dict": {196: 8}}
    config = _config(vision, text, **queries, image_token_index=tokenizer.image_token_id)
    return Parts(tokenizer, config, {"max_image_size": 980}, {"size_conversion": {980: 8}})


def _ovis2() -> Parts:
    marks = ("<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>")
    tokenizer = _tokenizer("<image>", "<IMG_ATOM>", *marks, *_TURNS, template=_chatml("<image>\n"), bos=False)
    vision = _vision("ovis2_visual", 56, vocab_size=64, hidden_stride=2, num_visual_indicator_tokens=5)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": TEXT_WIDTH}
    ids = {"image_token_id": _id(tokenizer, "<IMG_ATOM>"), "visual_indicator_token_ids": [_id(tokenizer, m) for m in marks]}
    return Parts(tokenizer, _config(vision, _text("qwen2", tokenizer), **ids, **sizes), _tiles(), {"image_seq_length": 4})


def _got_ocr2() -> Parts:
    """Its processor always writes 256 image tokens, hence the small patches; it has no chat template."""
    tokenizer = _tokenizer(*_TURNS, "<img>", "</img>", "<imgpad>", bos=False)
    blocks = {
        "hidden_size": VISION_WIDTH,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "mlp_dim": 48,
        "output_channels": 16,
    }
    vision = {**blocks, "image_size": 256, "patch_size": 4, "window_size": 16, "global_attn_indexes": []}
    ids = {"image_token_index": _id(tokenizer, "<imgpad>"), "image_seq_length": 256}
    return Parts(tokenizer, _config(vision, _text("qwen2", tokenizer), **ids), {"size": _square(256)})


# Cross-attention, query transformers, encoder-decoders: mostly without chat template


def _mllama() -> Parts:
    marks = ("<|image|>", "<|python_tag|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    user, assistant = (f"<|start_header_id|>{role}<|end_header_id|>\n\n" for role in ("user", "assistant"))
    tokenizer = _tokenizer(*marks, template=_chat("<|image|>", user, "<|eot_id|>", assistant, BOS))
    vision = _vision("mllama_vision_model", 56, attention_heads=2, num_global_layers=2, intermediate_layers_indices=[1, 2])
    vision["vision_output_dim"] = 3 * VISION_WIDTH
    text = _text("mllama_text_model", tokenizer, num_hidden_layers=3, cross_attention_layers=[1])
    config = _config(vision, text, image_token_index=_id(tokenizer, "<|image|>"))
    return Parts(tokenizer, config, {"size": _square(56), "max_image_tiles": 4})


def _blip(prefix: str, tokenizer: Any, text: dict[str, Any], **extras: Any) -> Parts:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    query = {**sizes, "encoder_hidden_size": VISION_WIDTH, "vocab_size": len(tokenizer)}
    image = _id(tokenizer, "<image>")
    vision = _vision(f"{prefix}_vision_model", 56)
    config = _config(vision, text, qformer_config=query, num_query_tokens=4, image_token_index=image)
    return Parts(tokenizer, config, {"size": _square(56)}, {"num_query_tokens": 4, **extras})


def _blip2() -> Parts:
    tokenizer = _tokenizer("<image>")
    return _blip("blip_2", tokenizer, _text("opt", tokenizer, ffn_dim=48, word_embed_proj_dim=TEXT_WIDTH))


def _instructblip() -> Parts:
    tokenizer = _tokenizer("<image>")
    return _blip("instructblip", tokenizer, _text("llama", tokenizer), qformer_tokenizer=_tokenizer())


def _kosmos2() -> Parts:
    tokenizer = _tokenizer(unk=True)
    places = 16
    sizes = {"embed_dim": TEXT_WIDTH, "layers": 2, "ffn_dim": 48, "attention_heads": 2, "max_position_embeddings": 512}
    text = {**sizes, **_special(tokenizer), "vocab_size": len(tokenizer) + places + 11}
    config = _config(_vision("kosmos_2_vision_model", 56), text, latent_query_num=64)
    return Parts(tokenizer, config, _crop(56), {"num_patch_index_tokens": places})


def _florence2() -> Parts:
    tokenizer = _tokenizer(image_token="<image>")
    stages = {"depths": [1, 1, 1, 1], "embed_dim": [8, 16, 16, 24], "num_heads": [2] * 4, "num_groups": [2] * 4}
    vision = {"model_type": "florence_vision", **stages, "window_size": 4, "projection_dim": TEXT_WIDTH}
    sizes = {"layers": 2, "ffn_dim": 48, "attention_heads": 2}
    halves = {f"{half}_{name}": value for half in ("encoder", "decoder") for name, value in sizes.items()}
    text = {"model_type": "bart", "d_model": TEXT_WIDTH, "vocab_size": len(tokenizer), **halves, **_special(tokenizer)}
    config = _config(vision, {**text, "decoder_start_token_id": 2}, image_token_id=tokenizer.image_token_id)
    return Parts(tokenizer, config, {**_crop(64), "image_seq_length": 5})


_GRID = [[28, 56], [56, 28], [56, 56]]
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_FAMILIES: dict[str, Callable[[], Parts]] = {
    "llava": _llava,
    "vipllava": partial(_llava, vision_feature_layer=[-2, -3, 1]),
    "llava_next": partial(_llava, 28, _GRID),
    "llava_next_video": partial(_llava, 28, _GRID, video=True),
    "llava_onevision": _llava_onevision,
    "video_llava": partial(_llava, video=True, video_seq_length=136),
    "internvl": _internvl,
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": partial(_qwen, "qwen2_5_vl", 14, {"window_size": 56, "fullatt_block_indexes": [1, 3]}),
    "qwen3_vl": _qwen3_vl,
    "qwen3_vl_moe": partial(_qwen3_vl, "qwen3_vl_moe", **_EXPERTS),
    "qwen3_5": _qwen3_5,
    "qwen3_5_moe": partial(_qwen3_5, "qwen3_5_moe", **_EXPERTS, shared_expert_intermediate_size=16),
    "video_llama_3": _video_llama_3,
    "glm4v": _glm4v,
    "glm46v": _glm4v,
    "mistral3": _mistral3,
    "lighton_ocr": _lighton_ocr,
    "gemma4": _gemma4,
    "idefics2": _idefics2,
    "idefics3": _idefics3,
    "smolvlm": partial(_idefics3, "smolvlm_vision"),
    "paligemma": _paligemma,
    "gemma3": _gemma3,
    "aya_vision": _aya_vision,
    "deepseek_vl": _deepseek_vl,
    "janus": _janus,
    "aria": _aria,
    "ovis2": _ovis2,
    "got_ocr2": _got_ocr2,
    "mllama": _mllama,
    "blip-2": _blip2,
    "instructblip": _instructblip,
    "kosmos-2": _kosmos2,
    "florence2": _florence2,
}
FAMILIES: tuple[str, ...] = tuple(_FAMILIES)
