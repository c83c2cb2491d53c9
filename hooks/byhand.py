"""A map of stages given by hand, for models that live outside transformers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from hooks.blocks import width
from hooks.stages import COMPONENTS, Stages
from stimuli.errors import InputError


def by_hand(model: nn.Module, patterns: Mapping[str, str | Sequence[str]]) -> Stages:
    """Map the stages by patterns of module names.

    Args:
        model: the model.
        patterns: ``vision`` and ``llm``: the blocks, e.g. ``"model.vision_model.encoder.layers.*"`` (``*`` stands for one part
            of a name, such as a number); ``projector``: the module that carries features over, or several in order, of which
            the last is the site ``projector``. The projector may be left out where the language model reads the tower itself.

    Returns:
        The map, not yet proven.

    Raises:
        InputError: an unknown key, or a pattern that matches no module; the nearest names are listed.
    """
    unknown, missing = set(patterns) - set(COMPONENTS), {"vision", "llm"} - set(patterns)
    if unknown or missing:
        raise InputError(
            f"Got the stages {', '.join(patterns)}. Expected patterns for vision and llm, and projector where there is one: "
            "stages={'vision': 'vision_model.encoder.layers.*', 'projector': 'abstractor', 'llm': 'model.layers.*'}."
        )
    found = {name: _matching(model, name, patterns[name]) if name in patterns else [] for name in COMPONENTS}
    vision, connector, llm = (found[name] for name in COMPONENTS)
    sites = {"vision.embed": vision[0], **{f"vision.{i}": name for i, name in enumerate(vision)}}
    sites |= {f"projector.{name.rpartition('.')[2]}": name for name in connector[:-1]}
    sites |= dict(zip(["projector"], connector[-1:], strict=False))
    sites |= {"llm.embed": llm[0], **{f"llm.{i}": name for i, name in enumerate(llm)}}
    components = {
        "vision": (_root(vision, llm) or _up(vision[0]),),
        "projector": tuple(connector),
        "llm": (_root(llm, vision),),
    }
    layouts = {site: "sequence" if site.startswith("llm") else "image" for site in sites}
    widths = {site: width(model.get_submodule(name)) for site, name in sites.items()}
    return Stages(sites, components, layouts, f"vision.{len(vision) - 1}", widths)


def _matching(model: nn.Module, component: str, patterns: str | Sequence[str]) -> list[str]:
    names = [name for name, _ in model.named_modules() if name]
    found: list[str] = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matched = [name for name in names if name.count(".") == pattern.count(".") and fnmatchcase(name, pattern)]
        if not matched:
            near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.0)
            raise InputError(
                f"The pattern '{pattern}' for {component} matches no module of {type(model).__name__}; the nearest are "
                f"{', '.join(near)}. Expected names as in model.named_modules(). Check the spelling."
            )
        found += matched
    return found


def _root(blocks: list[str], others: list[str]) -> str:
    """The highest module that holds these blocks and none of the others; empty if nothing above their list does."""
    root = _up(blocks[0])
    while not all(name.startswith(root + ".") for name in blocks):
        root = _up(root)
    highest = ""
    while root and not _holds(_up(root), others):
        highest = root = _up(root)
    return highest


def _up(name: str) -> str:
    return name.rpartition(".")[0]


def _holds(module: str, names: list[str]) -> bool:
    return not module or any(name.startswith(module + ".") for name in names)
