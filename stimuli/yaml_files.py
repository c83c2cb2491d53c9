"""YAML from anyone: plain values alone, no key twice, and nothing that grows beyond its file or never ends."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

SIZE = 1_000_000
"""Bytes of a file at most."""
NODES = 200_000
"""Values at most, each counted as often as anchors repeat it: a few lines of anchors can spell billions."""


class Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice (of which the plain loader silently keeps the last), and anchors that explode."""

    def get_single_node(self) -> Any:
        """The document, unless its anchors make it endless or too large."""
        node = super().get_single_node()
        if node is not None and _weight(node, {}) > NODES:
            raise yaml.composer.ComposerError(None, None, f"its anchors repeat more than {NODES} values", node.start_mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping whose keys are all different."""
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key.value}' is given twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _weight(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for, with all that its anchors repeat."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if known.get(id(node)) == 0:
        raise yaml.composer.ComposerError(None, None, "an anchor holds itself", node.start_mark)
    if id(node) not in known:
        known[id(node)] = 0
        inner = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        known[id(node)] = 1 + sum(_weight(part, known) for part in inner)
    return known[id(node)]


def parsed(text: str, loader: type[yaml.SafeLoader] = Loader) -> Any:
    """The value that a YAML text spells.

    Args:
        text: one document.
        loader: ``Loader``, or one with tags of its own.

    Raises:
        ValueError: it is none, or more than can be read safely.
    """
    try:
        return yaml.load(text, loader)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except Exception as error:  # besides its own, what dates, numbers and tags raise
        raise ValueError(" ".join(str(error).split())) from error


def read_yaml(path: Path, loader: type[yaml.SafeLoader] = Loader) -> Any:
    """The value that a YAML file holds.

    Raises:
        ValueError, OSError: it cannot be read, has more than ``SIZE`` bytes, or as ``parsed``.
    """
    if path.stat().st_size > SIZE:
        raise ValueError(f"it has more than {SIZE} bytes")
    return parsed(path.read_text(encoding="utf-8"), loader)
