"""Words in the language model: as it reads them, as it says them, and as it holds them at a layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hooks.batch import continuation, run
from hooks.capture import Stop, capture
from hooks.load import Mllm
from stimuli.errors import InputError

KINDS = ("input", "contextual", "unembedding")
REQUEST, CARRIER = "Say one word.", "The word is"
"""The neutral sentence in which a word stands for its contextual states: the request, and how the answer to it begins."""
BLANK = 224
"""The side of the black image with which a language model's multiplier is measured."""


def word_embeddings(mllm: Mllm, wordings: Sequence[str]) -> torch.Tensor:
    """Mean input embedding of the tokens of each wording, float32 (k, d): the words as they stand in an answer, no BOS.

    They are in the space of the projector's output, as what the embedding gives stands beside it in the language model's input.
    """
    return torch.stack([rows.mean(0) for rows in _read(mllm, _ids(mllm, wordings))])


def word_rows(mllm: Mllm, wordings: Sequence[str], sites: Sequence[str], kind: str = "input") -> dict[str, list[torch.Tensor]]:
    """The vectors of every token of each wording, by site.

    Args:
        mllm: the model.
        wordings: words, or several words each.
        sites: ``projector`` or those of the language model.
        kind: ``input``, what the input embedding gives, the same at every site but for a language model's multiplier of all that
            enters it (Granite), which its own sites have and the projector has not; ``unembedding``, rows of the output head, the same
            at every site; ``contextual``, hidden states of the word in a neutral sentence without an image, at the same site. No text
            passes the projector: there, words are what the input embedding gives.

    Returns:
        Site → float32 (tokens, d) per wording, on the CPU.

    Raises:
        InputError: unknown kind, no output head, or hidden states that cannot be read without an image.
    """
    if kind not in KINDS:
        raise InputError(f"Unknown kind of words '{kind}'. Expected one of {', '.join(KINDS)}. Use one of these.")
    within = [site for site in sites if site.startswith("llm")]
    if kind == "unembedding":
        return dict.fromkeys(sites, _said(mllm, wordings))
    read = [rows.cpu() for rows in _read(mllm, _ids(mllm, wordings))]
    found = dict.fromkeys(sites, read)
    if within and kind == "contextual":
        return found | _contextual(mllm, wordings, within)
    factor = _multiplier(mllm) if within else 1.0
    return found if factor == 1 else found | dict.fromkeys(within, [factor * rows for rows in read])


def _ids(mllm: Mllm, wordings: Sequence[str]) -> list[list[int]]:
    return [continuation(mllm.processor.tokenizer, "", word) for word in wordings]


def _read(mllm: Mllm, ids: Sequence[list[int]]) -> list[torch.Tensor]:
    """What the input embedding gives for every token of each list, float32 (tokens, d), on its device.

    It is called rather than looked up in: some scale their rows (Gemma's by √d), or have an adapter around them.
    """
    layer = mllm.model.get_input_embeddings()
    device = next(layer.parameters()).device
    with torch.no_grad():  # not in inference mode: a loss may be taken to them
        return [layer(torch.tensor([own], device=device))[0].detach().float() for own in ids]


def _multiplier(mllm: Mllm) -> float:
    """By how much a language model multiplies all that enters it, words and image tokens alike; 1 where it does something else.

    Measured on an answer behind a black image, as what enters the first layer over what the input embedding gives.
    """
    if "llm.embed" not in mllm.stages.sites:  # a map by hand
        return 1.0
    batch = mllm.inputs([np.zeros((BLANK, BLANK, 3), np.uint8)], [REQUEST], [CARRIER], eos=False)
    with torch.no_grad(), capture(mllm, ["llm.embed"], stop=True) as seen:
        try:
            run(mllm.model, batch.tensors, keep=1)
        except Stop:
            pass
    state, spoken = seen["llm.embed"], batch.layout.answer[0]
    if batch.layout.encoder_decoder or state.shape[:2] != (1, len(spoken)):
        return 1.0
    held = state[0][spoken.to(state.device)].float().cpu()
    read = _read(mllm, [batch.tensors["input_ids"][0][spoken].tolist()])[0].cpu()
    factor = float((held * read).sum() / (read * read).sum())
    return factor if float((held - factor * read).norm()) < 0.02 * float(held.norm()) else 1.0


def _said(mllm: Mllm, wordings: Sequence[str]) -> list[torch.Tensor]:
    """The rows of the output head of every token of each wording."""
    table = getattr(mllm.model.get_output_embeddings(), "weight", None)
    if table is None:
        raise InputError(
            f"{type(mllm.model).__name__} has no output head whose rows stand for words. Expected one. Use words of the kind "
            "'input' or 'contextual'."
        )
    return [table.detach()[torch.tensor(own, device=table.device)].float().cpu() for own in _ids(mllm, wordings)]


def _contextual(mllm: Mllm, wordings: Sequence[str], sites: Sequence[str]) -> dict[str, list[torch.Tensor]]:
    """Hidden states at the word's own positions, at sites of the language model; words one by one, so that none is padded."""
    found: dict[str, list[torch.Tensor]] = {site: [] for site in sites}
    for word in wordings:
        batch = mllm.inputs(None, [REQUEST], [word], eos=False, prefix=CARRIER)
        with torch.inference_mode(), capture(mllm, sites) as seen:
            try:
                run(mllm.model, batch.tensors, keep=1)
            except (TypeError, ValueError) as error:
                raise InputError(
                    f"{type(mllm.model).__name__} does not read text without an image, as contextual words are ({error}). Use words of "
                    "the kind 'input' or 'unembedding'."
                ) from error
        spoken = batch.layout.answer[0]
        for site in sites:
            state = seen[site]
            if state.ndim != 3 or state.shape[1] != len(spoken):
                raise InputError(
                    f"The site '{site}' of {type(mllm.model).__name__} gave a tensor of shape {tuple(state.shape)} for {len(spoken)} "
                    "tokens of text without an image. Expected one state per token. Use words of the kind 'input' or 'unembedding'."
                )
            found[site].append(state[0][spoken.to(state.device)].float().cpu())
    return found
