"""Bottlenecks planted in a healthy model by surgery, so that the right verdict is known.

* ``erase``: what tells a distorted image from its clean original is projected out of the residual stream behind one block, or
  out of the projector, where the projection is folded into the last weights.
* ``shrink``: the image processor halves, or worse, the image before it brings it to the model's size.
* ``mixed``: the language model's weights are moved towards those of one that ignores what reaches it.

The subspace is found on training references, at single tokens: of the directions in which distorted tokens differ from those
of their clean original at the same place, those whose energy is largest against that of the content (a generalised
eigenproblem, as in Fisher 1936). Differences of all kinds count, not only those of class means, because the blocks behind can
make class means again from a variance. The projection is oblique (orthogonal in coordinates in which the content is white,
as in Belrose et al. 2023), which leaves the rest of the content where it was.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hooks.capture import capture, features, rebuilt
from hooks.stages import Stages
from snellen.embedded.architecture import IMAGE_SIZE, pixel_values
from snellen.embedded.data import PER_REFERENCE, Corpus
from snellen.embedded.language import Sentences
from stimuli.errors import InputError


@dataclass(frozen=True)
class Moments:
    """Second moments of one site's tokens."""

    mean: torch.Tensor
    """(d,) over all tokens."""
    content: torch.Tensor
    """(d, d) covariance of the clean images' tokens."""
    difference: torch.Tensor
    """(d, d) second moment of distorted − clean, same reference, same place."""


@dataclass(frozen=True)
class Subspace:
    """What is projected out: h − P (h − mean)."""

    projection: torch.Tensor
    """P, (d, d), idempotent."""
    mean: torch.Tensor

    def erased(self, values: torch.Tensor) -> torch.Tensor:
        """Values (..., d) without their part in the subspace, which is set to that of the mean."""
        return values - (values - self.mean) @ self.projection.T


