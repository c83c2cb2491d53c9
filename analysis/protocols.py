"""The ways in which a model is asked which distortion an image has, and how what comes back is read.

Every protocol comes to the same: one class, or ``unparsed``, per image, with the raw text, the probability of each class where the
protocol gives one, and how sure the model was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from analysis.parsing import distortion_json, exact, named
from hooks.asks import Ask, Responses
from stimuli.errors import InputError
from stimuli.prompts import fill, letters
from stimuli.prompts import prompt as published
from stimuli.questions import Question, question
from stimuli.taxonomy import CLEAN
from stimuli.views import IMAGE, View, view

PROTOCOLS = ("forced-choice", "multiple-choice", "open", "short-answer", "json", "yes-no")
FREE = ("open", "short-answer", "json")
"""Those that the model answers in its own words."""
_HEEDED: Mapping[str, Sequence[str]] = {
    "prompt": ("forced-choice", "multiple-choice", "open", "short-answer"),
    "length_normalised": ("forced-choice",),
    "calibrated": ("forced-choice",),
    "repeats": FREE,
    "temperature": FREE,
}
"""By which protocols a setting is heeded; by all where it is not named."""
Replies = Mapping[str, Responses]


@dataclass(frozen=True)
class Reading:
    """What a model answered, image by image."""

    answers: tuple[str, ...]
    """Class or ``unparsed``."""
    raw: tuple[str, ...]
    """The text as generated; where options were scored, the wording of the likeliest."""
    confidence: np.ndarray
    """float (n,): probability of the class that was answered, or mean token probability of a free answer."""
    probabilities: np.ndarray | None = None
    """float (n, k) of each class, where the protocol gives one; of ``yes-no`` each is a probability of its own."""
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """What only this protocol tells, a value per image: ``severity`` (1 to 5), ``exact`` (the published exact match), ``order_0`` …
    (the answer per order of the options)."""


@dataclass(frozen=True)
class Protocol:
    """One way of asking."""

    name: str
    """Unique among those asked together."""
    kind: str
    """One of ``PROTOCOLS``."""
    question: Question
    """The classes, how they are worded, and the synonyms that count."""
    asks: tuple[Ask, ...]
    read: Callable[[Replies], Reading] = field(repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in order."""
        return tuple(self.question.options)


