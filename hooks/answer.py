"""What the model says: greedy text, and how likely it finds each of some given answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from tqdm.auto import tqdm

from hooks.batch import Batch, build_each, cast, run
from hooks.load import Mllm
from hooks.reuse import images_once


def generate(
    mllm: Mllm,
    images: Sequence[np.ndarray],
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 16,
    batch_size: int = 16,
    progress: bool = True,
) -> list[str]:
    """Greedy answers.

    Args:
        mllm: the model.
        images: uint8 (H, W, 3), one per prompt.
        prompts: questions.
        max_new_tokens: when to stop.
        batch_size: prompts per forward pass.
        progress: show a progress bar.

    Returns:
        One text per prompt, special tokens and surrounding space removed.
    """
    tokenizer = mllm.processor.tokenizer
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    texts: list[str] = []
    for start in tqdm(range(0, len(prompts), batch_size), desc="generate", disable=not progress):
        span = slice(start, start + batch_size)
        batch = mllm.inputs(images[span], prompts[span], pad_left=True)
        with torch.inference_mode():
            ids = mllm.model.generate(
                **cast(mllm.model, batch.tensors), max_new_tokens=max_new_tokens, do_sample=False, pad_token_id=pad
            )
        new = _new(ids, batch)
        texts += [text.strip() for text in tokenizer.batch_decode(new, skip_special_tokens=True)]
    return texts


def _new(ids: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The generated tokens: some models give the prompt back in front of them, some do not."""
    prompt = batch.tensors.get("decoder_input_ids", batch.tensors["input_ids"])
    given = prompt.shape[1]
    return ids[:, given:] if ids.shape[1] >= given and torch.equal(ids[:, :given], prompt) else ids


def option_loglik(
    mllm: Mllm,
    images: Sequence[np.ndarray],
    prompt: str,
    options: Sequence[str],
    *,
    length_normalised: bool = True,
    batch_size: int = 16,
    progress: bool = True,
) -> np.ndarray:
    """Log-likelihood of each option as the answer to one question about each image.

    Options of a single token each are read from one forward pass per image; longer ones need one pass of the language model per
    option, while processor, vision tower and projector run once per batch of images.

    Args:
        mllm: the model.
        images: uint8 (H, W, 3).
        prompt: the question.
        options: wordings.
        length_normalised: mean over the answer's tokens (nats per token) rather than their sum (nats).
        batch_size: sequences per forward pass.
        progress: show a progress bar.

    Returns:
        float64 (images, options).
    """
    ids = [mllm.processor.tokenizer(f" {option}", add_special_tokens=False)["input_ids"] for option in options]
    single = all(len(row) == 1 for row in ids)
    result = np.empty((len(images), len(options)))
    for start in tqdm(range(0, len(images), batch_size), desc="ask", disable=not progress):
        part = images[start : start + batch_size]
        if single:
            result[start : start + len(part)] = _single(mllm, part, prompt, [row[0] for row in ids])
        else:
            result[start : start + len(part)] = _several(mllm, part, prompt, options, length_normalised)
    return result


def _single(mllm: Mllm, images: Sequence[np.ndarray], prompt: str, tokens: Sequence[int]) -> np.ndarray:
    batch = mllm.inputs(images, [prompt] * len(images))
    logits, first = _logits(mllm, batch)
    at = logits[torch.arange(len(images)), batch.layout.last_prompt.to(logits.device) - first]
    return torch.log_softmax(at.float(), -1)[:, list(tokens)].double().cpu().numpy()


def _several(mllm: Mllm, images: Sequence[np.ndarray], prompt: str, options: Sequence[str], normalised: bool) -> np.ndarray:
    prompts, answers = [prompt] * len(images), [[option] * len(images) for option in options]
    each = build_each(mllm.model, mllm.processor, mllm.stages, images, prompts, answers, eos=False, device=mllm.device)
    with images_once(mllm.model):
        return np.stack([_option(mllm, batch, normalised) for batch in each], 1)


def _option(mllm: Mllm, batch: Batch, normalised: bool) -> np.ndarray:
    assert batch.labels is not None
    logits, first = _logits(mllm, batch)
    labels = batch.labels[:, first + 1 :].to(logits.device)
    spoken = labels >= 0
    logp = torch.log_softmax(logits[:, :-1].float(), -1).gather(2, labels.clamp(min=0)[..., None])[..., 0]
    total = (logp * spoken).sum(1)
    return (total / spoken.sum(1) if normalised else total).double().cpu().numpy()


def _logits(mllm: Mllm, batch: Batch) -> tuple[torch.Tensor, int]:
    """Logits from the first position that predicts an answer on, and which position that is: those of a prompt are large."""
    first = int(batch.layout.last_prompt.min())
    keep = batch.layout.answer.shape[1] - first
    with torch.inference_mode():
        return run(mllm.model, batch.tensors, keep).logits[:, -keep:], first
