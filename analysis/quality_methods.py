"""The ways in which a model is asked for a quality score, and how what comes back becomes a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from analysis.parsing import score
from analysis.quality_scores import DEQA, Q_ALIGN, Q_BENCH, Q_BOOST, Levels, level_score, level_spread
from hooks.asks import Ask, Responses
from stimuli.errors import InputError
from stimuli.prompts import fill
from stimuli.prompts import prompt as published
from stimuli.questions import question
from stimuli.views import IMAGE, View

OURS = Levels(
    "levels", Q_ALIGN.words, Q_ALIGN.weights, 1.0, "the question that the shipped models were taught; weights as Q-Align's"
)
WORDS: Mapping[str, Levels] = {"levels": OURS, "q-bench": Q_BENCH, "q-boost": Q_BOOST, "q-align": Q_ALIGN, "deqa": DEQA}
"""Methods that weigh words by their likelihood."""
NUMBERS = ("number", "number-100", "visualquality-r1", "visualquality-r1-non-thinking")
"""Methods that ask for a number."""
METHODS = (*WORDS, *NUMBERS)


@dataclass(frozen=True)
class Scored:
    """Scores of some images by one method."""

    scores: np.ndarray
    """float (n, times), higher is better, in the method's own range; NaN where the answer holds no number."""
    levels: np.ndarray
    """float (n, times), 1 (bad) to 5 (excellent), NaN where unknown: the likeliest word, or the fifth of the range."""
    undecided: np.ndarray
    """float (n,): standard deviation of the score under the model's distribution over words; NaN for numbers."""
    raw: tuple[str, ...]
    """The likeliest word, or the first answer as generated."""


@dataclass(frozen=True)
class Method:
    """One way of asking for a score."""

    name: str
    """Unique among those asked together."""
    kind: str
    """One of ``METHODS``."""
    ask: Ask
    low: float
    high: float
    read: Callable[[Responses], Scored] = field(repr=False)


def method(
    kind: str,
    *,
    prompt: str | None = None,
    view: View = IMAGE,
    repeats: int = 1,
    temperature: float = 0.0,
    max_new_tokens: int | None = None,
    seed: int = 0,
    name: str | None = None,
) -> Method:
    """A method by name.

    Args:
        kind: ``levels`` (ours), ``q-bench``, ``q-boost``, ``q-align``, ``deqa``: words for levels, weighed by their likelihood; ``number``
            (1 to 5), ``number-100``, ``visualquality-r1``, ``visualquality-r1-non-thinking``: a number in the model's own words.
        prompt: another question (a paraphrase).
        view: what is shown.
        repeats: how many numbers are drawn.
        temperature: at which they are drawn.
        max_new_tokens: of a number's answer; 512 by default where the prompt asks for reasoning, else 24.
        seed: of the draws.
        name: what it is called.

    Raises:
        InputError: unknown method, or repeats of a method that draws nothing.
    """
    if kind not in METHODS:
        raise InputError(f"Unknown quality method '{kind}'. Expected one of {', '.join(METHODS)}. Use one of these.")
    called = name or (kind if view is IMAGE else f"{kind}, {view.name}")
    if kind in WORDS:
        return _by_words(called, kind, prompt, view, repeats)
    asked = published(kind)
    low, high = asked.scale or (1.0, 5.0)
    if prompt is not None:
        raise InputError(
            f"The quality method '{kind}' states its scale in its question, so it cannot be asked in other words. Paraphrase one of "
            f"{', '.join(WORDS)}."
        )
    text = fill(asked)
    reasons = "think" in text or "think" in asked.system
    ask = Ask(called, text, system=asked.system, view=view, repeats=repeats, temperature=temperature, seed=seed,
              max_new_tokens=max_new_tokens or (512 if reasons else 24))  # fmt: skip
    return Method(called, kind, ask, low, high, partial(_number, low, high))


def _by_words(called: str, kind: str, prompt: str | None, shown: View, repeats: int) -> Method:
    if repeats > 1:
        raise InputError(
            f"The quality method '{kind}' weighs words by their likelihood and draws nothing, so {repeats} repeats would be the same. "
            f"Use one of {', '.join(NUMBERS)}, or ask it in other words (paraphrases)."
        )
    levels = WORDS[kind]
    words = tuple(word for synonyms in levels.words for word in synonyms)
    if kind == "levels":
        ask = Ask(called, prompt or question("quality").prompt, words, view=shown)
    else:
        asked = published(kind)
        ask = Ask(called, fill(asked, **({"question": prompt} if prompt else {})), words, prefix=asked.prefix, view=shown)
    return Method(called, kind, ask, min(levels.weights), max(levels.weights), partial(_weighed, levels))


def _weighed(levels: Levels, found: Responses) -> Scored:
    merged = levels.merge(found.loglik)
    best = merged.argmax(1)
    scores = level_score(merged, levels.weights, levels.temperature)
    spread = level_spread(merged, levels.weights, levels.temperature)
    count = len(levels.weights)
    places = 5 - 4 * best / (count - 1)
    return Scored(scores[:, None], places[:, None].astype(float), spread, tuple(levels.words[i][0] for i in best))


def _number(low: float, high: float, found: Responses) -> Scored:
    read = [[score(text, low, high) for text in texts] for texts in found.texts]
    scores = np.array([[np.nan if value is None else value for value in own] for own in read], float)
    return Scored(scores, fifth(scores, low, high), np.full(len(scores), np.nan), tuple(found.first))


def fifth(scores: np.ndarray, low: float, high: float) -> np.ndarray:
    """Level 1 to 5 by equal parts of the range, the upper end of each included; NaN stays.

    So Q-Align (arXiv 2312.17090) makes levels of opinion scores, and DeQA-Score (arXiv 2501.11561) after it.
    """
    return np.clip(np.ceil((scores - low) / (high - low) * 5 - 1e-9), 1, 5)


def paraphrased(kind: str, texts: Sequence[str], **options: Any) -> list[Method]:
    """The same method asked in other words."""
    return [method(kind, prompt=text, name=f"{kind}, paraphrase {i}", **options) for i, text in enumerate(texts)]