def protocol(
    kind: str = "forced-choice",
    taxonomy: str | Path = "paper8",
    *,
    prompt: str | None = None,
    view: View = IMAGE,
    length_normalised: bool = True,
    calibrated: bool = False,
    orders: int = 4,
    max_new_tokens: int | None = None,
    repeats: int = 1,
    temperature: float = 0.0,
    seed: int = 0,
    name: str | None = None,
) -> Protocol:
    """A protocol by name.

    * ``forced-choice``: the wording of every class is scored as the answer; the likeliest per token is the answer. With
      ``calibrated``, log-likelihoods are taken relative to those for a mid-grey image (Zhao et al. 2021, contextual calibration).
    * ``multiple-choice``: lettered options in several orders; the probabilities of the letters are averaged over the orders, so that a
      liking for a letter or a place cancels out (Zheng et al. 2024 find such likings strong).
    * ``open``: the greedy answer; ``short-answer``: DepictQA's question for one word or phrase; ``json``: Q-Insight's for class and
      severity as JSON. What names no class, or several, is unparsed.
    * ``yes-no``: one question per distortion; the log-odds of yes are a score without a threshold. The answer is the distortion of the
      highest odds if these are above even, else clean.

    Args:
        kind: one of ``PROTOCOLS``.
        taxonomy: name or file.
        prompt: another question than the default, for ``forced-choice``, ``multiple-choice``, ``open`` and ``short-answer``.
        view: what is shown.
        length_normalised: of ``forced-choice``: mean over a wording's tokens rather than their sum.
        calibrated: of ``forced-choice``.
        orders: of ``multiple-choice``: in how many orders, at most as many as classes.
        max_new_tokens: of free answers; by default 16 for ``open`` and ``short-answer``, 256 for ``json``, whose system prompt asks for
            reasoning.
        repeats: how many free answers are drawn; the first one is scored, ``columns`` hold the others.
        temperature: at which they are drawn.
        seed: of the draws and the first order.
        name: what it is called; by default the kind and what differs from the default.

    Raises:
        InputError: unknown protocol, a setting that it does not heed, no orders, or more classes than letters.
    """
    if kind not in PROTOCOLS:
        raise InputError(f"Unknown protocol '{kind}'. Expected one of {', '.join(PROTOCOLS)}. Use one of these.")
    _refuse_unheeded(kind, prompt=prompt is not None, length_normalised=not length_normalised, calibrated=calibrated,
                     repeats=repeats > 1, temperature=temperature > 0)  # fmt: skip
    asked = question("distortion", taxonomy)
    parts = [kind, *([] if length_normalised else ["sum"]), *(["calibrated"] if calibrated else [])]
    named_so = name or ", ".join([*parts, *([] if view is IMAGE else [view.name])])
    text = prompt or asked.prompt
    if kind == "forced-choice":
        return _forced(named_so, asked, text, view, length_normalised, calibrated)
    if kind == "multiple-choice":
        return _lettered(named_so, asked, text, view, orders, seed)
    if kind == "yes-no":
        return _yes_no(named_so, asked, view)
    drawn: dict[str, Any] = {"view": view, "repeats": repeats, "temperature": temperature, "seed": seed}
    if kind == "json":
        words = published("json")
        text = fill(words, classes=[w for label, w in asked.options.items() if label != CLEAN])
        ask = Ask(named_so, text, system=words.system, max_new_tokens=max_new_tokens or 256, **drawn)
        return Protocol(named_so, kind, asked, (ask,), partial(_json, named_so, asked, words.severities))
    if kind == "short-answer":
        text = fill(published("short-answer"), question=prompt or "")
    ask = Ask(named_so, text, max_new_tokens=max_new_tokens or 16, **drawn)
    return Protocol(named_so, kind, asked, (ask,), partial(_free, named_so, asked))


def _refuse_unheeded(kind: str, **given: bool) -> None:
    for setting, own in given.items():
        if own and kind not in _HEEDED[setting]:
            raise InputError(
                f"The protocol '{kind}' has no {setting}, but one was given. Expected it of {', '.join(_HEEDED[setting])}. Leave it out, or "
                "ask in one of these ways."
            )


# ---- forced choice ---------------------------------------------------------------------------------------------------


def _forced(name: str, asked: Question, text: str, shown: View, normalised: bool, calibrated: bool) -> Protocol:
    wordings = tuple(asked.options.values())
    asks = [Ask(name, text, wordings, view=shown)]
    if calibrated:
        asks.append(Ask(f"{name} (grey)", text, wordings, view=view("grey")))
    return Protocol(name, "forced-choice", asked, tuple(asks), partial(_likeliest, name, asked, normalised, calibrated))


def _likeliest(name: str, asked: Question, normalised: bool, calibrated: bool, replies: Replies) -> Reading:
    scores = _per_option(replies[name], normalised)
    if calibrated:
        scores = scores - _per_option(replies[f"{name} (grey)"], normalised)
    return _chosen(asked, softmax(scores, axis=1), tuple(asked.options.values()))


def _per_option(found: Responses, normalised: bool) -> np.ndarray:
    return found.loglik / found.tokens if normalised else found.loglik


def _chosen(asked: Question, probabilities: np.ndarray, wordings: Sequence[str], **columns: Sequence[Any]) -> Reading:
    best = probabilities.argmax(1)
    classes = list(asked.options)
    return Reading(
        tuple(classes[i] for i in best), tuple(wordings[i] for i in best), probabilities.max(1), probabilities, columns
    )


# ---- lettered options ------------------------------------------------------------------------------------------------


