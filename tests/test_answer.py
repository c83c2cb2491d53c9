"""Greedy text and likelihoods of answers."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from hooks.answer import Drawing, free, generate, loglik, option_loglik, say, scored
from hooks.batch import build, build_each
from hooks.load import Mllm
from stimuli.types import StimulusSet

BOTH = pytest.mark.parametrize("family", ["llava", "qwen"])
PROMPTS = ("What?", "What does this image show?", "Which one is it?")


@BOTH
def test_likelihoods_are_the_models_own_and_do_not_depend_on_the_batch(
    family: str, six: StimulusSet, request: pytest.FixtureRequest
) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    images, options = [s.image for s in six[:3]], ["blur", "very white noise"]
    found = option_loglik(mllm, images, "Which?", options, batch_size=3, progress=False)
    assert np.allclose(found, option_loglik(mllm, images, "Which?", options, batch_size=1, progress=False), atol=1e-4)
    batch = mllm.inputs(images[:1], ["Which?"], ["very white noise"], eos=False)
    with torch.no_grad():
        loss = mllm.model(**batch.tensors, labels=batch.labels).loss
    assert found[0, 1] == pytest.approx(-float(loss), abs=1e-4)
    total = option_loglik(mllm, images[:1], "Which?", options, length_normalised=False, progress=False)
    tokens = len(mllm.processor.tokenizer(" very white noise", add_special_tokens=False)["input_ids"])
    assert total[0, 1] == pytest.approx(found[0, 1] * tokens, rel=1e-4)


def test_single_token_options_take_one_pass_with_the_same_values(llava: Mllm, six: StimulusSet) -> None:
    images = [s.image for s in six[:2]]
    fast = option_loglik(llava, images, "Which?", ["blur", "noise"], progress=False)
    slow = option_loglik(llava, images, "Which?", ["blur", "noise", "blur noise"], progress=False)
    assert np.allclose(fast, slow[:, :2], atol=1e-5)


def test_greedy_answers_do_not_depend_on_the_batch(llava: Mllm, six: StimulusSet) -> None:
    images, prompts = [s.image for s in six[:3]], ["What?", "What does this image show?", "Which?"]
    together = generate(llava, images, prompts, max_new_tokens=4, progress=False)
    alone = [generate(llava, [i], [p], max_new_tokens=4, progress=False)[0] for i, p in zip(images, prompts, strict=True)]
    assert together == alone


class Listener:
    """Keeps the tokens that a model generates, special ones and those of the prompt included."""

    def __init__(self, mllm: Mllm, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ids = torch.empty(0, 0)
        real = mllm.model.generate

        def generate(**given: Any) -> torch.Tensor:
            self.ids = real(**given)
            return self.ids

        monkeypatch.setattr(mllm.model, "generate", generate)


def confidence(mllm: Mllm, image: np.ndarray, prompt: str, ids: list[int]) -> float:
    """Mean probability of the tokens of one answer, by one plain forward pass over prompt and answer."""
    (batch,) = build_each(mllm.model, mllm.processor, mllm.stages, [image], [prompt], [[tuple(ids)]], eos=False)
    with torch.no_grad():
        logits = mllm.model(**batch.tensors).logits[0]
    at = int(batch.layout.last_prompt[0])
    return float(torch.softmax(logits[at : at + len(ids)].float(), -1)[range(len(ids)), ids].mean())


@BOTH
@pytest.mark.parametrize("drawing", [None, Drawing((3, 1, 4), 1.0), Drawing((1, 5, 9), 0.5, top_k=20, top_p=0.9)])
def test_confidence_is_the_mean_probability_of_the_tokens_by_a_plain_pass(
    family: str, drawing: Drawing | None, six: StimulusSet, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    listener = Listener(mllm, monkeypatch)
    images = [s.image for s in six[:3]]
    said = say(mllm, free(mllm, images, PROMPTS), 6, drawing)
    special = set(mllm.processor.tokenizer.all_special_ids)
    for one, image, prompt, ids in zip(said, images, PROMPTS, listener.ids[:, -6:].tolist(), strict=True):
        words = [id for id in ids if id not in special]
        assert one.tokens == len(words) > 0
        assert one.text == mllm.processor.tokenizer.decode(words).strip()
        assert one.confidence == pytest.approx(confidence(mllm, image, prompt, words), abs=1e-5)


@BOTH
def test_drawn_answers_do_not_depend_on_the_batch(family: str, six: StimulusSet, request: pytest.FixtureRequest) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    images, seeds = [s.image for s in six[:3]], (7, 8, 9)
    together = say(mllm, free(mllm, images, PROMPTS), 8, Drawing(seeds, 1.0))
    parts = zip(images, PROMPTS, seeds, strict=True)
    alone = [say(mllm, free(mllm, [image], [prompt]), 8, Drawing((seed,), 1.0))[0] for image, prompt, seed in parts]
    assert [one.text for one in together] == [one.text for one in alone]
    assert [one.confidence for one in together] == pytest.approx([one.confidence for one in alone], abs=1e-5)
    other = say(mllm, free(mllm, images, PROMPTS), 8, Drawing((1, 2, 3), 1.0))
    assert all(one.text != another.text for one, another in zip(together, other, strict=True))


def sharpened(mllm: Mllm, factor: float) -> Mllm:
    """A copy whose probabilities are further apart, so that a few tokens have nearly all."""
    model = copy.deepcopy(mllm.model)
    with torch.no_grad():
        model.lm_head.weight *= factor
    return replace(mllm, model=model)


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (0.6, 0, 1.0), (2.0, 4, 1.0), (1.5, 0, 0.6)])
def test_first_tokens_are_drawn_by_the_model_s_own_probabilities(
    temperature: float, top_k: int, top_p: float, llava: Mllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    mllm = sharpened(llava, 6)
    with torch.no_grad():
        logits = mllm.model(**mllm.inputs(None, ["What?"]).tensors).logits[0, -1]
    probabilities = torch.softmax(logits.double() / temperature, -1).numpy()
    if top_k:
        probabilities[np.argsort(probabilities)[:-top_k]] = 0
    order = np.argsort(-probabilities)
    before = np.cumsum(probabilities[order]) - probabilities[order]
    probabilities[order[before / probabilities.sum() >= top_p]] = 0
    probabilities /= probabilities.sum()
    listener = Listener(mllm, monkeypatch)
    say(mllm, free(mllm, None, ["What?"] * 500), 1, Drawing(tuple(range(500)), temperature, top_k, top_p))
    counts = np.bincount(listener.ids[:, -1].numpy(), minlength=len(probabilities))
    assert not counts[probabilities == 0].any()
    common = probabilities > 0.02
    assert common.sum() > 1
    found, wanted = (np.append(values[common], values[~common].sum()) for values in (counts / 500, probabilities))
    able = wanted > 1e-9
    assert stats.chisquare(found[able] * 500, wanted[able] * 500).pvalue > 1e-3


def test_settings_that_a_checkpoint_brings_along_do_not_change_what_is_said(llava: Mllm, six: StimulusSet) -> None:
    images = [s.image for s in six[:3]]
    other = replace(llava, model=copy.deepcopy(llava.model))
    other.model.generation_config.update(
        repetition_penalty=9.0, no_repeat_ngram_size=1, min_length=200, num_beams=3, do_sample=True, temperature=0.1, top_k=1
    )
    for drawing in (None, Drawing((1, 2, 3), 1.0)):
        assert say(other, free(other, images, PROMPTS), 6, drawing) == say(llava, free(llava, images, PROMPTS), 6, drawing)


def test_what_ends_an_answer_is_no_part_of_it_even_if_the_tokenizer_does_not_know(
    llava: Mllm, six: StimulusSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorter = replace(llava, model=copy.deepcopy(llava.model))
    listener = Listener(shorter, monkeypatch)
    batch = free(llava, [six[0].image], ["What?"])
    (whole,) = say(shorter, batch, 6)
    ids = listener.ids[0, -6:].tolist()
    end = next(i for i in range(1, 6) if ids[i] not in ids[:i])
    for ends in (ids[end], [2, ids[end]]):
        shorter.model.generation_config.eos_token_id = ends
        (found,) = say(shorter, batch, 6)
        assert found.tokens == end < whole.tokens and found.text == llava.processor.tokenizer.decode(ids[:end]).strip()
        assert found.confidence == pytest.approx(confidence(llava, six[0].image, "What?", ids[:end]), abs=1e-5)


@pytest.mark.parametrize("habit", ["new tokens alone", "a start token in front", "processors of logits not handed on"])
def test_models_with_other_habits_of_generating_say_the_same(
    habit: str, llava: Mllm, six: StimulusSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [s.image for s in six[:3]]
    drawings = (None, Drawing((1, 2, 3), 1.0))
    plain = [say(llava, free(llava, images, PROMPTS), 5, drawing) for drawing in drawings]
    other = replace(llava, model=copy.deepcopy(llava.model))
    real, calls = other.model.generate, []

    def generate(logits_processor: Any, input_ids: torch.Tensor, **given: Any) -> torch.Tensor:
        calls.append(1)
        if habit == "processors of logits not handed on":
            return real(input_ids=input_ids, **given)
        ids = real(input_ids=input_ids, logits_processor=logits_processor, **given)[:, input_ids.shape[1] :]
        start = torch.full((len(ids), 1), llava.processor.tokenizer.bos_token_id)
        return torch.cat([start, ids], 1) if habit == "a start token in front" else ids

    monkeypatch.setattr(other.model, "generate", generate)
    assert [say(other, free(other, images, PROMPTS), 5, drawing) for drawing in drawings] == plain
    assert len(calls) == (1 if habit == "processors of logits not handed on" else 2)


def test_a_tokenizer_without_special_tokens_of_its_own_will_do(llava: Mllm, six: StimulusSet) -> None:
    bare = replace(llava, processor=copy.copy(llava.processor))
    bare.processor.tokenizer = copy.deepcopy(llava.processor.tokenizer)
    batch = free(llava, [s.image for s in six[:3]], PROMPTS)
    plain = say(llava, batch, 5)
    bare.processor.tokenizer.pad_token = None
    assert say(bare, batch, 5) == plain
    bare.processor.tokenizer.eos_token = None
    assert [one.text.removesuffix("</s>") for one in say(bare, batch, 5)] == [one.text for one in plain]


OPTIONS = ("blur", "white noise", "white balance shift", "white", "noise blur", "white noise blur")


@BOTH
def test_options_that_begin_alike_share_their_passes_and_keep_their_likelihoods(
    family: str, six: StimulusSet, request: pytest.FixtureRequest
) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    images = [s.image for s in six[:3]]
    made = scored(mllm, images, PROMPTS, OPTIONS)
    found, tokens = loglik(mllm, made)
    inner = {row[:-1] for row in made.tokens}
    leaves = [a for a in inner if not any(b[: len(a)] == a for b in inner - {a})]
    assert sorted(made.starts) == sorted(leaves) and len(made.batches) == len(leaves) < len(OPTIONS)
    for column, option in enumerate(OPTIONS):
        batch = build(mllm.model, mllm.processor, mllm.stages, images, PROMPTS, [option] * 3, eos=False)
        assert batch.labels is not None
        with torch.no_grad():
            logp = torch.log_softmax(mllm.model(**batch.tensors).logits[:, :-1].double(), -1)
        spoken = batch.labels[:, 1:]
        own = logp.gather(2, spoken.clamp(min=0)[..., None])[..., 0].where(spoken >= 0, 0).sum(1)
        assert np.allclose(found[:, column], own.numpy(), atol=1e-4) and tokens[column] == (spoken[0] >= 0).sum()


def test_a_token_that_cannot_come_makes_an_option_impossible_and_no_other(llava: Mllm, six: StimulusSet) -> None:
    def forbid(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        return output.index_fill(-1, torch.tensor([noise]), -torch.inf)

    noise = llava.processor.tokenizer(" noise", add_special_tokens=False)["input_ids"][0]
    other = replace(llava, model=copy.deepcopy(llava.model))
    other.model.lm_head.register_forward_hook(forbid)
    found = option_loglik(other, [s.image for s in six[:3]], "Which?", OPTIONS, progress=False, length_normalised=False)
    assert [bool(np.isneginf(column).all()) for column in found.T] == ["noise" in option for option in OPTIONS]
    assert not np.isnan(found).any()


def test_a_prefix_is_said_before_and_not_counted(llava: Mllm, six: StimulusSet) -> None:
    image = six[0].image
    (whole,), tokens = loglik(llava, scored(llava, [image], ["Which?"], ["white noise"]))
    (first,), _ = loglik(llava, scored(llava, [image], ["Which?"], ["white"]))
    (rest,), count = loglik(llava, scored(llava, [image], ["Which?"], ["noise"], prefix="white"))
    assert rest == pytest.approx(whole - first, abs=1e-4) and tokens.tolist() == [2] and count.tolist() == [1]
