"""Inputs: prompts are exact prefixes, answers are labelled, pixels are untouched."""

import copy
import json
from collections.abc import Sequence
from functools import cache, partial
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from hooks.answer import option_loglik
from hooks.batch import build, build_each, continuation
from hooks.load import Mllm
from hooks.prompt import encode, render
from stimuli.errors import InputError
from stimuli.types import StimulusSet


@pytest.mark.parametrize("family", ["llava", "qwen"])
def test_the_prompt_is_a_prefix_of_prompt_and_answer(family: str, six: StimulusSet, request: pytest.FixtureRequest) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    images, prompts = [s.image for s in six[:2]], ["What?", "What does this image show, and why?"]
    short, long = mllm.inputs(images, prompts), mllm.inputs(images, prompts, ["blur", "white noise"])
    assert long.labels is not None
    for i in range(2):
        n = int(short.layout.padding[i].logical_not().sum())
        assert torch.equal(short.tensors["input_ids"][i, :n], long.tensors["input_ids"][i, :n])
        spoken = long.labels[i][long.labels[i] >= 0]
        assert mllm.processor.tokenizer.decode(spoken) == [" blur</s>", " white noise</s>"][i]
        assert int(long.layout.last_prompt[i]) == n - 1
    assert int((long.labels >= 0).sum()) == int(long.layout.answer.sum())


def test_left_padding_ends_every_prompt_at_the_end(llava: Mllm, six: StimulusSet) -> None:
    batch = llava.inputs([s.image for s in six[:2]], ["What?", "What does this image show?"], pad_left=True)
    assert batch.layout.padding[0, 0] and not batch.layout.padding[:, -1].any()
    assert batch.layout.last_prompt.tolist() == [batch.tensors["input_ids"].shape[1] - 1] * 2


def test_the_processor_gets_the_files_own_pixels(llava: Mllm, six: StimulusSet) -> None:
    batch = llava.inputs([six[0].image], ["What?"])
    back = (batch.tensors["pixel_values"][0] * 0.25 + 0.5) * 255
    assert np.array_equal(back.round().permute(1, 2, 0).numpy().astype(np.uint8), six[0].image)


def test_text_alone_works_and_counts_must_match(llava: Mllm, six: StimulusSet) -> None:
    batch = llava.inputs(None, ["What?"])
    assert "pixel_values" not in batch.tensors and not batch.layout.image.any()
    assert render(llava.processor, "What?", False) == "USER: What? ASSISTANT:"
    with pytest.raises(InputError, match="Got 1 images and 2 prompts"):
        llava.inputs([six[0].image], ["a", "b"])


@pytest.mark.parametrize("family", ["llava", "qwen"])
@pytest.mark.parametrize("left", [False, True])
def test_several_answers_are_built_from_one_look_at_the_images(
    family: str, left: bool, six: StimulusSet, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    images, prompts = [s.image for s in six[:2]], ["What?", "What does this image show, and why?"]
    answers = [["blur", "white noise"], None, ["noise", "blur"]]
    single = [mllm.inputs(images, prompts, said, eos=False, pad_left=left) for said in answers]
    looks = Mock(wraps=encode)
    monkeypatch.setattr("hooks.batch.encode", looks)
    each = list(
        build_each(
            mllm.model, mllm.processor, mllm.stages, images, prompts, answers, eos=False, pad_left=left, device=mllm.device
        )
    )
    assert looks.call_count == 1 and len(each) == 3
    for one, many in zip(single, each, strict=True):
        assert one.tensors.keys() == many.tensors.keys() and list(one.tensors) == list(many.tensors)
        assert all(torch.equal(value, many.tensors[name]) for name, value in one.tensors.items())
        assert (one.labels is None) is (many.labels is None)
        assert one.labels is None or many.labels is None or torch.equal(one.labels, many.labels)
        assert all(
            torch.equal(getattr(one.layout, part), getattr(many.layout, part)) for part in ("image", "padding", "answer")
        )
    assert each[0].tensors["pixel_values"] is each[2].tensors["pixel_values"]
    with pytest.raises(InputError, match="Got 2 images and 1 prompts"):
        next(build_each(mllm.model, mllm.processor, mllm.stages, images, prompts[:1], answers))


# ---- answers behind prompts ------------------------------------------------------------------------------------------

CORPUS = ["USER: what distortion is it? ASSISTANT: white noise", "blur and jpeg compression", "Answer: (a) colour shift"] * 20
SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{value:02X}>" for value in range(256)]
METASPACES = ("always", "first", "never")


def trained(core: Tokenizer, trainer: Any) -> Any:
    core.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def metaspace(scheme: str) -> Any:
    """As SentencePiece: a space is a letter, and the text's beginning may be marked like one."""
    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    core.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme)])
    return trained(core, trainers.BpeTrainer(vocab_size=420, special_tokens=SPECIAL + BYTES, show_progress=False))


