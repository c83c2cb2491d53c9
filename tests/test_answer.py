"""Greedy text and likelihoods of answers."""

import numpy as np
import pytest
import torch

from hooks.answer import generate, option_loglik
from hooks.load import Mllm
from stimuli.types import StimulusSet


@pytest.mark.parametrize("family", ["llava", "qwen"])
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
