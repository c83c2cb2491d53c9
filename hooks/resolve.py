"""Find the stages of any multimodal LLM, also on the meta device.

Two sources: what transformers declares (``get_encoder("image")``, ``get_decoder()``, the classes it marks as blocks,
``get_image_features``), and how data flows in the source of the module that holds tower and language model. No family has
a rule of its own. The self-test (``hooks.verify``) proves the map by running it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from os.path import commonprefix
from typing import Any

from torch import nn

from hooks.blocks import Group, groups, joined, labels, width
from hooks.flow import takes, used
from hooks.stages import Stages
from stimuli.errors import InputError

FEATURES = ("get_image_features", "get_video_features")
POOLED = ("pooler", "head", "classifier")
"""Children of a tower that sum the whole image up, which language models do not read."""


def find_stages(model: Any) -> Stages:
    """Map the stages of an image-text-to-text model.

    Args:
        model: any such model with a vision encoder and a language model; weights may be on the meta device.

    Returns:
        The map, not yet proven; ``sn.load`` proves it with ``Stages.verify``.

    Raises:
        InputError: the model has no such parts, or they were not found; the message says which, and how to give the map by
            hand.
    """
    if not isinstance(model, nn.Module):
        raise InputError(
            f"Got a {type(model).__name__}; expected a model (a torch module). Give mllm.model, or the model itself."
        )
    names = {id(module): name for name, module in model.named_modules()}
    tower = _tower(model, names)
    joint = model.get_submodule(names[id(tower)].rpartition(".")[0])
    decoder = _decoder(model, tower, names)
    roots = [decoder, *_text_encoder(model, tower)]
    llm = [group for root in roots for group in groups(root, names[id(root)], {tower})]
    if not llm:
        raise _refusal(model, f"the language model '{names[id(decoder)] or type(decoder).__name__}' holds no decoder layers")
    words = _declared(model, "get_input_embeddings")
    parts = _between(joint, tower, {module for group in llm for module in group.modules}, words)
    towers = [part for _, part in parts if _is_tower(part)]
    vision = [group for root in [*towers, tower] for group in joined(groups(root, names[id(root)]))]
    connector = _sited([part for _, part in parts if part not in towers]) or _sited(_after_blocks(tower, vision[-1]))
    loose = [name for name, part in parts if isinstance(part, nn.Parameter)]
    prefix = f"{names[id(joint)]}." if names[id(joint)] else ""
    texts = [*roots, words, _declared(model, "get_output_embeddings")]
    components = {
        "vision": tuple(names[id(root)] for root in [tower, *towers]),
        "projector": (*(names[id(m)] for m in connector), *(prefix + name for name in loose)),
        "llm": tuple(dict.fromkeys(names[id(m)] for m in texts if id(m) in names)),
    }
    return _assemble(model, vision, [names[id(m)] for m in connector], llm, components)


def _assemble(
    model: Any, vision: list[Group], connector: list[str], llm: list[Group], components: dict[str, tuple[str, ...]]
) -> Stages:
    main = _main(llm)
    sites = {"vision.embed": vision[-1].names[0]}
    for group, label in labels(vision, vision[-1]):
        sites |= {_site("vision", label, i): name for i, name in enumerate(group.names)}
    common = commonprefix(connector).rpartition(".")[0]
    sites |= {f"projector.{name[len(common) :].lstrip('.')}": name for name in connector[:-1]}
    sites |= dict(zip(["projector"], connector[-1:], strict=False))
    ordered = sorted(labels(llm, main), key=lambda item: item[0] is main)  # an encoder comes before its decoder
    sites["llm.embed"] = ordered[0][0].names[0]
    for group, label in ordered:
        sites |= {_site("llm", label, i): name for i, name in enumerate(group.names)}
    packed = takes(vision[-1].modules[0], "cu_seqlens")
    layouts = {site: "sequence" if site.startswith("llm") else "packed" if packed else "image" for site in sites}
    widths = {site: width(model.get_submodule(name)) for site, name in sites.items()}
    widths |= {"projector": widths["llm.embed"]} if connector else {}
    read = f"vision.{_read_index(model, len(vision[-1].names))}"
    return Stages(sites, components, layouts, read, widths)


def _site(component: str, label: str, index: int) -> str:
    return ".".join(part for part in (component, label, str(index)) if part)


# ---- the vision tower ------------------------------------------------------------------------------------------------


def _tower(model: Any, names: dict[int, str]) -> nn.Module:
    text = {_declared(model, "get_input_embeddings"), _declared(model, "get_decoder"), model}
    for found in _tower_candidates(model):
        if id(found) not in names or text & set(found.modules()) or takes(found, "input_ids"):
            continue
        if any("VectorQuantize" in type(part).__name__ for part in found.modules()):
            raise _refusal(model, "its images become discrete codes of a tokenizer, so no projector carries features over")
        if groups(found):
            return found
    raise _refusal(model, "no vision encoder with blocks was found")


def _tower_candidates(model: Any) -> Iterator[Any]:
    yield _declared(model, "get_encoder", "image")
    for module in reversed(list(model.modules())):
        for method in FEATURES:
            yield from (getattr(module, name) for name in used(module, method))
    yield from (m for m in model.modules() if getattr(m, "main_input_name", None) == "pixel_values")
    yield _declared(model, "get_encoder")


def _declared(model: Any, getter: str, *arguments: str) -> Any:
    try:
        return getattr(model, getter)(*arguments)
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return None


def _is_tower(part: object) -> bool:
    return getattr(part, "main_input_name", None) == "pixel_values" and bool(groups(part))


# ---- the language model ----------------------------------------------------------------------------------------------


def _decoder(model: Any, tower: nn.Module, names: dict[int, str]) -> Any:
    """What the model declares; where that holds the tower too, the nearest model beside the tower, else the whole."""
    found = _declared(model, "get_decoder")
    found = found if isinstance(found, nn.Module) else model
    if tower not in set(found.modules()):
        return found
    from transformers import PreTrainedModel

    models = [m for m in found.modules() if isinstance(m, PreTrainedModel) and m not in set(tower.modules())]
    beside = [m for m in models if tower not in set(m.modules()) and groups(m)]
    way = names[id(tower)].split(".")
    return max(beside, key=lambda m: len(commonprefix([names[id(m)].split("."), way])), default=found)


def _text_encoder(model: Any, tower: nn.Module) -> list[nn.Module]:
    """The text encoder of an encoder-decoder, if the image enters it."""
    found = _declared(model, "get_encoder")
    if not getattr(getattr(model, "config", None), "is_encoder_decoder", False) or not isinstance(found, nn.Module):
        return []
    return [] if found in (tower, model) or found in set(tower.modules()) else [found]


def _main(llm: list[Group]) -> Group:
    """The layers that give the answer: an encoder-decoder's decoder, else the longest list, else the first."""
    spoken = [group for group in llm if "decoder" in group.container] if len(llm) > 1 else []
    return max(spoken or llm, key=lambda group: len(group.names))


