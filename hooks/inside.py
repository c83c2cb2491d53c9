"""The parts inside a block: its self-attention and its MLP, as sites of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from hooks.load import Mllm
from stimuli.errors import InputError

PARTS = ("attention", "mlp")
"""What a block adds to the residual stream, by part; ``block`` is the stream itself."""
_KINDS = {
    "attention": re.compile(r"attention|attn", re.IGNORECASE),
    "mlp": re.compile(r"mlp|feed_?forward|ffn|sparse_?moe|moe(block|layer)?$", re.IGNORECASE),
}
_NOT = re.compile(r"norm|cross", re.IGNORECASE)
"""Names of what stands beside them, and of attention to another sequence."""


def with_parts(mllm: Mllm, parts: Sequence[str] = PARTS) -> Mllm:
    """The same model with ``SITE.attention`` and ``SITE.mlp`` as further sites, in front of the block that they are in.

    Capture, edits and token layouts take them like any other site. A block whose attention or MLP is no module of its own has none.

    Args:
        mllm: the model.
        parts: which, of ``PARTS``.

    Raises:
        InputError: unknown parts.
    """
    if unknown := [part for part in parts if part not in PARTS]:
        raise InputError(f"Unknown parts {', '.join(unknown)}. Expected some of {', '.join(PARTS)}. Use these.")
    stages = mllm.stages
    sites, layouts, widths = {}, dict(stages.layouts), dict(stages.widths)
    for site, name in stages.sites.items():
        if re.fullmatch(r"(vision|llm)(\.\w+)?\.\d+", site):
            for part, module in inside(mllm.model.get_submodule(name), name).items():
                if part in parts:
                    own = f"{site}.{part}"
                    sites[own], layouts[own], widths[own] = module, stages.layouts[site], stages.widths.get(site)
        sites[site] = name
    return replace(mllm, stages=replace(stages, sites=sites, layouts=layouts, widths=widths))


def inside(block: nn.Module, prefix: str = "") -> dict[str, str]:
    """The self-attention and the MLP of a block, by part, as module names: the outermost modules whose class says so.

    Args:
        block: a transformer block.
        prefix: its own name.

    Returns:
        Part to name; a part that is not exactly one module is left out.
    """
    found: dict[str, str] = {}
    for part, kind in _KINDS.items():
        own = _outermost(block, prefix, kind)
        if len(own) == 1:
            found[part] = own[0]
    return found


def _outermost(module: nn.Module, name: str, kind: re.Pattern[str]) -> list[str]:
    found: list[str] = []
    for key, child in module.named_children():
        own, label = f"{name}.{key}" if name else key, f"{key} {type(child).__name__}"
        if kind.search(label) and not _NOT.search(label) and next(child.parameters(), None) is not None:
            found.append(own)
        else:
            found += _outermost(child, own, kind)
    return found
