"""Blocked pairs have no weight and all else is as it was, whatever the mask, the padding, and what follows the prompt."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hooks.knockout
from analysis.choice import Choice
from benchmarks import checkpoints
from benchmarks.checkpoint_parts import byte_tokenizer, square
from hooks.answer import free, say
from hooks.attention import attention, attentions, eagerly, weights_of
from hooks.checksum import weights_checksum
from hooks.knockout import edge_of, knock_out, token_parts, without
from hooks.load import Mllm, load
from stimuli.errors import InputError
from stimuli.questions import Question

PROMPTS = ("What is wrong?", "What is wrong here, and how bad is it in the end?", "Is it so?")
ROWS = torch.arange(3)


def images(seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 255, (3, 56, 56, 3), dtype=np.uint8))


def logits(mllm: Mllm, batch: Any) -> torch.Tensor:
    """At the last position of each prompt, (n, vocabulary)."""
    with torch.inference_mode():
        found: torch.Tensor = mllm.model(**batch.tensors).logits
    return found[torch.arange(len(found)), batch.layout.last_prompt]


@pytest.fixture(params=["llava", "qwen"])
def mllm(request: pytest.FixtureRequest) -> Mllm:
    found: Mllm = request.getfixturevalue(request.param)
    return found


def check_no_image_gets_through(mllm: Mllm) -> None:
    """Without image->text in any layer the answer is the same for every image, and eager attention agrees."""
    first, second = (mllm.inputs(images(seed), PROMPTS) for seed in (0, 1))
    plain = logits(mllm, first)
    assert float((plain - logits(mllm, second)).abs().max()) > 1e-3
    with knock_out(mllm, token_parts(mllm, first), ["image->text"]):
        cut = logits(mllm, first)
        assert torch.allclose(cut, logits(mllm, second), atol=1e-6)
        with eagerly(mllm, list(attentions(mllm).values())):
            assert torch.allclose(logits(mllm, first), cut, atol=1e-4)
    assert bool(cut.isfinite().all()) and float((cut - plain).abs().max()) > 1e-3
    with knock_out(mllm, token_parts(mllm, first), ["image->text"], [*attentions(mllm)][1:]):
        assert not torch.allclose(logits(mllm, first), logits(mllm, second), atol=1e-5), "one layer is enough"


def test_no_image_gets_through(mllm: Mllm) -> None:
    check_no_image_gets_through(mllm)


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.parametrize(
    "family", ["qwen2_5_vl", "internvl", "idefics3", "gemma3", "paligemma", "gemma4", "kosmos-2", "blip-2"]
)
def test_no_image_gets_through_in_a_family(family: str, tmp_path: Path) -> None:
    checkpoints.save(family, tmp_path)
    check_no_image_gets_through(load(tmp_path, device="cpu", verify=False))


def test_blocked_pairs_have_no_weight_and_the_rest_is_renormalised(mllm: Mllm) -> None:
    batch = mllm.inputs(images(), PROMPTS)
    parts = token_parts(mllm, batch)
    plain = weights_of(mllm, batch, torch.clone, check=False)[0]
    with knock_out(mllm, parts, ["image->last", "question->question"], [0]):
        cut = weights_of(mllm, batch, torch.clone, check=False)[0]
    own = parts.masks
    blocked = (own["last"][:, :, None] & own["image"][:, None]) | (own["question"][:, :, None] & own["question"][:, None])
    blocked &= ~torch.eye(parts.positions, dtype=torch.bool)
    left = plain * ~blocked[:, None]
    there = (own["image"] | own["text"])[:, None, :, None]
    assert not bool((cut * blocked[:, None]).any()) and bool((plain * blocked[:, None]).any())
    assert torch.allclose(cut * there, left / left.sum(-1, keepdim=True) * there, atol=1e-6)
    same = ~blocked.any(-1)[:, None, :, None] & there
    assert torch.equal(cut * same, plain * same)


def masks_of(mllm: Mllm, batch: Any, during: Any) -> tuple[list[Any], torch.Tensor]:
    """What the attention modules are given before the knock-out, and the logits under it."""
    seen: list[Any] = []
    with ExitStack() as stack:
        for module in attentions(mllm).values():
            hook = module.register_forward_pre_hook(lambda m, a, k: seen.append(k.get("attention_mask")), with_kwargs=True)
            stack.callback(hook.remove)
        stack.enter_context(during)
        return seen, logits(mllm, batch)


def test_no_mask_a_boolean_and_an_additive_one_come_to_the_same(mllm: Mllm) -> None:
    batch = mllm.inputs(images(), PROMPTS)
    edges = ["image->last", "question->last"]
    given, together = masks_of(mllm, batch, knock_out(mllm, token_parts(mllm, batch), edges))
    before = [mask.clone() for mask in given]
    assert all(mask.dtype == torch.bool for mask in given)
    with eagerly(mllm, list(attentions(mllm).values())):
        given, eager = masks_of(mllm, batch, knock_out(mllm, token_parts(mllm, batch), edges))
    assert all(mask.is_floating_point() for mask in given) and torch.allclose(eager, together, atol=1e-4)
    for i, prompt in enumerate(PROMPTS):
        one = mllm.inputs(images()[i : i + 1], [prompt])
        given, alone = masks_of(mllm, one, knock_out(mllm, token_parts(mllm, one), edges))
        assert given == [None] * len(attentions(mllm)) and torch.allclose(alone[0], together[i], atol=1e-4)
    left = mllm.inputs(images(), PROMPTS, pad_left=True)
    with knock_out(mllm, token_parts(mllm, left), edges):
        assert torch.allclose(logits(mllm, left), together, atol=1e-4)
    assert len({id(mask) for mask in before}) == len(before) and all(torch.equal(mask, before[0]) for mask in before)


def test_blocking_nothing_changes_nothing_and_nothing_is_left_behind(mllm: Mllm) -> None:
    batch = mllm.inputs(images(), PROMPTS)
    parts, plain, weights = token_parts(mllm, batch), logits(mllm, batch), weights_checksum(mllm.model)
    with knock_out(mllm, parts, []):
        assert torch.equal(logits(mllm, batch), plain)
    with knock_out(mllm, parts, ["region->last"]):
        assert torch.allclose(logits(mllm, batch), plain, atol=1e-5)
    with pytest.raises(RuntimeError, match="stop"), knock_out(mllm, parts, ["image->last"]):
        raise RuntimeError("stop")
    assert torch.equal(logits(mllm, batch), plain) and weights_checksum(mllm.model) == weights
    assert not any(module._forward_pre_hooks for module in attentions(mllm).values())


def test_the_positions_of_an_answer_count_as_last(mllm: Mllm) -> None:
    options = {"one": "noise and compression and blur", "two": "blur", "three": "compression noise"}
    asked, edges = Choice(Question("distortion", "What is wrong?", options, {}, "")), ["image->last"]
    prepared = asked.prepared(mllm, images())
    first, second = (batch.layout.image.shape[1] for batch in prepared.batches)
    assert first > second, "the parts are those of the prompts, whichever pass they are taken from"
    plain = asked.scores(mllm, prepared)
    with knock_out(mllm, token_parts(mllm, prepared.batches[0]), edges):
        found = asked.scores(mllm, prepared)
    for label in asked.classes:
        batch = asked.said(mllm, images(), label)
        parts = token_parts(mllm, batch)
        ends = batch.layout.last_prompt[:, None]
        behind = torch.arange(batch.layout.image.shape[1]) >= ends
        assert torch.equal(parts.at("last", behind.shape[1]), behind)
        pairs = behind[:, :, None] & batch.layout.image[:, None]
        with torch.no_grad(), knock_out(mllm, parts, [pairs]):
            alone = asked.likelihood(mllm, batch).numpy()
        assert np.allclose(found[:, asked.place(label)], alone, atol=1e-5)
    assert np.abs(found - plain).max() > 1e-4


def test_what_is_generated_with_a_cache_is_what_is_said_without(mllm: Mllm) -> None:
    """Two tokens, the second with all before it in the cache."""
    batch = free(mllm, images(), PROMPTS)
    parts = token_parts(mllm, batch)
    steps: list[torch.Tensor] = []
    hook = mllm.model.register_forward_hook(lambda m, i, o: steps.append(o.logits[:, -1].clone()))
    try:
        with knock_out(mllm, parts, ["image->last"]):
            say(mllm, batch, 2)
    finally:
        hook.remove()
    first, second = steps
    words = first.argmax(-1)
    assert torch.allclose(first, knocked(mllm, batch.tensors, parts), atol=1e-4)
    longer = {**batch.tensors}
    for name, value in batch.tensors.items():
        if isinstance(value, torch.Tensor) and value.shape == batch.tensors["input_ids"].shape:
            new = {"input_ids": words, "attention_mask": torch.ones_like(words)}.get(name, torch.zeros_like(words))
            longer[name] = torch.cat([value, new[:, None].to(value.dtype)], 1)
    assert torch.allclose(second, knocked(mllm, longer, parts), atol=1e-4)


def knocked(mllm: Mllm, tensors: dict[str, Any], parts: Any) -> torch.Tensor:
    with torch.inference_mode(), knock_out(mllm, parts, ["image->last"]):
        found: torch.Tensor = mllm.model(**tensors, use_cache=False).logits[:, -1]
    return found


def test_masks_of_both_kinds() -> None:
    seen = torch.ones(1, 1, 3, 3, dtype=torch.bool).tril()
    blocked = torch.tensor([[[[False] * 3, [True, False, False], [True, True, True]]]]).expand(2, 1, 3, 3)
    found = without(seen, blocked)
    assert found.shape == (2, 1, 3, 3) and found[1, 0].tolist() == [[True, False, False], [False, True, False], [True] * 3]
    for lowest in (torch.finfo(torch.float32).min, -torch.inf):
        added = torch.zeros(1, 1, 3, 3).masked_fill(~seen, lowest)
        assert torch.equal(without(added, blocked) > -1, found), "a row that would see nothing stays"
    assert bool(seen[0, 0, 1, 0])


def test_every_position_of_a_prompt_is_of_one_part(mllm: Mllm, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = mllm.inputs(images(), PROMPTS, ["blur", "noise", "blur"])
    shares = [torch.linspace(0, 1, count) for count in batch.layout.image_tokens]
    parts = token_parts(mllm, batch, [shares[0], None, shares[2]])
    own = parts.masks
    total = sum(own[name].int() for name in ("image", "frame", "question", "last"))
    prompt = (~batch.layout.padding & ~batch.layout.answer)[:, : parts.positions]
    assert torch.equal(total, prompt.int()) and bool((own["last"].sum(1) == 1).all()) and bool(prompt[:, -1].any())
    assert torch.equal(own["text"], own["frame"] | own["question"] | own["last"])
    assert own["region"].sum(1).tolist() == [int((shares[0] >= 0.5).sum()), 0, int((shares[2] >= 0.5).sum())]
    assert bool((parts.within[1]).isnan().all()) and torch.equal(parts.within[0][own["image"][0]], shares[0])
    longer = parts.at("last", parts.positions + 2)
    assert (
        longer.shape[1] == parts.positions + 2 and bool(longer[:, -2:].all()) and not bool(parts.at("image", 999)[:, -2:].any())
    )
    monkeypatch.setattr(hooks.knockout, "_front", lambda *_: 3)
    shifted = token_parts(mllm, batch)
    assert bool(shifted.masks["image"][:, :3].all()) and torch.equal(shifted.ends, parts.ends + 3)
    assert torch.equal(shifted.masks["last"][:, 3:], own["last"])


def test_what_cannot_be_blocked_is_refused(llava: Mllm, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = llava.inputs(images(), PROMPTS)
    parts = token_parts(llava, batch)
    for edge in ("image-last", "image->answer", "sky->last"):
        with pytest.raises(InputError, match=f"Unknown edge '{edge}'.*source->target.*question.*image->last"):
            edge_of(edge)
    assert edge_of(" image -> last ") == ("image", "last")
    with pytest.raises(InputError, match=r"Unknown layers \[9\].*\[0, 1, 2, 3\]"):
        attentions(llava, [0, 9])
    with pytest.raises(InputError, match="region over 2 image tokens for a prompt with .*one share per token"):
        token_parts(llava, batch, [torch.ones(2), None, None])
    other = llava.inputs(images()[:2], PROMPTS[:2])
    with (
        pytest.raises(InputError, match="about 2 sequences.*the 3 prompts.*same batch"),
        knock_out(llava, parts, ["image->last"]),
    ):
        logits(llava, other)
    config = next(iter(attentions(llava).values())).config
    monkeypatch.setattr(config, "_attn_implementation_internal", "flash_attention_2")
    with (
        pytest.raises(InputError, match="llm.0 computes attention by 'flash_attention_2'.*sdpa, eager.*set_attn"),
        knock_out(llava, parts, ["image->last"]),
    ):
        pass


@pytest.mark.slow
def test_no_image_gets_through_where_it_stands_in_front_of_the_prompt() -> None:
    """GIT: the image has no placeholders, masks come by position, and the weights are kept inside the attention module."""
    from transformers import CLIPImageProcessorPil, GitConfig, GitForCausalLM, GitProcessor

    tokenizer = byte_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {**sizes, "image_size": 56, "patch_size": 14}
    torch.manual_seed(0)
    model: Any = GitForCausalLM(
        GitConfig(vision_config=vision, **sizes, vocab_size=len(tokenizer), bos_token_id=1, eos_token_id=2)
    ).eval()
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size=square(56))
    mllm = load(model, GitProcessor(pictures, tokenizer), verify=True)
    first, second = (mllm.inputs(images(seed), PROMPTS) for seed in (0, 1))
    parts = token_parts(mllm, first)
    assert mllm.stages.layouts["llm.0"] == "prefixed" and parts.masks["image"].sum(1).tolist() == [17] * 3
    for cached in (True, False):
        plain, cut, other = (knocked_or_not(mllm, batch, parts, edges, cached)
                             for batch, edges in ((first, []), (first, ["image->text"]), (second, ["image->text"])))  # fmt: skip
        assert torch.allclose(cut, other, atol=1e-6) and float((cut - plain).abs().max()) > 1e-3
    shares = attention(mllm, first, parts).values
    assert 0 < float(shares["image"].min()) and float(shares["image"].max()) < 1


def knocked_or_not(mllm: Mllm, batch: Any, parts: Any, edges: list[str], cached: bool) -> torch.Tensor:
    with torch.inference_mode(), knock_out(mllm, parts, edges):
        found: torch.Tensor = mllm.model(**batch.tensors, use_cache=cached).logits
    return found[ROWS, parts.ends]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "why"),
    [
        ("qwen3_5", "llm.0 has a Qwen3_5GatedDeltaNet.*softmax self-attention.*layers="),
        ("mllama", "cross-attention .llm.1..*no positions.*image tokens in the sequence"),
        ("florence2", "encoder-decoder.*image tokens stand in the sequence"),
    ],
)
def test_other_ways_of_reading_the_image_are_refused(family: str, why: str, tmp_path: Path) -> None:
    checkpoints.save(family, tmp_path)
    mllm = load(tmp_path, device="cpu", verify=False)
    with pytest.raises(InputError, match=why):
        parts = token_parts(mllm, mllm.inputs(images(), PROMPTS))
        with knock_out(mllm, parts, ["image->last"]):
            pass
