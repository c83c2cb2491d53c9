"""A twin with fresh weights: the same architecture, nothing learnt, told apart by its provenance."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hooks.blank import random_weights
from hooks.extract import extract
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.types import StimulusSet


def weights(mllm: Mllm) -> dict[str, torch.Tensor]:
    return dict(mllm.model.named_parameters())


def test_the_twin_has_the_same_shapes_other_weights_and_the_same_map(llava: Mllm) -> None:
    twin = random_weights(llava, 1)
    own, fresh = weights(llava), weights(twin)
    assert {name: value.shape for name, value in own.items()} == {name: value.shape for name, value in fresh.items()}
    matrices = [name for name, value in own.items() if value.ndim > 1]
    assert matrices and not any(torch.equal(own[name], fresh[name]) for name in matrices)
    assert twin.stages is llava.stages and twin.processor is llava.processor
    assert not twin.model.training and twin.model.dtype == llava.model.dtype and twin.device == llava.device


def test_the_seed_decides_and_neither_the_model_nor_the_random_state_is_touched(llava: Mllm) -> None:
    before = {name: value.clone() for name, value in weights(llava).items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    a, b, c = random_weights(llava, 1), random_weights(llava, 1), random_weights(llava, 2)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, weights(b)[name]) for name, value in weights(a).items())
    assert any(not torch.equal(value, weights(c)[name]) for name, value in weights(a).items())
    assert all(torch.equal(before[name], value) for name, value in weights(llava).items())


def test_the_weights_are_those_that_the_class_draws_from_the_seed(llava: Mllm) -> None:
    torch.manual_seed(4)
    drawn = type(llava.model)(llava.model.config)
    twin = weights(random_weights(llava, 4))
    assert all(torch.equal(value, twin[name]) for name, value in drawn.named_parameters())


def test_its_activations_differ_and_are_never_taken_for_the_trained_models(llava: Mllm, six: StimulusSet) -> None:
    twin = random_weights(llava, 7)
    assert twin.provenance["random_weights"] == 7 and twin.provenance["checksum"] != llava.provenance["checksum"]
    assert "random_weights" not in llava.provenance
    a, b = (extract(model, six, ["vision.0"], progress=False).read("vision.0").values for model in (llava, twin))
    assert a.shape == b.shape and not np.allclose(a, b, atol=1e-3)


def test_a_model_that_its_configuration_does_not_describe_is_refused(llava: Mllm) -> None:
    class Wrapped(torch.nn.Module):
        def __init__(self, model: Any, name: str) -> None:
            super().__init__()
            self.model, self.config, self.name = model, model.config, name

    wrapped = replace(llava, model=Wrapped(llava.model, "adapter"))
    with pytest.raises(InputError, match="A twin of Wrapped with random weights could not be built .*without its adapter"):
        random_weights(wrapped)
