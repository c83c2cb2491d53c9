"""Words as they are read, said and held: tokens, layers and positions."""

import pytest
import torch

from hooks.load import Mllm
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
    monkeypatch.setattr(type(llava.model), "get_output_embeddings", lambda self: None)
    with pytest.raises(InputError, match="has no output head"):
        word_rows(llava, WORDS, ["llm.0"], "unembedding")
