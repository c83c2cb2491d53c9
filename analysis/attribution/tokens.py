"""Attribution by tokens: Grad-CAM, attention relevancy and plain attention, laid out by where tokens look in the image."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from analysis.attribution.objective import ANSWERS
from hooks.batch import Batch, bare
from hooks.edit import edit
from hooks.inside import inside
from hooks.load import Mllm
from stimuli.errors import InputError

if TYPE_CHECKING:
    from analysis.attribution.methods import Case

_ATTRIBUTE = "_attn_implementation_internal"
SAME = 1e-3
"""How far the contrast may differ, in nats or as a share of it, when attention is computed eagerly."""


def gradcam(case: Case) -> np.ndarray:
    """Grad-CAM (Selvaraju et al. 2017) at the vision site that the projector reads, tokens in the place of a map's pixels.

    Features are weighted by the mean of their gradient over the tokens and summed. The sign is kept: the paper's ReLU comes later.
    """
    site = case.objective.mllm.stages.read_layer
    kept: list[torch.Tensor] = []

    def keep(own: torch.Tensor) -> torch.Tensor:
        kept.append(own)
        return own

    with edit(case.objective.mllm, {site: keep}), torch.enable_grad():
        batch = case.objective.expanded(case.objective.pixels.detach().clone().requires_grad_(True))
        value = case.objective.of(batch).sum()
    slopes = torch.autograd.grad(value, kept)
    heat = sum(
        own.float() @ slope.float().mean(0)
        for own, slope in zip(batch.layout.rows(site, kept), batch.layout.rows(site, slopes), strict=True)
    )
    assert isinstance(heat, torch.Tensor)
    return case.laid_out(site, heat)


def relevancy(case: Case) -> np.ndarray:
    """Relevancy of image tokens for the answer (Chefer et al. 2021), through the language model and on through the vision tower.

    In each tower R starts as the identity and grows by Ā R, where Ā is the mean over heads of the positive part of attention times its
    gradient. Rows of positions that predict the answer are read at the image's tokens. Where the tower gives weights between all patches
    of one crop, and the projector keeps its tokens, the vision tower's R follows; else the map stops behind the projector.
    """
    batch, value, weights = _attended(case)
    llm, vision = _layers(weights, "llm"), _layers(weights, "vision")
    slopes = dict(
        zip([*llm, *vision], torch.autograd.grad(value, [weights[s] for s in (*llm, *vision)], allow_unused=True), strict=True)
    )
    through = {site: _relevant(weights[site], slope) for site, slope in slopes.items() if slope is not None}
    language = _rollout([through[site] for site in llm if site in through])
    tokens = [own[_saying(batch, i, own.shape[-1])].mean(0)[_shown(batch, i, own.shape[-1])] for i, own in enumerate(language)]
    seen = [through[site] for site in vision if site in through]
    skip = batch.layout.patches.cls
    if seen and all(own.shape[0] == ANSWERS and own.shape[-1] - skip == len(tokens[0]) for own in seen):
        tower = _rollout(seen)[:, skip:, skip:]
        return case.laid_out(
            case.objective.mllm.stages.read_layer, sum(row @ own for row, own in zip(tokens, tower, strict=True))
        )
    return case.laid_out("llm.embed", sum(tokens))


def attention(case: Case) -> np.ndarray:
    """Attention from the last position of the prompt to the image's tokens, mean over layers and heads: no gradient, no answer."""
    batch, _, weights = _attended(case)
    rows = [
        own[0].float().mean(0)[_saying(batch, 0, own.shape[-1])[:1]][0][_shown(batch, 0, own.shape[-1])]
        for site, own in weights.items()
        if site.startswith("llm")
    ]
    return case.laid_out("llm.embed", torch.stack(rows).mean(0))


# ---- attention weights -------------------------------------------------------------------------------------------------


