"""The stages of a multimodal LLM: which module is which site, and which parameters belong to which component.

Built on what transformers declares of its own models (``get_encoder("image")``, ``get_decoder()`` and the block class in
``_can_record_outputs``), so a release that moves a module moves the map with it. Only the projector's name is looked up in a
short table. Works on the meta device.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from stimuli.errors import InputError

COMPONENTS = ("vision", "projector", "llm")
PROJECTORS = ("multi_modal_projector", "connector", "merger", "visual.merger", "embed_vision", "aligner", "mlp1")
"""Last parts of the name of the module that carries vision features over, in order of preference."""
EMBEDDINGS = ("embeddings", "patch_embed", "patch_embedding", "patch_embedder")
"""Name of the patch embedding inside a vision tower."""


@dataclass(frozen=True)
class Stages:
    """The ordered sites of one model and its three components."""

    sites: Mapping[str, str]
    """Site to module name, in the order of the data's way: ``vision.embed``, ``vision.0`` …, ``projector``, ``llm.embed``
    (the hidden states that enter the first decoder layer), ``llm.0`` …."""
    components: Mapping[str, tuple[str, ...]]
    """``vision``, ``projector``, ``llm`` to the names of the modules whose parameters are theirs."""
    layouts: Mapping[str, str]
    """Site to ``image`` (n, tokens, d), ``packed`` (all tokens, d) or ``sequence`` (n, positions, d)."""
    read_layer: str
    """The vision site that the projector reads; blocks after it are dead ends for the answer."""

    def component(self, site: str) -> str:
        """The component a site belongs to: ``pixels`` and ``processed`` are ``input``."""
        name = site.split(".")[0]
        return name if name in COMPONENTS else "input"

    def parameters(self, model: nn.Module, component: str) -> dict[str, nn.Parameter]:
        """The named parameters of one component; together the three hold every parameter once.

        Raises:
            InputError: unknown component.
        """
        if component not in self.components:
            raise InputError(f"Unknown component '{component}'. Expected one of {', '.join(COMPONENTS)}. Use one of these.")
        named = dict(model.named_parameters())
        return {name: value for name, value in named.items() if self._owner(name) == component}

    def _owner(self, parameter: str) -> str:
        """The component with the longest module name that contains the parameter (a merger sits inside its tower)."""
        owners = [
            (len(module), component)
            for component, modules in self.components.items()
            for module in modules
            if parameter == module or parameter.startswith(module + ".")
        ]
        return max(owners)[1] if owners else "llm"

    def check(self, sites: object) -> tuple[str, ...]:
        """Sites by name or ``"all"``, in order.

        Raises:
            InputError: an unknown site; the nearest are named.
        """
        if sites == "all":
            return tuple(self.sites)
        wanted = [sites] if isinstance(sites, str) else list(sites)  # type: ignore[call-overload]
        for site in wanted:
            if site not in self.sites:
                near = difflib.get_close_matches(str(site), self.sites, n=3) or list(self.sites)
                raise InputError(
                    f"Unknown site '{site}'. The nearest sites of this model are {', '.join(near)}; "
                    "`snellen stages MODEL` lists them all."
                )
        return tuple(site for site in self.sites if site in wanted)


def find_stages(model: nn.Module) -> Stages:
    """Map the stages of a transformers image-text-to-text model.

    Args:
        model: any such model with an image encoder, a projector and a decoder; weights may be on the meta device.

    Returns:
        The map.

    Raises:
        InputError: a part was not found; the message names the model's own modules and how to give the map by hand.
    """
    names = {id(module): name for name, module in model.named_modules()}
    vision, decoder = _encoder(model), _decoder(model)
    projector = _projector(model)
    blocks = _blocks(vision, projector)
    embedding = _embedding(vision)
    if not blocks or embedding is None:
        raise _not_found(model, "the blocks and the patch embedding of the image encoder")
    packed = any(part in type(vision).__name__ for part in ("Qwen", "Glm4v", "Ernie"))
    sites = {"vision.embed": names[id(embedding)]}
    sites |= {f"vision.{i}": names[id(block)] for i, block in enumerate(blocks)}
    sites["projector"] = projector
    layers = list(decoder.layers)
    sites["llm.embed"] = names[id(layers[0])]
    sites |= {f"llm.{i}": names[id(layer)] for i, layer in enumerate(layers)}
    layout = "packed" if packed else "image"
    layouts = {site: "sequence" if site.startswith("llm") else layout for site in sites}
    components = {
        "vision": (names[id(vision)],),
        "projector": (projector,),
        "llm": (names[id(decoder)], *(names[id(m)] for m in [_head(model)] if m is not None)),
    }
    return Stages(sites, components, layouts, f"vision.{_read_index(model, len(blocks))}")


def _encoder(model: Any) -> nn.Module:
    if hasattr(model, "get_encoder"):
        found = model.get_encoder("image")
        if isinstance(found, nn.Module) and found is not model:
            return found
    raise _not_found(model, "an image encoder")


def _decoder(model: Any) -> Any:
    found = model.get_decoder() if hasattr(model, "get_decoder") else None
    if found is None or not hasattr(found, "layers"):
        raise _not_found(model, "a decoder with layers")
    return found


def _head(model: Any) -> nn.Module | None:
    head = model.get_output_embeddings()
    return head if isinstance(head, nn.Module) else None


def _projector(model: nn.Module) -> str:
    names = [name for name, _ in model.named_modules()]
    for ending in PROJECTORS:
        found = [name for name in names if name == ending or name.endswith("." + ending)]
        if found:
            return min(found, key=len)
    raise _not_found(model, "a projector")


def _blocks(vision: Any, projector: str) -> list[nn.Module]:
    """The tower's transformer blocks: what it records as hidden states, else its longest list of modules of one class."""
    declared = (getattr(vision, "_can_record_outputs", None) or {}).get("hidden_states")
    block = getattr(declared, "target_class", declared)
    if isinstance(block, type):
        found = [module for module in vision.modules() if isinstance(module, block)]
        if found:
            return found
    lists = [list(m) for m in vision.modules() if isinstance(m, nn.ModuleList) and len({type(x) for x in m}) == 1]
    return max(lists, key=len, default=[])


def _embedding(vision: nn.Module) -> nn.Module | None:
    found = [(len(name), module) for name, module in vision.named_modules() if name.split(".")[-1] in EMBEDDINGS]
    return min(found, key=lambda item: item[0])[1] if found else None


def _read_index(model: Any, blocks: int) -> int:
    """The block whose output the projector reads: hidden state k is the output of block k - 1, 0 the embedding."""
    layer = getattr(model.config, "vision_feature_layer", None)
    if isinstance(layer, list | tuple):
        layer = max(index % (blocks + 1) for index in layer)
    if not isinstance(layer, int):
        return blocks - 1
    return max(0, layer % (blocks + 1) - 1)


def _not_found(model: nn.Module, what: str) -> InputError:
    children = [name for name, _ in model.named_modules() if name and name.count(".") <= 1]
    near = difflib.get_close_matches("vision_tower multi_modal_projector language_model", children, n=3, cutoff=0.0)
    return InputError(
        f"Could not find {what} in {type(model).__name__}. Its modules are {', '.join(children[:12]) or 'none'} "
        f"(nearest: {', '.join(near) or 'none'}). Expected a transformers image-text-to-text model; for another one, build "
        "hooks.stages.Stages by hand and pass it as stages=."
    )
