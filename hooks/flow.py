"""How data flows inside a module, read from its own source: which children its methods use, in the order of the text.

transformers declares the way from pixels to the language model as ``get_image_features`` of the module that holds both, so
the children named there are the vision tower and the connector, whatever they are called. The self-test proves it by running.
"""

from __future__ import annotations

import inspect
import re

from torch import nn


def used(module: nn.Module, method: str, *, follow: bool = True) -> list[str]:
    """Names of the children and loose parameters that a method of a module uses, first use first.

    Args:
        module: its instance, because optional children may be missing.
        method: for instance ``forward``.
        follow: also read the module's other methods that it calls.

    Returns:
        Attribute names; empty if the module has no such method or its source is not at hand.
    """
    return list(dict.fromkeys(_used(module, method, follow, set())))


def _used(module: nn.Module, method: str, follow: bool, done: set[str]) -> list[str]:
    source = _source(type(module), method)
    done.add(method)
    found: list[str] = []
    for name, call in re.findall(r"\bself\.(\w+)(\()?", source):
        if isinstance(getattr(module, name, None), nn.Module | nn.Parameter):
            found.append(name)
        elif follow and call and name not in done:
            found += _used(module, name, follow, done)
    return found


def _source(kind: type, method: str) -> str:
    function = getattr(kind, method, None)
    if function is None or getattr(nn.Module, method, None) is function:
        return ""
    try:
        return inspect.getsource(inspect.unwrap(function))
    except (OSError, TypeError):  # built at run time, or shipped without source
        return ""


def defines(module: nn.Module, method: str) -> bool:
    """Whether a method of a module uses children of its own, so that it is no mere hand-over to an inner model."""
    return bool(_source(type(module), method))


def takes(module: nn.Module, argument: str) -> bool:
    """Whether a module's ``forward`` has an argument of this name."""
    return argument in inspect.signature(type(module).forward).parameters
