"""Attention knock-out: some positions of the language model cannot look at some others, in some layers.

What travels between image, question and answer travels by self-attention alone, so that an edge without which the answer
changes carries something that the answer uses (Geva et al. 2023, "Dissecting recall of factual associations in auto-regressive
language models"; with images: Zhang et al. 2025, "Cross-modal information flow in multimodal large language models").
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import nn

from hooks.attention import attentions, implementation
from hooks.batch import Batch, run
from hooks.capture import Stop, capture, entering, refuse_compiled
from hooks.load import Mllm
from stimuli.errors import InputError

PARTS = ("image", "region", "frame", "question", "last", "text")
"""What the positions of a prompt are: the image's, those of them that lie in its distorted region, the text in front of the
image or between its tiles (template, beginning of the sequence), the text behind it but for the last position, the last
position of the prompt with the answer that follows it, and all that is not the image's."""
READABLE = ("sdpa", "eager")
"""Implementations of attention that take a mask with an entry per pair of positions."""
_EDGE = re.compile(r"\s*(\w+)\s*->\s*(\w+)\s*")
_CACHES = ("past_key_values", "cache", "past_key_value", "layer_past")
Edge: TypeAlias = str | torch.Tensor
"""``source->target`` by names of ``PARTS``; or bool (n, positions, positions), target first, of the prompt: what follows it
keeps what it sees."""


@dataclass(frozen=True)
class TokenParts:
    """Whose the positions of some prompts are; see ``PARTS``. The same for every pass that appends an answer to them."""

    masks: Mapping[str, torch.Tensor]
    """Part to bool (n, positions)."""
    ends: torch.Tensor
    """int64 (n,): the last position of each prompt."""
    within: torch.Tensor
    """float32 (n, positions): how much of each position lies in the region, 0 to 1; NaN for a prompt without one."""

    @property
    def n(self) -> int:
        """How many prompts."""
        return len(self.ends)

    @property
    def positions(self) -> int:
        """Of the prompts, with the padding that makes them equally long, without what follows them."""
        return self.masks["image"].shape[1]

    def at(self, name: str, length: int) -> torch.Tensor:
        """A part in a sequence of a length, at least the prompts': bool (n, length). What follows a prompt counts as last."""
        own = nn.functional.pad(self.masks[name], (0, length - self.positions))
        if name in ("last", "text"):
            own = own | (torch.arange(length) > self.ends[:, None])
        return own


def token_parts(mllm: Mllm, batch: Batch, region: Sequence[torch.Tensor | None] | None = None) -> TokenParts:
    """Whose the positions of a batch of prompts are.

    Args:
        mllm: the model.
        batch: the prompts, padded on either side; answers behind them count as last.
        region: per prompt, how much of each image token lies in the region: (tokens,) from 0 to 1, in the order of
            ``TokenLayout.rows("llm.embed", …)``; None for a prompt without. A token belongs to it from one half on.

    Raises:
        InputError: an encoder-decoder, or a region with another number of image tokens.
    """
    layout = batch.layout
    if layout.encoder_decoder:
        raise InputError(
            f"{type(mllm.model).__name__} is an encoder-decoder: its answer reads the image by cross-attention. Expected a "
            "model whose image tokens stand in the sequence of the answer. Patch or erase at a site instead (hooks.edit.edit)."
        )
    front = _front(mllm, batch)
    ends = layout.last_prompt.cpu() + front
    place = torch.arange(int(ends.max()) + 1)
    image = nn.functional.pad(layout.image.cpu(), (front, 0))[:, : len(place)]
    image[:, :front] = True
    prompt = nn.functional.pad((~layout.padding & ~layout.answer).cpu(), (front, 0), value=True)[:, : len(place)]
    last = place == ends[:, None]
    text = prompt & ~image
    behind = place > torch.where(image, place, -1).max(1, keepdim=True).values
    masks = {"image": image, "question": text & behind & ~last, "frame": text & ~behind & ~last, "last": last, "text": text}
    within = _within(image, region)
    return TokenParts({**masks, "region": within >= 0.5}, ends, within)


