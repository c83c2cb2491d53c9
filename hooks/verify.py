"""The self-test: prove a map of stages by one small forward and backward pass.

That a site fires, in which order, how often and how its rows are laid out is seen; that it matters is shown by the gradient of
the logits with respect to it: a block whose output nothing reads has none. A second, partial pass perturbs the projector and
looks which positions of the language model change: those are the image's, whatever the placeholder's id is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hooks.capture import Stop, capture, features
from hooks.edit import edit
from hooks.ownership import laid_out
from stimuli.errors import InputError

if TYPE_CHECKING:
    from hooks.stages import Stages
    from hooks.tokens import TokenLayout


@dataclass(frozen=True)
class Firing:
    """What one site did in the self-test."""

    times: int
    """How often it fired in one forward pass."""
    shape: tuple[int, ...]
    """Of the last firing."""
    alive: bool | None
    """Whether the logits depend on it; None where the model has no gradients (some quantised kernels)."""


@dataclass(frozen=True)
class Proof:
    """The outcome of the self-test."""

    firings: Mapping[str, Firing]
    """Site to what it did, in the order of firing."""
    placeholders: tuple[int, ...]
    """Image placeholders per stimulus, counted in the prompts."""
    reached: tuple[int, ...]
    """Positions per stimulus that the projector's output reaches in the language model's sequence; zeros where it enters by
    cross-attention. Fewer than the placeholders where a model adds separators of its own."""
    seconds: float
    """What the self-test took."""

    @property
    def dead(self) -> tuple[str, ...]:
        """Sites that the answer does not depend on."""
        return tuple(site for site, firing in self.firings.items() if firing.alive is False)


def verify(model: Any, inputs: Mapping[str, torch.Tensor], stages: Stages, layout: TokenLayout) -> Stages:
    """Prove a map and complete it: order, layouts, dead ends, the layer the projector reads, the image's token id.

    Args:
        model: the model, in evaluation mode.
        inputs: of one forward pass, best with two images of different size.
        stages: the map to prove.
        layout: the bookkeeping of these inputs.

    Returns:
        The map with ``proof``, sites in the order in which they fired.

    Raises:
        InputError: a site did not fire, its rows fit no layout, or image features reach positions that are no placeholders.
    """
    start = time.perf_counter()
    seen, gradients = _forward_backward(model, inputs, stages)
    alive = {
        site: None if found is None else any(g is not None and bool(g.any()) for g in found)
        for site, found in gradients.items()
    }
    silent = [site for site in stages.sites if not seen[site]]
    if silent:
        raise InputError(
            f"The self-test of {type(model).__name__} failed: {', '.join(silent[:5])} did not fire in a forward pass with an "
            f"image ({len(silent)} of {len(stages.sites)} sites). Expected every site to fire. Give the map by hand with "
            "stages=, or the inputs an image."
        )
    order = sorted(stages.sites, key=lambda site: (_component(site), seen[site][0][0], not site.endswith("embed")))
    firings = {site: [value for _, value in seen[site]] for site in order}
    layout, layouts = laid_out(model, layout, firings, stages)
    widths = {site: values[-1].shape[1 if layouts[site] == "map" else -1] for site, values in firings.items()}
    reached = _reached(model, inputs, stages, firings, seen, layout)
    proof = Proof(
        {site: Firing(len(values), tuple(values[-1].shape), alive[site]) for site, values in firings.items()},
        layout.image_tokens,
        () if reached is None else tuple(reached.sum(1).tolist()),
        time.perf_counter() - start,
    )
    token = _placeholder(model, inputs, layout, reached)
    read = [site for site in order if site.startswith("vision.") and site.split(".")[-1].isdigit() and site.count(".") == 1]
    living = [site for site in read if alive[site] is not False]
    return replace(
        stages,
        sites={site: stages.sites[site] for site in order},
        layouts=layouts,
        widths=widths,
        read_layer=living[-1] if living else stages.read_layer,
        image_token=token,
        extra=layout.patches.extra,
        live=_live(gradients, layouts),
        proof=proof,
    )


def _component(site: str) -> int:
    return ("vision", "projector", "llm").index(site.split(".")[0])


# ---- one pass forth and back -----------------------------------------------------------------------------------------


def _forward_backward(
    model: Any, inputs: Mapping[str, torch.Tensor], stages: Stages
) -> tuple[dict[str, list[tuple[int, torch.Tensor]]], dict[str, list[torch.Tensor | None] | None]]:
    """Every site's firings with their place in the order, and the gradients of the logits; None where there are none."""
    graph: dict[str, list[torch.Tensor]] = {site: [] for site in stages.sites}
    seen: dict[str, list[tuple[int, torch.Tensor]]] = {site: [] for site in stages.sites}
    clock = iter(range(10**9))

    def note(site: str, value: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and not value.requires_grad:
            value = value.detach().requires_grad_().clone()
        graph[site].append(value)
        seen[site].append((next(clock), value))
        return value

    inner = not any(p.is_inference() for p in model.parameters())  # tensors made in inference mode can have no gradient
    with torch.inference_mode(False), torch.set_grad_enabled(inner), _frozen(model):
        with edit(model, {site: partial(note, site) for site in stages.sites}, stages):
            logits = _logits(model, inputs)
        weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0)).to(logits.device)
        loss = (logits.float() * weights).sum()
        flat = [value for values in graph.values() for value in values]
        try:
            given = iter(torch.autograd.grad(loss, flat, retain_graph=True, allow_unused=True))
        except RuntimeError:  # kernels without a backward
            return seen, dict.fromkeys(stages.sites)
    return seen, {site: [next(given) for _ in values] for site, values in graph.items()}


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """No gradients of the weights, which would keep every block's input in memory; put back after the block."""
    trained = [p for p in model.parameters() if p.requires_grad and not p.is_inference()]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _logits(model: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    output = model(**inputs)
    logits = getattr(output, "logits", None)
    return logits if isinstance(logits, torch.Tensor) else features(output, "the model's output")


# ---- where the image stands ------------------------------------------------------------------------------------------


def _reached(
    model: Any,
    inputs: Mapping[str, Any],
    stages: Stages,
    firings: Mapping[str, list[torch.Tensor]],
    seen: Mapping[str, Any],
    layout: TokenLayout,
) -> torch.Tensor | None:
    """Which positions of the language model's input change when the projector's output does: bool (n, positions)."""
    if "projector" not in stages.sites or seen["projector"][0][0] > seen["llm.embed"][0][0]:
        return None
    outputs = firings["projector"]
    fits = [layout.patches.kind([value], stages.widths.get("projector")) is not None for value in outputs]
    each = iter(fits if any(fits) else [True] * len(outputs))

    def push(value: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(value.shape, generator=torch.Generator().manual_seed(1)).to(value)
        return value + noise if next(each, False) else value

    with torch.no_grad(), capture(model, "llm.embed", stages, stop=True) as after, edit(model, {"projector": push}, stages):
        try:
            model(**inputs)
        except Stop:
            pass
        changed: torch.Tensor = (after["llm.embed"] != firings["llm.embed"][-1]).flatten(2).any(2)
    return changed


def _live(gradients: Mapping[str, Any], layouts: Mapping[str, str]) -> dict[str, int]:
    """Parts of a projector whose last rows never reach the logits, to how many leading ones do."""
    found = {}
    for site in (site for site in gradients if site.startswith("projector") and layouts[site] == "image"):
        last = (gradients[site] or [None])[-1]
        if last is not None and last.ndim == 3 and bool(last.any()):
            rows = last.any(2).any(0).nonzero()
            if int(rows[-1]) + 1 < last.shape[1]:
                found[site] = int(rows[-1]) + 1
    return found


def _placeholder(
    model: Any, inputs: Mapping[str, torch.Tensor], layout: TokenLayout, reached: torch.Tensor | None
) -> int | None:
    """The id of the image's placeholder, told from the positions that the image reaches.

    Raises:
        InputError: the image reaches other positions than the placeholders that were counted.
    """
    if reached is None or not reached.any() or reached.shape != layout.image.shape:
        return None
    outside = (reached & ~layout.image.to(reached.device)).sum(1).tolist()
    if layout.image.any() and any(outside):
        raise InputError(
            f"The self-test of {type(model).__name__} failed: image features reach {outside} positions that are no image "
            f"placeholders ({list(layout.image_tokens)} counted per stimulus). Check image_token_id in the model's config."
        )
    if not bool(reached.any(1).all()):
        raise InputError(
            f"The self-test of {type(model).__name__} failed: the projector's output reaches {reached.sum(1).tolist()} positions per "
            f"stimulus, though {list(layout.image_tokens)} placeholders were counted. Expected every image to reach its own. Check "
            "the processor's chat template."
        )
    ids = inputs["input_ids"].to(reached.device)[reached].unique().tolist()
    return int(ids[0]) if len(ids) == 1 else None
