"""Adapters sit on the named part and nowhere else, train as many numbers as was said, and can be taken off."""

import copy
import re
from dataclasses import replace
from functools import cache
from typing import Any

import peft
import pytest
import torch
from torch import nn

from benchmarks import tiny
from hooks.load import Mllm
from hooks.resolve import find_stages
from stimuli.errors import InputError
from tuning.adapters import METHODS, adapted, count, linear_modules, rank_for, trainable
from tuning.copies import copy_for
from tuning.parts import find_part

SAMPLE = ("llava", "qwen2_5_vl", "paligemma", "blip-2")
REWRITTEN = ("glm4v_moe", "qwen3_omni_moe_thinker")
"""Families whose targets PEFT rewrites, because their experts are fused."""
UNKNOWN = ("pp_formulanet",)
"""Families that PEFT does not take."""
KINDS: list[Any] = [name if name in SAMPLE else pytest.param(name, marks=pytest.mark.heavy) for name in tiny.families()]


@cache
def mapped(family: str) -> tuple[Any, Any]:
    try:
        model = tiny.model(family)
        return model, find_stages(model)
    except (InputError, tiny.Unbuildable) as error:
        pytest.skip(str(error).split("\n")[0])


@pytest.mark.parametrize("family", KINDS)
def test_the_trained_layers_are_exactly_the_parts(family: str) -> None:
    model, stages = mapped(family)
    for component in ("vision", "projector", "llm"):
        own = stages.parameters(model, component)
        if not own:
            continue
        part = find_part(model, stages, component)
        names = linear_modules(model, part)
        if component == "llm":
            assert len(names) > 2 and not any(name.split(".")[-1] in ("lm_head", "embed_out") for name in names)
        try:
            student, chosen = trainable(copy_for(model, part), part, "lora", 3)
        except InputError:
            assert not names or family in REWRITTEN + UNKNOWN
            continue
        assert {adapted(name) for name in chosen} == {f"{name}.weight" for name in names} <= set(own)
        assert {name for name, value in student.named_parameters() if value.requires_grad} == set(chosen)
        assert sum(value.numel() for value in chosen.values()) == count(model, part, "lora", 3)


def test_a_vision_mlp_is_not_adapted_in_place_of_the_language_models() -> None:
    model, stages = mapped("qwen2_5_vl")
    part = find_part(model, stages, "llm.0")
    names = linear_modules(model, part)
    assert any(name.endswith("mlp.gate_proj") for name in names)
    assert all(name.startswith("model.language_model.layers.0.") for name in names)
    assert any(".visual." in name and name.endswith("gate_proj") for name, _ in model.named_modules())
    student, chosen = trainable(copy_for(model, part), part, "lora", 2)
    wrapped = {name.split(".lora_A")[0].removeprefix("base_model.model.") for name in chosen if "lora_A" in name}
    assert wrapped == set(names) and not any(".visual." in name for name in chosen)
    assert student.peft_config["default"].lora_alpha == 4


def test_targets_that_peft_rewrites_are_refused(llava: Mllm, monkeypatch: pytest.MonkeyPatch) -> None:
    def rewriting(model: Any, config: Any) -> Any:
        config.target_modules = r".*\.up_proj"
        return own(model, config)

    own = peft.get_peft_model
    monkeypatch.setattr(peft, "get_peft_model", rewriting)
    part = find_part(llava.model, llava.stages, "llm")
    with pytest.raises(InputError, match="PEFT puts adapters on other layers of Llava.* than those of 'llm': it rewrites"):
        trainable(copy_for(llava.model, part), part, "lora", 2)


def test_fused_experts_are_adapted_as_asked_or_refused() -> None:
    model, stages = mapped("glm4v_moe")
    part = find_part(model, stages, "llm")
    try:
        chosen = trainable(copy_for(model, part), part, "lora", 2)[1]
    except InputError as error:  # 0.19 cannot, later ones rewrite the targets
        assert re.match(
            "PEFT (puts adapters on other layers of|cannot put adapters on) Glm4vMoe.* Use method='full'", str(error)
        )
    else:
        assert {adapted(name) for name in chosen} == {f"{name}.weight" for name in linear_modules(model, part)}
    model, stages = mapped("pp_formulanet")
    part = find_part(model, stages, "llm")
    with pytest.raises(InputError, match="PEFT cannot put adapters on PPFormulaNet.*NotImplementedError.* Use method='full'"):
        trainable(copy_for(model, part), part, "lora", 2)


def test_modules_whose_names_end_or_read_like_a_target_are_left_alone(llava: Mllm) -> None:
    def nested(*names: str) -> nn.Module:
        outer = nn.Module()
        layers = nn.ModuleList([copy.deepcopy(llava.model.model.language_model.layers[0])])
        outer.add_module(names[0], nested(*names[1:]) if len(names) > 1 else layers)
        return outer

    part = find_part(llava.model, llava.stages, "llm.0")
    names = linear_modules(llava.model, part)
    twin = copy_for(llava.model, part)
    twin.other = nested("model", "language_model", "layers")
    twin.modelxlanguage_model = nested("layers")
    present = {name for name, _ in twin.named_modules()}
    assert {f"other.{names[0]}", names[0].replace("model.", "modelx", 1)} < present
    chosen = trainable(twin, part, "lora", 2)[1]
    assert {adapted(name) for name in chosen} == {f"{name}.weight" for name in names}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("component", ["vision.3-5", "projector", "llm", "vision.5+projector"])
