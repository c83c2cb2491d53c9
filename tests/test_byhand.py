"""Maps by hand, for models that live outside transformers."""

import pytest
import torch
from torch import nn

from hooks.byhand import by_hand
from hooks.load import Mllm, load
from hooks.stages import COMPONENTS
from stimuli.errors import InputError


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.mix(x).tanh()


class Owl(nn.Module):
    """In the way of mPLUG-Owl2: tower, abstractor and a flat language model side by side in one module."""

    def __init__(self) -> None:
        super().__init__()
        tower = nn.ModuleDict(
            {"embeddings": nn.Linear(3, 4), "encoder": nn.ModuleDict({"layers": nn.ModuleList([Layer(), Layer()])})}
        )
        parts = {"vision_model": tower, "visual_abstractor": nn.Linear(4, 4), "embed_tokens": nn.Embedding(9, 4)}
        self.model = nn.ModuleDict({**parts, "layers": nn.ModuleList([Layer(), Layer(), Layer()])})
        self.lm_head = nn.Linear(4, 9)
        self.config = type("Config", (), {"image_token_id": 3})()

    def forward(self, input_ids: torch.Tensor, pixel_values: torch.Tensor, **options: object) -> torch.Tensor:
        parts = self.model
        shown = parts["vision_model"]["embeddings"](pixel_values)
        for layer in parts["vision_model"]["encoder"]["layers"]:
            shown = layer(shown)
        words = parts["embed_tokens"](input_ids)
        words = words.masked_scatter((input_ids == 3)[..., None], parts["visual_abstractor"](shown))
        for layer in parts["layers"]:
            words = layer(words)
        found: torch.Tensor = self.lm_head(words)
        return found


PATTERNS = {"vision": "model.vision_model.encoder.layers.*", "projector": "model.visual_abstractor", "llm": "model.layers.*"}


def test_patterns_give_sites_components_and_a_proof() -> None:
    model = Owl().eval()
    stages = by_hand(model, PATTERNS)
    assert list(stages.sites) == ["vision.embed", "vision.0", "vision.1", "projector", "llm.embed", "llm.0", "llm.1", "llm.2"]
    owned = {c: set(stages.parameters(model, c)) for c in COMPONENTS}
    assert set.union(*owned.values()) == set(dict(model.named_parameters())) and sum(map(len, owned.values())) == len(
        set.union(*owned.values())
    )
    assert "model.vision_model.embeddings.weight" in owned["vision"] and "lm_head.weight" in owned["llm"]
    ids = torch.tensor([[1, 3, 3, 5], [3, 3, 4, 5]])
    proof = stages.verify(model, {"input_ids": ids, "pixel_values": torch.randn(2, 2, 3)}).proof
    assert proof is not None and proof.placeholders == proof.reached == (2, 2) and not proof.dead


def test_load_takes_patterns(llava: Mllm) -> None:
    patterns = {
        "vision": "model.vision_tower.encoder.layers.*",
        "projector": ["model.multi_modal_projector.linear_1", "model.multi_modal_projector"],
        "llm": "model.language_model.layers.*",
    }
    found = load(llava.model, llava.processor, stages=patterns)
    assert found.stages.proof is not None and set(llava.stages.sites) | {"projector.linear_1"} == set(found.stages.sites)
    assert found.stages.components["vision"] == ("model.vision_tower",)
    assert found.stages.components["llm"] == ("model.language_model",)


def test_wrong_patterns_are_refused_in_words() -> None:
    with pytest.raises(InputError, match="Got the stages vision. Expected patterns for vision and llm"):
        by_hand(Owl(), {"vision": PATTERNS["vision"]})
    with pytest.raises(InputError, match="'model.layer.\\*' for llm matches no module of Owl; the nearest are .*model.layers"):
        by_hand(Owl(), {**PATTERNS, "llm": "model.layer.*"})
