"""What happens to the logits of each generated token: its probability is noted, and a token drawn if one is to be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, TopKLogitsWarper, TopPLogitsWarper


class Probabilities(LogitsProcessor):
    """Notes the probability that the model gave to every token that was chosen, one step at a time: logits are large."""

    def __init__(self) -> None:
        self._last: torch.Tensor | None = None
        self._chosen: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Settle the step before; the scores pass unchanged."""
        self._settle(input_ids[:, -1])
        self._last = scores
        return scores

    @property
    def steps(self) -> int:
        """How many steps came by."""
        return len(self._chosen) + (self._last is not None)

    @property
    def sound(self) -> list[bool]:
        """Of each answer, whether all that was settled are numbers."""
        return torch.stack(self._chosen, 1).isfinite().all(1).tolist()

    def over(self, new: torch.Tensor, counted: torch.Tensor) -> list[float]:
        """Mean probability of the counted tokens of each answer, NaN where there are none.

        Args:
            new: int64 (n, steps), the generated tokens.
            counted: bool (n, steps).
        """
        self._settle(new[:, -1])
        each = torch.stack(self._chosen, 1)
        spoken = counted[:, -each.shape[1] :].to(each.device)  # some models put a start token in front, which nothing predicted
        return [float(value) for value in ((each * spoken).sum(1) / spoken.sum(1)).cpu()]

    def _settle(self, chosen: torch.Tensor) -> None:
        if self._last is not None:
            probability = torch.softmax(self._last.float(), -1).gather(1, chosen[:, None].to(self._last.device))[:, 0]
            self._chosen.append(probability)
            self._last = None


class Drawn(LogitsProcessor):
    """Makes the likeliest token a drawn one, by Gumbel noise: argmax(logits / T + G) is distributed as softmax(logits / T).

    Source: Gumbel, Statistical Theory of Extreme Values, 1954 (the Gumbel-max trick). Every row has a random stream of its own, so
    that an answer does not depend on the batch it is in.
    """

    def __init__(self, seeds: Sequence[int], temperature: float, top_k: int = 0, top_p: float = 1.0) -> None:
        self._seeds, self._streams = seeds, list[torch.Generator]()
        self._temperature = temperature
        self._filters: list[Any] = []
        if top_k:
            self._filters.append(TopKLogitsWarper(top_k))
        if top_p < 1:
            self._filters.append(TopPLogitsWarper(top_p))

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Logits of which the largest is the one drawn."""
        scores = scores.float() / self._temperature
        for only in self._filters:
            scores = only(input_ids, scores)
        if not self._streams:
            self._streams = [torch.Generator(scores.device).manual_seed(seed) for seed in self._seeds]
        noise = torch.empty_like(scores)
        for row, stream in zip(noise, self._streams, strict=True):
            row.exponential_(generator=stream)
        return scores - noise.log()
