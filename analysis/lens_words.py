"""What a lens reads: the token by which each answer begins, and the states that are read, at the image's tokens and at the last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os.path import commonprefix
from pathlib import Path

import numpy as np
import torch

from analysis.choice import Choice, choice
from hooks.batch import Batch, build_each, continuation, run
from hooks.capture import Stop, capture
from hooks.head import Head
from hooks.load import Mllm
from hooks.prompt import render
from hooks.tokens import SEQUENCES
from stimuli.errors import InputError
from stimuli.tables import Table


@dataclass(frozen=True)
class Words:
    """One token per class: the first that tells its wording from the others', and what stands in front of it."""

    asked: Choice
    prefix: tuple[int, ...]
    """Tokens with which all wordings begin (a space of its own, in some tokenizers): they stand behind the prompt, so that the last
    position is the one from which the words part."""
    tokens: tuple[int, ...]
    """Of each class, behind the prefix."""
    lengths: tuple[int, ...]
    """Tokens of each whole wording."""

    @property
    def classes(self) -> tuple[str, ...]:
        """In the taxonomy's order."""
        return self.asked.classes

    @property
    def shared(self) -> dict[str, tuple[str, ...]]:
        """Classes whose token is that of other classes too, and which: a lens cannot tell these apart, and gives them the same rank."""
        same = {
            label: tuple(other for other, t in zip(self.classes, self.tokens, strict=True) if t == own and other != label)
            for label, own in zip(self.classes, self.tokens, strict=True)
        }
        return {label: others for label, others in same.items() if others}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the results must know of the words."""
        found = []
        if self.prefix:
            found.append(f"All wordings begin with the same {len(self.prefix)} tokens, which stand behind the prompt.")
        if self.shared:
            names = ", ".join(self.shared)
            found.append(
                f"First tokens do not tell all classes apart ({names}): those that share one have the mean of its ranks."
            )
        if long := [label for label, n in zip(self.classes, self.lengths, strict=True) if n > len(self.prefix) + 1]:
            found.append(f"Only the first token of these wordings that parts is read: {', '.join(long)}.")
        return tuple(found)

    def table(self, tokenizer: object) -> Table:
        """A row per class: ``class``, ``wording``, ``token`` (id), ``text`` (of the token), ``tokens`` (of the whole wording), ``shared``."""
        return [
            {"class": label, "wording": wording, "token": token, "text": tokenizer.decode([token]), "tokens": length,  # type: ignore[attr-defined]
             "shared": ", ".join(self.shared.get(label, ()))}
            for label, wording, token, length in zip(self.classes, self.asked.wordings, self.tokens, self.lengths, strict=True)
        ]  # fmt: skip


def words(mllm: Mllm, taxonomy: str | Path) -> Words:
    """The token of each class of a taxonomy as it stands behind the question.

    Raises:
        InputError: a wording is the beginning of another's, token by token, or all classes have the same token.
    """
    asked = choice(taxonomy)
    end = render(mllm.processor, asked.question.prompt)
    ids = [continuation(mllm.processor.tokenizer, end, wording) for wording in asked.wordings]
    prefix = tuple(commonprefix(ids))
    short = [label for label, own in zip(asked.classes, ids, strict=True) if len(own) == len(prefix)]
    if short or len({own[len(prefix)] for own in ids}) < 2:
        raise InputError(
            f"The wordings {', '.join(asked.wordings)} cannot be told apart by one token: "
            f"{f'that of {short[0]!r} begins all the others' if short else 'all have the same'}. Expected two classes or more that part. "
            "Change a wording in the taxonomy."
        )
    return Words(asked, prefix, tuple(own[len(prefix)] for own in ids), tuple(len(own) for own in ids))


# ---- states ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class States:
    """The states of some stimuli at one site, in the model's precision, on its device."""

    image: list[torch.Tensor] | None
    """Per stimulus (image tokens, d); None where the site has none."""
    last: torch.Tensor | None
    """(n, d), at the position from which the answer's word is said; None of a site in front of the language model."""


