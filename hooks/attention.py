"""Where the language model looks: shares of attention, per layer and head, summed as each layer computes them.

Weights of all pairs are large, (stimuli, heads, positions, positions) per layer; what is kept of a layer is one number per
source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hooks.batch import Batch, bare, run
from hooks.capture import refuse_compiled
from hooks.inside import inside
from hooks.load import Mllm
from stimuli.errors import InputError

if TYPE_CHECKING:
    from hooks.knockout import TokenParts

SOURCES = ("image", "region", "question", "itself", "rest")
"""What a position looks at: the image, its region (a part of the image's share), the text behind the image, itself, all else
(text in front of the image, the last position). Without the region they sum to one."""
TARGETS = ("last", "question")
"""Who looks: the last position of the prompt, which says the answer's first token, or the mean position of the question."""
SAME = {torch.float32: 1e-4, torch.float64: 1e-4}
"""How far logits may differ between two implementations of attention, as a share of the largest, by precision."""
HALF = 0.05
"""The same in half precision, where rounding differs."""
_NO_MATRIX = re.compile(r"delta|linear|mamba|recurrent|ssm|conv", re.IGNORECASE)
_ATTRIBUTE = "_attn_implementation_internal"


@dataclass(frozen=True)
class Shares:
    """Attention of a batch, from one kind of target."""

    layers: tuple[int, ...]
    values: dict[str, torch.Tensor]
    """Source to float32 (n, layers, heads) in [0, 1], on the CPU; NaN for a prompt without region, or without such a target."""


def attention(
    mllm: Mllm,
    batch: Batch,
    parts: TokenParts,
    target: str = "last",
    *,
    layers: Sequence[int] | None = None,
    check: bool = True,
) -> Shares:
    """How the attention of a target is shared out among the sources, per layer and head.

    The model computes attention eagerly for this pass, as only that gives weights.

    Args:
        mllm: the model; left as it was.
        batch: prompts with an image each, on the model's device.
        parts: whose the positions of the batch are (``hooks.knockout.token_parts``). A token counts for the region with its
            share in it.
        target: of ``TARGETS``.
        layers: numbers of language model layers; all by default.
        check: whether to prove by one more pass that the model says the same when it computes attention eagerly.

    Raises:
        InputError: an unknown target or layer, a layer without weights per pair of positions, or a model that cannot compute
            them or says something else then.
    """
    if target not in TARGETS:
        raise InputError(f"Unknown target '{target}'. Expected one of {', '.join(TARGETS)}. Use one of these.")
    looks = parts.masks[target].float()
    looks = looks / looks.sum(1, keepdim=True)
    sources = torch.stack([parts.masks["image"].float(), parts.within, parts.masks["question"].float()], 1)

    def reduced(weights: torch.Tensor) -> torch.Tensor:
        """From (n, heads, positions, positions) to (n, heads, sources)."""
        more = 0, weights.shape[-1] - parts.positions
        at, of = (nn.functional.pad(own, more).to(weights.device) for own in (looks, sources))
        seen = torch.einsum("nhqk,nq->nhk", weights.float(), at)
        own = torch.einsum("nhq,nq->nh", weights.diagonal(dim1=-2, dim2=-1).float(), at)
        image, within, question = torch.einsum("nhk,nck->cnh", seen, of)
        question = question - own if target == "question" else question
        rest = seen.sum(-1) - image - question - own
        return torch.stack([image, within, question, own, rest], -1)

    each = weights_of(mllm, batch, reduced, layers=layers, check=check)
    found = torch.stack([value.cpu() for value in each.values()], 1)
    total = found[..., [0, 2, 3, 4]].sum(-1)
    if bool(((total - 1).abs() > 1e-2).any()):
        raise InputError(
            f"The attention weights of a position sum to {float(total.min()):.3f} to {float(total.max()):.3f}; expected 1. The "
            "model's attention is no softmax over its positions (a sink of its own?), and shares of it are not defined. Leave "
            "them out."
        )
    return Shares(tuple(each), {name: found[..., i] for i, name in enumerate(SOURCES)})


def attentions(mllm: Mllm, layers: Sequence[int] | None = None) -> dict[int, nn.Module]:
    """The self-attention of each layer of the language model, by the number of its site ``llm.N``.

    Args:
        mllm: the model.
        layers: which; all by default.

    Raises:
        InputError: an unknown layer, one without a weight per pair of positions (linear attention), or a model
            that reads the image by cross-attention.
    """
    blocks = {int(site[4:]): name for site, name in mllm.stages.sites.items() if re.fullmatch(r"llm\.\d+", site)}
    wanted = sorted(blocks) if layers is None else sorted(set(layers))
    if unknown := [layer for layer in wanted if layer not in blocks]:
        raise InputError(f"Unknown layers {unknown} of the language model. Expected some of {sorted(blocks)}. Use these.")
    if not wanted:
        raise InputError(
            f"{type(mllm.model).__name__} has no layers llm.0, llm.1, …, of a language model that reads the image in its own "
            "sequence. Expected such a model: an encoder-decoder has none."
        )
    for layer, name in blocks.items():
        across = any(
            "cross" in f"{key} {type(child).__name__}".lower() for key, child in mllm.model.get_submodule(name).named_modules()
        )
        if across and not inside(mllm.model.get_submodule(name)).get("attention"):
            raise InputError(
                f"{type(mllm.model).__name__} reads the image by cross-attention (llm.{layer}): the image has no positions "
                "that others attend to. Expected image tokens in the sequence. Patch or erase at a site instead "
                "(hooks.edit.edit)."
            )
    return {layer: _attention(mllm, layer, blocks[layer]) for layer in wanted}


def _attention(mllm: Mllm, layer: int, block: str) -> nn.Module:
    """The self-attention of a block."""
    name = inside(mllm.model.get_submodule(block), block).get("attention")
    module = None if name is None else mllm.model.get_submodule(name)
    if name is None or module is None or _NO_MATRIX.search(f"{name.rpartition('.')[2]} {type(module).__name__}"):
        raise InputError(
            f"llm.{layer} has {'no self-attention' if module is None else f'a {type(module).__name__}'}, and so no weights per "
            "pair of positions. Expected softmax self-attention. Leave the layer out with layers=, and mind that what passes "
            "by it is not seen."
        )
    return module


def weights_of(
    mllm: Mllm,
    batch: Batch,
    reduce: Callable[[torch.Tensor], Any],
    *,
    layers: Sequence[int] | None = None,
    check: bool = True,
) -> dict[int, Any]:
    """What a function makes of the attention weights of each layer, in one pass about a batch.

    Args:
        mllm: the model; left as it was.
        batch: inputs, on the model's device.
        reduce: takes the weights of a layer, (n, heads, positions, positions), on the spot: they are not kept.
        layers: numbers of language model layers; all by default.
        check: as in ``attention``.

    Raises:
        InputError: as ``attention``.
    """
    modules = attentions(mllm, layers)
    refuse_compiled(mllm.model)
    found: dict[int, Any] = {}
    plain = _said(mllm, batch) if check else None
    with eagerly(mllm, list(modules.values())), ExitStack() as stack:
        for layer, module in modules.items():
            for part in module.modules():
                stack.callback(part.register_forward_hook(_reading(layer, reduce, found)).remove)
        said = _said(mllm, batch)
    if without := [layer for layer in modules if layer not in found]:
        raise InputError(
            f"The attention of llm.{without[0]}, a {type(modules[without[0]]).__name__}, gives no weights (n, heads, positions, "
            "positions), also when computed eagerly. Expected them behind its output. Leave such layers out with layers=."
        )
    if plain is not None:
        _compare(plain, said)
    return {layer: found[layer] for layer in modules}


def implementation(mllm: Mllm, module: nn.Module) -> str:
    """How a module computes attention."""
    config = getattr(module, "config", None) or bare(mllm.model).config.get_text_config()
    return str(getattr(config, "_attn_implementation", None))


@contextmanager
def eagerly(mllm: Mllm, modules: Sequence[nn.Module]) -> Iterator[None]:
    """Attention of the language model computed eagerly inside the block; of everything, where a model cannot be told apart.

    Args:
        mllm: the model; every config of it is as it was after the block, also after an exception.
        modules: attention modules of the language model.

    Raises:
        InputError: the model does not take the change.
    """
    model = bare(mllm.model)
    configs = {id(own): own for own in _configs(model)}
    before = [(own, getattr(own, _ATTRIBUTE)) for own in configs.values()]
    key = next((name for name in getattr(model.config, "sub_configs", {}) if name == "text_config"), None)
    try:
        if any(implementation(mllm, module) != "eager" for module in modules):
            model.set_attn_implementation({key: "eager"} if key else "eager")
        if any(implementation(mllm, module) != "eager" for module in modules):
            raise InputError(
                f"{type(model).__name__} does not change how it computes attention, and '{implementation(mllm, modules[0])}' "
                "gives no weights. Load it with attn_implementation='eager'."
            )
        yield
    finally:
        for own, value in before:
            setattr(own, _ATTRIBUTE, value)


def _configs(model: nn.Module) -> Iterator[Any]:
    """Every config of a model and of its parts."""
    waiting = [config for module in model.modules() if hasattr(config := getattr(module, "config", None), _ATTRIBUTE)]
    seen: set[int] = set()
    while waiting:
        own = waiting.pop()
        if id(own) not in seen:
            seen.add(id(own))
            yield own
            below = (getattr(own, name, None) for name in getattr(own, "sub_configs", {}))
            waiting += [config for config in below if hasattr(config, _ATTRIBUTE)]


def _reading(layer: int, reduce: Callable[[torch.Tensor], Any], found: dict[int, Any]) -> Any:
    """Takes the weights where they first come out: the module, or one inside it if it keeps them to itself."""

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        given = output[1:] if isinstance(output, tuple) and layer not in found else ()
        for value in given:
            if isinstance(value, torch.Tensor) and value.ndim == 4 and value.shape[-1] == value.shape[-2]:
                found[layer] = reduce(value)
                return

    return hook


def _said(mllm: Mllm, batch: Batch) -> torch.Tensor:
    """Logits at the last position of each prompt, (n, vocabulary)."""
    first = int(batch.layout.last_prompt.min())
    keep = batch.layout.answer.shape[1] - first
    with torch.inference_mode():
        logits = run(mllm.model, batch.tensors, keep).logits[:, -keep:]
    return logits[torch.arange(len(logits)), batch.layout.last_prompt.to(logits.device) - first]


def _compare(plain: torch.Tensor, said: torch.Tensor) -> None:
    """Refuse a model that says something else with attention computed eagerly."""
    far, most = float((plain - said).abs().max()), float(plain.abs().max())
    if not far <= SAME.get(plain.dtype, HALF) * max(1.0, most):
        raise InputError(
            f"With attention computed eagerly the model's logits differ by {far:.2g} (the largest is {most:.2g}), so that its "
            "weights are not those of the model as it is. Expected the same logits but for rounding. Load it with "
            "attn_implementation='eager'."
        )
