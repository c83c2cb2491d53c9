"""Word embeddings are those of the answer's tokens."""

import torch

from hooks.load import Mllm
from hooks.words import word_embeddings


def test_a_word_of_several_tokens_is_their_mean(llava: Mllm) -> None:
    table = llava.model.get_input_embeddings().weight
    found = word_embeddings(llava, ["blur", "xylophone"])
    ids = [llava.processor.tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in ("blur", "xylophone")]
    assert len(ids[0]) == 1 and len(ids[1]) > 1
    assert torch.equal(found[0], table[ids[0][0]]) and torch.allclose(found[1], table[torch.tensor(ids[1])].mean(0))
    assert not found.requires_grad and found.dtype == torch.float32