# ---- what carries the features over -------------------------------------------------------------------------------------


def _between(joint: Any, tower: nn.Module, layers: set[nn.Module], words: Any) -> list[tuple[str, Any]]:
    """Children and loose parameters of the joint module that stand between tower and language model, in order of flow."""
    flow = next((flow for method in FEATURES if (flow := used(joint, method))), [])
    forward = used(joint, "forward", follow=False)
    ends = [
        i for i, name in enumerate(forward) if layers & _inside(getattr(joint, name))
    ]  # what follows is the language model's
    parts = {name: getattr(joint, name) for name in [*flow, *forward[: min(ends, default=0)]]}
    return [(name, part) for name, part in parts.items() if not {tower, words, *layers} & _inside(part)]


def _inside(part: Any) -> set[nn.Module]:
    return set(part.modules()) if isinstance(part, nn.Module) else set()


def _after_blocks(tower: nn.Module, blocks: Group) -> list[Any]:
    """Children of a tower that its forward uses after the blocks and that hold a matrix: mergers and connectors."""
    flow = used(tower, "forward")
    holds = [i for i, name in enumerate(flow) if blocks.modules[0] in _inside(getattr(tower, name))]
    after = [getattr(tower, name) for name in flow[min(holds, default=len(flow)) + 1 :] if name not in POOLED]
    return [part for part in after if isinstance(part, nn.Module) and any(p.ndim >= 2 for p in part.parameters())]


def _sited(parts: list[Any]) -> list[nn.Module]:
    """The modules that have weights; lists of modules, which never fire themselves, replaced by their items."""
    modules = [part for part in parts if isinstance(part, nn.Module) and any(True for _ in part.parameters())]
    return [item for module in modules for item in (module if isinstance(module, nn.ModuleList) else [module])]


def _read_index(model: Any, blocks: int) -> int:
    """The block whose output the projector reads: hidden state k is the output of block k - 1, 0 the embedding."""
    found = [getattr(getattr(model, "config", None), name, None) for name in ("vision_feature_layer", "vision_feature_layers")]
    layer = next((value for value in found if value is not None), None)
    if isinstance(layer, list | tuple):
        layer = max(index % (blocks + 1) for index in layer)
    if not isinstance(layer, int):
        return blocks - 1
    return max(0, layer % (blocks + 1) - 1)


def _refusal(model: nn.Module, why: str) -> InputError:
    children = [name for name, _ in model.named_modules() if name and name.count(".") <= 1]
    near = difflib.get_close_matches("vision_tower multi_modal_projector language_model", children, n=3, cutoff=0.0)
    return InputError(
        f"The stages of {type(model).__name__} could not be found: {why}. Its modules are {', '.join(children[:12]) or 'none'} "
        f"(nearest to what is looked for: {', '.join(near) or 'none'}). Expected an image-text-to-text model with a vision "
        "encoder and a language model; for one that lives outside transformers give the map by hand: stages={'vision': "
        "'vision_model.encoder.layers.*', 'projector': 'abstractor', 'llm': 'model.layers.*'}."
    )
