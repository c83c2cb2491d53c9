"""A model that answers by rule, through the real ``generate`` and the real forward pass, so that every statistic has a known truth."""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from hooks.batch import continuation
from hooks.load import Mllm
from snellen.embedded.architecture import IMAGE_TOKENS

Rule = Callable[[str, torch.Tensor | None, int], str | Mapping[str, float]]
"""Of the prompt as rendered (beginning of the answer included), the row's ``pixel_values`` (3, H, W) ((k, 3, H, W) of k images beside
one question, None without one) and how many free answers to this very question about these very pixels came before: the text that
the model says, or wordings and their probabilities (below 1 together; what is left goes to everything else)."""
NEVER = 1e-30


def speaking(mllm: Mllm, rule: Rule) -> Mllm:
    """A copy of the small random LLaVA of the fixtures whose language head answers by rule; ``mllm`` is left as it is.

    A text is said with certainty, greedily or drawn, and has likelihood 1 as an option. Of wordings the model says each with its
    probability where answers are drawn at temperature 1, and greedily goes down the likelier branch at every token; as options they
    have exactly these likelihoods, unless one begins as another does in whole: then the other's is in its own.

    Args:
        mllm: the fixture ``llava``.
        rule: what it answers. It is asked again in every pass about a question, so it must not count for itself.
    """
    model, processor = copy.deepcopy(mllm.model), copy.copy(mllm.processor)
    tokenizer = processor.tokenizer = copy.copy(processor.tokenizer)
    heard: dict[tuple[int, ...], str] = {}
    tokenizer.__class__ = _listening(type(tokenizer), heard)
    model.lm_head = _Mouth(rule, tokenizer, heard, mllm.model.lm_head.out_features)
    model.generate = partial(model.lm_head.generating, model.generate)
    model.register_forward_pre_hook(model.lm_head.listen, with_kwargs=True)
    return replace(mllm, model=model, processor=processor)


def _listening(kind: Any, heard: dict[tuple[int, ...], str]) -> type:
    """A tokenizer that notes every list of texts that it is given: the prompts."""

    def call(self: Any, text: Any, *args: Any, **options: Any) -> Any:
        found = kind.__call__(self, text, *args, **options)
        if isinstance(text, list):
            for one, ids, mask in zip(text, found["input_ids"], found["attention_mask"], strict=True):
                heard[tuple(int(id) for id, seen in zip(ids, mask, strict=True) if seen)] = one
        return found

    return type(kind.__name__, (kind,), {"__call__": call})


@dataclass
class _Row:
    """One sequence of a batch."""

    tokens: list[int]
    prompt: int
    """How many of them are the prompt's."""
    mass: dict[tuple[int, ...], float]
    """Probability of every beginning of an answer that the rule allows, ends included."""


class _Mouth(torch.nn.Module):
    """A language head that knows what its batch was asked."""

    def __init__(self, rule: Rule, tokenizer: Any, heard: Mapping[tuple[int, ...], str], size: int) -> None:
        super().__init__()
        self.rule, self.tokenizer, self.heard, self.out_features = rule, tokenizer, heard, size
        self.rows: list[_Row] = []
        self.columns = torch.empty(0, 0)
        self.before: Counter[Any] = Counter()
        self.passes: int | None = None

    def generating(self, generate: Callable[..., Any], **given: Any) -> Any:
        """The model's own ``generate``; what it is given is noted first, because the forward passes inside see only parts of it."""
        self._hear(given["input_ids"], given["attention_mask"], given.get("pixel_values"), free=True)
        self.passes = 0
        try:
            return generate(**given)
        finally:
            self.passes = None

    def listen(self, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """Note the rows of a forward pass before it begins; one inside ``generate`` goes on with those of the one before."""
        ids = kwargs["input_ids"]
        if self.passes is None:
            self._hear(ids, kwargs["attention_mask"], kwargs.get("pixel_values"), free=False)
        elif self.passes:
            for row, new in zip(self.rows, ids[:, -1].tolist(), strict=True):
                row.tokens.append(new)
            self.columns = torch.tensor([[len(row.tokens)] for row in self.rows])
        self.passes = None if self.passes is None else self.passes + 1

    def _hear(self, ids: torch.Tensor, mask: torch.Tensor, pixels: torch.Tensor | None, free: bool) -> None:
        self.columns = mask.cumsum(1)  # how many tokens of its row each position has seen
        tokens = [row[seen].tolist() for row, seen in zip(ids, mask.bool(), strict=True)]
        shown = _shown(pixels, [row.count(self.image) // IMAGE_TOKENS for row in tokens])
        self.rows = [self._row(*pair, free=free) for pair in zip(tokens, shown, strict=True)]

    @property
    def image(self) -> int:
        return int(self.tokenizer.image_token_id)

    def _row(self, tokens: list[int], pixels: torch.Tensor | None, free: bool) -> _Row:
        known = next(n for n in range(len(tokens), 0, -1) if tuple(tokens[:n]) in self.heard)
        image = self.tokenizer.image_token
        prompt = self.heard[tuple(tokens[:known])].replace(image * IMAGE_TOKENS, image)
        question = prompt, None if pixels is None else pixels.numpy().tobytes()
        said = self.rule(prompt, pixels, self.before[question])
        self.before[question] += free
        return _Row(tokens, known, self._mass(prompt, {said: 1.0} if isinstance(said, str) else said))

    def _mass(self, prompt: str, wordings: Mapping[str, float]) -> dict[tuple[int, ...], float]:
        assert sum(wordings.values()) < 1 + 1e-6, f"probabilities above 1: {wordings}"
        mass: defaultdict[tuple[int, ...], float] = defaultdict(float)
        for wording, probability in wordings.items():
            said = (*(continuation(self.tokenizer, prompt, wording) if wording else ()), self.tokenizer.eos_token_id)
            for n in range(len(said) + 1):
                mass[said[:n]] += probability
        return dict(mass)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits (n, positions, vocabulary) of the last positions: what follows each by the rule."""
        logits = hidden.new_zeros(*hidden.shape[:2], self.out_features)
        for row, counts, out in zip(self.rows, self.columns[:, -hidden.shape[1] :].tolist(), logits, strict=True):
            for at, count in enumerate(counts):
                if count >= row.prompt:
                    out[at] = self._next(row.mass, tuple(row.tokens[row.prompt : count]))
        return logits

    def _next(self, mass: Mapping[tuple[int, ...], float], said: tuple[int, ...]) -> torch.Tensor:
        """Log-probabilities of the next token behind what was said so far; behind anything else the answer is over."""
        ends = {path[-1]: p for path, p in mass.items() if len(path) == len(said) + 1 and path[:-1] == said}
        whole = mass.get(said, 0.0) if said else 1.0
        found = torch.full((self.out_features,), max(whole - sum(ends.values()), 0.0))
        found /= self.out_features - len(ends)
        for token, p in (ends or {self.tokenizer.eos_token_id: 1.0}).items():
            found[token] = p
        return (found / max(whole, NEVER) if ends else found).clamp(min=NEVER).log()


def _shown(pixels: torch.Tensor | None, counts: Sequence[int]) -> list[torch.Tensor | None]:
    """Each row's images: as many of those of the batch as it has places for."""
    if pixels is None:
        return [None] * len(counts)
    each = pixels.cpu().split(list(counts))
    return [None if not len(own) else own[0] if len(own) == 1 else own for own in each]
