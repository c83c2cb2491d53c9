"""From images and questions to model inputs, with the bookkeeping of every token."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from hooks.bookkeeping import bookkeeping as bookkeeping
from hooks.bookkeeping import image_token as image_token
from hooks.processor import PIXELS
from hooks.prompt import encode, render, special
from hooks.stages import Stages
from hooks.tokens import TokenLayout
from stimuli.errors import InputError

TOKENS = (
    "input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids", "position_ids", "cross_attention_mask",
    "image_embeds_position_mask",
)  # fmt: skip
"""Inputs with one entry per position of the language model's sequence."""


Pictures = Sequence[np.ndarray] | Sequence[tuple[np.ndarray, ...]]
"""One image per question, or a tuple of as many for each."""
Said = str | tuple[int, ...]
"""An answer, as text or as tokens."""


_SEVERAL: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
"""Per processor, whether it makes room for several images in one question."""


@dataclass(frozen=True)
class Batch:
    """Inputs of one forward pass."""

    tensors: dict[str, Any]
    """For ``model(**tensors)``."""
    layout: TokenLayout
    labels: torch.Tensor | None
    """int64 (n, positions), of an encoder-decoder (n, decoder positions), -100 outside the answers; None without answers."""


def build(
    model: Any,
    processor: Any,
    stages: Stages,
    images: Pictures | None,
    prompts: Sequence[str],
    answers: Sequence[str] | None = None,
    *,
    eos: bool = True,
    pad_left: bool = False,
    device: torch.device | None = None,
    prefix: str = "",
    system: str = "",
) -> Batch:
    """Model inputs for a batch: one image (or a tuple of them) and one question each, optionally with the answer appended.

    Prompt and answer are tokenised apart, so that the prompt's tokens are an exact prefix; the answer follows a space. The
    images go to the processor as they are. An encoder-decoder gets the answer as input of its decoder.

    Args:
        model: for its image token and feature selection.
        processor: the model's own.
        stages: the model's map.
        images: uint8 (H, W, 3) each, or as many such per question; None for text alone.
        prompts: questions, one per image.
        answers: what the model should say, one per prompt.
        eos: whether an answer ends with the end-of-sequence token.
        pad_left: pad on the left (for generation).
        device: where to put the tensors.
        prefix: how every answer begins.
        system: the system's message.

    Raises:
        InputError: counts differ, or a prompt has no placeholder for its image.
    """
    options: Any = {"eos": eos, "pad_left": pad_left, "device": device, "prefix": prefix, "system": system}
    return next(build_each(model, processor, stages, images, prompts, [answers], **options))


def build_each(
    model: Any, processor: Any, stages: Stages, images: Pictures | None, prompts: Sequence[str],
    answers: Sequence[Sequence[Said] | None], *, eos: bool = True, pad_left: bool = False, device: torch.device | None = None,
    prefix: str = "",
    system: str = "",
) -> Iterator[Batch]:  # fmt: skip
    """Model inputs for several lists of answers to the same questions about the same images, which are processed once.

    The arguments are those of ``build``, but for ``answers``: lists of one answer per prompt, as text or tokens, or None for none.

    Yields:
        One batch per list of answers, each equal to what ``build`` gives. They share the tensors of the images.

    Raises:
        InputError: counts differ, or a prompt has no placeholder for its image.
    """
    if images is not None and len(images) != len(prompts):
        raise InputError(f"Got {len(images)} images and {len(prompts)} prompts; expected one prompt per image.")
    count = 0 if images is None else len(images[0]) if isinstance(images[0], tuple) else 1
    text = [render(processor, prompt, count, prefix, system) for prompt in prompts]
    encoded = _encoded(model, processor, images, text)
    shared = _moved(encoded, device)
    for said in answers:
        ends = _answers(processor.tokenizer, text, said, eos)
        if getattr(model.config, "is_encoder_decoder", False):
            tensors, spoken = _decoding(model, encoded, ends)
        else:
            tensors, spoken = _appended(model, processor.tokenizer, encoded, ends, pad_left)
        layout = bookkeeping(model, stages, tensors, spoken)
        if images is not None and image_token(model, stages) is not None and not bool(layout.image.any(1).all()):
            raise InputError(
                f"A prompt holds no image placeholder (token id {image_token(model, stages)}), though an image was given. "
                "Check the processor's chat template."
            )
        if images is not None and count > 1 and not _sees_all(model, processor, stages, images[0], prompts[0], layout):
            raise InputError(f"The model takes one image per question, got {count}. Show one at a time.")
        ids = tensors.get("decoder_input_ids", tensors["input_ids"])
        labels = None if said is None else torch.where(spoken, ids, -100)
        own = {name: value for name, value in tensors.items() if value is not encoded.get(name)}
        yield Batch({**shared, **_moved(own, device)}, layout, labels)


