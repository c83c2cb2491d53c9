"""Find the stages of any multimodal LLM, also on the meta device.

Two sources: what transformers declares (``get_encoder("image")``, ``get_decoder()``, the classes it marks as blocks,
``get_image_features``), and how data flows in the source of the module that holds tower and language model. No family has
a rule of its own. The self-test (``hooks.verify``) proves the map by running it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from torch import nn

from hooks.blocks import Group, groups, joined, labels, width
from hooks.flow import defines, takes, used
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
    names = {id(module): name for name, module in model.named_modules()}
    tower = _tower(model, names)
    joint = model.get_submodule(names[id(tower)].rpartition(".")[0])
    decoder = _decoder(model, tower, names)
    roots = [decoder, *_text_encoder(model, tower)]
    llm = [group for root in roots for group in groups(root, names[id(root)], {tower})]
    if not llm:
        raise _refusal(model, f"the language model '{names[id(decoder)] or type(decoder).__name__}' holds no decoder layers")
    parts = _between(joint, tower, {module for group in llm for module in group.modules}, _word_embedding(model))
    towers = [part for _, part in parts if _is_tower(part)]
    vision = [group for root in [*towers, tower] for group in joined(groups(root, names[id(root)]))]
    inside = [] if _modules(parts, towers) else _after_blocks(tower, vision[-1])
    connector = _sited(_modules([*parts, *inside], towers))
    loose = [name for name, part in parts if isinstance(part, nn.Parameter)]
    prefix = f"{names[id(joint)]}." if names[id(joint)] else ""
    head = model.get_output_embeddings()
    components = {
        "vision": tuple(names[id(root)] for root in [tower, *towers]),
        "projector": (*(names[id(m)] for m in connector), *(prefix + name for name in loose)),
        "llm": tuple(dict.fromkeys(names[id(m)] for m in [*roots, *_texts(model, head)])),
    }
    return _assemble(model, vision, [names[id(m)] for m in connector], llm, components)


def _assemble(
    model: Any, vision: list[Group], connector: list[str], llm: list[Group], components: dict[str, tuple[str, ...]]
) -> Stages:
    main = _main(llm, model)
    sites = {"vision.embed": vision[-1].names[0]}
    for group, label in labels(vision, vision[-1]):
        sites |= {_site("vision", label, i): name for i, name in enumerate(group.names)}
    sites |= {f"projector.{name.removeprefix(_parent(connector))}": name for name in connector[:-1]}
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


def _parent(names: list[str]) -> str:
    """The common beginning of some module names, up to and with a dot."""
    common = names[0]
    while not all(name.startswith(common) for name in names):
        common = common[:-1]
    return common[: common.rfind(".") + 1]


# ---- the vision tower ------------------------------------------------------------------------------------------------


def _tower(model: Any, names: dict[int, str]) -> nn.Module:
    text = {_word_embedding(model), _declared_part(model, "get_decoder"), model}
    for found in _tower_candidates(model):
        if (
            isinstance(found, nn.Module)
            and id(found) in names
            and not text & set(found.modules())
            and not takes(found, "input_ids")
        ):
            if any("VectorQuantize" in type(part).__name__ for part in found.modules()):
                raise _refusal(model, "its images become discrete codes of a tokenizer, so no projector carries features over")
            if groups(found):
                return found
    raise _refusal(model, "no vision encoder with blocks was found")


def _tower_candidates(model: Any) -> Iterator[Any]:
    yield _declared_part(model, "get_encoder", "image")
    for module in reversed(list(model.modules())):
        for method in FEATURES:
            if defines(module, method):
                yield from (getattr(module, name) for name in used(module, method))
    yield from (m for m in model.modules() if getattr(m, "main_input_name", None) == "pixel_values")
    yield _declared_part(model, "get_encoder")


def _declared_part(model: Any, getter: str, *arguments: str) -> Any:
    try:
        return getattr(model, getter)(*arguments)
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return None


def _is_tower(part: object) -> bool:
    return getattr(part, "main_input_name", None) == "pixel_values" and bool(groups(part))


# ---- the language model ----------------------------------------------------------------------------------------------


def _decoder(model: Any, tower: nn.Module, names: dict[int, str]) -> Any:
    """What the model declares; where that holds the tower too, the nearest model beside the tower, else the whole."""
    found = _declared_part(model, "get_decoder")
    found = found if isinstance(found, nn.Module) else model
    if tower not in set(found.modules()):
        return found
    from transformers import PreTrainedModel

    beside = [
        module
        for module in found.modules()
        if isinstance(module, PreTrainedModel) and tower not in set(module.modules()) and groups(module) and module is not found
        if module not in set(tower.modules())
    ]
    return max(beside, key=lambda module: _shared(names[id(module)], names[id(tower)]), default=found)


def _shared(one: str, other: str) -> int:
    """How many leading parts two module names share."""
    pairs = zip(one.split("."), other.split("."), strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), 0)


def _text_encoder(model: Any, tower: nn.Module) -> list[nn.Module]:
    """The text encoder of an encoder-decoder, if the image enters it."""
    found = _declared_part(model, "get_encoder")
    if not getattr(getattr(model, "config", None), "is_encoder_decoder", False) or not isinstance(found, nn.Module):
        return []
    return [] if found in (tower, model) or found in set(tower.modules()) else [found]


def _main(llm: list[Group], model: Any) -> Group:
    """The layers that give the answer: an encoder-decoder's decoder, else the longest list, else the first."""
    spoken = [group for group in llm if "decoder" in group.container] if len(llm) > 1 else []
    return max(spoken or llm, key=lambda group: len(group.names))


