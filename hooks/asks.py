"""What is asked of every stimulus, and what came back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stimuli.errors import InputError
from stimuli.types import Stimulus
from stimuli.views import IMAGE, View


@dataclass(frozen=True)
class Ask:
    """One question to all stimuli: for the likelihood of given answers, or for an answer in the model's own words."""

    name: str
    """Unique among the questions of one call."""
    prompt: str | tuple[str, ...]
    """The question; one for all, or one per stimulus."""
    options: tuple[str, ...] = ()
    """Wordings whose log-likelihood as the answer is wanted; without any, the model answers freely."""
    prefix: str = ""
    """How the answer begins: words put into the model's mouth."""
    system: str = ""
    """What stands before everything, as the system's message."""
    view: View = IMAGE
    """What is shown."""
    repeats: int = 1
    """How many free answers are drawn."""
    temperature: float = 0.0
    """0 is greedy; else answers are drawn from softmax(logits / temperature)."""
    top_k: int = 0
    """Draw from so many likeliest tokens only; 0 for all."""
    top_p: float = 1.0
    """Draw from the likeliest tokens that have this share of the probability."""
    max_new_tokens: int = 32
    seed: int = 0
    """Of drawn answers; each depends on it, the stimulus, the question and the number of the repeat alone (on a GPU, other ones are
    drawn than on the processor)."""

    def __post_init__(self) -> None:
        """Refuse what cannot be asked."""
        if self.repeats < 1 or self.temperature < 0 or not 0 < self.top_p <= 1 or self.top_k < 0 or self.max_new_tokens < 1:
            raise InputError(
                f"The question '{self.name}' has repeats {self.repeats}, temperature {self.temperature}, top_p {self.top_p}, top_k "
                f"{self.top_k}, max_new_tokens {self.max_new_tokens}; expected at least 1, at least 0, above 0 and at most 1, at "
                "least 0, at least 1. Change them."
            )
        if not all(option.strip() for option in self.options):
            raise InputError(f"An option of the question '{self.name}' is empty. Expected words. Leave it out.")
        if self.repeats > 1 and (self.temperature == 0 or self.options):
            what = "scores given options" if self.options else "is greedy (temperature 0)"
            raise InputError(
                f"The question '{self.name}' {what}, so {self.repeats} repeats would all be the same. Give a temperature and no "
                "options, or one repeat."
            )

    @property
    def drawn(self) -> bool:
        """Whether answers are drawn rather than greedy."""
        return self.temperature > 0 and not self.options

    def text(self, place: int) -> str:
        """The question to the stimulus at a place of the list."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[place]

    def keys(self, stimulus: Stimulus, place: int) -> tuple[str, ...]:
        """What tells the answers to this question from any other, one key per repeat: the same wherever the same is asked."""
        about: dict[str, Any] = {
            "stimulus": stimulus.metadata(),
            "view": self.view.identity(stimulus),
            "prompt": self.text(place),
            "prefix": self.prefix,
            **({"system": self.system} if self.system else {}),
        }
        if self.options:
            return (_digest({**about, "options": self.options}),)
        about |= {"max_new_tokens": self.max_new_tokens}
        if not self.drawn:
            return (_digest(about),)
        drawn = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p, "seed": self.seed}
        same = _digest({**about, **drawn})
        return tuple(_digest([same, repeat]) for repeat in range(self.repeats))


@dataclass(frozen=True)
class Responses:
    """What came back for one question, stimulus by stimulus in the order given."""

    ask: Ask
    ids: tuple[str, ...]
    """The stimuli that have an answer to every question of the call."""
    texts: tuple[tuple[str, ...], ...] = field(repr=False)
    """Free answers, (stimuli, repeats), as generated but for special tokens and surrounding space; empty with options."""
    confidence: np.ndarray = field(repr=False)
    """float (stimuli, repeats): mean probability that the model gave to the tokens of its answer; NaN for an empty one."""
    loglik: np.ndarray = field(repr=False)
    """float (stimuli, options): log-likelihood of each option, summed over its tokens, nats."""
    tokens: np.ndarray = field(repr=False)
    """int (options,): tokens of each option."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Stimuli that could not be shown in this run, and why."""

    @property
    def first(self) -> list[str]:
        """The first free answer of each stimulus."""
        return [texts[0] for texts in self.texts]


def check(asks: Sequence[Ask], count: int) -> None:
    """Refuse questions that cannot be told apart or do not fit the stimuli.

    Raises:
        InputError: none, two of one name, another number of prompts than stimuli, or options behind prompts some of which end in a
            space.
    """
    names = [ask.name for ask in asks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if not asks or twice is not None:
        came = f"two are called '{twice}'" if asks else "there are none"
        raise InputError(f"The questions cannot be asked: {came}. Expected at least one, each with a name of its own.")
    for ask in asks:
        if isinstance(ask.prompt, str):
            continue
        if len(ask.prompt) != count:
            raise InputError(
                f"The question '{ask.name}' has {len(ask.prompt)} prompts for {count} stimuli. Expected one, or one per stimulus."
            )
        if ask.options and len({text[-1:] if text[-1:].isspace() else "" for text in ask.prompt}) > 1:
            raise InputError(
                f"Some prompts of the question '{ask.name}' end in a space, behind which its options have other tokens. Expected prompts "
                "that end alike. Strip them."
            )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:24]
