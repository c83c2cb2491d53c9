"""A copy shares what it may not move, and owns what it may: whatever happens to it, the original stays as it was."""

from typing import Any

import pytest
import torch

from benchmarks import tiny
from hooks.checksum import weights_checksum
from hooks.load import Mllm
from hooks.resolve import find_stages
from stimuli.errors import InputError
from tuning.adapters import linear_modules, trainable
from tuning.copies import copy_for, own_adapted, shares_memory
from tuning.parts import find_part
from tuning.tuned import copy_of


def step(student: Any, inputs: Any) -> None:
    """One step of an optimizer over everything that may move."""
    optimizer = torch.optim.SGD([p for p in student.parameters() if p.requires_grad], lr=0.5)
    student(**inputs).logits.square().mean().backward()
    optimizer.step()


@pytest.fixture
def inputs(llava: Mllm, six: Any) -> Any:
    return llava.inputs([s.image for s in six[:2]], ["What is it?"] * 2).tensors


def test_training_the_copy_leaves_the_original_bit_identical(llava: Mllm, inputs: Any) -> None:
    before, flags = weights_checksum(llava.model), [p.requires_grad for p in llava.model.parameters()]
    part = find_part(llava.model, llava.stages, "vision.4-5+projector")
    twin = copy_for(llava.model, part)
    assert not twin.training and not any(p.requires_grad for p in twin.parameters())
    assert weights_checksum(twin) == before
    one, other = dict(llava.model.named_parameters()), dict(twin.named_parameters())
    assert list(one) == list(other)
    for name, value in one.items():
        assert value is not other[name] and shares_memory(value, other[name]) == (name not in part.parameters), name
    buffers = dict(twin.named_buffers())
    assert all(value is not buffers[name] for name, value in llava.model.named_buffers())
    step(trainable(twin, part, "full")[0], inputs)
    moved = {name for name, value in one.items() if not torch.equal(value, other[name])}
    assert moved and moved <= set(part.parameters)
    assert weights_checksum(llava.model) == before and [p.requires_grad for p in llava.model.parameters()] == flags
    assert all(value.grad is None for value in one.values())


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_adapters_on_shared_weights_cost_the_adapted_layers_alone(llava: Mllm, inputs: Any, method: Any) -> None:
    before = weights_checksum(llava.model)
    part = find_part(llava.model, llava.stages, "llm.0-1")
    twin = copy_of(llava, part, method)
    assert all(shares_memory(llava.model.get_parameter(name), value) for name, value in twin.named_parameters())
    student, _ = trainable(twin, part, method, 2)
    step(student, inputs)
    own_adapted(student)
    merged = student.merge_and_unload()
    assert weights_checksum(llava.model) == before
    own = {name for name, value in merged.named_parameters() if not shares_memory(llava.model.get_parameter(name), value)}
    assert own == {f"{name}.weight" for name in linear_modules(llava.model, part)}


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_merging_adapters_changes_no_original(llava: Mllm, inputs: Any, method: Any) -> None:
    before = weights_checksum(llava.model)
    part = find_part(llava.model, llava.stages, "llm.0-1")
    student, chosen = trainable(copy_for(llava.model, part), part, method, 2)
    step(student, inputs)
    merged = dict(student.merge_and_unload().named_parameters())
    assert weights_checksum(llava.model) == before and chosen
    moved = {name for name, value in llava.model.named_parameters() if not torch.equal(value, merged[name])}
    assert moved and moved <= set(part.parameters)


@pytest.mark.parametrize("component", ["llm", "vision"])
def test_tied_weights_stay_tied(component: str) -> None:
    model = tiny.model("paligemma")
    stages = find_stages(model)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    twin = copy_for(model, find_part(model, stages, component))
    assert twin.lm_head.weight is twin.get_input_embeddings().weight
    assert shares_memory(twin.lm_head.weight, model.lm_head.weight) == (component == "vision")


def test_quantised_weights_are_the_originals_own(llava: Mllm) -> None:
    class Packed(torch.nn.Parameter):
        pass

    twin = copy_for(llava.model, find_part(llava.model, llava.stages, "projector"))
    linear = twin.model.language_model.layers[0].mlp.up_proj
    linear.weight = Packed(linear.weight.detach(), requires_grad=False)
    again = copy_for(twin, find_part(twin, llava.stages, "projector"))
    assert again.model.language_model.layers[0].mlp.up_proj.weight is linear.weight


def test_weights_that_are_elsewhere_cannot_be_trained(llava: Mllm) -> None:
    model = tiny.model("llava").to("meta")
    part = find_part(model, find_stages(model), "projector")
    with pytest.raises(InputError, match="4 parameters of 'projector' are offloaded .*Expected weights in memory"):
        copy_for(model, part)
