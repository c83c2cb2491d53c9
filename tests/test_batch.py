"""Inputs: prompts are exact prefixes, answers are labelled, pixels are untouched."""

from unittest.mock import Mock

import numpy as np
import pytest
import torch

from hooks.batch import build_each
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