def _sees_all(model: Any, processor: Any, stages: Stages, images: Any, prompt: str, layout: TokenLayout) -> bool:
    """Whether several images of one question have other places among its tokens than the first alone.

    Some processors make room for one only, and the features of the others get into the rows of other questions. More places than
    one image they need not have: some models cut one into tiles, but not several.
    """
    if processor not in _SEVERAL:
        alone = build(model, processor, stages, images[:1], [prompt])
        _SEVERAL[processor] = layout.image_tokens[0] != alone.layout.image_tokens[0]
    return _SEVERAL[processor]


def _moved(tensors: dict[str, Any], device: torch.device | None) -> dict[str, Any]:
    return {k: v.to(device) if device is not None and hasattr(v, "to") else v for k, v in tensors.items()}


def _encoded(model: Any, processor: Any, images: Pictures | None, text: Sequence[str]) -> dict[str, Any]:
    """What the processor makes of the batch, without what the model does not take (token types of a plain tokenizer, labels)."""
    if images is None:
        options = special(processor.tokenizer, text)
        encoded = dict(processor.tokenizer(list(text), padding=True, return_tensors="pt", **options))
    else:
        encoded = encode(processor, images, text)
    known = accepted(model)
    return {name: value for name, value in encoded.items() if name != "labels" and (name in known or name != "token_type_ids")}


def accepted(model: Any) -> frozenset[str]:
    """The names of the arguments of a model's ``forward``."""
    return frozenset(inspect.signature(type(bare(model)).forward).parameters)


def bare(model: Any) -> Any:
    """The model inside what several processes (``module``) and adapters (``get_base_model``) wrap around it."""
    while isinstance(vars(model).get("_modules", {}).get("module"), torch.nn.Module):
        model = model.module
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def run(model: Any, tensors: Mapping[str, Any], keep: int | None = None) -> Any:
    """One forward pass without a cache.

    Args:
        model: the model.
        tensors: its inputs.
        keep: of how many last positions logits are wanted, where the model can be told; all by default.

    Returns:
        The model's output; ``logits`` may hold more positions than asked for, the wanted ones last.
    """
    known = accepted(model)
    options = {"use_cache": False, "logits_to_keep": keep}
    wanted = {name: value for name, value in options.items() if value is not None and name in known | {"use_cache"}}
    return model(**cast(model, tensors), **wanted)


