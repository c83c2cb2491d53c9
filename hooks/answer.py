"""What the model says: its answer in its own words, and how likely it finds each of some given answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import LogitsProcessorList

from hooks.batch import Batch, Pictures, build, build_each, cast, continuation, run
from hooks.load import Mllm
from hooks.prompt import render
from hooks.reuse import images_once
from hooks.sampling import Drawn, Probabilities


@dataclass(frozen=True)
class Said:
    """One answer in the model's own words."""

    text: str
    """Special tokens and surrounding space removed."""
    confidence: float
    """Mean probability of its tokens, 0 to 1, the end token left out; NaN for an empty answer."""
    tokens: int
    """How many were generated, the end token left out."""


@dataclass(frozen=True)
class Drawing:
    """How an answer is drawn rather than taken greedily."""

    seeds: tuple[int, ...]
    """One per prompt; an answer depends on its own alone, not on the batch."""
    temperature: float
    top_k: int = 0
    top_p: float = 1.0


@dataclass(frozen=True)
class Options:
    """The inputs by which given answers are scored."""

    batches: tuple[Batch, ...]
    """One without an answer where each option is a single token; else one per option."""
    single: tuple[int, ...] | None
    """The tokens of such options."""


def generate(
    mllm: Mllm,
    images: Sequence[np.ndarray],
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 16,
    batch_size: int = 16,
    progress: bool = True,
) -> list[str]:
    """Greedy answers; ``respond`` keeps them on disk, draws others, and asks several questions of one image at once.

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
    texts: list[str] = []
    for start in tqdm(range(0, len(prompts), batch_size), desc="generate", disable=not progress):
        span = slice(start, start + batch_size)
        texts += [one.text for one in say(mllm, free(mllm, images[span], prompts[span]), max_new_tokens)]
    return texts


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
    result = np.empty((len(images), len(options)))
    for start in tqdm(range(0, len(images), batch_size), desc="ask", disable=not progress):
        part = images[start : start + batch_size]
        total, tokens = loglik(mllm, scored(mllm, part, [prompt] * len(part), options))
        result[start : start + len(part)] = total / tokens if length_normalised else total
    return result


def free(mllm: Mllm, images: Pictures | None, prompts: Sequence[str], prefix: str = "") -> Batch:
    """Inputs, not on the model's device yet, for answers in the model's own words."""
    return build(mllm.model, mllm.processor, mllm.stages, images, prompts, pad_left=True, prefix=prefix)


def scored(mllm: Mllm, images: Pictures | None, prompts: Sequence[str], options: Sequence[str], prefix: str = "") -> Options:
    """Inputs, not on the model's device yet, by which given answers are scored."""
    about: Any = mllm.model, mllm.processor, mllm.stages, images, prompts
    single = _single_tokens(mllm, prompts[0], options, prefix)
    if single is not None:
        return Options((build(*about, prefix=prefix),), single)
    each = build_each(*about, [[option] * len(prompts) for option in options], eos=False, prefix=prefix)
    return Options(tuple(each), None)


def _single_tokens(mllm: Mllm, prompt: str, options: Sequence[str], prefix: str) -> tuple[int, ...] | None:
    """The token of each option where all have one, else None; prompts end alike, so one tells."""
    end = render(mllm.processor, prompt, 0, prefix)
    ids = [continuation(mllm.processor.tokenizer, end, option) for option in options]
    return tuple(row[0] for row in ids) if all(len(row) == 1 for row in ids) else None


def say(mllm: Mllm, batch: Batch, max_new_tokens: int, drawing: Drawing | None = None) -> list[Said]:
    """Answers in the model's own words: greedy, or drawn.

    Args:
        mllm: the model.
        batch: as ``free`` makes it.
        max_new_tokens: when to stop.
        drawing: how to draw; greedy without.

    Returns:
        One per prompt.
    """
    tokenizer, model = mllm.processor.tokenizer, mllm.model
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    tensors = cast(model, _placed(batch.tensors, mllm.device))
    noted = Probabilities()
    steps: list[Any] = [noted]
    if drawing is not None:
        steps.append(Drawn(drawing.seeds, drawing.temperature, drawing.top_k, drawing.top_p))
    with torch.inference_mode():
        ids = model.generate(**tensors, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1, pad_token_id=pad,
                             logits_processor=LogitsProcessorList(steps))  # fmt: skip
    new = _new(ids, batch)
    spoken = _spoken(new, tokenizer)
    texts = tokenizer.batch_decode(new, skip_special_tokens=True)
    counts, sure = spoken.sum(1).tolist(), noted.over(new, spoken)
    return [Said(text.strip(), p, count) for text, p, count in zip(texts, sure, counts, strict=True)]


def _new(ids: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The generated tokens: some models give the prompt back in front of them, some do not."""
    prompt = batch.tensors.get("decoder_input_ids", batch.tensors["input_ids"]).to(ids.device)
    given = prompt.shape[1]
    return ids[:, given:] if ids.shape[1] >= given and torch.equal(ids[:, :given], prompt) else ids


def _spoken(new: torch.Tensor, tokenizer: Any) -> torch.Tensor:
    """Which of the generated tokens are words: bool (n, steps)."""
    special = torch.tensor(sorted({int(id) for id in tokenizer.all_special_ids}), device=new.device, dtype=new.dtype)
    return ~torch.isin(new, special)


def loglik(mllm: Mllm, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihood of each option and how many tokens it has.

    Args:
        mllm: the model.
        options: as ``scored`` makes them.

    Returns:
        float64 (n, k) in nats, summed over the tokens; int (k,).
    """
    if options.single is not None:
        return _single(mllm, options.batches[0], options.single), np.ones(len(options.single), int)
    with images_once(mllm.model):
        each = [_option(mllm, batch) for batch in options.batches]
    return np.stack([total for total, _ in each], 1), np.array([tokens for _, tokens in each])


def _single(mllm: Mllm, batch: Batch, tokens: Sequence[int]) -> np.ndarray:
    logits, first = _logits(mllm, batch)
    rows = torch.arange(len(logits), device=logits.device)
    at = logits[rows, batch.layout.last_prompt.to(logits.device) - first]
    return torch.log_softmax(at.float(), -1)[:, list(tokens)].double().cpu().numpy()


def _option(mllm: Mllm, batch: Batch) -> tuple[np.ndarray, int]:
    assert batch.labels is not None
    logits, first = _logits(mllm, batch)
    labels = batch.labels[:, first + 1 :].to(logits.device)
    spoken = labels >= 0
    logp = torch.log_softmax(logits[:, :-1].float(), -1).gather(2, labels.clamp(min=0)[..., None])[..., 0]
    return (logp * spoken).sum(1).double().cpu().numpy(), int(spoken[0].sum())


def _logits(mllm: Mllm, batch: Batch) -> tuple[torch.Tensor, int]:
    """Logits from the first position that predicts an answer on, and which position that is: those of a prompt are large."""
    first = int(batch.layout.last_prompt.min())
    keep = batch.layout.answer.shape[1] - first
    with torch.inference_mode():
        return run(mllm.model, _placed(batch.tensors, mllm.device), keep).logits[:, -keep:], first


def _placed(tensors: dict[str, Any], device: torch.device) -> dict[str, Any]:
    return {name: v.to(device, non_blocking=True) if hasattr(v, "to") else v for name, v in tensors.items()}