def moments(
    model: Any, stages: Stages, tokenizer: Any, data: Corpus, sites: Sequence[str], references: int = 100, batch: int = 25
) -> dict[str, Moments]:
    """Moments of sites over training images shown with the question about distortions.

    In the language model, image positions and positions of text weigh alike, each in units of its own content.

    Args:
        model: the model, untouched.
        stages: its map.
        tokenizer: its tokenizer.
        data: training images; the first ``references`` of them are used, each clean and in its distorted versions.
        sites: which.
        references: how many.
        batch: references per forward pass.
    """
    sentences = Sentences(tokenizer)
    references = min(references, len(data.images) // PER_REFERENCE)
    prefix = torch.tensor(sentences.prefixes["distortion"])
    image = prefix == sentences.image_id
    sums = {site: _Sums() for site in sites}
    for start in range(0, references, batch):
        rows = slice(start * PER_REFERENCE, min(start + batch, references) * PER_REFERENCE)
        pixels = pixel_values(data.images[rows].copy())
        ids = prefix.expand(len(pixels), -1)
        with torch.no_grad(), capture(model, sites, stages) as seen:
            model(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels)
        for site in sites:
            sums[site].add(seen[site], image)
    return {site: own.moments() for site, own in sums.items()}


class _Sums:
    """Running sums of one site, by kind of position."""

    def __init__(self) -> None:
        self.kinds: dict[str, list[Any]] = {}

    def add(self, values: torch.Tensor, image: torch.Tensor) -> None:
        """Add tokens (n, places, d) of whole references, the clean version of each first."""
        parts = {"image": values[:, image], "text": values[:, ~image]} if values.shape[1] == len(image) else {"image": values}
        for kind, own in parts.items():
            own = own.double().unflatten(0, (-1, PER_REFERENCE))  # (references, versions, places, d)
            clean, off = own[:, 0].flatten(0, 1), (own[:, 1:] - own[:, :1]).flatten(0, 2)
            new = [
                own.flatten(0, 2).sum(0),
                own[..., 0].numel(),
                clean.T @ clean,
                clean.sum(0),
                len(clean),
                off.T @ off,
                len(off),
            ]
            self.kinds[kind] = [a + b for a, b in zip(self.kinds.get(kind, [0] * len(new)), new, strict=True)]

    def moments(self) -> Moments:
        total, count, content, difference = 0, 0, 0, 0
        for own, n, second, first, cleans, off, offs in self.kinds.values():
            spread = second / cleans - torch.outer(first / cleans, first / cleans)
            unit = spread.trace()
            total, count = total + own, count + n
            content, difference = content + spread / unit, difference + off / offs / unit
        return Moments(total / count, content, difference)


def subspace(found: Moments, rank: int, ridge: float = 1e-3) -> Subspace:
    """The ``rank`` directions in which distortion stands out most against content.

    Args:
        found: of a site.
        rank: how many directions, from 0 to the width.
        ridge: share of the mean content variance that is added to all directions.

    Raises:
        InputError: a rank that the site does not have.
    """
    width = len(found.mean)
    if not 0 <= rank <= width:
        raise InputError(f"Got rank {rank} for a site of width {width}; expected 0 to {width}. Give a smaller rank.")
    variances, axes = torch.linalg.eigh(found.content + ridge * found.content.trace() / width * torch.eye(width).double())
    half, back = axes * variances.sqrt() @ axes.T, axes / variances.sqrt() @ axes.T
    chosen = torch.linalg.eigh(back @ found.difference @ back)[1][:, width - rank :]
    return Subspace((half @ chosen @ chosen.T @ back).float(), found.mean.float())


def erase(model: Any, stages: Stages, site: str, what: Subspace) -> Any:
    """A copy of a model in which a subspace is projected out at one site; the sites' names stay.

    Args:
        model: the model; it is left as it is.
        stages: its map.
        site: ``vision.<k>``, ``projector`` or ``llm.<k>``.
        what: of that site.

    Raises:
        InputError: another site.
    """
    if site.endswith(".embed") or site not in stages.sites:
        raise InputError(
            f"Nothing can be erased at '{site}'. Expected vision.<k>, projector or llm.<k>. Give one of {', '.join(stages.sites)}."
        )
    planted = copy.deepcopy(model)
    module = planted.get_submodule(stages.sites[site])
    if site == "projector":
        _fold(module.linear_2, what)
        return planted
    kind = type(module)
    module.__class__ = type(f"Erased{kind.__name__}", (_Erased, kind), {})
    module.register_buffer("erased_projection", what.projection.clone())
    module.register_buffer("erased_mean", what.mean.clone())
    return planted


class _Erased:
    """Put in front of a block's class: the subspace is projected out of what the block gives."""

    erased_projection: torch.Tensor
    erased_mean: torch.Tensor

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The block's output without the subspace."""
        given = super().forward(*inputs, **named)  # type: ignore[misc]
        kept = Subspace(self.erased_projection, self.erased_mean)
        return rebuilt(given, kept.erased(features(given, "erased")), "erased")


def _fold(layer: nn.Linear, what: Subspace) -> None:
    """Make a linear layer give its output without the subspace."""
    with torch.no_grad():
        left = torch.eye(len(what.mean)) - what.projection
        layer.weight.copy_(left @ layer.weight)
        layer.bias.copy_(left @ layer.bias + what.projection @ what.mean)


def mixed(model: Any, other: Any, share: float) -> Any:
    """A copy of a model whose weights are moved towards those of another by ``share``, from 0 to 1."""
    planted, there = copy.deepcopy(model), other.state_dict()
    planted.load_state_dict({k: v.lerp(there[k], share) if v.is_floating_point() else v for k, v in model.state_dict().items()})
    return planted


def shrink(processor: Any, factor: float, resample: str = "BICUBIC") -> Any:
    """A copy of a processor that makes images smaller by a factor before it brings them to the model's size.

    Args:
        processor: with an image processor of the CLIP kind.
        factor: 1 or more; 4 leaves 32 px of 128.
        resample: name of Pillow's filter for the way down: ``BICUBIC``, ``BOX``, ``NEAREST``, ….
    """
    from PIL.Image import Resampling

    planted = copy.copy(processor)
    own = processor.image_processor
    planted.image_processor = _shrinking(type(own))(**own.to_dict())
    planted.image_processor.shrunk = round(IMAGE_SIZE / factor), Resampling[resample]
    return planted


def _shrinking(kind: type) -> type:
    """The class of an image processor that resizes twice."""

    def resize(self: Any, image: Any, size: Any, resample: Any = None, **named: Any) -> Any:
        side, how = self.shrunk
        small = kind.resize(self, image, type(size)(height=side, width=side), how, **named)  # type: ignore[attr-defined]
        return kind.resize(self, small, type(size)(height=IMAGE_SIZE, width=IMAGE_SIZE), resample, **named)  # type: ignore[attr-defined]

    members: Mapping[str, Any] = {"resize": resize}
    return type(f"Shrinking{kind.__name__}", (kind,), dict(members))
