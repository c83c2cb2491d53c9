"""Which rows belong to which stimulus: image, prompt, padding and answer positions, batched or packed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch

from hooks.patches import Patches
from stimuli.errors import InputError

SEQUENCES = ("sequence", "prefixed", "decoder")
"""(n, positions, d) with placeholders; with the image's tokens in front of the text's; the decoder of an encoder-decoder."""


@dataclass(frozen=True)
class TokenLayout:
    """The bookkeeping of one batch of ``n`` stimuli.

    Nothing here guesses an axis: every count is checked against the placeholders and the processor's own tensors.
    """

    image: torch.Tensor
    """bool (n, positions): where an image token stands in the language model's sequence."""
    padding: torch.Tensor
    """bool (n, positions)."""
    answer: torch.Tensor
    """bool (n, positions): the tokens of a given answer; of an encoder-decoder (n, decoder positions)."""
    layouts: Mapping[str, str]
    """Site to layout (``Stages.layouts``)."""
    patches: Patches = field(default_factory=lambda: Patches(()))
    """The vision side."""
    encoder_decoder: bool = False
    live: Mapping[str, int] = field(default_factory=dict)
    """Parts of a projector that also carry text (a Q-Former's) to how many leading rows are the image's."""

    @property
    def n(self) -> int:
        """How many stimuli."""
        return len(self.image)

    @property
    def image_tokens(self) -> tuple[int, ...]:
        """Image tokens per stimulus."""
        return tuple(self.image.sum(1).tolist())

    @property
    def last_prompt(self) -> torch.Tensor:
        """int64 (n,): the last position before the answer; its output predicts the answer's first token."""
        if self.encoder_decoder:
            return torch.zeros(self.n, dtype=torch.long)
        prompt = ~self.padding & ~self.answer
        return prompt.shape[1] - 1 - prompt.flip(1).int().argmax(1)

    def kind(self, site: str, firings: Sequence[torch.Tensor], width: int | None = None) -> str | None:
        """How a site is laid out, told from what it gave for this batch; None if nothing fits."""
        if not site.startswith("llm"):
            return self.patches.kind(firings, width)
        n, positions = self.image.shape
        value = firings[-1]
        if value.ndim < 3 or len(value) != n:
            return None
        if self.encoder_decoder and value.shape[1] == self.answer.shape[1] and not self._in_encoder(site):
            return "decoder"
        return "sequence" if value.shape[1] == positions else "prefixed" if value.shape[1] > positions else None

    def _in_encoder(self, site: str) -> bool:
        return site.startswith("llm.encoder") or (site == "llm.embed" and "llm.encoder.0" in self.layouts)

    def rows(self, site: str, value: torch.Tensor | Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The image's rows of each stimulus at a site: ``n`` tensors (tokens, d), CLS left out.

        A decoder of an encoder-decoder has no image positions; its rows are those before the answer. Where no position is the
        image's, because it is read by cross-attention alone, the rows are the prompt's.

        Args:
            site: a site.
            value: what the site gave for this batch: a tensor, or every firing in order.

        Raises:
            InputError: the rows do not match the placeholders in the prompts.
        """
        kind, firings = self.layouts[site], [value] if isinstance(value, torch.Tensor) else list(value)
        if kind not in SEQUENCES:
            found = self.patches.split(kind, firings, tower=site.startswith("vision"))
            return [row[: self.live.get(site)] for row in found] if found is not None else self._refuse(site, firings)
        last = firings[-1]
        if self.kind(site, firings) != kind:
            self._refuse(site, firings)
        if kind == "sequence":
            shown = self._indices(last.device)
            return [last[i, at].flatten(1) for i, at in enumerate(shown)]
        front = 1 if kind == "decoder" else last.shape[1] - self.image.shape[1]
        return [last[i, :front].flatten(1) for i in range(self.n)]

    def block(self, site: str, value: torch.Tensor | Sequence[torch.Tensor]) -> torch.Tensor | None:
        """The same rows as one view (n, tokens, d), where every stimulus has as many in the same place; else None.

        A view costs nothing and needs one operation per batch instead of one per stimulus.
        """
        firings = [value] if isinstance(value, torch.Tensor) else list(value)
        kind, last = self.layouts[site], firings[-1]
        if kind == "image" and len(firings) == 1 and last.ndim == 3 and site not in self.live and self.patches.plain:
            skip = self.patches.cls if site.startswith("vision") else 0
            return last[:, skip:] if self.patches.kind(firings) == "image" else None
        span = self._shown[0]
        if kind == "sequence" and isinstance(span, slice) and all(one == span for one in self._shown) and last.ndim == 3:
            return last[:, span] if self.kind(site, firings) == kind else None
        return None

    @cached_property
    def _shown(self) -> list[slice | tuple[int, ...]]:
        """Each stimulus's image positions in a sequence, the prompt's where there are none; known without asking the device."""
        prompt = ~self.padding if self.encoder_decoder else ~self.padding & ~self.answer
        shown = self.image if bool(self.image.any()) else prompt
        found: list[slice | tuple[int, ...]] = []
        for row in shown.cpu():
            at = row.nonzero()[:, 0].tolist()
            dense = bool(at) and at[-1] - at[0] == len(at) - 1
            found.append(slice(at[0], at[-1] + 1) if dense else tuple(at))
        return found

    def _indices(self, device: torch.device) -> list[slice | torch.Tensor]:
        """The same for use on a device: positions that stand together need no index, others are sent there once."""
        if device not in self._sent:
            self._sent[device] = [at if isinstance(at, slice) else torch.tensor(at, device=device) for at in self._shown]
        return self._sent[device]

    @cached_property
    def _sent(self) -> dict[torch.device, list[slice | torch.Tensor]]:
        return {}

    def cls_row(self, site: str, value: torch.Tensor) -> torch.Tensor:
        """The CLS token of each stimulus, (n, d).

        Raises:
            InputError: this tower has none, or the site lies behind it.
        """
        if not (self.patches.cls and site.startswith("vision") and self.layouts[site] == "image" and len(value) == self.n):
            raise InputError(f"The site '{site}' has no CLS token. Use pool='mean' instead.")
        return value[:, 0]

    def last(self, site: str, value: torch.Tensor) -> torch.Tensor:
        """The last prompt position of each stimulus, (n, d); only for sites of the language model.

        Raises:
            InputError: the site is not one of the language model.
        """
        kind = self.layouts[site]
        if kind not in SEQUENCES:
            raise InputError(f"pool='last' reads the last prompt position, which '{site}' has not: give llm sites only.")
        at = self.last_prompt
        if kind == "prefixed":
            at = at + value.shape[1] - self.image.shape[1]
        elif self.encoder_decoder and kind == "sequence":
            at = self.padding.shape[1] - 1 - (~self.padding).flip(1).int().argmax(1)
        return value[torch.arange(self.n), at.to(value.device)].flatten(1)

    def _refuse(self, site: str, firings: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        shapes = " and ".join(dict.fromkeys(str(tuple(value.shape)) for value in firings))
        raise InputError(
            f"The site '{site}' gave rows of shape {shapes}, which does not fit a batch of {self.n} stimuli with "
            f"{list(self.image_tokens)} image placeholders. Run `snellen stages` on the model; if its layout is listed "
            "wrongly, pass a corrected map as stages=."
        )
