"""What trains: a component, some of its layers, or a union of such parts, as names of parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import nn

from hooks.flow import used
from hooks.stages import COMPONENTS, Stages
from stimuli.errors import InputError

Only = Literal["norm", "bias"]
SYNTAX = re.compile(rf"((?:{'|'.join(COMPONENTS)})(?:\.[A-Za-z_]\w*)*)(?:\.(\d+)(?:-(\d+))?)?")
"""A component or a list of its blocks (``vision``, ``vision.sam_encoder``), and which of the blocks."""
EXPECTED = (
    f"Expected one of {', '.join(COMPONENTS)}, layers of one (vision.18-23, llm.3, vision.embed), or several joined by + "
    "(vision.4-5+projector)."
)
NORM = re.compile(r"Norm(?!ed)")
"""In the name of a class that normalises; a ``NormedEmbedding`` is a table, whose norm is a module of its own."""


@dataclass(frozen=True)
class Part:
    """The parameters that may move."""

    name: str
    """Normalised: ``vision.3-5+projector``, with ``:norm`` or ``:bias`` where ``only`` is set."""
    components: tuple[str, ...]
    """Those touched, in the order of the data's way: vision, projector, llm."""
    parameters: tuple[str, ...]
    """Names in ``model.named_parameters()``, in that order; a tied tensor stands under its first name alone."""
    only: str | None

    @property
    def first(self) -> str:
        """The first component that moves."""
        return self.components[0]


@dataclass(frozen=True, order=True)
class _Piece:
    """One term of the union."""

    place: tuple[int, bool, bool]
    stem: str
    first: int = -1
    """First and last layer; -1 where no layers are named."""
    last: int = -1

    def __str__(self) -> str:
        layers = f"{self.first}-{self.last}" if self.last > self.first else str(self.first)
        return f"{self.stem}.{layers}" if self.first >= 0 else self.stem

    @property
    def component(self) -> str:
        return self.stem.split(".")[0]

    @property
    def whole(self) -> bool:
        return self.stem in COMPONENTS and self.first < 0

    def overlaps(self, other: _Piece) -> bool:
        if self.component != other.component or self.whole or other.whole:
            return self.component == other.component
        if self.stem != other.stem or -1 in (self.first, other.first):
            return self.stem == other.stem
        return self.first <= other.last and other.first <= self.last


def find_part(model: Any, stages: Stages, component: str, only: Only | None = None) -> Part:
    """The parameters that a component's name stands for.

    Args:
        model: the model, also on the meta device.
        stages: its map; layers go by its sites.
        component: ``vision``, ``projector`` or ``llm``; layers of one (``vision.18-23``, ``llm.3``); ``vision.embed``, what the
            tower has in front of its first block, or ``llm.embed``, the table of input embeddings (where the output head is tied
            to it, that moves along); or several of these joined by ``+``.
        only: ``norm`` for the parameters of normalisation layers alone, ``bias`` for biases alone.

    Returns:
        The part; a parameter belongs to one component, and to one of its layers at most.

    Raises:
        InputError: unknown component, layer or ``only``; parts that overlap; a part that has no such parameters.
    """
    pieces = _pieces(component, only)
    taken: dict[str, str] = {}
    for piece in pieces:
        for name in _parameters(model, stages, piece):
            taken[name] = piece.component
    if only is not None:
        kept = _norms(model) if only == "norm" else {name for name in taken if name.endswith("bias")}
        taken = {name: owner for name, owner in taken.items() if name in kept}
        if not taken:
            what = "normalisation layers with weights" if only == "norm" else "biases"
            raise InputError(
                f"'{component}' of {type(model).__name__} has no {what}, so only='{only}' leaves nothing to tune. Expected a part "
                "that has some. Leave only= out, or name another part."
            )
    order = [name for name, _ in model.named_parameters() if name in taken]
    touched = tuple(c for c in COMPONENTS if c in taken.values())
    return Part("+".join(map(str, pieces)) + (f":{only}" if only else ""), touched, tuple(order), only)


def check_component(component: str, only: str | None = None) -> None:
    """Refuse a name that no model can have, before one is loaded.

    Raises:
        InputError: it is no component, range or union of them, parts of it overlap, or ``only`` is unknown.
    """
    _pieces(component, only)


def site_of(model: Any, stages: Stages) -> dict[str, str]:
    """Parameter to its component's site; what lies between sites (a last norm, the output head) is left out."""
    inside = {f"{module}.": site for site, module in stages.sites.items() if not site.endswith(".embed")}
    found = {}
    for component in COMPONENTS:
        for name in stages.parameters(model, component):
            holding = [prefix for prefix, site in inside.items() if name.startswith(prefix) and site.split(".")[0] == component]
            if holding:
                found[name] = inside[max(holding, key=len)]
    for component in ("vision", "llm"):
        found |= dict.fromkeys(_embedding(model, stages, component), f"{component}.embed")
    return found


# ---- the name ------------------------------------------------------------------------------------------------------------


