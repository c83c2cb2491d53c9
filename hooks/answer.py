"""What the model says: its answer in its own words, and how likely it finds each of some given answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from transformers import GenerationMixin, LogitsProcessorList

from hooks.batch import Batch, Pictures, build, build_each, cast, continuation, run
from hooks.load import Mllm
from hooks.prompt import render
from hooks.reuse import images_once
from hooks.sampling import Drawn, Probabilities
from stimuli.progress import tqdm

PLAIN: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
}
"""How every answer is generated, whatever the checkpoint's own settings: by the model's probabilities as they are. The penalty on
repetition that several checkpoints bring along would weigh down the very words that a question offers as answers."""
_DEAF: WeakSet[Any] = WeakSet()
"""Models whose own ``generate`` hands no processors of logits on."""


@dataclass(frozen=True)
class Said:
    """One answer in the model's own words."""

    text: str
    """Special tokens and surrounding space removed."""
    confidence: float
    """Mean probability of its tokens, 0 to 1, the end token left out; NaN for an empty answer."""
    tokens: int
    """How many were generated, the end token left out."""
    sound: bool = True
    """Whether the probabilities of all its tokens are numbers."""


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

    tokens: tuple[tuple[int, ...], ...]
    """Of each option."""
    starts: tuple[tuple[int, ...], ...]
    """What stands behind the prompts in each batch: so many different beginnings that every option but for its last token is one, or
    begins one. Options of a single token need the prompts alone."""
    batches: tuple[Batch, ...]


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
    different beginning, while processor, vision tower and projector run once per batch of images.

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


def free(mllm: Mllm, images: Pictures | None, prompts: Sequence[str], prefix: str = "", system: str = "") -> Batch:
    """Inputs, not on the model's device yet, for answers in the model's own words."""
    return build(mllm.model, mllm.processor, mllm.stages, images, prompts, pad_left=True, prefix=prefix, system=system)


def scored(
    mllm: Mllm, images: Pictures | None, prompts: Sequence[str], options: Sequence[str], prefix: str = "", system: str = ""
) -> Options:
    """Inputs, not on the model's device yet, by which given answers are scored; prompts that end alike."""
    end = render(mllm.processor, prompts[0], 0, prefix)
    tokens = tuple(tuple(continuation(mllm.processor.tokenizer, end, option)) for option in options)
    begun = dict.fromkeys(row[:-1] for row in tokens)
    starts = tuple(own for own in begun if not any(other[: len(own)] == own for other in begun if other != own))
    each = build_each(mllm.model, mllm.processor, mllm.stages, images, prompts, [[own] * len(prompts) if own else None for own in starts],
                      eos=False, prefix=prefix, system=system)  # fmt: skip
    return Options(tokens, starts, tuple(each))


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
        ids = _generated(
            model, noted, LogitsProcessorList(steps), **tensors, **PLAIN, max_new_tokens=max_new_tokens, pad_token_id=pad
        )
    new = _new(ids, batch)
    spoken = _spoken(new, model, tokenizer)
    words = [row[said].tolist() for row, said in zip(new.cpu(), spoken.cpu(), strict=True)]
    texts = tokenizer.batch_decode(words, skip_special_tokens=True)
    counts, sure = spoken.sum(1).tolist(), noted.over(new, spoken)
    return [Said(text.strip(), *row) for text, *row in zip(texts, sure, counts, noted.sound, strict=True)]


def _generated(model: Any, noted: Probabilities, steps: LogitsProcessorList, **given: Any) -> torch.Tensor:
    """What the model generates; by the library's plain method if its own hands no processors of logits on (Janus)."""
    if model not in _DEAF:
        ids = model.generate(**given, logits_processor=steps)
        if noted.steps:
            return ids
        _DEAF.add(model)
    return GenerationMixin.generate(model, **given, logits_processor=steps, guidance_scale=None)


def _new(ids: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The generated tokens: some models give the prompt back in front of them, some do not."""
    prompt = batch.tensors.get("decoder_input_ids", batch.tensors["input_ids"]).to(ids.device)
    given = prompt.shape[1]
    return ids[:, given:] if ids.shape[1] >= given and torch.equal(ids[:, :given], prompt) else ids


def _spoken(new: torch.Tensor, model: Any, tokenizer: Any) -> torch.Tensor:
    """Which of the generated tokens are words: bool (n, steps). What ends an answer need not be special to the tokenizer."""
    end = getattr(model.generation_config, "eos_token_id", None)
    ends = [] if end is None else [end] if isinstance(end, int) else list(end)
    special = torch.tensor(sorted({*tokenizer.all_special_ids, *ends}), device=new.device, dtype=new.dtype)
    return ~torch.isin(new, special)


def loglik(mllm: Mllm, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihood of each option and how many tokens it has.

    Args:
        mllm: the model.
        options: as ``scored`` makes them.

    Returns:
        float64 (n, k) in nats, summed over the tokens; int (k,).
    """
    count = options.batches[0].layout.n
    found = np.zeros((count, len(options.tokens)))
    known: set[tuple[int, ...]] = set()
    with images_once(mllm.model):
        for start, batch in zip(options.starts, options.batches, strict=True):
            for depth, logp in enumerate(_depths(mllm, batch, len(start))):
                before = start[:depth]
                if before not in known:
                    known.add(before)
                    own = [i for i, row in enumerate(options.tokens) if row[:depth] == before and len(row) > depth]
                    found[:, own] += logp[:, [options.tokens[i][depth] for i in own]].double().cpu().numpy()
    return found, np.array([len(row) for row in options.tokens])


def _depths(mllm: Mllm, batch: Batch, deepest: int) -> Iterator[torch.Tensor]:
    """Log-probabilities of all tokens, float32 (n, vocabulary), behind the prompt and behind each token that follows it."""
    logits, first = _logits(mllm, batch)
    rows = torch.arange(len(logits), device=logits.device)
    at = batch.layout.last_prompt.to(logits.device) - first
    for depth in range(deepest + 1):
        yield torch.log_softmax(logits[rows, at + depth].float(), -1)


def _logits(mllm: Mllm, batch: Batch) -> tuple[torch.Tensor, int]:
    """Logits from the first position that predicts an answer on, and which position that is: those of a prompt are large."""
    first = int(batch.layout.last_prompt.min())
    keep = batch.layout.answer.shape[1] - first
    with torch.inference_mode():
        return run(mllm.model, _placed(batch.tensors, mllm.device), keep).logits[:, -keep:], first


def _placed(tensors: dict[str, Any], device: torch.device) -> dict[str, Any]:
    return {name: v.to(device, non_blocking=True) if hasattr(v, "to") else v for name, v in tensors.items()}