def _attended(case: Case) -> tuple[Batch, torch.Tensor, dict[str, torch.Tensor]]:
    """Inputs, contrast and the attention weights of every layer that gives some, by site, all with gradients.

    Raises:
        InputError: no layer of the language model gives weights, or the model says something else when it computes them.
    """
    objective = case.objective
    mllm = objective.mllm
    with torch.no_grad():
        plain = float(objective(objective.pixels).sum())
    found: dict[str, list[torch.Tensor]] = {}
    with eagerly(mllm.model), ExitStack() as stack, torch.enable_grad():
        for site, module in _attentions(mllm).items():
            stack.callback(module.register_forward_hook(_reading(found, site)).remove)
        batch = objective.expanded(objective.pixels.detach().clone().requires_grad_(True))
        value = objective.of(batch).sum()
    if abs(float(value.detach()) - plain) > SAME * max(1.0, abs(plain)):
        raise InputError(
            f"With attention computed eagerly the contrast is {float(value.detach()):.4f} nats, and {plain:.4f} as the model is. Expected the "
            "same. Load the model with attn_implementation='eager', or leave out 'relevancy' and 'attention'."
        )
    weights = {site: own[0] for site, own in found.items() if len(own) == 1}
    if not any(site.startswith("llm") for site in weights):
        raise InputError(
            f"The language model of {type(mllm.model).__name__} gives no attention weights between its positions (linear attention, "
            "cross-attention, or kernels of its own). Expected softmax self-attention. Leave out 'relevancy' and 'attention'."
        )
    return batch, value, weights


def _attentions(mllm: Mllm) -> dict[str, nn.Module]:
    found: dict[str, nn.Module] = {}
    for site, name in mllm.stages.sites.items():
        if re.fullmatch(r"(vision|llm)\.\d+", site) and (own := inside(mllm.model.get_submodule(name), name).get("attention")):
            found[site] = mllm.model.get_submodule(own)
    return found


def _reading(found: dict[str, list[torch.Tensor]], site: str) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        for value in output[1:] if isinstance(output, tuple) else ():
            if (
                isinstance(value, torch.Tensor)
                and value.ndim == 4
                and value.shape[-1] == value.shape[-2]
                and value.requires_grad
            ):
                found.setdefault(site, []).append(value)

    return hook


@contextmanager
def eagerly(model: nn.Module) -> Iterator[None]:
    """All attention computed eagerly inside the block, which alone gives weights; every config is as it was after it."""
    configs: dict[int, Any] = {}
    for module in model.modules():
        waiting = [getattr(module, "config", None)]
        while waiting:
            config = waiting.pop()
            if hasattr(config, _ATTRIBUTE) and id(config) not in configs:
                configs[id(config)] = config
                waiting += [getattr(config, name, None) for name in getattr(config, "sub_configs", {})]
    before = [(config, getattr(config, _ATTRIBUTE)) for config in configs.values()]
    try:
        set_to = getattr(bare(model), "set_attn_implementation", None)
        if set_to is not None:
            set_to("eager")
        yield
    finally:
        for config, value in before:
            setattr(config, _ATTRIBUTE, value)


def _layers(weights: dict[str, torch.Tensor], tower: str) -> list[str]:
    return [site for site in weights if site.startswith(tower)]


def _relevant(weights: torch.Tensor, slopes: torch.Tensor) -> torch.Tensor:
    """Ā of one layer, (n, positions, positions)."""
    return (slopes * weights).clamp_min(0).mean(1).detach().float()


def _rollout(layers: Sequence[torch.Tensor]) -> torch.Tensor:
    """R after all layers, (n, positions, positions)."""
    first = layers[0]
    found = torch.eye(first.shape[-1], device=first.device).expand_as(first)
    for own in layers:
        found = found + own.to(found.device) @ found
    return found


def _saying(batch: Batch, i: int, length: int) -> torch.Tensor:
    """The positions whose outputs predict the tokens of the answer, in order, among so many."""
    front = length - batch.layout.image.shape[1]
    return batch.layout.answer[i].cpu().nonzero()[:, 0] - 1 + front


def _shown(batch: Batch, i: int, length: int) -> torch.Tensor:
    """The positions of the image's tokens among so many: those in front where the image has none in the text's sequence."""
    front = length - batch.layout.image.shape[1]
    own = torch.arange(front) if front else batch.layout.image[i].cpu().nonzero()[:, 0]
    if not len(own):
        raise InputError(
            "The image has no positions in the language model's sequence: it is read by cross-attention. Expected image tokens. Leave out "
            "'relevancy' and 'attention'."
        )
    return own
