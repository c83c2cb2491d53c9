"""Words as they are read, said and held: tokens, layers and positions."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from benchmarks import checkpoints
from hooks.capture import capture
from hooks.load import Mllm, load
from hooks.words import CARRIER, REQUEST, word_embeddings, word_rows
from stimuli.errors import InputError

WORDS = ["blur", "xylophone"]


def ids_of(mllm: Mllm) -> list[list[int]]:
    return [mllm.processor.tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in WORDS]


def test_a_word_of_several_tokens_is_their_mean(llava: Mllm) -> None:
    table = llava.model.get_input_embeddings().weight
    found = word_embeddings(llava, WORDS)
    ids = ids_of(llava)
    assert len(ids[0]) == 1 and len(ids[1]) > 1
    assert torch.equal(found[0], table[ids[0][0]]) and torch.allclose(found[1], table[torch.tensor(ids[1])].mean(0))
    assert not found.requires_grad and found.dtype == torch.float32


def test_rows_of_the_input_and_of_the_output_head_are_those_of_the_tables(llava: Mllm) -> None:
    for kind, layer in (("input", llava.model.get_input_embeddings()), ("unembedding", llava.model.get_output_embeddings())):
        rows = word_rows(llava, WORDS, ["projector", "llm.2"], kind)["llm.2"]
        assert all(torch.equal(row, layer.weight[torch.tensor(own)]) for row, own in zip(rows, ids_of(llava), strict=True))


def check_input_words_are_what_enters(mllm: Mllm, times: float) -> None:
    """They are the states that enter the first layer; and image tokens are the projector's output, ``times`` so large."""
    read, held = (word_rows(mllm, WORDS, ["projector", "llm.embed"], kind) for kind in ("input", "contextual"))
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(read["llm.embed"], held["llm.embed"], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(read["projector"], held["projector"], strict=True))
    assert all(
        torch.allclose(times * a, b, rtol=1e-4, atol=1e-5) for a, b in zip(read["projector"], read["llm.embed"], strict=True)
    )
    assert torch.allclose(word_embeddings(mllm, WORDS), torch.stack([own.mean(0) for own in read["projector"]]))
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    batch = mllm.inputs([image], [REQUEST])
    with torch.no_grad(), capture(mllm, ["projector", "llm.embed"]) as seen:
        mllm.model(**batch.tensors)
    entered = seen["llm.embed"][batch.layout.image]
    assert torch.allclose(entered, times * seen["projector"].reshape(entered.shape), rtol=1e-4, atol=1e-5)


def test_input_words_are_what_enters_the_language_model(llava: Mllm) -> None:
    check_input_words_are_what_enters(llava, 1)


def test_an_embedding_that_scales_its_rows_is_called(tmp_path: Path) -> None:
    checkpoints.save("paligemma", tmp_path)
    mllm = load(tmp_path, device="cpu")
    check_input_words_are_what_enters(mllm, 1)
    layer = mllm.model.get_input_embeddings()
    rows = layer.weight[torch.tensor(ids_of(mllm)[0])]
    assert torch.allclose(word_embeddings(mllm, WORDS)[0], layer.embedding_dim**0.5 * rows.mean(0), rtol=1e-4)


def test_a_language_model_that_multiplies_all_that_enters_it_has_its_words_multiplied(llava: Mllm) -> None:
    def times_12(module: Any, inputs: Any, keywords: dict[str, Any]) -> Any:
        return inputs, {**keywords, "inputs_embeds": 12 * keywords["inputs_embeds"]}

    def another(module: Any, inputs: Any, keywords: dict[str, Any]) -> Any:
        return inputs, {**keywords, "inputs_embeds": keywords["inputs_embeds"].cumsum(1)}

    handle = llava.model.get_decoder().register_forward_pre_hook(times_12, with_kwargs=True)
    try:
        check_input_words_are_what_enters(llava, 12)
    finally:
        handle.remove()
    handle = llava.model.get_decoder().register_forward_pre_hook(another, with_kwargs=True)
    try:
        read = word_rows(llava, WORDS, ["projector", "llm.embed"], "input")
        assert all(torch.equal(a, b) for a, b in zip(read["projector"], read["llm.embed"], strict=True)), "no multiple"
    finally:
        handle.remove()


def test_a_loss_may_be_taken_to_words(llava: Mllm) -> None:
    image = torch.ones(1, llava.model.get_input_embeddings().embedding_dim, requires_grad=True)
    torch.nn.functional.cosine_similarity(image, word_embeddings(llava, WORDS)).sum().backward()
    assert image.grad is not None and bool(image.grad.any())


def test_contextual_words_are_the_states_of_the_words_own_positions(llava: Mllm, qwen: Mllm) -> None:
    for mllm in (llava, qwen):
        last = [site for site in mllm.stages.sites if site.startswith("llm")][-1]
        found = word_rows(mllm, WORDS, ["projector", "llm.embed", "llm.0", last], "contextual")
        batch = mllm.inputs(None, [REQUEST], [WORDS[1]], eos=False, prefix=CARRIER)
        with torch.inference_mode():
            states = mllm.model(**batch.tensors, output_hidden_states=True).hidden_states
        count = len(ids_of(mllm)[1])
        assert len(found["llm.0"][1]) == count
        assert torch.allclose(found["llm.0"][1], states[1][0, -count:], atol=1e-5)
        embedded = mllm.model.get_input_embeddings().weight[torch.tensor(ids_of(mllm)[1])]
        assert torch.allclose(found["llm.embed"][1], embedded, atol=1e-6)
        assert torch.equal(found["projector"][1], found["llm.embed"][1])
        assert not torch.allclose(found[last][0], found["llm.0"][0][: len(found[last][0])])


def test_refusals(llava: Mllm, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="Expected one of input, contextual, unembedding"):
        word_rows(llava, WORDS, ["llm.0"], "output")
    with (
        monkeypatch.context() as patched,
        pytest.raises(InputError, match="does not read text without an image.*no pixels.*Use words of"),
    ):
        patched.setattr(llava.model, "forward", Mock(side_effect=ValueError("no pixels")))
        word_rows(llava, WORDS, ["llm.0"], "contextual")
    monkeypatch.setattr(type(llava.model), "get_output_embeddings", lambda self: None)
    with pytest.raises(InputError, match="has no output head"):
        word_rows(llava, WORDS, ["llm.0"], "unembedding")
