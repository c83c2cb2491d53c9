"""Shrunk configurations of every family in transformers' image-text-to-text mapping.

The configs are the families' own, with well-known sizes made small (``SIZES``) and what that gets wrong set right family
by family (``OVERRIDES``). The vision tower has four blocks 32 wide and the language model three layers 64 wide, so that
mixing them up, or their order, shows. Nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

PAD, BOS, EOS, IMAGE, VOCAB = 0, 1, 2, 100, 128
WIDE, NARROW = 64, 32  # the language model's and the vision tower's hidden sizes
LAYERS, BLOCKS = 3, 4  # ... and their numbers of layers
SIDE, PATCH = 32, 8  # the image's and the patch's sides, in pixels
GRIDS = torch.tensor([[1, 4, 4], [1, 4, 6]])  # time, rows and columns of patches, where images of any size fit a batch

Made = tuple[dict[str, Any], list[int]]  # the image tensors, and how many placeholders each stimulus has

# What well-known fields of a config become: in the language model, and in a tower.
SIZES: dict[str, tuple[Any, Any]] = {
    "hidden_size d_model embed_dim word_embed_proj_dim": (WIDE, NARROW),
    "intermediate_size ffn_dim d_ff encoder_ffn_dim decoder_ffn_dim mlp_dim": (96, 40),
    "num_hidden_layers num_layers layers depth n_layers encoder_layers decoder_layers num_decoder_layers": (LAYERS, BLOCKS),
    "num_attention_heads num_heads attention_heads encoder_attention_heads decoder_attention_heads": (4, 2),
    "swa_num_attention_heads num_sliding_attention_heads linear_num_value_heads": (4, 2),
    "num_key_value_heads swa_num_key_value_heads linear_num_key_heads index_n_heads linear_num_heads": (2, 2),
    "head_dim swa_head_dim d_kv v_head_dim qk_nope_head_dim index_head_dim": (16, 16),
    "linear_head_dim linear_key_head_dim linear_value_head_dim": (16, 16),
    "qk_rope_head_dim rotary_dim sliding_window": (8, 8),
    "kv_lora_rank q_lora_rank num_experts num_local_experts n_routed_experts moe_num_experts": (4, 4),
    "num_experts_per_tok moe_topk moe_k top_k_experts": (2, 2),
    "n_group topk_group": (1, 1),
    "moe_intermediate_size shared_expert_intermediate_size dense_intermediate_size shared_intermediate_size": (24, 24),
    "moe_shared_expert_intermediate_size share_expert_dim shared_experts_intermediate_size moe_hidden_size": (24, 24),
    "out_hidden_size text_hidden_size projection_dim projector_hidden_size output_dim adapter_out_dim": (WIDE, WIDE),
    "encoder_hidden_size projection_hidden_size latent_channels base_channels": (NARROW, NARROW),
    "adapter_in_dim adapter_input_size codebook_dim vision_hidden_size decoder_hidden_size": (NARROW, NARROW),
    "projection_hidden_dim projection_intermediate_size decoder_intermediate_size alignment_intermediate_size": (40, 40),
    "hidden_size_per_layer_input output_channels num_pos_feats mel_vocab_size loop_gate_rank": (16, 16),
    "downsample_hidden_size position_embedding_size mm_posemb_size num_position_embeddings num_patches": (16, 16),
    "num_query_tokens latent_query_num": (6, 6),
    "num_res_blocks decoder_num_layers": (1, 1),
    "codebook_size num_embeddings": (8, 8),
    "pooling_kernel_size": (2, 2),
    "patch_embed_hidden_size": (3 * PATCH**2, 3 * PATCH**2),
    "vocab_size vocab_size_per_layer_input": (VOCAB, VOCAB),
    "image_size resolution window_size": (SIDE, SIDE),
    "patch_size n_mel_bins num_mel_bins": (PATCH, PATCH),
    "max_position_embeddings max_source_positions": (256, 64),
    "deepstack_visual_indexes": ([0, 2], [0, 2]),
    "fullatt_block_indexes global_attn_indexes": ([1, 3], [1, 3]),
    "initializer_range init_std": (0.05, 0.05),
}
SIZES = {name: sizes for names, sizes in SIZES.items() for name in names.split()}
TOKENS = {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS, "image_token_id": IMAGE, "image_token_index": IMAGE}
PER_LAYER = ("layer_types", "mlp_layer_types", "indexer_types", "layers_block_type")


def _in(part: str, **values: Any) -> dict[str, Any]:
    return {f"{part}.{key}": value for key, value in values.items()}


# Three-axis rotary positions that fit heads 16 wide, where they turn all of a head, and half of it.
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}
HALF = {**ROPE, "partial_rotary_factor": 0.5, "mrope_section": [2, 1, 1]}
MROPE = _in("text_config", rope_parameters=ROPE)
TILES = {"image_grid_pinpoints": [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]}
SAM = _in("vision_config", image_size=2 * SIDE, window_size=3)
MINICPM = {"image_token_id": IMAGE, "insert_layer_id": 1, "vision_config.insert_layer_id": 1}
CODES = [110 + i for i in range(8)]  # the ids of a visual vocabulary

# What the above does not get right: dotted field -> value, family by family. A sub-config may be given as a model type.
OVERRIDES: dict[str, dict[str, Any]] = {
    "apertus1p5": {
        **_in("vision_config", channel_multiplier=(1, 1, 1, 1)),
        **_in("audio_config", num_filters=2),
        "image_token_offset": CODES[0],
        "audio_token_offset": CODES[-1] + 1,
    },
    "aria": {"projector_patch_to_query_dict": {16: 4}},
    "blip-2": {"image_token_index": IMAGE},
    "chameleon": {
        **_in("vq_config", channel_multiplier=(1, 1, 1, 1)),
        "vocabulary_map": {"<image>": IMAGE} | {f"IMGIMG{digit}Z": code for digit, code in zip("ABCDEFGH", CODES, strict=True)},
    },
    "cohere_compass": _in("text_config", rope_parameters={"full_attention": ROPE, "sliding_attention": ROPE}),
    "deepseek_ocr2": {
        **_in("vision_config.sam_config", window_size=3, downsample_channels=[16, NARROW]),
        **_in("text_config", mlp_layer_types=["dense", "sparse", "sparse"], num_experts_per_tok=2),
    },
    "deepseek_vl_hybrid": _in("high_res_vision_config", image_size=2 * SIDE, window_size=3),
    "diffusion_gemma": {
        **_in("text_config", num_experts=4, top_k_experts=2, moe_intermediate_size=24),
        "canvas_length": 5,
    },
    "dots3_note": {
        **_in("text_config", num_key_value_heads=4, layer_types=["indexed_attention"] * LAYERS, head_dim=24),
        **_in("audio_config", conv_output_size=256),
    },
    "emu3": {
        **_in("vq_config", channel_multiplier=(1, 1, 1, 1), embed_dim=4, latent_channels=4),
        "vocabulary_map": {"<image>": IMAGE, "<|extra_200|>": 109}
        | {f"<|visual token {i:06d}|>": code for i, code in enumerate(CODES)},
    },
    "ernie4_5_vl_moe": _in("text_config", moe_intermediate_size=[24, 16], rope_parameters={**ROPE, "mrope_section": [3, 3, 2]}),
    "fast_vlm": {
        "vision_config": "convnext",
        **_in("vision_config", hidden_size=NARROW, hidden_sizes=[8, 16, NARROW], depths=[1, 2, 1], num_stages=3, patch_size=4),
    },
    "florence2": {
        **_in("vision_config", depths=(1, 1, 2, 1), embed_dim=(8, 16, 24, NARROW), window_size=3),
        **_in("vision_config", num_heads=(1, 2, 3, 4), num_groups=(1, 2, 3, 4)),
    },
    "gemma3": {"mm_tokens_per_image": 4},
    "gemma4": {"vision_config": "gemma4_vision"},
    "gemma4_unified": {
        "vision_config": "gemma4_unified_vision",
        **_in("vision_config", patch_size=4, mm_embed_dim=NARROW, output_proj_dims=NARROW),
    },
    **dict.fromkeys(("glm46v", "glm4v", "glm_ocr", "glmga", "paddleocr_vl", "qwen2_5_vl"), MROPE),
    "glm4v_moe": _in("text_config", rope_parameters=HALF),
    "glm5_next": _in("text_config", num_key_value_heads=4, qk_rope_head_dim=0, head_dim=0, index_kpool=2, index_topk=4),
    "got_ocr2": SAM,
    "granite4_vision": {
        **TILES,
        "downsample_rate": "1/2",
        "deepstack_layer_map": [[-1, 0], [-2, 1]],
        "spatial_target_layers": [0, 1, 2, 2],
        "vision_config.hidden_size": 128,  # its Q-Formers have a head for every 64 of it
    },
    "granite_docling": _in("vision_config", scale_factor=2),
    "hunyuan_vl": _in("text_config", head_dim=16, rope_parameters=ROPE),
    "hy_v4_vl": _in("text_config", rope_parameters={**ROPE, "mrope_section": [2, 1, 1]}),
    "idefics": {"alpha_initializer": "ones"},
    "inkling2": _in("text_config", unpadded_vocab_size=VOCAB),
    "inkling2_loop": _in(
        "text_config",
        unpadded_vocab_size=VOCAB,
        n_layers_per_attn_res_block=1,
        loop_layer_index_start=1,
        loop_layer_index_end=2,
    ),
    "instructblip": {"image_token_index": IMAGE},
    "instructblipvideo": {"video_token_index": IMAGE},
    "janus": {**_in("vision_config", num_image_tokens=16), **_in("vq_config", channel_multiplier=(1, 1))},
    "kimi_k25": _in("text_config", num_key_value_heads=4),
    "kosmos-2.5": _in("vision_config", max_num_patches=32),
    "llama4": {
        **_in("vision_config", intermediate_size=4 * NARROW, vision_output_dim=WIDE),
        **_in("vision_config", projector_input_dim=WIDE, projector_output_dim=WIDE),
    },
    **dict.fromkeys(("llava_next", "llava_next_video", "llava_onevision"), TILES),
    **dict.fromkeys(("minicpm_ocr", "minicpmv4_6", "minicpmv4_7"), MINICPM),
    "mistral_large4": _in("text_config", num_key_value_heads=4),
    "mllama": {
        **_in("vision_config", intermediate_layers_indices=[0, 2], vision_output_dim=3 * NARROW, num_global_layers=2),
        **_in("text_config", cross_attention_layers=[1]),
    },
    "molmo2": {"image_patch_id": IMAGE, **_in("adapter_config", vision_feature_layer=[3, 1])},
    "muse_glimmer": {"out_hidden_size": 4 * NARROW},
    "muse_spark": {"out_hidden_size": 4 * NARROW, **_in("audio_config", hidden_sizes=(8, 8, 8, 8))},
    "nemotron_h_omni": {
        "image_token_id": IMAGE,
        **_in("vision_config", video_temporal_patch_size=2, max_img_size=2 * SIDE),
    },
    "perception_lm": {"vision_config": "vit", **_in("vision_config", model_args={"embed_dim": NARROW})},
    "pi0": {"chunk_size": 5},
    "pix2struct": _in("vision_config", hidden_size=WIDE, num_attention_heads=4),
    "pp_chart2table": SAM,
    "pp_formulanet": {
        **SAM,
        **_in("vision_config", post_conv_in_channels=16, post_conv_mid_channels=24, post_conv_out_channels=NARROW),
        **_in("vision_config", decoder_hidden_size=WIDE),
    },
    "qwen2_5_omni_thinker": {"vision_start_token_id": 120, **MROPE},
    "qwen2_vl": {**MROPE, **_in("vision_config", hidden_size=WIDE)},
    "qwen3_omni_moe_thinker": {"vision_start_token_id": 120},
    "qwen4_exp": {
        **_in("text_config", rope_parameters=HALF, hc_lowrank=8, indexer_n_heads=2, indexer_kv_heads=1),
        **_in("text_config", indexer_head_dim=16, indexer_budget=4, indexer_compress_ratio=2),
    },
    "shieldgemma2": {"mm_tokens_per_image": 4},
    "step3p7": _in("text_config", sliding_window=8),
    "t5gemma2": _in("encoder", mm_tokens_per_image=4),
    "unlimited_ocr": {
        **_in("vision_config.sam_config", image_size=2 * SIDE, window_size=3, downsample_channels=(16, NARROW)),
        **_in("vision_config.encoder_config", image_size=2 * PATCH),
    },
    "vipllava": {"vision_feature_layer": (-2, -3, 1)},
}
UNBUILDABLE = {
    "evolla": "it reads proteins, not images",
    "gemma3n": "its vision tower comes from timm, which needs torchvision",
    "mistral4": "it is a language model without an image encoder",
}


class Unbuildable(RuntimeError):
    """There is no tiny model of this family, for the reason given."""


def families() -> tuple[str, ...]:
    """All model types of the image-text-to-text mapping, in its order."""
    return tuple(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)


def config(family: str) -> Any:
    """The family's config, shrunk.

    FastVLM and PerceptionLM take any vision config and default to one of timm's; they get a ConvNeXt and a ViT here.

    Raises:
        Unbuildable: no tiny model of this family can be had; the message says why.
    """
    if family in UNBUILDABLE:
        raise Unbuildable(f"{family}: {UNBUILDABLE[family]}")
    return _shrink(CONFIG_MAPPING[family](), "", OVERRIDES.get(family, {}))


def _shrink(full: Any, name: str, overrides: dict[str, Any]) -> Any:
    """The config, or the sub-config called ``name``, with every well-known size made small."""
    tower = int(name != "" and not any(word in name for word in ("text", "decoder", "dit", "vlm")))
    known = {field.name for field in fields(full)} | set(full.attribute_map.values())
    tokens = iter(range(IMAGE + 1, VOCAB))
    plain = type(full)()
    values = {}
    for key, old in vars(full).items():
        if key in full.sub_configs:
            part = CONFIG_MAPPING[overrides[key]]() if key in overrides else old
            inner = {
                inside.removeprefix(f"{key}."): value for inside, value in overrides.items() if inside.startswith(f"{key}.")
            }
            values[key] = part and _shrink(part, key, inner)
        elif key in known and old is not None and (new := _small(key, old, tower, tokens)) is not None:
            values[key] = new
        elif key in known and isinstance(old, bool | int | float | str) and old != getattr(plain, key, None):
            values[key] = old  # what the family sets in a config that it shares with others
    values.update({key: value for key, value in overrides.items() if "." not in key and key not in full.sub_configs})
    return type(full)(**values)


def _small(key: str, old: Any, tower: int, tokens: Any) -> Any:
    """What a field of a config becomes; None where nothing is to be set, so that the config can work it out."""
    if key in SIZES:
        new = SIZES[key][tower]
        if isinstance(new, list) or isinstance(old, int | float):
            return new
        return type(old)([new] * len(old)) if key in ("image_size", "patch_size") and len(set(old)) == 1 else None
    if key in PER_LAYER:
        return _cycle(list(old), BLOCKS if tower else LAYERS)
    if key == "rope_parameters":
        return _rope(old)
    if key.endswith(("token_id", "token_index", "_id")) and isinstance(old, int):
        return TOKENS[key] if key in TOKENS else next(tokens)
    return None


def _cycle(kinds: list[str], count: int) -> list[str]:
    """``count`` layers which take the kinds in turn and end with the global one."""
    unique = list(dict.fromkeys(kinds))
    last = next((kind for kind in unique if kind in ("full_attention", "sparse", "full")), unique[-1])
    return [*(unique[i % len(unique)] for i in range(count - 1)), last]


def _rope(old: dict[str, Any]) -> dict[str, Any]:
    """Rotary parameters that fit heads 16 wide."""
    new = {key: _rope(value) if isinstance(value, dict) else value for key, value in old.items()}
    if "partial_rotary_factor" in new:
        new["partial_rotary_factor"] = 0.5
    if "mrope_section" in new:
        new["mrope_section"] = [2, 1, 1] if "partial_rotary_factor" in new else [4, 2, 2]
    return new
