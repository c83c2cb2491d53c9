"""Words in the language model: as it reads them, as it says them, and as it holds them at a layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hooks.batch import continuation, run
from hooks.capture import capture
from hooks.load import Mllm
from stimuli.errors import InputError

KINDS = ("input", "contextual", "unembedding")
REQUEST, CARRIER = "Say one word.", "The word is"
"""The neutral sentence in which a word stands for its contextual states: the request, and how the answer to it begins."""


def word_embeddings(mllm: Mllm, wordings: Sequence[str]) -> torch.Tensor:
    """Mean input embedding of the tokens of each wording, float32 (k, d): the words as they stand in an answer, no BOS."""
    table = mllm.model.get_input_embeddings().weight.detach()
    ids = [continuation(mllm.processor.tokenizer, "", word) for word in wordings]
    return torch.stack([table[torch.tensor(row, device=table.device)].float().mean(0) for row in ids])


def word_rows(mllm: Mllm, wordings: Sequence[str], sites: Sequence[str], kind: str = "input") -> dict[str, list[torch.Tensor]]:
    """The vectors of every token of each wording, by site.

    Args:
        mllm: the model.
        wordings: words, or several words each.
        sites: ``projector`` or those of the language model.
        kind: ``input``, rows of the input embedding, the same at every site; ``unembedding``, rows of the output head, the same at
            every site; ``contextual``, hidden states of the word in a neutral sentence without an image, at the same site. No
            text passes the projector: there, the contextual state is what enters the first layer, as at ``llm.embed``.

    Returns:
        Site → float32 (tokens, d) per wording, on the CPU.

    Raises:
        InputError: unknown kind, no output head, or hidden states that cannot be read without an image.
    """
    if kind not in KINDS:
        raise InputError(f"Unknown kind of words '{kind}'. Expected one of {', '.join(KINDS)}. Use one of these.")
    if kind == "contextual":
        return _contextual(mllm, wordings, sites)
    head = mllm.model.get_input_embeddings() if kind == "input" else mllm.model.get_output_embeddings()
    table = getattr(head, "weight", None)
    if table is None:
        raise InputError(
            f"{type(mllm.model).__name__} has no output head whose rows stand for words. Expected one. Use words of the kind "
            "'input' or 'contextual'."
        )
    ids = [continuation(mllm.processor.tokenizer, "", word) for word in wordings]
    rows = [table.detach()[torch.tensor(own, device=table.device)].float().cpu() for own in ids]
    return dict.fromkeys(sites, rows)


def _contextual(mllm: Mllm, wordings: Sequence[str], sites: Sequence[str]) -> dict[str, list[torch.Tensor]]:
    """Hidden states at the word's own positions; words one by one, so that none is padded."""
    known = mllm.stages.sites
    where = {site: "llm.embed" if site == "projector" or not site.startswith("llm") else site for site in sites}
    wanted = [site for site in known if site in set(where.values())]
    found: dict[str, list[torch.Tensor]] = {site: [] for site in sites}
    for word in wordings:
        batch = mllm.inputs(None, [REQUEST], [word], eos=False, prefix=CARRIER)
        with torch.inference_mode(), capture(mllm, wanted) as seen:
            run(mllm.model, batch.tensors, keep=1)
        spoken = batch.layout.answer[0]
        for site, own in where.items():
            state = seen[own]
            if state.ndim != 3 or state.shape[1] != len(spoken):
                raise InputError(
                    f"The site '{own}' of {type(mllm.model).__name__} gave a tensor of shape {tuple(state.shape)} for {len(spoken)} "
                    "tokens of text without an image. Expected one state per token. Use words of the kind 'input' or 'unembedding'."
                )
            found[site].append(state[0][spoken.to(state.device)].float().cpu())
    return found
