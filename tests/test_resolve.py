"""Stages of odd families get honest names, from the configuration alone."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForImageTextToText

from benchmarks import tiny
from hooks.resolve import find_stages
from hooks.stages import COMPONENTS, Stages
from stimuli.errors import InputError


@cache
def mapped(family: str) -> tuple[Any, Stages]:
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(tiny.config(family))
    return model, find_stages(model)


@pytest.mark.parametrize(
    ("family", "sites"),
    [
        ("llava", {"vision.0": "model.vision_tower.encoder.layers.0", "projector": "model.multi_modal_projector"}),
        ("qwen2_5_vl", {"vision.0": "model.visual.blocks.0", "projector": "model.visual.merger"}),
        ("qwen3_vl", {"projector.deepstack_merger_list.0": "model.visual.deepstack_merger_list.0"}),
        ("glm4v", {"projector.downsample": "model.visual.downsample", "projector": "model.visual.merger"}),
        ("blip-2", {"projector.qformer": "qformer", "projector": "language_projection"}),
        ("idefics2", {"projector": "model.connector", "llm.0": "model.text_model.layers.0"}),
        ("deepseek_vl_hybrid", {"vision.high_res_vision_model.0": "model.high_res_vision_model.vision_encoder.layers.0"}),
        ("unlimited_ocr", {"vision.sam_encoder.0": "model.vision_tower.sam_encoder.layers.0"}),
        ("mllama", {"projector": "model.multi_modal_projector", "vision.0": "model.vision_model.transformer.layers.0"}),
        ("idefics", {"llm.gated_cross_attn_layers.0": "model.gated_cross_attn_layers.0", "llm.0": "model.layers.0"}),
        (
            "florence2",
            {"llm.encoder.0": "model.language_model.encoder.layers.0", "llm.0": "model.language_model.decoder.layers.0"},
        ),
        (
            "t5gemma2",
            {"llm.encoder.0": "model.encoder.text_model.layers.0", "projector": "model.encoder.multi_modal_projector"},
        ),
        ("git", {"llm.0": "git.encoder.layer.0", "projector": "git.visual_projection"}),
        ("janus", {"projector": "model.aligner"}),
        ("pi0", {"llm.0": "model.vlm.language_model.layers.0"}),
        ("video_llava", {"vision.0": "model.image_tower.encoder.layers.0"}),
        ("qwen2_5_omni_thinker", {"vision.0": "visual.blocks.0"}),
    ],
)
def test_sites_are_named_for_what_they_are(family: str, sites: dict[str, str]) -> None:
    if family not in CONFIG_MAPPING:
        pytest.skip("this transformers does not know the family")
    found = mapped(family)[1].sites
    own = {site: found[site] if found.get(site) == path else found[site].removeprefix("model.") for site, path in sites.items()}
    assert own == sites  # of some, the library put everything below another name in the meantime


@pytest.mark.parametrize("family", ["blip", "pix2struct", "idefics"])
def test_without_a_projector_there_is_no_such_site(family: str) -> None:
    stages = mapped(family)[1]
    assert "projector" not in stages.sites and stages.components["projector"] == () and "llm.embed" in stages.sites


@pytest.mark.parametrize(
    ("family", "inside", "component"),
    [
        ("llava_next", lambda n: n == "model.image_newline", "projector"),
        ("blip-2", lambda n: n == "query_tokens", "projector"),
        ("qwen2_vl", lambda n: ".merger." in n, "projector"),
        ("deepseek_vl_hybrid", lambda n: ".high_res_vision_model." in n, "vision"),
        ("llava", lambda n: n.startswith("lm_head"), "llm"),
        ("janus", lambda n: "generation" in n or "vqmodel" in n, None),
        ("qwen2_5_omni_thinker", lambda n: "audio" in n, None),
    ],
)
def test_every_parameter_is_owned_by_what_it_serves(family: str, inside: Callable[[str], bool], component: str | None) -> None:
    model, stages = mapped(family)
    owned = {c: set(stages.parameters(model, c)) for c in COMPONENTS}
    asked = {name for name, _ in model.named_parameters() if inside(name)}
    assert asked and all((name in owned[c]) is (c == component) for name in asked for c in COMPONENTS)


@pytest.mark.parametrize(
    ("family", "why"),
    [
        ("chameleon", "images become discrete codes"),
        ("emu3", "images become discrete codes"),
        ("fuyu", "no vision encoder with blocks"),
        ("udop", "no vision encoder with blocks"),
    ],
)
def test_what_has_no_stages_is_refused_with_the_reason(family: str, why: str) -> None:
    with pytest.raises(InputError, match=f"could not be found: .*{why}.*give the map by hand"):
        mapped(family)


def test_the_map_survives_an_adapter_around_the_model() -> None:
    from peft import LoraConfig, get_peft_model

    model = tiny.model("qwen2_vl")
    plain = find_stages(model)
    wrapped = find_stages(get_peft_model(model, LoraConfig(target_modules=["q_proj"])))
    assert list(wrapped.sites) == list(plain.sites)
    assert wrapped.sites["projector"] == f"base_model.model.{plain.sites['projector']}"