def _front(mllm: Mllm, batch: Batch) -> int:
    """How many positions the model puts in front of the prompt's, in families that put the image there; by a short pass."""
    if "prefixed" not in mllm.stages.layouts.values():
        return 0
    tensors = {name: value.to(mllm.device) if hasattr(value, "to") else value for name, value in batch.tensors.items()}
    with torch.inference_mode(), capture(mllm, ["llm.embed"], stop=True) as seen:
        try:
            run(mllm.model, tensors)
        except Stop:
            pass  # all that was wanted has fired
    return int(seen["llm.embed"].shape[1] - batch.layout.image.shape[1])


def _within(image: torch.Tensor, region: Sequence[torch.Tensor | None] | None) -> torch.Tensor:
    found = torch.full(image.shape, torch.nan)
    for i, own in enumerate(region or ()):
        if own is not None:
            if len(own) != int(image[i].sum()):
                raise InputError(
                    f"Got a region over {len(own)} image tokens for a prompt with {int(image[i].sum())}. Expected one share "
                    "per token, as the rows of llm.embed. Measure them with the same image size and prompt "
                    "(hooks.places.cells)."
                )
            found[i] = 0.0
            found[i, image[i]] = own.float().cpu()
    return found


def edge_of(edge: str) -> tuple[str, str]:
    """Source and target of an edge.

    Raises:
        InputError: it is no ``source->target`` of ``PARTS``.
    """
    found = _EDGE.fullmatch(edge)
    if not found or not set(found.groups()) <= set(PARTS):
        raise InputError(
            f"Unknown edge '{edge}'. Expected source->target, each one of {', '.join(PARTS)}: such as image->last."
        )
    return found[1], found[2]


@contextmanager
def knock_out(mllm: Mllm, parts: TokenParts, edges: Sequence[Edge], layers: Sequence[int] | None = None) -> Iterator[None]:
    """Keep targets from attending to sources during the forward passes inside the block; always undone.

    A position can always attend to itself, and none is left with nothing to attend to. Everything else of a mask stays: causal
    order, padding, sliding windows, images whose tokens see one another. The weights of what is left are those of a softmax
    over it. Passes may append answers to the prompts or generate them, with or without a cache.

    Args:
        mllm: the model.
        parts: whose the positions are, of the prompts of all passes inside the block (``token_parts``).
        edges: what is blocked.
        layers: numbers of language model layers; all by default.

    Raises:
        InputError: an unknown edge or layer, a layer or an implementation of attention without a mask per pair of positions, a
            compiled model; inside the block, a pass about other prompts.
    """
    modules = attentions(mllm, layers)
    refuse_compiled(mllm.model)
    pairs = tuple(edge_of(edge) if isinstance(edge, str) else edge for edge in edges)
    for layer, module in modules.items():
        _check(mllm, layer, module)
    blocking = _Blocking(parts, pairs)
    with ExitStack() as stack:
        for module in modules.values():
            stack.callback(module.register_forward_pre_hook(blocking, with_kwargs=True).remove)
        yield


def _check(mllm: Mllm, layer: int, module: nn.Module) -> None:
    own = implementation(mllm, module)
    if own not in READABLE:
        raise InputError(
            f"llm.{layer} computes attention by '{own}', which takes no mask per pair of positions. Expected one of "
            f"{', '.join(READABLE)}: call model.set_attn_implementation('sdpa'), or load the model with "
            "attn_implementation='sdpa'."
        )
    known = inspect.signature(module.forward).parameters
    if "attention_mask" not in known:
        raise InputError(
            f"The attention of llm.{layer}, a {type(module).__name__}, takes no attention_mask (it takes {', '.join(known)}). "
            "Expected one. Choose other layers."
        )


