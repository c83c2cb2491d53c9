"""The forced choice as a measure is what the protocol gives, and has gradients."""

import numpy as np
import pytest
import torch

from analysis.choice import choice, images_of
from analysis.perception import ask
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.types import StimulusSet


@pytest.mark.parametrize("name", ["llava", "qwen"])
def test_it_gives_the_probabilities_of_the_protocol(name: str, six: StimulusSet, request: pytest.FixtureRequest) -> None:
    mllm: Mllm = request.getfixturevalue(name)
    asked = choice()
    found = asked.probabilities(mllm, asked.prepared(mllm, images_of(list(six))))
    told = ask(mllm, six, progress=False, n_boot=10)
    assert asked.classes == told.classes and found.shape == (6, len(asked.classes))
    assert np.allclose([[row[f"p_{c}"] for c in told.classes] for row in told.table], found, atol=1e-6)


@pytest.mark.parametrize("name", ["llava", "qwen"])
def test_the_likelihood_of_one_answer_is_its_score_and_has_gradients(
    name: str, six: StimulusSet, request: pytest.FixtureRequest
) -> None:
    mllm: Mllm = request.getfixturevalue(name)
    asked, images = choice(), images_of(list(six)[:3])
    scores = asked.scores(mllm, asked.prepared(mllm, images))
    for label in asked.classes:
        batch = asked.said(mllm, images, label)
        with torch.no_grad():
            assert np.allclose(asked.likelihood(mllm, batch), scores[:, asked.place(label)], atol=1e-5)
    pixels = batch.tensors["pixel_values"].requires_grad_(True)
    (found,) = torch.autograd.grad(asked.likelihood(mllm, batch).sum(), pixels)
    assert bool(found.any())


def test_what_cannot_be_asked_is_refused(llava: Mllm, six: StimulusSet) -> None:
    asked = choice(prompt="Which?")
    assert asked.question.prompt == "Which?"
    with pytest.raises(InputError, match="class 'fog'.*expected one of.*blur"):
        asked.place("fog")
    with pytest.raises(InputError, match=r"without answers.*Choice\.said"):
        asked.likelihood(llava, llava.inputs(images_of(list(six)[:1]), ["Which?"]))
