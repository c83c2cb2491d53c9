"""The map of stages: LLaVA and Qwen2-VL, real and on the meta device."""

from pathlib import Path

import pytest
import torch
from torch import nn

from hooks.load import Mllm
from hooks.resolve import find_stages
from hooks.stages import COMPONENTS
from stimuli.errors import InputError


@pytest.mark.parametrize("family", ["llava", "qwen"])
def test_sites_are_ordered_and_every_parameter_has_one_component(family: str, request: pytest.FixtureRequest) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    sites = list(mllm.stages.sites)
    n_vision, n_llm = sum(s.startswith("vision.") for s in sites) - 1, sum(s.startswith("llm.") for s in sites) - 1
    wanted = ["vision.embed", *(f"vision.{i}" for i in range(n_vision)), "projector", "llm.embed"]
    assert sites == [*wanted, *(f"llm.{i}" for i in range(n_llm))]
    owned = [set(mllm.stages.parameters(mllm.model, c)) for c in COMPONENTS]
    assert all(owned) and set.union(*owned) == set(dict(mllm.model.named_parameters()))
    assert sum(map(len, owned)) == len(set.union(*owned))


def test_a_merger_inside_the_tower_is_the_projector(qwen: Mllm) -> None:
    assert qwen.stages.sites["projector"] == "model.visual.merger"
    assert all("merger" in name for name in qwen.stages.parameters(qwen.model, "projector"))
    assert not any("merger" in name for name in qwen.stages.parameters(qwen.model, "vision"))
    assert qwen.stages.layouts["vision.0"] == "packed" and qwen.stages.layouts["llm.0"] == "sequence"


def test_the_layer_that_the_projector_reads_is_found() -> None:
    from transformers import AutoModelForImageTextToText, CLIPVisionConfig, LlamaConfig, LlavaConfig

    def read(layer: int | list[int]) -> str:
        vision = CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=4, num_attention_heads=2)
        text = LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=40)
        config = LlavaConfig(vision_config=vision, text_config=text, vision_feature_layer=layer, image_token_index=3)
        with torch.device("meta"):
            return find_stages(AutoModelForImageTextToText.from_config(config)).read_layer

    assert [read(-1), read(-2), read(1), read([-3, -2])] == ["vision.3", "vision.2", "vision.0", "vision.2"]


def test_the_map_is_the_same_on_the_meta_device(llava: Mllm, llava_folder: Path) -> None:
    from transformers import AutoConfig, AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(llava_folder))
    found = find_stages(model)
    assert found.sites == llava.stages.sites and list(found.sites) == list(llava.stages.sites)
    assert (found.components, found.layouts, found.widths) == (
        llava.stages.components,
        llava.stages.layouts,
        llava.stages.widths,
    )
    assert found.proof is None and llava.stages.proof is not None


def test_unknown_sites_components_and_models_are_refused_in_words(llava: Mllm) -> None:
    with pytest.raises(InputError, match="Unknown site 'vision.77'. The nearest sites of this model are vision"):
        llava.stages.check(["vision.77"])
    with pytest.raises(InputError, match="Unknown component 'eye'. Expected one of vision, projector, llm"):
        llava.stages.parameters(llava.model, "eye")
    with pytest.raises(InputError, match="stages of Sequential could not be found: no vision encoder.*give the map by hand"):
        find_stages(nn.Sequential(nn.Linear(2, 2)))
