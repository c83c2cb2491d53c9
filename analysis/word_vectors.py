"""The vectors that stand for a class's words at each site, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hooks.load import Mllm
from hooks.words import word_rows
from stimuli.taxonomy import Taxonomy

MEANINGS: Mapping[str, str] = {
    "input": "Words are means over their tokens of what the input embedding gives: what the language model reads where the word stands "
    "in a text. Its own space at the projector and at llm.embed; deeper, states need not live in it.",
    "contextual": "Words are means over their tokens of hidden states in a neutral sentence without an image, at the same site: what "
    "the language model has made of the word at that depth. At the projector and at llm.embed, no context has come in yet.",
    "unembedding": "Words are means over their tokens of rows of the output head: the directions that raise the word's logit. Meant "
    "for the last layer (up to its final norm); at the projector, a distance to it says nothing of what is read.",
}
"""What each kind of words means at which site."""


@dataclass(frozen=True)
class WordSet:
    """The tokens that name one class at a site."""

    rows: np.ndarray
    """(tokens, d)."""
    weights: np.ndarray
    """(tokens,), summing to 1: every wording has the same mass, shared evenly by its tokens."""


def word_vectors(mllm: Mllm, wordings: Sequence[str], sites: Sequence[str], kind: str = "input") -> dict[str, np.ndarray]:
    """One vector per wording and site, float64 (k, d): the mean over its tokens, whatever the kind.

    The last token's contextual state alone has seen the whole word too, but of a phrase (``white noise``) it is that of one word, and it
    would not be the middle of the tokens which ``word_sets`` gives.

    Args:
        mllm: the model.
        wordings: one per class, in order.
        sites: which.
        kind: see ``hooks.words.word_rows`` and ``MEANINGS``.

    Raises:
        InputError: see ``hooks.words.word_rows``.
    """
    found = word_rows(mllm, wordings, sites, kind)
    return {site: np.stack([own.double().mean(0).numpy() for own in rows]) for site, rows in found.items()}


def word_sets(
    mllm: Mllm, taxonomy: Taxonomy, sites: Sequence[str], kind: str = "input", *, synonyms: bool = False
) -> dict[str, list[WordSet]]:
    """The tokens of each class's wording, or of all its wordings, by site.

    Args:
        mllm: the model.
        taxonomy: for the classes, their wordings and synonyms.
        sites: which.
        kind: see ``hooks.words.word_rows``.
        synonyms: take the further wordings by which open answers may name a class as well.

    Raises:
        InputError: see ``hooks.words.word_rows``.
    """
    said = [
        list(dict.fromkeys([taxonomy.wordings[label], *(taxonomy.synonyms.get(label, ()) if synonyms else ())]))
        for label in taxonomy.classes
    ]
    found = word_rows(mllm, [word for own in said for word in own], sites, kind)
    return {site: _grouped([row.double().numpy() for row in rows], said) for site, rows in found.items()}


def _grouped(rows: Sequence[np.ndarray], said: Sequence[Sequence[str]]) -> list[WordSet]:
    sets, start = [], 0
    for own in said:
        part = rows[start : start + len(own)]
        weights = np.concatenate([np.full(len(row), 1 / (len(own) * len(row))) for row in part])
        sets.append(WordSet(np.concatenate(part), weights))
        start += len(own)
    return sets