def _word_embedding(model: Any) -> Any:
    return _declared_part(model, "get_input_embeddings")


def _texts(model: Any, head: Any) -> list[nn.Module]:
    return [module for module in (_word_embedding(model), head) if isinstance(module, nn.Module)]


# ---- what carries the features over -------------------------------------------------------------------------------------


def _between(joint: Any, tower: nn.Module, layers: set[nn.Module], words: Any) -> list[tuple[str, Any]]:
    """Children and loose parameters of the joint module that stand between tower and language model, in order of flow."""
    flows = [used(joint, method) for method in FEATURES if defines(joint, method)][:1]
    flows.append(_until_llm(joint, used(joint, "forward", follow=False), layers))
    found: dict[str, Any] = {}
    for name in (name for flow in flows for name in flow):
        part = getattr(joint, name)
        inner = set(part.modules()) if isinstance(part, nn.Module) else set()
        text = words in inner or bool(inner & layers) or part is words
        if not text and tower not in inner and (inner == set() or any(True for _ in part.parameters())):
            found[name] = part
    return list(found.items())


def _until_llm(joint: Any, flow: list[str], layers: set[nn.Module]) -> list[str]:
    """The names before the first that holds a layer of the language model: what comes after belongs to it."""
    holds = [i for i, name in enumerate(flow) if isinstance(m := getattr(joint, name), nn.Module) and layers & set(m.modules())]
    return flow[: holds[0]] if holds else []


def _modules(parts: list[tuple[str, Any]], towers: list[Any]) -> list[nn.Module]:
    return [part for _, part in parts if isinstance(part, nn.Module) and part not in towers]


def _after_blocks(tower: nn.Module, blocks: Group) -> list[tuple[str, Any]]:
    """Children of a tower that its forward uses after the blocks and that hold a matrix: mergers and connectors."""
    flow = [name for name in used(tower, "forward") if isinstance(getattr(tower, name), nn.Module)]
    holds = [i for i, name in enumerate(flow) if blocks.modules[0] in set(getattr(tower, name).modules())]
    after = flow[holds[0] + 1 :] if holds else []
    wanted = [name for name in after if name not in POOLED]
    return [(n, getattr(tower, n)) for n in wanted if any(p.ndim >= 2 for p in getattr(tower, n).parameters())]


def _sited(parts: list[nn.Module]) -> list[nn.Module]:
    """Lists of modules, which never fire themselves, replaced by their items."""
    return [item for part in parts for item in (part if isinstance(part, nn.ModuleList) else [part])]


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