def cast(model: Any, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs with the image in the model's own precision, which some towers do not see to themselves."""
    kind = getattr(bare(model), "dtype", None)
    return {
        name: value.to(kind) if name in PIXELS and kind is not None and value.is_floating_point() else value
        for name, value in tensors.items()
    }


# ---- answers ---------------------------------------------------------------------------------------------------------


def _answers(tokenizer: Any, text: Sequence[str], answers: Sequence[Said] | None, eos: bool) -> list[torch.Tensor]:
    if answers is None:
        return [torch.empty(0, dtype=torch.long)] * len(text)
    rows = []
    for prompt, answer in zip(text, answers, strict=True):
        ids = continuation(tokenizer, prompt, answer) if isinstance(answer, str) else list(answer)
        rows.append(torch.tensor([*ids, tokenizer.eos_token_id] if eos else ids, dtype=torch.long))
    return rows


def continuation(tokenizer: Any, prompt: str, answer: str) -> list[int]:
    """The tokens of an answer as they stand behind a prompt, after a space unless the prompt ends in one.

    A tokenizer that marks the beginning of every text as it marks a space (SentencePiece: Llama, Vicuna) would put a token of its
    own in front; so the answer is tokenised behind a letter, which is then taken off. A space that ends the prompt is a token of the
    prompt already; where it would melt into the answer, a line end stands for it.
    """
    end = prompt[-1:] if prompt[-1:].isspace() else ""
    said = answer if end else f" {answer}"
    for before in dict.fromkeys((f"a{end}", "a\n" if end else "a")):
        whole, start = (list(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (before + said, before))
        if whole[: len(start)] == start and len(whole) > len(start):
            return whole[len(start) :]
    return list(tokenizer(said, add_special_tokens=False)["input_ids"])


def _decoding(model: Any, encoded: dict[str, Any], ends: list[torch.Tensor]) -> tuple[dict[str, Any], torch.Tensor]:
    """The answers as input of a decoder, after its start token; and which of its positions are theirs."""
    config = model.config
    texts = getattr(config, "text_config", config)
    start = next(
        (
            value
            for holder in (model.generation_config, config, texts)
            for name in ("decoder_start_token_id", "bos_token_id")
            if isinstance(value := getattr(holder, name, None), int)
        ),
        0,
    )
    rows = [torch.cat([torch.tensor([start]), end]) for end in ends]
    spoken = [torch.cat([torch.tensor([False]), torch.ones_like(end, dtype=torch.bool)]) for end in ends]
    ids = pad_sequence(rows, batch_first=True, padding_value=start)
    return {**encoded, "decoder_input_ids": ids}, pad_sequence(spoken, batch_first=True)


def _appended(
    model: Any, tokenizer: Any, encoded: dict[str, Any], ends: list[torch.Tensor], left: bool
) -> tuple[dict[str, Any], torch.Tensor]:
    """The answers behind the prompts, all padded on one side; and which positions are theirs."""
    kept = [row.bool() for row in encoded["attention_mask"]]
    shape = encoded["input_ids"].shape
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    tensors = dict(encoded)
    for name in TOKENS:
        value = encoded.get(name)
        if isinstance(value, torch.Tensor) and value.shape[:2] == shape:
            kind = _text_type(encoded, value) if name.endswith("token_type_ids") else 0
            rows = [_extended(name, row[keep], end, kind) for row, keep, end in zip(value, kept, ends, strict=True)]
            tensors[name] = _pad(rows, pad_id if name == "input_ids" else 0, left)
    spoken = [torch.cat([torch.zeros(int(keep.sum())), torch.ones(len(end))]) for keep, end in zip(kept, ends, strict=True)]
    return tensors, _pad(spoken, 0, left).bool()


def _extended(name: str, row: torch.Tensor, answer: torch.Tensor, kind: int) -> torch.Tensor:
    if name == "cross_attention_mask":  # the answer looks at the image as the end of the prompt does
        return torch.cat([row, row[-1:].expand(len(answer), *row.shape[1:])])
    ones = torch.ones_like(answer)
    tail = {"input_ids": answer, "attention_mask": ones}.get(name, kind * ones)
    return torch.cat([row, tail.to(row.dtype)])


def _text_type(encoded: Mapping[str, torch.Tensor], types: torch.Tensor) -> int:
    """The token type of an answer: types that tell image from text give it the text's; a prompt of one type ends where it does."""
    return 1 if not bool((types * encoded["attention_mask"]).any()) else 0


def _pad(rows: list[torch.Tensor], value: int, left: bool) -> torch.Tensor:
    return pad_sequence(rows, batch_first=True, padding_value=value, padding_side="left" if left else "right")
