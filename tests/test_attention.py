"""Shares of attention are sums of the weights, and reading them leaves the model as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hooks.attention
from benchmarks import checkpoints
from hooks.attention import SOURCES, attention, attentions, eagerly, weights_of
from hooks.checksum import weights_checksum
from hooks.knockout import token_parts
from hooks.load import Mllm, load
from stimuli.errors import InputError

PROMPTS = ("What is wrong?", "What is wrong here, and how bad is it in the end?", "Is it so?")


@pytest.fixture(params=["llava", "qwen"])
def mllm(request: pytest.FixtureRequest) -> Mllm:
    found: Mllm = request.getfixturevalue(request.param)
    return found


def shown(mllm: Mllm, **how: Any) -> Any:
    images = np.random.default_rng(0).integers(0, 255, (3, 56, 56, 3), dtype=np.uint8)
    return mllm.inputs(list(images), PROMPTS, **how)


def implementations(mllm: Mllm) -> list[str]:
    return [own._attn_implementation for own in hooks.attention._configs(mllm.model)]


def check_sums(mllm: Mllm) -> None:
    """Of every layer and head, for either target, from the weights themselves."""
    batch = shown(mllm)
    parts = token_parts(mllm, batch)
    weights = torch.stack(list(weights_of(mllm, batch, torch.clone).values()), 1)
    own, before = parts.masks, implementations(mllm)
    for target in ("last", "question"):
        found = attention(mllm, batch, parts, target)
        assert found.layers == tuple(attentions(mllm)) and list(found.values) == list(SOURCES)
        for i in range(3):
            rows = weights[i][:, :, own[target][i]]  # (layers, heads, targets, positions)
            itself = torch.diagonal(weights[i], dim1=-2, dim2=-1)[:, :, own[target][i]].mean(-1)
            question = rows[..., own["question"][i]].sum(-1).mean(-1) - (itself if target == "question" else 0)
            assert torch.allclose(found.values["image"][i], rows[..., own["image"][i]].sum(-1).mean(-1), atol=1e-5)
            assert torch.allclose(found.values["question"][i], question, atol=1e-5)
            assert torch.allclose(found.values["itself"][i], itself, atol=1e-5)
        total = sum(value for name, value in found.values.items() if name != "region")
        assert torch.allclose(torch.as_tensor(total), torch.ones_like(found.values["image"]), atol=1e-5)
        assert bool(found.values["region"].isnan().all()) and float(found.values["rest"].min()) > -1e-6
    assert implementations(mllm) == before


def test_shares_are_sums_of_weights(mllm: Mllm) -> None:
    check_sums(mllm)


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2_5_vl", "internvl", "idefics3", "paligemma", "gemma3"])
def test_shares_are_sums_of_weights_in_a_family(family: str, tmp_path: Path) -> None:
    checkpoints.save(family, tmp_path)
    check_sums(load(tmp_path, device="cpu", verify=False))


def test_a_region_weighs_by_its_share_of_each_token_and_padding_is_nothing(mllm: Mllm) -> None:
    batch = shown(mllm)
    counts = batch.layout.image_tokens
    halves = attention(mllm, batch, token_parts(mllm, batch, [torch.full((counts[0],), 0.5), torch.ones(counts[1]), None]))
    assert torch.allclose(halves.values["region"][0], 0.5 * halves.values["image"][0])
    assert torch.allclose(halves.values["region"][1], halves.values["image"][1])
    assert bool(halves.values["region"][2].isnan().all())
    left = shown(mllm, pad_left=True)
    again = attention(mllm, left, token_parts(mllm, left), layers=[1])
    assert again.layers == (1,) and torch.allclose(again.values["image"][:, 0], halves.values["image"][:, 1], atol=1e-5)
    answered = shown(mllm, answers=["blur", "noise", "noise"])
    said = attention(mllm, answered, token_parts(mllm, answered))
    assert torch.allclose(said.values["image"], halves.values["image"], atol=1e-5), "what follows a prompt is not seen by it"


def test_the_model_is_as_it_was_also_after_an_exception(mllm: Mllm) -> None:
    before, weights = implementations(mllm), weights_checksum(mllm.model)
    modules = list(attentions(mllm).values())
    hooks = [len(module._forward_hooks) for module in modules]  # the library leaves recorders of its own on a shared model
    assert set(before) == {"sdpa"}
    with pytest.raises(RuntimeError, match="stop"), eagerly(mllm, modules):
        assert {module.config._attn_implementation for module in modules} == {"eager"}
        vision = mllm.model.config.vision_config._attn_implementation
        raise RuntimeError("stop")
    assert vision == "sdpa", "the language model alone"

    def failing(weights: torch.Tensor) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        weights_of(mllm, shown(mllm), failing)
    assert implementations(mllm) == before and weights_checksum(mllm.model) == weights
    assert [len(module._forward_hooks) for module in modules] == hooks


def test_a_model_that_says_something_else_or_has_no_weights_is_refused(llava: Mllm, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = shown(llava)
    parts = token_parts(llava, batch)
    with pytest.raises(InputError, match="Unknown target 'first'.*last, question"):
        attention(llava, batch, parts, "first")
    with monkeypatch.context() as patch:
        true, more = hooks.attention._said, iter((0.0, 0.01))
        patch.setattr(hooks.attention, "_said", lambda *given: true(*given) + next(more))
        with pytest.raises(InputError, match=r"logits differ by 0\.01 .*same logits but for rounding"):
            weights_of(llava, batch, torch.clone)
    with monkeypatch.context() as patch:
        patch.setattr(type(llava.model), "set_attn_implementation", lambda *_: None)
        with pytest.raises(InputError, match="does not change how it computes attention.*'sdpa' gives no weights.*eager"):
            weights_of(llava, batch, torch.clone)
    silent = attentions(llava)[1].register_forward_hook(lambda m, i, output: (output[0], None))
    with pytest.raises(InputError, match=r"attention of llm\.1, a LlamaAttention, gives no weights.*layers="):
        weights_of(llava, batch, torch.clone)
    silent.remove()
    with monkeypatch.context() as patch:
        whole = hooks.attention.weights_of
        patch.setattr(hooks.attention, "weights_of", lambda m, b, reduce, **how: whole(m, b, lambda w: reduce(w / 2), **how))
        with pytest.raises(InputError, match=r"sum to 0\.500 to 0\.500; expected 1.*sink"):
            attention(llava, batch, parts)
