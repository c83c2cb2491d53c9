"""Whose rows are whose at every site, proven by gradients: a stimulus's rows must depend on its own image alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from hooks.patches import KINDS
from stimuli.errors import InputError

if TYPE_CHECKING:
    from hooks.stages import Stages
    from hooks.tokens import TokenLayout

MOST_EXTRA = 16
"""How many class or register tokens per image are tried."""


def laid_out(
    model: Any, layout: TokenLayout, firings: Mapping[str, list[torch.Tensor]], stages: Stages
) -> tuple[TokenLayout, dict[str, str]]:
    """Every site's layout, told from its shapes, such that no stimulus's rows depend on another stimulus's image.

    Packed towers may put class or register tokens in front of each image; how many is tried out.

    Raises:
        InputError: nothing fits.
    """
    reason = ""
    for extra in range(MOST_EXTRA + 1):
        tried = replace(layout, patches=replace(layout.patches, extra=extra))
        kinds = {site: tried.kind(site, values, stages.widths.get(site)) for site, values in firings.items()}
        odd = [site for site, kind in kinds.items() if kind is None]
        if odd:
            shapes = " and ".join(dict.fromkeys(str(tuple(value.shape)) for value in firings[odd[0]]))
            reason = reason or f"the site '{odd[0]}' gave {shapes}, which fits no layout"
            continue
        found = {site: kind for site, kind in kinds.items() if kind is not None}
        tried = replace(tried, layouts=found)
        mixed = _mixed(tried, firings)
        if mixed is None:
            return tried, found
        reason = reason or f"the rows of one stimulus at '{mixed}' depend on the image of another"
    raise InputError(
        f"The self-test of {type(model).__name__} failed: {reason}, for {layout.n} stimuli with {list(layout.image_tokens)} image "
        f"placeholders in {layout.image.shape[1]} positions and crops {list(layout.patches.crops)}. Give a map that leaves the site "
        "out (stages=), or report the family."
    )


def _mixed(layout: TokenLayout, firings: Mapping[str, list[torch.Tensor]]) -> str | None:
    """The first site whose rows of the first stimulus depend on other rows at ``vision.embed`` than its own; None if none does."""
    embed = firings["vision.embed"]
    if layout.n < 2 or len(embed) > 1 or layout.layouts["vision.embed"] not in KINDS:
        return None
    for site in _one_of_each_shape(layout, firings):
        own = layout.rows(site, firings[site])[0]
        if not own.requires_grad:
            continue
        weights = torch.randn(own.shape, generator=torch.Generator().manual_seed(0)).to(own)  # a norm's plain sum is constant
        gradient = torch.autograd.grad((own * weights).sum(), embed[0], retain_graph=True, allow_unused=True)[0]
        if gradient is not None and bool(gradient.any()) and not _only_own(layout, gradient):
            return site
    return None


def _one_of_each_shape(layout: TokenLayout, firings: Mapping[str, list[torch.Tensor]]) -> list[str]:
    """The projector, and of the tower's sites after the first the first of each shape: the others are cut in the same way."""
    found: dict[Any, str] = {}
    for site, values in firings.items():
        if site.startswith(("vision.", "projector")) and site != "vision.embed":
            found.setdefault(site if site == "projector" else (layout.layouts[site], values[-1].shape[:-1]), site)
    return list(found.values())


def _only_own(layout: TokenLayout, gradient: torch.Tensor) -> bool:
    """Whether a gradient at ``vision.embed`` stays within the first stimulus; in packed rows it must also fill them."""
    if any(bool(part.any()) for part in layout.rows("vision.embed", gradient)[1:]):
        return False
    if layout.layouts["vision.embed"] != "packed":
        return True
    rows = gradient.reshape(-1, gradient.shape[-1])
    touched = rows.any(1).nonzero().flatten()
    return len(touched) == int(touched[-1]) + 1 == layout.patches.ends(len(rows))[0]
