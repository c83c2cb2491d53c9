"""Which rows belong to which stimulus: image, prompt, padding and answer positions, batched or packed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from stimuli.errors import InputError


@dataclass(frozen=True)
class TokenLayout:
    """The bookkeeping of one batch of ``n`` stimuli.

    Vision towers of the Qwen kind return packed rows without a batch axis; others (n, tokens, d), some with a CLS token in
    front that the projector drops. Nothing here guesses an axis: every count is checked against the placeholders.
    """

    image: torch.Tensor
    """bool (n, positions): where an image token stands in the language model's sequence."""
    padding: torch.Tensor
    """bool (n, positions)."""
    answer: torch.Tensor
    """bool (n, positions): the tokens of a given answer."""
    layouts: Mapping[str, str]
    """Site to ``image``, ``packed`` or ``sequence`` (``Stages.layouts``)."""
    vision_rows: tuple[int, ...]
    """Vision-tower rows per stimulus for packed towers; empty otherwise."""
    cls: int
    """How many leading tokens of an unpacked tower are no patches (0 or 1)."""

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
        prompt = ~self.padding & ~self.answer
        return prompt.shape[1] - 1 - prompt.flip(1).int().argmax(1)

    def rows(self, site: str, value: torch.Tensor) -> list[torch.Tensor]:
        """The image's rows of each stimulus at a site: ``n`` tensors (tokens, d), CLS left out.

        Args:
            site: a site.
            value: what the site gave for this batch.

        Raises:
            InputError: the rows do not match the placeholders in the prompts.
        """
        layout = self.layouts[site]
        if layout == "sequence":
            self._expect(site, value.shape[:2] == self.image.shape, tuple(value.shape))
            return [value[i, self.image[i].to(value.device)] for i in range(self.n)]
        if layout == "image":
            self._expect(site, len(value) == self.n, tuple(value.shape))
            start = self.cls if site.startswith("vision") else 0
            return [value[i, start:] for i in range(self.n)]
        flat = value.reshape(-1, value.shape[-1])
        sizes = self.vision_rows if site.startswith("vision") else self.image_tokens
        self._expect(site, len(flat) == sum(sizes), tuple(value.shape))
        return list(torch.split(flat, list(sizes)))

    def cls_row(self, site: str, value: torch.Tensor) -> torch.Tensor:
        """The CLS token of each stimulus, (n, d).

        Raises:
            InputError: this tower has none, or the site lies behind it.
        """
        if not (self.cls and site.startswith("vision") and self.layouts[site] == "image"):
            raise InputError(f"The site '{site}' has no CLS token. Use pool='mean' instead.")
        return value[:, 0]

    def last(self, site: str, value: torch.Tensor) -> torch.Tensor:
        """The last prompt position of each stimulus, (n, d); only for sites of the language model.

        Raises:
            InputError: the site is not one of the language model.
        """
        if self.layouts[site] != "sequence":
            raise InputError(f"pool='last' reads the last prompt position, which '{site}' has not: give llm sites only.")
        return value[torch.arange(self.n), self.last_prompt.to(value.device)]

    def _expect(self, site: str, holds: bool, shape: tuple[int, ...]) -> None:
        if not holds:
            raise InputError(
                f"The site '{site}' gave rows of shape {shape}, which does not fit a batch of {self.n} stimuli with "
                f"{list(self.image_tokens)} image placeholders. Run `snellen stages` on the model; if its layout is listed "
                "wrongly, pass a corrected map as stages=."
            )