def readable(mllm: Mllm, own: Head, sites: str | Sequence[str] | None, projector: bool = True) -> tuple[str, ...]:
    """The sites that a lens reads, in order: by default the projector, what enters the first block, and every block.

    Of an encoder-decoder the decoder's alone: the encoder's states never enter the head's own stream.

    Raises:
        InputError: a site whose states are not of the language model's residual stream.
    """
    stages = mllm.stages
    kind = stages.layouts[own.last]
    stream = [s for s in stages.sites if s.startswith("llm") and stages.layouts[s] == kind and _plain(s)]
    encoded = kind == "decoder"
    front = [] if encoded or not projector or "projector" not in stages.sites else ["projector"]
    allowed = [*front, *stream]
    if sites is None:
        return tuple(allowed)
    if wrong := [site for site in stages.check(sites) if site not in allowed]:
        raise InputError(
            f"A lens cannot read the site '{wrong[0]}': its states are not those that the head of {type(mllm.model).__name__} is made for. "
            f"Expected some of {', '.join(allowed)}. Use these, or a probe."
        )
    return stages.check(sites)


def _plain(site: str) -> bool:
    """Whether it is a whole block of the main stack, or what enters it."""
    return site.rpartition(".")[2] not in ("attention", "mlp") and site.count(".") == 1


def prompted(mllm: Mllm, own: Words, images: Sequence[np.ndarray]) -> Batch:
    """Inputs, on the model's device, that end where the word of the answer is to be said."""
    said = [own.prefix] * len(images) if own.prefix else None
    prompts = [own.asked.question.prompt] * len(images)
    return next(
        build_each(mllm.model, mllm.processor, mllm.stages, list(images), prompts, [said], eos=False, device=mllm.device)
    )


def states(mllm: Mllm, batch: Batch, own: Words, sites: Sequence[str], shows: bool = True) -> Iterator[tuple[str, States]]:
    """The states of a batch, site by site, from one forward pass.

    Args:
        mllm: the model.
        batch: of ``prompted``.
        own: the words that are read.
        sites: of ``readable``.
        shows: whether the language model's sequence holds the image (``image_positions``).

    Raises:
        InputError: the features of the projector are no states of the language model.
    """
    with torch.no_grad(), capture(mllm, sites, stop=True) as seen:
        try:
            run(mllm.model, batch.tensors, keep=1)
        except Stop:
            pass  # the last wanted site has fired
        for site in sites:
            kind, fired = mllm.stages.layouts[site], seen.all(site) or (seen[site],)
            rows = batch.layout.rows(site, fired) if shows and kind != "decoder" else None
            yield site, States(rows, _last(batch, site, fired[-1], own) if kind in SEQUENCES else None)


def _last(batch: Batch, site: str, value: torch.Tensor, own: Words) -> torch.Tensor:
    layout = batch.layout
    rows = torch.arange(layout.n)
    if layout.layouts[site] == "decoder":
        return value[:, len(own.prefix)]
    there = ~layout.padding
    at = there.shape[1] - 1 - there.flip(1).int().argmax(1)
    return value[rows, (at + value.shape[1] - there.shape[1]).to(value.device)]


def image_positions(mllm: Mllm, own: Words, sites: Sequence[str], size: tuple[int, int]) -> bool:
    """Whether the language model's sequence holds the image: its rows there differ between two images.

    Where it does not, the image is read by cross-attention alone, and its placeholder stands for nothing that a lens could read.

    Args:
        mllm: the model.
        own: the words that are read.
        sites: of ``readable``.
        size: of the images, height and width in pixels.
    """
    stream = [site for site in sites if site.startswith("llm")] or ["llm.embed"]
    if mllm.stages.layouts[stream[0]] == "decoder":
        return False
    entry = "llm.embed" if "llm.embed" in mllm.stages.sites else stream[0]
    pair = np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    (_, found), *_ = states(mllm, prompted(mllm, own, list(pair)), own, [entry])
    one, other = found.image or [torch.zeros(0)] * 2
    return one.shape != other.shape or (one.numel() > 0 and not torch.equal(one, other))