def llama() -> Any:
    """The same by a normaliser, as Llama 2 and Vicuna have it."""
    whole = json.loads(metaspace("always")._tokenizer.to_str())
    steps = [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
    core = Tokenizer.from_str(
        json.dumps({**whole, "normalizer": {"type": "Sequence", "normalizers": steps}, "pre_tokenizer": None})
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


@cache
def tokenizer(kind: str) -> Any:
    if kind in METASPACES:
        return metaspace(kind)
    if kind == "llama":
        return llama()
    if kind == "bytes":
        core = Tokenizer(models.BPE())
        core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        return trained(
            core, trainers.BpeTrainer(vocab_size=420, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
        )
    if kind == "unigram":
        core = Tokenizer(models.Unigram())
        core.pre_tokenizer, core.decoder = pre_tokenizers.Metaspace(prepend_scheme="always"), decoders.Metaspace()
        return trained(
            core, trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
        )
    core = Tokenizer(models.WordLevel(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return trained(core, trainers.WordLevelTrainer(special_tokens=SPECIAL, show_progress=False))


KINDS = pytest.mark.parametrize("kind", ["bytes", "words", "unigram", "llama", *METASPACES])
ANSWERS = ("blur", "white noise", "(a)", "JPEG", "noise.")


@KINDS
@pytest.mark.parametrize("prompt", ["USER: what is it? ASSISTANT:", "The answer is", "[/INST]", "assistant\n", "<|end|>\n\n"])
def test_the_tokens_of_an_answer_are_those_that_stand_behind_the_prompt(kind: str, prompt: str) -> None:
    tokens = partial(tokenizer(kind), add_special_tokens=False)
    for answer in ANSWERS:
        space = "" if prompt[-1].isspace() else " "
        whole = tokens(prompt + space + answer)["input_ids"]
        assert tokens(prompt)["input_ids"] + continuation(tokenizer(kind), prompt, answer) == whole


@KINDS
def test_behind_a_space_an_answer_adds_no_second_one(kind: str) -> None:
    tokens = partial(tokenizer(kind), add_special_tokens=False)
    ids = tokens("Answer: ")["input_ids"]
    for answer in ("blur", "white noise", "(a)", "noise"):
        text = tokenizer(kind).decode(ids + continuation(tokenizer(kind), "Answer: ", answer))
        assert text.replace(" ", "") == f"Answer:{answer}".replace(" ", "") and "  " not in text


@KINDS
def test_an_answer_that_no_token_fits_still_has_one(kind: str) -> None:
    assert len(continuation(tokenizer(kind), "ASSISTANT:", "\u2603")) > 0


def test_a_likelihood_is_the_model_s_own_loss_on_the_text_as_a_whole(llava: Mllm, six: StimulusSet) -> None:
    prompt, answer = "Which one is it?", "white noise and blur"
    rendered = render(llava.processor, prompt)
    whole = encode(llava.processor, [six[0].image], [f"{rendered} {answer}"])
    start = encode(llava.processor, [six[0].image], [rendered])["input_ids"].shape[1]
    labels = whole["input_ids"].clone()
    labels[:, :start] = -100
    with torch.no_grad():
        loss = llava.model(**whole, labels=labels).loss
    found = option_loglik(llava, [six[0].image], prompt, [answer, "blur"], progress=False)
    assert found[0, 0] == pytest.approx(-float(loss), abs=1e-5)


def test_answers_may_be_tokens(llava: Mllm, six: StimulusSet) -> None:
    images, prompts = [s.image for s in six[:2]], ["What?", "What does this image show, and why?"]
    ids = [tuple(continuation(llava.processor.tokenizer, "ASSISTANT:", answer)) for answer in ("blur", "white noise")]
    answers: Any = [["blur", "white noise"], ids]
    by_text, by_tokens = build_each(llava.model, llava.processor, llava.stages, images, prompts, answers)
    assert all(torch.equal(value, by_tokens.tensors[name]) for name, value in by_text.tensors.items())


# ---- no image, several images ----------------------------------------------------------------------------------------


def test_a_text_alone_has_the_start_token_once_whoever_writes_it(llava: Mllm) -> None:
    tokens, bos = llava.processor.tokenizer, llava.processor.tokenizer.bos_token_id
    for start in ("", "<s>"):
        changed = copy.copy(llava.processor)
        changed.chat_template = start + llava.processor.chat_template
        batch = build(llava.model, changed, llava.stages, None, ["What?", "What does it show?"])
        assert [(row == bos).sum().item() for row in batch.tensors["input_ids"]] == [1, 1]
        assert tokens.decode(batch.tensors["input_ids"][1]) == "<s>USER: What does it show? ASSISTANT:"


@pytest.mark.parametrize("family", ["llava", "qwen"])
def test_two_images_of_a_question_are_both_its_own(family: str, six: StimulusSet, request: pytest.FixtureRequest) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    images = [s.image for s in six]
    pairs, prompts = [(images[0], images[1]), (images[2], images[3])], ["Which?", "Which of the two is it, please?"]

    def last(shown: Sequence[tuple[np.ndarray, ...]], which: list[str]) -> torch.Tensor:
        batch = mllm.inputs(shown, which)
        with torch.no_grad():
            logits = mllm.model(**batch.tensors).logits
        return logits[range(len(shown)), batch.layout.last_prompt]

    found = last(pairs, prompts)
    one, two = mllm.inputs([images[0]], prompts[:1]), mllm.inputs(pairs, prompts)
    assert two.layout.image_tokens == (2 * one.layout.image_tokens[0],) * 2
    for i in range(2):
        assert torch.allclose(last(pairs[i : i + 1], prompts[i : i + 1])[0], found[i], atol=1e-4)
    for other in ((images[4], images[1]), (images[0], images[4]), (images[1], images[0])):
        changed = last([other, pairs[1]], prompts)
        assert not torch.allclose(changed[0], found[0], atol=1e-3) and torch.allclose(changed[1], found[1], atol=1e-4)


def test_a_processor_that_makes_room_for_one_image_is_refused_two(llava: Mllm, six: StimulusSet) -> None:
    class OneRoom(type(llava.processor)):  # type: ignore[misc]
        """Processes all images, but writes the placeholders of one, as BLIP-2's does."""

        def __call__(self, images: Any = None, text: Any = None, **options: Any) -> Any:
            found = super().__call__(
                images=[row[0] for row in images], text=[t.replace("<image>\n<image>", "<image>") for t in text], **options
            )
            pixels = self.image_processor([image for row in images for image in row], return_tensors="pt")
            return {**found, **pixels}

    processor = copy.copy(llava.processor)
    processor.__class__ = OneRoom
    pair = (six[0].image, six[1].image)
    for _ in range(2):
        with pytest.raises(InputError, match="The model takes one image per question, got 2. Show one at a time"):
            build(llava.model, processor, llava.stages, [pair, pair], ["Which?", "What?"])
