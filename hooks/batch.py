"""From images and questions to model inputs, with the bookkeeping of every token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from hooks.patches import patches
from hooks.stages import Stages
from hooks.tokens import TokenLayout
from stimuli.errors import InputError


@dataclass(frozen=True)
class Batch:
    """Inputs of one forward pass."""

    tensors: dict[str, torch.Tensor]
    """For ``model(**tensors)``."""
    layout: TokenLayout
    labels: torch.Tensor | None
    """int64 (n, positions), -100 outside the answers; None without answers."""


def render(processor: Any, question: str, with_image: bool = True) -> str:
    """The prompt of one question in the model's own chat format, ready for the answer."""
    content = [{"type": "image"}] if with_image else []
    messages = [{"role": "user", "content": [*content, {"type": "text", "text": question}]}]
    if getattr(processor, "chat_template", None):
        return str(processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
    image = f"{getattr(processor, 'image_token', '<image>')}\n" if with_image else ""
    return f"USER: {image}{question} ASSISTANT:"


def build(
    model: Any,
    processor: Any,
    stages: Stages,
    images: Sequence[np.ndarray] | None,
    prompts: Sequence[str],
    answers: Sequence[str] | None = None,
    *,
    eos: bool = True,
    pad_left: bool = False,
    device: torch.device | None = None,
) -> Batch:
    """Model inputs for a batch: one image and one question each, optionally with the answer appended.

    Prompt and answer are tokenised apart, so that the prompt's tokens are an exact prefix; the answer follows a space. The
    images go to the processor as they are.

    Args:
        model: for its image token and feature selection.
        processor: the model's own.
        stages: the model's map.
        images: uint8 (H, W, 3) each; None for text alone.
        prompts: questions, one per image.
        answers: what the model should say, one per prompt.
        eos: whether an answer ends with the end-of-sequence token.
        pad_left: pad on the left (for generation).
        device: where to put the tensors.

    Raises:
        InputError: counts differ, or the placeholders do not match the image features.
    """
    if images is not None and len(images) != len(prompts):
        raise InputError(f"Got {len(images)} images and {len(prompts)} prompts; expected one prompt per image.")
    tokenizer = processor.tokenizer
    text = [render(processor, prompt, images is not None) for prompt in prompts]
    if images is None:
        encoded = dict(tokenizer(text, padding=True, return_tensors="pt"))
    else:
        encoded = dict(processor(images=list(images), text=text, padding=True, return_tensors="pt"))
    encoded.pop("token_type_ids", None)
    kept = [row.bool() for row in encoded["attention_mask"]]
    ends = _answers(tokenizer, text, answers, eos)
    tensors = dict(encoded)
    shape = encoded["input_ids"].shape
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    for name, value in encoded.items():
        if value.shape == shape:
            fill = {"input_ids": pad_id}.get(name, 0)
            rows = [_extended(name, row[keep], end) for row, keep, end in zip(value, kept, ends, strict=True)]
            tensors[name] = _pad(rows, fill, pad_left)
    spoken = _pad([_spoken(keep, end) for keep, end in zip(kept, ends, strict=True)], 0, pad_left).bool()
    layout = bookkeeping(model, stages, tensors, spoken)
    if images is not None and not bool(layout.image.any(1).all()):
        raise InputError(
            f"A prompt holds no image placeholder (token id {image_token(model, stages)}), though an image was given. "
            "Check the processor's chat template."
        )
    labels = None if answers is None else torch.where(spoken, tensors["input_ids"], -100)
    if device is not None:
        tensors = {name: value.to(device) for name, value in tensors.items()}
    return Batch(tensors, layout, labels)


def _answers(tokenizer: Any, text: Sequence[str], answers: Sequence[str] | None, eos: bool) -> list[torch.Tensor]:
    if answers is None:
        return [torch.empty(0, dtype=torch.long)] * len(text)
    rows = []
    for prompt, answer in zip(text, answers, strict=True):
        ids = tokenizer(answer if prompt[-1:].isspace() else f" {answer}", add_special_tokens=False)["input_ids"]
        rows.append(torch.tensor([*ids, tokenizer.eos_token_id] if eos else ids, dtype=torch.long))
    return rows


def _extended(name: str, row: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    tail = {"input_ids": answer, "attention_mask": torch.ones_like(answer)}.get(name, torch.zeros_like(answer))
    return torch.cat([row, tail.to(row.dtype)])


def _spoken(keep: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.zeros(int(keep.sum()), dtype=torch.long), torch.ones_like(answer)])


def _pad(rows: list[torch.Tensor], value: int, left: bool) -> torch.Tensor:
    return pad_sequence(rows, batch_first=True, padding_value=value, padding_side="left" if left else "right")


def image_token(model: Any, stages: Stages) -> int | None:
    """The id of the image's placeholder: as the config says, else as the self-test found it."""
    for name in ("image_token_id", "image_token_index", "media_placeholder_token_id"):
        found = getattr(model.config, name, None)
        if isinstance(found, int):
            return found
    return stages.image_token


def bookkeeping(
    model: Any, stages: Stages, tensors: Mapping[str, torch.Tensor], answer: torch.Tensor | None = None
) -> TokenLayout:
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
    image = (ids == token) & mask if token is not None else torch.zeros_like(mask)
    decoder = tensors.get("decoder_input_ids")
    spoken = answer if answer is not None else torch.zeros_like(mask if decoder is None else decoder, dtype=torch.bool)
    cls = int(getattr(model.config, "vision_feature_select_strategy", None) == "default")
    shown = patches(tensors, tuple(image.sum(1).tolist()), cls)
    return TokenLayout(image, ~mask, spoken, stages.layouts, shown, decoder is not None)
