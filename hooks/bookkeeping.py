"""Which positions of a batch's prompts are the image's, which are padding and which an answer's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from hooks.patches import patches
from hooks.stages import Stages
from hooks.tokens import TokenLayout

IMAGE_MASKS = ("image_embeds_position_mask",)
"""Inputs by which a processor says where the image stands, whatever ids are there."""


def image_token(model: Any, stages: Stages) -> int | None:
    """The id of the image's placeholder: as the config says, else as the self-test found it."""
    for name in ("image_token_id", "image_token_index", "media_placeholder_token_id"):
        found = getattr(model.config, name, None)
        if isinstance(found, int):
            return found
    return stages.image_token


def bookkeeping(model: Any, stages: Stages, tensors: Mapping[str, Any], answer: torch.Tensor | None = None) -> TokenLayout:
    """Which rows and positions of a batch are whose.

    Args:
        model: for its image token and feature selection.
        stages: its map.
        tensors: the inputs of one forward pass.
        answer: bool, the positions of given answers; none by default.
    """
    ids = tensors["input_ids"] if "input_ids" in tensors else tensors["decoder_input_ids"]
    given = tensors.get("attention_mask")
    mask = given.bool() if given is not None and given.shape == ids.shape else torch.ones_like(ids, dtype=torch.bool)
    token = image_token(model, stages)
    told = next((tensors[name] for name in IMAGE_MASKS if name in tensors), None)
    image = told.bool() if told is not None else (ids == token) & mask if token is not None else torch.zeros_like(mask)
    decoder = tensors.get("decoder_input_ids")
    spoken = answer if answer is not None else torch.zeros_like(mask if decoder is None else decoder, dtype=torch.bool)
    cls = int(getattr(model.config, "vision_feature_select_strategy", None) == "default")
    side = getattr(getattr(model.config, "vision_config", None), "patch_size", None)
    shown = patches(tensors, tuple(image.sum(1).tolist()), cls, stages.extra, side if isinstance(side, int) else 0)
    return TokenLayout(image, ~mask, spoken, stages.layouts, shown, decoder is not None, stages.live)