def orders_of(k: int, orders: int, seed: int = 0) -> list[list[int]]:
    """Orders of k options: cyclic shifts of a random one, evenly spread; with k orders, each option has each place once.

    Raises:
        InputError: no orders are wanted.
    """
    if orders < 1:
        raise InputError(f"Got {orders} orders of the options; expected at least 1. Give orders=4.")
    start = np.random.default_rng([seed, 4]).permutation(k)
    count = min(orders, k)
    return [[int(i) for i in np.roll(start, -(shift * k) // count)] for shift in range(count)]


def _lettered(name: str, asked: Question, text: str, shown: View, orders: int, seed: int) -> Protocol:
    wordings, form = list(asked.options.values()), published("multiple-choice")
    dealt = orders_of(len(wordings), orders, seed)
    asks = [
        Ask(
            f"{name} ({i})", fill(form, question=text, options=[wordings[j] for j in order]), letters(len(wordings)), view=shown
        )
        for i, order in enumerate(dealt)
    ]
    return Protocol(name, "multiple-choice", asked, tuple(asks), partial(_by_letter, name, asked, dealt))


def _by_letter(name: str, asked: Question, dealt: Sequence[Sequence[int]], replies: Replies) -> Reading:
    each = []
    for i, order in enumerate(dealt):
        found = replies[f"{name} ({i})"]
        per_class = np.empty_like(found.loglik)
        per_class[:, list(order)] = softmax(found.loglik, axis=1)
        each.append(per_class)
    classes = list(asked.options)
    columns = {f"order_{i}": [classes[j] for j in own.argmax(1)] for i, own in enumerate(each)}
    columns |= {
        f"letter_{i}": [ascii_uppercase[order.index(int(j))] for j in own.argmax(1)]
        for i, (order, own) in enumerate(zip(map(list, dealt), each, strict=True))
    }
    return _chosen(asked, np.mean(each, 0), tuple(asked.options.values()), **columns)


# ---- yes or no -------------------------------------------------------------------------------------------------------


def _yes_no(name: str, asked: Question, shown: View) -> Protocol:
    words = published("yes-no")
    asks = [
        Ask(f"{name} ({label})", fill(words, wording=wording), words.options, view=shown)
        for label, wording in asked.options.items()
        if label != CLEAN
    ]
    return Protocol(name, "yes-no", asked, tuple(asks), partial(_odds, name, asked))


def _odds(name: str, asked: Question, replies: Replies) -> Reading:
    classes = list(asked.options)
    odds = np.full((len(next(iter(replies.values())).ids), len(classes)), -np.inf)
    for j, label in enumerate(classes):
        if label != CLEAN:
            loglik = replies[f"{name} ({label})"].loglik
            odds[:, j] = loglik[:, 0] - loglik[:, 1]
    best = odds.argmax(1)
    top = odds.max(1)
    answers = [CLEAN if CLEAN in classes and top[i] <= 0 else classes[best[i]] for i in range(len(best))]
    probabilities = expit(odds)
    if CLEAN in classes:
        probabilities[:, classes.index(CLEAN)] = expit(-top)
    sure = np.array([probabilities[i, classes.index(answer)] for i, answer in enumerate(answers)])
    columns = {f"odds_{label}": odds[:, j].tolist() for j, label in enumerate(classes) if label != CLEAN}
    return Reading(tuple(answers), tuple(asked.options[a] for a in answers), sure, probabilities, columns)


# ---- free answers ----------------------------------------------------------------------------------------------------


def _free(name: str, asked: Question, replies: Replies) -> Reading:
    found = replies[name]
    answers = [[named(text, asked) for text in texts] for texts in found.texts]
    columns: dict[str, list[Any]] = {"exact": [exact(text, asked) for text in found.first], **_repeats(answers)}
    return Reading(tuple(own[0] for own in answers), tuple(found.first), found.confidence[:, 0], None, columns)


def _json(name: str, asked: Question, severities: Sequence[str], replies: Replies) -> Reading:
    found = replies[name]
    read = [[distortion_json(text, asked, severities) for text in texts] for texts in found.texts]
    columns: dict[str, list[Any]] = {"severity": [own[0][1] for own in read]}
    columns |= _repeats([[answer for answer, _ in own] for own in read])
    return Reading(tuple(own[0][0] for own in read), tuple(found.first), found.confidence[:, 0], None, columns)


def _repeats(answers: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """The answers of each repeat, where there are several."""
    count = len(answers[0])
    return {} if count == 1 else {f"repeat_{i}": [own[i] for own in answers] for i in range(count)}
