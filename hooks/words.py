"""Words in the language model's input space."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hooks.batch import continuation
from hooks.load import Mllm


def word_embeddings(mllm: Mllm, wordings: Sequence[str]) -> torch.Tensor:
    """Mean input embedding of the tokens of each wording, float32 (k, d): the words as they stand in an answer, no BOS."""
    table = mllm.model.get_input_embeddings().weight.detach()
    ids = [continuation(mllm.processor.tokenizer, "", word) for word in wordings]
    return torch.stack([table[torch.tensor(row, device=table.device)].float().mean(0) for row in ids])
