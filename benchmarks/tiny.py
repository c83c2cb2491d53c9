"""Tiny random models, and inputs for one forward pass, of every family whose configuration could be shrunk."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForImageTextToText

from benchmarks.tiny_configs import BOS, GRIDS, IMAGE, PAD, PATCH, SIDE, Made, Unbuildable, config, families

__all__ = ["Unbuildable", "config", "families", "inputs", "model"]


def model(family: str, seed: int = 0) -> Any:
    """A random model of the family, fp32 on the CPU and in eval mode.

    Raises:
        Unbuildable: no tiny model of this family can be had; the message says why.
    """
    small = config(family)
    torch.manual_seed(seed)
    made = AutoModelForImageTextToText.from_config(small, dtype=torch.float32).eval()
    for weights in made.parameters():
        if not weights.any():  # gates and projections which start at zero would hide the image
            torch.nn.init.normal_(weights, std=0.05)
    return made


def inputs(family: str, model: Any, seed: int = 0) -> dict[str, Any]:
    """One batch of two stimuli, each some text, one image and some text; the images differ in size where they can.

    Every value is a tensor, but for two lists of Unlimited-OCR's, which splits by lists only.
    """
    torch.manual_seed(seed)
    wants = set(inspect.signature(model.forward).parameters)
    rule = INPUTS.get(family) or (_packed if "image_grid_thw" in wants else _plain)
    image, counts = rule(model)
    made = _text(counts)
    ids = made["input_ids"]
    marks = (ids == IMAGE).long()
    made.update({key: marks for key in ("mm_token_type_ids", "token_type_ids")})
    if model.config.is_encoder_decoder:
        made["decoder_input_ids"] = torch.tensor([[BOS, 31, 32], [BOS, 33, 34]])
    made = {key: value for key, value in made.items() if key in wants}
    return made | {key: value(ids) if callable(value) else value for key, value in image.items()}


def _text(counts: list[int]) -> dict[str, torch.Tensor]:
    """Ids with so many image placeholders between text, the shorter one padded on its right."""
    rows = [[BOS, 11, 12 + i, *[IMAGE] * count, 21, 22 + i, 23] for i, count in enumerate(counts)]
    ids = torch.full((len(rows), max(map(len, rows))), PAD)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
    return {"input_ids": ids, "attention_mask": (ids != PAD).long()}


def _ask(model: Any, image: dict[str, Any]) -> Made:
    """The image tensors, and how many features each of the two images makes, by the model's own word."""
    owner = next(module for module in model.modules() if hasattr(module, "get_image_features"))
    with torch.no_grad():
        found = owner.get_image_features(**image)
    found = found if isinstance(found, torch.Tensor | list | tuple) else found.get("pooler_output", found.last_hidden_state)
    if isinstance(found, torch.Tensor):
        return image, [found.numel() // found.shape[-1] // 2] * 2
    return image, [part.numel() // part.shape[-1] for part in found]


def _side(model: Any) -> int:
    """The side of the images the model's tower takes."""
    vision = getattr(model.config, "vision_config", model.config)
    side = getattr(vision, "image_size", SIDE)
    return side if isinstance(side, int) else side[0]


def _plain(model: Any) -> Made:
    """Two images of one size."""
    return _ask(model, {"pixel_values": torch.randn(2, 3, _side(model), _side(model))})


def _packed(model: Any, frames: int = 0, flat: bool = True, newline: int = 0, ends: int = 0) -> Made:
    """The patches of both images in one sequence, with their grids, as Qwen-VL takes them."""
    vision = model.config.vision_config
    merge = getattr(vision, "spatial_merge_size", getattr(vision, "merge_size", 2))
    frames = frames or getattr(vision, "temporal_patch_size", 1)
    shape = (3 * frames * PATCH * PATCH,) if flat else (3, PATCH, PATCH)
    image = {"pixel_values": torch.randn(int(GRIDS.prod(1).sum()), *shape), "image_grid_thw": GRIDS.clone()}
    return image, [rows // merge * (columns // merge + newline) + ends for _, rows, columns in GRIDS.tolist()]


def _tiles(model: Any, side: int = SIDE // PATCH) -> Made:
    """LLaVA-NeXT's: an overview and two or four tiles, the fewer padded; sizes in pixels, and a newline ends each row."""
    sizes = torch.tensor([[SIDE, 2 * SIDE], [2 * SIDE, 2 * SIDE]])
    counts = [side**2 + side * (2 * side + 1), side**2 + 2 * side * (2 * side + 1)]
    pixels = torch.randn(2, 5, 3, SIDE, SIDE)
    pixels[0, 3:] = 0  # as the processors pad
    return {"pixel_values": pixels, "image_sizes": sizes}, counts


def _padded(model: Any) -> Made:
    """Pixtral's: pixels padded to the larger image, with the true sizes."""
    sizes = torch.tensor([[SIDE, SIDE], [SIDE, SIDE + 2 * PATCH]])
    return _ask(model, {"pixel_values": torch.randn(2, 3, SIDE, SIDE + 2 * PATCH), "image_sizes": sizes})


def _crops(model: Any, mask: bool = False) -> Made:
    """Idefics': one image per stimulus and a second crop of the second one."""
    pixels = torch.randn(2, 2, 3, SIDE, SIDE)
    pixels[0, 1] = 0
    config, vision = model.config, model.config.vision_config
    scale = getattr(config, "scale_factor", getattr(vision, "scale_factor", 1))
    per = (vision.image_size // vision.patch_size // scale) ** 2
    per = config.perceiver_config.resampler_n_latents if "perceiver_config" in config.sub_configs else per
    present = {"pixel_attention_mask": torch.tensor([[True, False], [True, True]])} if mask else {}
    return {"pixel_values": pixels, **present}, [per, 2 * per]


def _naflex(model: Any) -> Made:
    """SigLIP 2's: flattened patches padded to the longer image, with both grids and a mask."""
    shapes = GRIDS[:, 1:].clone()
    mask = (torch.arange(int(shapes.prod(1).max())) < shapes.prod(1, keepdim=True)).long()
    pixels = torch.randn(*mask.shape, 3 * PATCH * PATCH)
    return _ask(model, {"pixel_values": pixels, "spatial_shapes": shapes, "pixel_attention_mask": mask})


def _positions(model: Any) -> Made:
    """Gemma 4's: flattened patches with their columns and rows, -1 where padded; two by two make a placeholder."""
    vision = model.config.vision_config
    side = getattr(vision, "model_patch_size", PATCH)  # where patches are merged before they come
    counts = GRIDS.prod(1)
    places = torch.full((2, int(counts.max()), 2), -1)
    for i, (_, rows, columns) in enumerate(GRIDS.tolist()):
        places[i, : rows * columns] = torch.tensor([(x, y) for y in range(rows) for x in range(columns)])
    image = {"pixel_values": torch.rand(2, int(counts.max()), 3 * side**2), "image_position_ids": places}
    return image, (counts if hasattr(vision, "model_patch_size") else counts // vision.pooling_kernel_size**2).tolist()


def _flattened() -> torch.Tensor:
    """Pix2Struct's patches, with their row and column in front; the shorter one is padded."""
    patches = torch.randn(2, 24, 2 + 3 * PATCH**2)
    patches[..., 0], patches[..., 1] = torch.arange(24) // 6 + 1, torch.arange(24) % 6 + 1
    patches[0, 16:] = 0
    return patches


def _local(model: Any) -> Made:
    """An overview of each image, and two more tiles of the second one."""
    side = getattr(getattr(model.config.vision_config, "sam_config", None), "image_size", SIDE)
    image = {"pixel_values": torch.randn(2, 3, side, side), "pixel_values_local": torch.randn(2, 3, side, side)}
    if "patches_grid" in inspect.signature(model.forward).parameters:  # which splits by lists
        return _ask(model, {**image, "num_local_patches": [0, 2], "patches_grid": [[0, 0], [2, 1]]})
    return _ask(model, {**image, "num_local_patches": torch.tensor([0, 2])})


def _mllama(model: Any) -> Made:
    """One and two of four tiles; the language model looks at them by cross-attention."""
    vision = model.config.vision_config
    pixels = torch.randn(2, 1, vision.max_num_tiles, 3, SIDE, SIDE)
    mask = torch.zeros(2, 1, vision.max_num_tiles, dtype=torch.long)
    mask[0, 0, :1] = mask[1, 0, :2] = 1
    return {
        "pixel_values": pixels,
        "aspect_ratio_ids": torch.tensor([[1], [2]]),
        "aspect_ratio_mask": mask,
        "cross_attention_mask": lambda ids: mask[:, None].expand(-1, ids.shape[1], -1, -1).clone(),
    }, [1, 1]


def _unplaced(model: Any) -> Made:
    """Two images of one size, which take no place in the text."""
    return {"pixel_values": torch.randn(2, 3, _side(model), _side(model))}, [0, 0]


def _blocks(model: Any) -> Made:
    """Inkling 2's: one square of pixels per placeholder, channels last; the grid counts placeholders."""
    grids, side = GRIDS // torch.tensor([1, 2, 2]), 2 * PATCH
    counts = grids.prod(1).tolist()
    return {"pixel_values": torch.randn(sum(counts), side, side, 3), "image_grid_thw": grids}, counts


def _slices(model: Any) -> Made:
    """MiniCPM-V's: the patches of both images in one long strip, with the rows and columns of each."""
    sizes = torch.tensor([[4, 4], [4, 8]])
    strip = torch.randn(1, 3, PATCH, PATCH * int(sizes.prod(1).sum()))
    owner = model.base_model
    return _ask(owner, {"pixel_values": strip, "target_sizes": sizes})


def _molmo2(model: Any) -> Made:
    """An overview and one or two crops, with the four patches which each placeholder pools."""
    grids = torch.tensor([[2, 2, 2, 2], [2, 2, 2, 4]])
    four = torch.tensor([0, 1, 4, 5])
    crop = torch.stack([four + row * 8 + column * 2 for row in range(2) for column in range(2)])
    wide = torch.stack(
        [four + side * 16 + row * 8 + column * 2 for row in range(2) for side in range(2) for column in range(2)]
    )
    pooling = torch.cat([crop, crop + 16, crop + 32, wide + 48])
    image = {"pixel_values": torch.randn(5, 16, 3 * PATCH**2), "image_token_pooling": pooling, "image_grids": grids}
    return {**image, "image_num_crops": torch.tensor([2, 3])}, [8, 12]


def _queried(model: Any, frames: int = 0) -> Made:
    """InstructBLIP's: the Q-Former reads a text of its own."""
    shape = (2, frames, 3, SIDE, SIDE) if frames else (2, 3, SIDE, SIDE)
    image = {"pixel_values": torch.randn(shape), "qformer_input_ids": torch.tensor([[BOS, 41, 42], [BOS, 43, 44]])}
    return image, [model.config.num_query_tokens * max(frames, 1)] * 2


def _marked(model: Any) -> Made:
    """Kosmos': a mask says where the image goes."""
    marks = {"image_embeds_position_mask": lambda ids: (ids == IMAGE).long()}
    patches = "flattened_patches" in inspect.signature(model.forward).parameters
    image = {"flattened_patches": _flattened()} if patches else {"pixel_values": torch.randn(2, 3, SIDE, SIDE)}
    return image | marks, [model.config.latent_query_num] * 2


def _pix2struct(model: Any) -> Made:
    """The encoder reads the patches alone; the text is the decoder's."""
    patches = _flattened()
    return {"flattened_patches": patches, "attention_mask": (patches.abs().sum(-1) > 0).long()}, [0, 0]


def _udop(model: Any) -> Made:
    """Every token has a box on the page."""
    pixels = torch.randn(2, 3, SIDE, SIDE)
    return {"pixel_values": pixels, "bbox": lambda ids: torch.rand(*ids.shape, 4).sort(-1).values}, [0, 0]


def _hybrid(model: Any) -> Made:
    """The same two images once more, larger, for a second tower."""
    image = {"pixel_values": torch.randn(2, 3, SIDE, SIDE)}
    return _ask(model, {**image, "high_res_pixel_values": torch.randn(2, 3, 2 * SIDE, 2 * SIDE)})


def _idefics(model: Any) -> Made:
    """The language model looks at the images by gated cross-attention."""
    image = {"pixel_values": torch.randn(2, 1, 3, SIDE, SIDE)}
    return {**image, "image_attention_mask": lambda ids: torch.ones(*ids.shape, 1, dtype=torch.long)}, [1, 1]


def _nemotron(model: Any) -> Made:
    """Packed patches with their rows and columns."""
    image, counts = _packed(model)
    return {"pixel_values": image["pixel_values"], "image_grid_hw": GRIDS[:, 1:].clone()}, counts


def _merging(model: Any) -> Made:
    """VideoLLaMA 3's: every image says how many patches across are merged."""
    image, counts = _packed(model)
    return image | {"image_merge_sizes": torch.tensor([2, 2])}, counts


def _pi0(model: Any) -> Made:
    """One camera; a state and noisy actions go with the text."""
    config = model.config
    return {
        "pixel_values": torch.randn(2, 1, 3, SIDE, SIDE),
        "pixel_attention_mask": torch.ones(2, 1, dtype=torch.bool),
        "state": torch.randn(2, config.max_state_dim),
        "noise": torch.randn(2, config.chunk_size, config.max_action_dim),
        "timestep": torch.rand(2),
    }, [16, 16]


INPUTS: dict[str, Callable[[Any], Made]] = {
    "blip": _unplaced,
    "git": _unplaced,
    "pp_formulanet": _unplaced,
    "vision-encoder-decoder": _unplaced,
    **dict.fromkeys(("llava_next", "llava_next_video", "llava_onevision"), _tiles),
    **dict.fromkeys(("mistral3", "mistral_large4", "lighton_ocr", "apertus1p5", "emu3"), _padded),
    **dict.fromkeys(("idefics2", "idefics3", "smolvlm"), _crops),
    **dict.fromkeys(("gemma4", "gemma4_unified", "diffusion_gemma"), _positions),
    **dict.fromkeys(("step3p7", "deepseek_ocr2", "unlimited_ocr"), _local),
    **dict.fromkeys(("kimi_k25", "paddleocr_vl"), lambda model: _packed(model, flat=False)),
    **dict.fromkeys(("muse_glimmer", "muse_spark"), lambda model: _packed(model, frames=2)),
    **dict.fromkeys(("inkling2", "inkling2_loop"), _blocks),
    **dict.fromkeys(("minicpm_ocr", "minicpmv4_6", "minicpmv4_7"), _slices),
    **dict.fromkeys(("kosmos-2", "kosmos-2.5"), _marked),
    "deepseek_vl_hybrid": _hybrid,
    "fuyu": lambda model: ({"pixel_values": torch.randn(2, 16, 3 * PATCH**2)}, [16, 16]),
    "granite_docling": lambda model: _crops(model, mask=True),
    "granite4_vision": lambda model: _tiles(model, SIDE // PATCH // 2),
    "hunyuan_vl": lambda model: _packed(model, newline=1, ends=2),
    "hy_v4_vl": lambda model: _packed(model, newline=1),
    "idefics": _idefics,
    "inkling_mm_model": lambda model: ({"pixel_values": torch.randn(10, 2, PATCH, PATCH, 3)}, [4, 6]),
    "instructblip": _queried,
    "instructblipvideo": lambda model: _queried(model, frames=2),
    "lfm2_vl": _naflex,
    "mllama": _mllama,
    "molmo2": _molmo2,
    "nemotron_h_omni": _nemotron,
    "pi0": _pi0,
    "perception_lm": lambda model: _ask(model, {"pixel_values": torch.randn(2, 1, 3, SIDE, SIDE)}),
    "pix2struct": _pix2struct,
    "udop": _udop,
    "video_llama_3": _merging,
}