def test_counts_are_what_is_trained(llava: Mllm, component: str, method: Any) -> None:
    part = find_part(llava.model, llava.stages, component)
    chosen = trainable(copy_for(llava.model, part), part, method, 5)[1]
    assert count(llava.model, part, method, 5) == sum(value.numel() for value in chosen.values())
    assert all(value.requires_grad for value in chosen.values())


def test_the_rank_meets_the_budget(llava: Mllm) -> None:
    part = find_part(llava.model, llava.stages, "projector")
    at = {method: [count(llava.model, part, method, rank) for rank in range(1, 12)] for method in ("lora", "dora")}
    for method, sizes in at.items():
        for i, size in enumerate(sizes[:-1]):
            step = sizes[i + 1] - size
            assert rank_for(llava.model, part, size, method) == i + 1  # type: ignore[arg-type]
            assert rank_for(llava.model, part, size + step // 2 - 1, method) == i + 1  # type: ignore[arg-type]
            assert rank_for(llava.model, part, size + step // 2 + 1, method) == i + 2  # type: ignore[arg-type]
    assert count(llava.model, part, "lora", rank_for(llava.model, part, 7)) == at["lora"][0] > 7, (
        "a budget that no adapter meets"
    )
    assert rank_for(llava.model, part, 0) == rank_for(llava.model, part, 1, "dora") == 1
    assert rank_for(llava.model, part, 10**9) == 160  # as wide as the language model: more would be in vain
    with pytest.raises(InputError, match="method='full' has no rank"):
        rank_for(llava.model, part, 100, "full")


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_adapters_start_as_nothing_can_be_switched_off_and_merge(llava: Mllm, six: Any, method: Any) -> None:
    inputs = llava.inputs([s.image for s in six[:2]], ["What is it?"] * 2).tensors
    part = find_part(llava.model, llava.stages, "projector+llm.1")
    torch.manual_seed(1)
    student, chosen = trainable(copy_for(llava.model, part), part, method, 2)
    with torch.no_grad():
        before = llava.model(**inputs).logits
        torch.testing.assert_close(student(**inputs).logits, before, atol=1e-4, rtol=1e-4)
        for value in chosen.values():
            value.add_(torch.randn_like(value), alpha=0.05)
        tuned = student(**inputs).logits
        assert (tuned - before).abs().max() > 1e-2
        with student.disable_adapter():
            torch.testing.assert_close(student(**inputs).logits, before)
        torch.testing.assert_close(student(**inputs).logits, tuned)
        torch.testing.assert_close(student.merge_and_unload()(**inputs).logits, tuned, atol=1e-4, rtol=1e-4)


def test_the_seed_is_the_callers(llava: Mllm) -> None:
    part = find_part(llava.model, llava.stages, "projector")

    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        chosen = trainable(copy_for(llava.model, part), part, "lora", 2)[1]
        return torch.cat([value.detach().flatten() for value in chosen.values()])

    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))


def test_a_projection_that_is_never_called_is_not_adapted() -> None:
    model, stages = mapped("gemma3")
    inside = [n for n, m in model.named_modules() if isinstance(m, nn.MultiheadAttention)]
    assert inside and all(
        f"{name}.out_proj" not in linear_modules(model, find_part(model, stages, "vision")) for name in inside
    )


def test_what_does_not_go_together_is_refused(llava: Mllm) -> None:
    part = find_part(llava.model, llava.stages, "vision", "norm")
    with pytest.raises(InputError, match="only='norm' and method='lora' do not go together"):
        trainable(llava.model, part, "lora", 2)
    with pytest.raises(InputError, match="Unknown method 'magic'. Expected one of full, lora, dora"):
        count(llava.model, part, "magic")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Got rank 0 for method='dora'"):
        trainable(llava.model, replace(part, only=None), "dora", 0)
    model, stages = mapped("gemma3")
    with pytest.raises(
        InputError, match="'projector' of Gemma3ForConditionalGeneration has no linear layers, so method='lora'"
    ):
        count(model, find_part(model, stages, "projector"), "lora")


def test_a_quantised_model_is_not_trained_in_full(llava: Mllm) -> None:
    part = find_part(llava.model, llava.stages, "llm.0")
    twin = copy_for(llava.model, part)
    layer = twin.model.language_model.layers[0].mlp.up_proj
    layer.weight = nn.Parameter(torch.zeros(3, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(InputError, match="is quantised .*Expected method='lora' or 'dora'"):
        trainable(twin, part, "full")
    twin.config.quantization_config = {"quant_method": "bitsandbytes"}
    with pytest.raises(InputError, match=r"is quantised \(bitsandbytes\)"):
        trainable(twin, find_part(twin, llava.stages, "projector"), "full")
