"""How data flows inside a module, read from its own source: which children its methods use, in the order of evaluation.

transformers declares the way from pixels to the language model as ``get_image_features`` of the module that holds both, so
the children named there are the vision tower and the connector, whatever they are called. The self-test proves it by running.
"""

from __future__ import annotations

import ast
import inspect
import textwrap

from torch import nn


def used(module: nn.Module, method: str, *, follow: bool = True) -> list[str]:
    """Names of the children and loose parameters that a method of a module uses, in the order in which they are evaluated.

    Args:
        module: its instance, because optional children may be missing.
        method: for instance ``forward``.
        follow: also read the module's other methods that it calls.

    Returns:
        Attribute names; empty if the module has no such method or its source is not at hand.
    """
    reader = _Reader(module, follow)
    reader.read(method)
    return list(dict.fromkeys(reader.found))


def takes(module: nn.Module, argument: str) -> bool:
    """Whether a module's ``forward`` has an argument of this name."""
    return argument in inspect.signature(type(module).forward).parameters


class _Reader(ast.NodeVisitor):
    """Collects attributes of ``self``; what is called comes after what it is called with."""

    def __init__(self, module: nn.Module, follow: bool) -> None:
        self.module, self.follow = module, follow
        self.found: list[str] = []
        self.done: set[str] = set()

    def read(self, method: str) -> None:
        function = getattr(type(self.module), method, None)
        if function is None or method in self.done or getattr(nn.Module, method, None) is function:
            return
        self.done.add(method)
        try:
            self.visit(ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function)))))
        except (OSError, TypeError, SyntaxError):
            pass  # built at run time, or shipped without source

    def visit_Call(self, node: ast.Call) -> None:
        for argument in [*node.args, *node.keywords]:
            self.visit(argument)
        self.visit(node.func)
        if self.follow and _of_self(node.func):
            self.read(node.func.attr)  # type: ignore[attr-defined]

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.visit(node.value)
        if _of_self(node) and isinstance(getattr(self.module, node.attr, None), nn.Module | nn.Parameter):
            self.found.append(node.attr)


def _of_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