@dataclass
class _Blocking:
    """The hook in front of every attention: a new mask in the place of its own, which all layers share."""

    parts: TokenParts
    pairs: tuple[tuple[str, str] | torch.Tensor, ...]
    made: dict[tuple[Any, ...], torch.Tensor] = field(default_factory=dict)
    """What is blocked, by the shape of the pass."""

    def __call__(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        if not self.pairs:
            return None
        hidden = entering(arguments, keywords, type(module).__name__)[1]
        place = list(inspect.signature(module.forward).parameters).index("attention_mask")
        by_place = "attention_mask" not in keywords and place < len(arguments)
        mask = arguments[place] if by_place else keywords.get("attention_mask")
        n, queries = hidden.shape[:2]
        total = queries + _before(module, arguments, keywords)
        if mask is None:
            mask = _unmasked(module, hidden, total, keywords)
        elif not isinstance(mask, torch.Tensor) or mask.ndim != 4:
            came = tuple(mask.shape) if isinstance(mask, torch.Tensor) else type(mask).__name__
            raise InputError(
                f"A {type(module).__name__} was given the mask {came}; expected a tensor (n, heads, queries, keys). Load the "
                "model with attn_implementation='sdpa' or 'eager'."
            )
        if n != self.parts.n or total < self.parts.positions:
            raise InputError(
                f"The pass is about {n} sequences of {total} positions; expected the {self.parts.n} prompts of "
                f"{self.parts.positions} that the parts are of. Make the parts of the same batch."
            )
        new = without(mask, self._blocked(total, queries, mask.shape[-1], mask.device))
        if by_place:
            return (*arguments[:place], new, *arguments[place + 1 :]), keywords
        return arguments, {**keywords, "attention_mask": new}

    def _blocked(self, total: int, queries: int, keys: int, device: torch.device) -> torch.Tensor:
        """Which pairs are blocked, bool (n, 1, queries, keys): those are the last queries, and the last keys there are."""
        shape = total, queries, keys, device
        if shape not in self.made:
            if len(self.made) > 8:
                self.made.clear()  # generation goes from length to length
            length = max(total, keys)  # a cache of fixed size has room behind
            rows, columns = torch.arange(total - queries, total), torch.arange(length - keys, length)
            found = torch.zeros(self.parts.n, queries, keys, dtype=torch.bool)
            for pair in self.pairs:
                if isinstance(pair, torch.Tensor):
                    more = length - pair.shape[1]
                    found |= nn.functional.pad(pair.cpu(), (0, more, 0, more))[:, rows][:, :, columns]
                else:
                    source, target = (self.parts.at(name, length) for name in pair)
                    found |= target[:, rows, None] & source[:, None, columns]
            self.made[shape] = (found & (rows[:, None] != columns))[:, None].to(device)
        return self.made[shape]


def without(mask: torch.Tensor, blocked: torch.Tensor) -> torch.Tensor:
    """A mask of attention with more pairs blocked, as a new tensor; a row that would lose all it sees stays as it was.

    Args:
        mask: (1 or n, 1 or heads, queries, keys): bool, true where attention is allowed, or what is added to the scores.
        blocked: bool, of a shape that goes with it.
    """
    if mask.dtype == torch.bool:
        left = mask & ~blocked
        return left | (mask & ~left.any(-1, keepdim=True))
    lowest = torch.finfo(mask.dtype).min
    left = (mask > lowest / 2) & ~blocked
    return mask.masked_fill(blocked & left.any(-1, keepdim=True), lowest)


def _unmasked(module: nn.Module, hidden: torch.Tensor, keys: int, keywords: Mapping[str, Any]) -> torch.Tensor:
    """What a module does that is given no mask: SDPA looks back only, where the module is causal; nothing else is masked."""
    queries, eager = hidden.shape[1], getattr(getattr(module, "config", None), "_attn_implementation", None) != "sdpa"
    told = keywords.get("is_causal")
    causal = not eager and queries > 1 and bool(getattr(module, "is_causal", True) if told is None else told)
    seen = torch.ones(1, 1, queries, keys, dtype=torch.bool, device=hidden.device)
    seen = seen.tril(keys - queries) if causal else seen
    return seen.to(hidden.dtype) * 0 if eager else seen


def _before(module: nn.Module, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> int:
    """How many positions a cache holds from before, of the module's own layer: others may have this pass's already."""
    for cache in [*(keywords.get(name) for name in _CACHES), *arguments]:
        if hasattr(cache, "get_seq_length"):
            layers = (getattr(part, "layer_idx", None) for part in module.modules())
            return int(cache.get_seq_length(next((layer for layer in layers if isinstance(layer, int)), 0)))
    return 0
