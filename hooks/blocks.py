"""The transformer blocks inside a module, grouped by the list that holds them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Group:
    """Blocks that follow one another."""

    container: tuple[str, ...]
    """Parts of the name of the list they stand in, numbers left out."""
    names: tuple[str, ...]
    modules: tuple[nn.Module, ...]


def groups(root: nn.Module, prefix: str = "", without: Container[nn.Module] = ()) -> list[Group]:
    """The blocks under a module, in order of definition.

    A block is what the library marks as one: a ``GradientCheckpointingLayer``, else the class declared as
    ``_can_record_outputs["hidden_states"]``, else (models without either) the items of a list of layers or blocks.

    Args:
        root: where to look.
        prefix: the name of ``root``.
        without: modules whose insides are left out.

    Returns:
        Groups of blocks; blocks in lists of lists (hierarchical towers) are one group.
    """
    named = _outside(root, prefix, without)
    for is_block in (_marked, _declared(root), _listed(named)):
        found = _outermost([(name, module) for name, module in named if is_block(name, module)])
        if found:
            return _grouped(found)
    return []


def _outside(root: nn.Module, prefix: str, without: Container[nn.Module]) -> list[tuple[str, nn.Module]]:
    """Every module under root with its full name, those in ``without`` and what is in them left out."""
    found = [(prefix, root)]
    for name, child in root.named_children():
        if child not in without:
            found += _outside(child, f"{prefix}.{name}" if prefix else name, without)
    return found


def _marked(name: str, module: nn.Module) -> bool:
    return any(kind.__name__ == "GradientCheckpointingLayer" for kind in type(module).__mro__)


def _declared(root: nn.Module) -> Any:
    declared = (getattr(root, "_can_record_outputs", None) or {}).get("hidden_states", ())
    kinds = [getattr(kind, "target_class", kind) for kind in (declared if isinstance(declared, list | tuple) else [declared])]
    classes = tuple(kind for kind in kinds if isinstance(kind, type))
    return lambda name, module: isinstance(module, classes)


def _listed(named: list[tuple[str, nn.Module]]) -> Any:
    items = {
        id(item)
        for _, module in named
        if isinstance(module, nn.ModuleList) and len(module) > 1
        for item in module
        if re.search(r"(layer|block)$", type(item).__name__, re.IGNORECASE)
    }
    return lambda name, module: id(module) in items


def _outermost(found: list[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    names = {name for name, _ in found}
    return [(n, m) for n, m in found if not any(n[: dot.start()] in names for dot in re.finditer(r"\.", n))]


def _grouped(found: list[tuple[str, nn.Module]]) -> list[Group]:
    lists: dict[tuple[str, ...], list[tuple[str, nn.Module]]] = {}
    for name, module in found:
        lists.setdefault(tuple(part for part in name.split(".") if not part.isdigit()), []).append((name, module))
    return [Group(key, *map(tuple, zip(*items, strict=True))) for key, items in lists.items()]


def joined(found: list[Group]) -> list[Group]:
    """Groups of one kind of block as one: towers in several parts, which run one after the other."""
    kinds: dict[type, list[Group]] = {}
    for group in found:
        kinds.setdefault(type(group.modules[0]), []).append(group)
    return [
        Group(
            same[0].container,
            tuple(name for group in same for name in group.names),
            tuple(module for group in same for module in group.modules),
        )
        for same in kinds.values()
    ]


def labels(found: list[Group], main: Group) -> list[tuple[Group, str]]:
    """Each group with the part of its name that tells it from the main group; the main group's is empty."""
    own = [next((part for part in group.container if part not in main.container), group.container[-1]) for group in found]
    return [(group, "" if group is main else label) for group, label in zip(found, own, strict=True)]


def width(module: nn.Module) -> int | None:
    """How many features a block passes on: the size that its matrices share most often.

    Returns:
        None for a module without matrices.
    """
    sides = Counter(int(side) for p in module.parameters() if p.ndim >= 2 for side in p.shape[-2:])
    return sides.most_common(1)[0][0] if sides else None