def _pieces(component: str, only: str | None) -> tuple[_Piece, ...]:
    if only is not None and only not in get_args(Only):
        raise InputError(f"Unknown only='{only}'. Expected norm or bias, or nothing for all parameters. Use one of these.")
    found = sorted(_piece(text.strip()) for text in str(component).split("+"))
    for i, one in enumerate(found):
        for other in found[i + 1 :]:
            if one.overlaps(other):
                raise InputError(
                    f"'{component}' names some parameters twice: '{one}' and '{other}' overlap. Expected parts that have nothing in "
                    "common. Leave one of them out."
                )
    return tuple(_joined(found))


def _piece(text: str) -> _Piece:
    match = SYNTAX.fullmatch(text)
    if match is None:
        raise InputError(f"Unknown component '{text}'. {EXPECTED} Use one of these.")
    stem, first, last = match.groups()
    place = (COMPONENTS.index(stem.split(".")[0]), not stem.endswith(".embed"), stem in COMPONENTS)
    if first is None:
        return _Piece(place, stem)
    if last is not None and int(last) < int(first):
        raise InputError(
            f"'{text}' is no range of layers: it ends before it begins. Expected the lower layer first. Write "
            f"'{stem}.{last}-{first}'."
        )
    return _Piece(place, stem, int(first), int(last or first))


def _joined(found: list[_Piece]) -> Iterator[_Piece]:
    """Ranges that follow one another as one."""
    held = found[0]
    for piece in found[1:]:
        if piece.stem == held.stem and held.first >= 0 and piece.first == held.last + 1:
            held = _Piece(held.place, held.stem, held.first, piece.last)
        else:
            yield held
            held = piece
    yield held


# ---- its parameters --------------------------------------------------------------------------------------------------------


def _parameters(model: Any, stages: Stages, piece: _Piece) -> list[str]:
    """Names of one term's parameters.

    Raises:
        InputError: there are none.
    """
    own = list(stages.parameters(model, piece.component))
    if not own:
        raise InputError(
            f"{type(model).__name__} has no {piece.component} to tune: its language model reads the vision tower itself. Expected "
            "'vision' or 'llm'. Use one of these."
        )
    if piece.whole:
        return own
    if piece.stem == f"{piece.component}.embed" and piece.component != "projector":
        found = _embedding(model, stages, piece.component)
    else:
        inside = tuple(f"{stages.sites[site]}." for site in _sites(stages, piece, type(model).__name__))
        found = [name for name in own if name.startswith(inside)]
    if not found:
        raise InputError(
            f"'{piece}' of {type(model).__name__} has no parameters of its own. Expected a part with weights that nothing else "
            "shares; `snellen stages MODEL` lists them. Name another part."
        )
    return found


def _sites(stages: Stages, piece: _Piece, model: str) -> list[str]:
    """The sites of one term's layers.

    Raises:
        InputError: no such list of layers, or too few of them.
    """
    if piece.first < 0 and piece.stem in stages.sites:
        return [piece.stem]
    lists: dict[str, int] = {}
    for site in stages.sites:
        stem, _, index = site.rpartition(".")
        if index.isdigit():
            lists[stem] = max(lists.get(stem, 0), int(index) + 1)
    if piece.first < 0 or piece.stem not in lists:
        raise InputError(
            f"Unknown part '{piece}' of {model}. Expected layers of {', '.join(lists)} (such as {next(iter(lists), 'vision')}.0), or a "
            "whole component. `snellen stages MODEL` lists them."
        )
    count = lists[piece.stem]
    if piece.last >= count:
        raise InputError(
            f"'{piece}' goes beyond the last layer of {model}: {piece.stem} has {count} layers, 0 to {count - 1}. Expected numbers up "
            f"to {count - 1}. Name others."
        )
    return [f"{piece.stem}.{i}" for i in range(piece.first, piece.last + 1) if f"{piece.stem}.{i}" in stages.sites]


def _embedding(model: Any, stages: Stages, component: str) -> list[str]:
    """What the tower has in front of its first block, or the language model's table of input embeddings."""
    own = stages.parameters(model, component)
    if component == "llm":
        try:
            held = {id(p) for p in model.get_input_embeddings().parameters()}
        except (AttributeError, NotImplementedError):  # a model from outside the library, or one that does not say
            return []
        return [name for name, value in own.items() if id(value) in held]
    blocks = tuple(f"{name}." for site, name in stages.sites.items() if not site.endswith(".embed"))
    front = _in_front(model, stages)
    return [n for n in own if any(n == f or n.startswith(f + ".") for f in front) and not n.startswith(blocks)]


def _in_front(model: Any, stages: Stages) -> list[str]:
    """Names of modules and loose parameters that the tower uses before its first block, by its source, else by definition."""
    block = stages.sites["vision.embed"]
    roots = [name for name in stages.components["vision"] if not name or block.startswith(f"{name}.")]
    name, found = max(roots, key=len, default=""), []
    for step in block[len(name) :].strip(".").split("."):
        module = model.get_submodule(name)
        order = used(module, "forward")
        if step not in order:
            order = [child for child, _ in module.named_children()]
        found += [f"{name}.{child}" if name else child for child in order[: order.index(step)]]
        name = f"{name}.{step}" if name else step
    return found


def _norms(model: nn.Module) -> set[str]:
    """Parameters of normalisation layers, by the names of their classes."""
    return {
        f"{name}.{own}" if name else own
        for name, module in model.named_modules()
        if NORM.search(type(module).__name__)
        for own, _ in module.named_parameters(recurse=False)
    }
