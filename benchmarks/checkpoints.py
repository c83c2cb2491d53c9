"""Tiny random checkpoints of many multimodal families, each a folder as its users have it: model, tokenizer, processor."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.checkpoint_parts import (
    BOS,
    PATCH,
    TEXT_WIDTH,
    TURNS,
    VISION_WIDTH,
    Parts,
    byte_tokenizer,
    chat,
    chatml,
    clip_tower,
    config_of,
    id_of,
    language,
    siglip_tower,
    special_ids,
    square,
    tiles,
    tower,
)

_UNLISTED = {"kosmos-2": "Kosmos2Processor", "qwen3_vl_moe": "Qwen2VLImageProcessorPil"}
"""Classes that transformers' own tables leave out."""


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
    special = special_ids(parts.tokenizer)
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


# LLaVA and its relatives


def _crop(size: int) -> dict[str, Any]:
    return {"size": {"shortest_edge": size}, "crop_size": square(size)}


def _llava(size: int = 56, pinpoints: list[list[int]] | None = None, video: bool = False, **more: Any) -> Parts:
    names: dict[str, Any] = {"image_token": "<image>", **({"video_token": "<video>"} if video else {})}
    tokenizer = byte_tokenizer(**names, template=chat("<image>\n"))
    ids = {f"{name}_index": id_of(tokenizer, token) for name, token in names.items()}
    grid = {"image_grid_pinpoints": pinpoints} if pinpoints else {}
    tokens = (size // PATCH) ** 2
    config = config_of(clip_tower(size), language("llama", tokenizer), **ids, **grid, image_seq_length=tokens, **more)
    extras = {"patch_size": PATCH, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return Parts(tokenizer, config, {**_crop(size), **grid}, extras)


def _llava_onevision() -> Parts:
    tokenizer = byte_tokenizer(*TURNS, image_token="<image>", video_token="<video>", template=chatml("<image>\n"), bos=False)
    ids = {"image_token_index": tokenizer.image_token_id, "video_token_index": tokenizer.video_token_id}
    grid = {"image_grid_pinpoints": [[28, 28], [28, 56], [56, 28], [56, 56]]}
    config = config_of(siglip_tower(28), language("qwen2", tokenizer), **ids, **grid)
    extras = {"num_image_tokens": 4, "vision_feature_select_strategy": "full", "vision_aspect_ratio": "anyres_max_9"}
    return Parts(tokenizer, config, {"size": square(28), **grid}, extras)


def _internvl() -> Parts:
    names: dict[str, Any] = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    tokenizer = byte_tokenizer(*TURNS, **names, video_token="<video>", template=chatml("<IMG_CONTEXT>\n"), bos=False)
    vision = tower("internvl_vision", 56, image_size=[56, 56], patch_size=[PATCH, PATCH])
    image = tokenizer.context_image_token_id
    config = config_of(vision, language("qwen2", tokenizer), image_token_id=image, image_seq_length=4)
    return Parts(tokenizer, config, tiles(), {"image_seq_length": 4})


# Packed patches of any image size


def _qwen(prefix: str, patch: int, vision: dict[str, Any], **text: Any) -> Parts:
    names = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    template = chatml("<|vision_start|><|image_pad|><|vision_end|>")
    tokenizer = byte_tokenizer(*names, *TURNS, template=template, bos=False)
    keys = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    blocks = {"depth": 4, "num_heads": 2, "hidden_size": VISION_WIDTH, "intermediate_size": 48, "out_hidden_size": TEXT_WIDTH}
    config = config_of(
        {**blocks, "patch_size": patch, **vision},
        {**language(f"{prefix}language", tokenizer), "rope_parameters": rope, **text},
        **dict(zip(keys, (id_of(tokenizer, name) for name in names), strict=True)),
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
    tokenizer = byte_tokenizer("<|image_pad|>", "<|video_pad|>", *TURNS, template=chatml("<|image_pad|>"), bos=False)
    vision = tower("video_llama_3_vision", None)
    ids = {"image_token_id": id_of(tokenizer, "<|image_pad|>"), "video_token_id": id_of(tokenizer, "<|video_pad|>")}
    images = {"size": {"shortest_edge": 28 * 28, "longest_edge": 112 * 112}}
    return Parts(tokenizer, config_of(vision, language("qwen2", tokenizer), **ids), images)


def _glm4v() -> Parts:
    keys = [f"{kind}{end}_token_id" for kind in ("image", "video") for end in ("_start", "", "_end")]
    marks = [f"<|{end}{kind}|>" for kind in ("image", "video") for end in ("begin_of_", "", "end_of_")]
    template = chat("".join(marks[:3]), "<|user|>\n", "", "<|assistant|>\n", "[gMASK]<sop>")
    tokenizer = byte_tokenizer(*marks, "<|user|>", "<|assistant|>", "[gMASK]", "<sop>", template=template, bos=False)
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2], "partial_rotary_factor": 0.5}
    blocks = {"depth": 4, "hidden_size": VISION_WIDTH, "num_heads": 2, "intermediate_size": 48}
    vision = {**blocks, "out_hidden_size": TEXT_WIDTH, "image_size": 112, "patch_size": PATCH}
    ids = {key: id_of(tokenizer, mark) for key, mark in zip(keys, marks, strict=True)}
    config = config_of(vision, language("glm4v_text", tokenizer, rope_parameters=rope), **ids)
    return Parts(tokenizer, config, {"size": {"shortest_edge": 56 * 56, "longest_edge": 224 * 224}})


def _mistral3() -> Parts:
    marks = ("[IMG]", "[IMG_BREAK]", "[IMG_END]", "[INST]", "[/INST]")
    tokenizer = byte_tokenizer(*marks, template=chat("[IMG]", "[INST]", "[/INST]", "", BOS))
    text = language("mistral", tokenizer, head_dim=16)
    config = config_of(tower("pixtral", 112), text, image_token_index=id_of(tokenizer, "[IMG]"), spatial_merge_size=2)
    images = {"size": {"longest_edge": 112}, "patch_size": square(PATCH)}
    return Parts(tokenizer, config, images, {"patch_size": PATCH, "spatial_merge_size": 2})


def _lighton_ocr() -> Parts:
    names: dict[str, Any] = {
        "image_token": "<|image_pad|>",
        "image_break_token": "<|vision_pad|>",
        "image_end_token": "<|vision_end|>",
    }
    tokenizer = byte_tokenizer(*TURNS, **names, template=chatml("<|image_pad|>"), bos=False)
    text = language("qwen3", tokenizer, head_dim=16)
    config = config_of(tower("pixtral", 112), text, image_token_id=tokenizer.image_token_id, spatial_merge_size=2)
    images = {"size": {"longest_edge": 112}, "patch_size": PATCH}
    return Parts(tokenizer, config, images, {"patch_size": PATCH, "spatial_merge_size": 2})


def _gemma4() -> Parts:
    from transformers import Gemma4AudioFeatureExtractor

    names: dict[str, Any] = {"image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>"}
    sounds: dict[str, Any] = {"audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>"}
    template = chat("<|image|>", "<|turn>user\n", "<turn|>\n", "<|turn>model\n", BOS)
    tokenizer = byte_tokenizer("<|turn>", "<turn|>", "<|video|>", **names, **sounds, template=template)
    ids = {f"{name}_id": id_of(tokenizer, token) for name, token in {**names, "video_token": "<|video|>"}.items()}
    sides = {"head_dim": 16, "sliding_window": 64, "hidden_size_per_layer_input": 8}
    sides |= {"vocab_size_per_layer_input": len(tokenizer), "global_head_dim": 16}
    text = language("gemma4_text", tokenizer, **sides, layer_types=["sliding_attention", "full_attention"])
    pool = {"patch_size": 8, "pooling_kernel_size": 2}
    vision = tower("gemma4_vision", None, **pool, head_dim=12, num_key_value_heads=2, position_embedding_size=64)
    config = config_of(vision, text, **ids, audio_config=None)
    images = {**pool, "max_soft_tokens": 70}
    return Parts(tokenizer, config, images, {"feature_extractor": Gemma4AudioFeatureExtractor(), "image_seq_length": 70})


# Idefics and its relatives: an image between marker tokens, from the third on cut into tiles

_MARKERS = ("<fake_token_around_image>", "<image>", "<end_of_utterance>")
_IDEFICS = chat("<image>", "User:", "<end_of_utterance>\n", "Assistant:")


def _idefics2() -> Parts:
    tokenizer = byte_tokenizer(*_MARKERS, template=_IDEFICS)
    latents = {"resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2, "resampler_head_dim": 8}
    perceiver = {**latents, "num_key_value_heads": 2, "hidden_size": TEXT_WIDTH}
    vision, text = tower("idefics2_vision", 56), language("mistral", tokenizer)
    config = config_of(vision, text, perceiver_config=perceiver, image_token_id=id_of(tokenizer, "<image>"))
    images = {"size": {"shortest_edge": 28, "longest_edge": 56}, "do_image_splitting": False}
    return Parts(tokenizer, config, images, {"image_seq_len": 4})


def _idefics3(vision: str = "idefics3_vision") -> Parts:
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = byte_tokenizer(*_MARKERS, "<global-img>", *tiles, template=_IDEFICS)
    image = id_of(tokenizer, "<image>")
    config = config_of(tower(vision, 56), language("llama", tokenizer), image_token_id=image, scale_factor=2)
    images = {"size": {"longest_edge": 112}, "max_image_size": {"longest_edge": 56}}
    return Parts(tokenizer, config, images, {"image_seq_len": 4})


# Towers of one image size with other joints


def _paligemma() -> Parts:
    from transformers.models.paligemma.processing_paligemma import EXTRA_TOKENS

    tokenizer = byte_tokenizer(image_token="<image>")
    tokenizer.add_tokens(EXTRA_TOKENS)
    vision, text = siglip_tower(56, projection_dim=TEXT_WIDTH), language("gemma", tokenizer, head_dim=16)
    config = config_of(vision, text, projection_dim=TEXT_WIDTH, image_token_index=tokenizer.image_token_id)
    return Parts(tokenizer, config, {"size": square(56), "image_seq_length": 16})


def _gemma3() -> Parts:
    names: dict[str, Any] = {
        "image_token": "<image_soft_token>",
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
    }
    template = chat("<start_of_image>", "<start_of_turn>user\n", "<end_of_turn>\n", "<start_of_turn>model\n", BOS)
    tokenizer = byte_tokenizer("<start_of_turn>", "<end_of_turn>", **names, template=template)
    ids = {f"{name}_index": id_of(tokenizer, token) for name, token in names.items()}
    text = language("gemma3_text", tokenizer, head_dim=16, sliding_window=64)
    config = config_of(siglip_tower(56), text, mm_tokens_per_image=4, **ids)
    return Parts(tokenizer, config, {"size": square(56)}, {"image_seq_length": 4})


def _aya_vision() -> Parts:
    turn, user, bot, end = (f"<|{name}_TOKEN|>" for name in ("START_OF_TURN", "USER", "CHATBOT", "END_OF_TURN"))
    marks = ("<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>", "TILE_GLOBAL", "TILE_1", "TILE_2")
    template = chat("<image>", turn + user, end, turn + bot, BOS)
    tokenizer = byte_tokenizer("<image>", *marks, "TILE_3", turn, user, bot, end, template=template)
    text = language("cohere2", tokenizer, sliding_window=64)
    config = config_of(siglip_tower(56), text, image_token_index=id_of(tokenizer, "<|IMG_PATCH|>"), downsample_factor=2)
    return Parts(tokenizer, config, tiles(), {"patch_size": PATCH, "img_size": 56, "downsample_factor": 2})


def _deepseek_vl() -> Parts:
    template = chat("<image_placeholder>", "User: ", "\n\n", "Assistant:", BOS)
    tokenizer = byte_tokenizer(image_token="<image_placeholder>", template=template)
    config = config_of(siglip_tower(56), language("llama", tokenizer), image_token_id=tokenizer.image_token_id)
    return Parts(tokenizer, config, {"size": square(56)}, {"num_image_tokens": 16})


def _janus() -> Parts:
    names: dict[str, Any] = {
        "image_token": "<image_placeholder>",
        "boi_token": "<begin_of_image>",
        "eoi_token": "<end_of_image>",
    }
    template = chat("<image_placeholder>\n", "<|User|>: ", "\n\n", "<|Assistant|>:")
    tokenizer = byte_tokenizer(**names, template=template)
    codes = {"embed_dim": 8, "num_embeddings": 32, "latent_channels": 32, "base_channels": 32, "channel_multiplier": [1, 1]}
    codes |= {"num_res_blocks": 1, "num_patches": 4, "projection_dim": TEXT_WIDTH, "image_token_embed_dim": TEXT_WIDTH}
    vision = tower("janus_vision_model", 56, projection_dim=TEXT_WIDTH, num_image_tokens=16, mlp_ratio=2.0)
    config = config_of(vision, language("llama", tokenizer), vq_config=codes, image_token_id=tokenizer.image_token_id)
    return Parts(tokenizer, config, {"size": square(56)}, {"num_image_tokens": 16})


def _aria() -> Parts:
    """Its processor insists on images of 980 pixels, hence the large patches."""
    tokenizer = byte_tokenizer(*TURNS, image_token="<|img|>", template=chatml("<|img|>"), bos=False)
    vision = tower("idefics3_vision", 980, patch_size=70, hidden_size=16)
    text = language("aria_text", tokenizer, moe_num_experts=2, moe_topk=1, moe_num_shared_experts=1)
    queries = {"projector_patch_to_query_dict": {196: 8}}
    config = config_of(vision, text, **queries, image_token_index=tokenizer.image_token_id)
    return Parts(tokenizer, config, {"max_image_size": 980}, {"size_conversion": {980: 8}})


def _ovis2() -> Parts:
    marks = ("<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>")
    tokenizer = byte_tokenizer("<image>", "<IMG_ATOM>", *marks, *TURNS, template=chatml("<image>\n"), bos=False)
    vision = tower("ovis2_visual", 56, vocab_size=64, hidden_stride=2, num_visual_indicator_tokens=5)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": TEXT_WIDTH}
    ids = {"image_token_id": id_of(tokenizer, "<IMG_ATOM>"), "visual_indicator_token_ids": [id_of(tokenizer, m) for m in marks]}
    return Parts(tokenizer, config_of(vision, language("qwen2", tokenizer), **ids, **sizes), tiles(), {"image_seq_length": 4})


def _got_ocr2() -> Parts:
    """Its processor always writes 256 image tokens, hence the small patches; it has no chat template."""
    tokenizer = byte_tokenizer(*TURNS, "<img>", "</img>", "<imgpad>", bos=False)
    blocks = {
        "hidden_size": VISION_WIDTH,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "mlp_dim": 48,
        "output_channels": 16,
    }
    vision = {**blocks, "image_size": 256, "patch_size": 4, "window_size": 16, "global_attn_indexes": []}
    ids = {"image_token_index": id_of(tokenizer, "<imgpad>"), "image_seq_length": 256}
    return Parts(tokenizer, config_of(vision, language("qwen2", tokenizer), **ids), {"size": square(256)})


# Cross-attention, query transformers, encoder-decoders: mostly without chat template


def _mllama() -> Parts:
    marks = ("<|image|>", "<|python_tag|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    user, assistant = (f"<|start_header_id|>{role}<|end_header_id|>\n\n" for role in ("user", "assistant"))
    tokenizer = byte_tokenizer(*marks, template=chat("<|image|>", user, "<|eot_id|>", assistant, BOS))
    vision = tower("mllama_vision_model", 56, attention_heads=2, num_global_layers=2, intermediate_layers_indices=[1, 2])
    vision["vision_output_dim"] = 3 * VISION_WIDTH
    text = language("mllama_text_model", tokenizer, num_hidden_layers=3, cross_attention_layers=[1])
    config = config_of(vision, text, image_token_index=id_of(tokenizer, "<|image|>"))
    return Parts(tokenizer, config, {"size": square(56), "max_image_tiles": 4})


def _blip(prefix: str, tokenizer: Any, text: dict[str, Any], **extras: Any) -> Parts:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    query = {**sizes, "encoder_hidden_size": VISION_WIDTH, "vocab_size": len(tokenizer)}
    image = id_of(tokenizer, "<image>")
    vision = tower(f"{prefix}_vision_model", 56)
    config = config_of(vision, text, qformer_config=query, num_query_tokens=4, image_token_index=image)
    return Parts(tokenizer, config, {"size": square(56)}, {"num_query_tokens": 4, **extras})


def _blip2() -> Parts:
    tokenizer = byte_tokenizer("<image>")
    return _blip("blip_2", tokenizer, language("opt", tokenizer, ffn_dim=48, word_embed_proj_dim=TEXT_WIDTH))


def _instructblip() -> Parts:
    tokenizer = byte_tokenizer("<image>")
    return _blip("instructblip", tokenizer, language("llama", tokenizer), qformer_tokenizer=byte_tokenizer())


def _kosmos2() -> Parts:
    tokenizer = byte_tokenizer(unk=True)
    places = 16
    sizes = {"embed_dim": TEXT_WIDTH, "layers": 2, "ffn_dim": 48, "attention_heads": 2, "max_position_embeddings": 512}
    text = {**sizes, **special_ids(tokenizer), "vocab_size": len(tokenizer) + places + 11}
    config = config_of(tower("kosmos_2_vision_model", 56), text, latent_query_num=64)
    return Parts(tokenizer, config, _crop(56), {"num_patch_index_tokens": places})


def _florence2() -> Parts:
    tokenizer = byte_tokenizer(image_token="<image>")
    stages = {"depths": [1, 1, 1, 1], "embed_dim": [8, 16, 16, 24], "num_heads": [2] * 4, "num_groups": [2] * 4}
    vision = {"model_type": "florence_vision", **stages, "window_size": 4, "projection_dim": TEXT_WIDTH}
    sizes = {"layers": 2, "ffn_dim": 48, "attention_heads": 2}
    halves = {f"{half}_{name}": value for half in ("encoder", "decoder") for name, value in sizes.items()}
    text = {"model_type": "bart", "d_model": TEXT_WIDTH, "vocab_size": len(tokenizer), **halves, **special_ids(tokenizer)}
    config = config_of(vision, {**text, "decoder_start_token_id": 2}, image_token_id=tokenizer.image_token_id)
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
