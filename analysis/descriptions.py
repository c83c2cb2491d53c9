"""Generated descriptions of quality: how many templates they are made of, and whether they fit the level that the model gives.

arXiv 2512.09573 says that models overfit the templates of their training data; arXiv 2512.09555 shows one that calls an image
clear and its quality poor. Neither gives a formula, so the measures here are ours. The second counts words
(``analysis.description_words``) and understands nothing: look at the rows of its table before you believe its rate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import entropy

from analysis.description_words import Mention, attributes, longest, mentions, words
from analysis.parsing import UNPARSED
from analysis.repeated import Resampled, resampled, same_length, strings, told
from probes.intervals import Interval, interval
from stimuli.errors import InputError
from stimuli.questions import question
from stimuli.results import Result
from stimuli.tables import Table

LEVELS = ("bad", "poor", "fair", "good", "excellent")
HIGH, LOW = ("good", "excellent"), ("bad", "poor")
OUTCOMES = ("consistent", "praised", "blamed", "fair", "mixed", "silent", UNPARSED)
PUNCTUATION = ".,;:!?()"
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
SHOWN = 20
"""As many of the most frequent templates go into ``as_dict``."""
Slots = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Variety:
    """How varied some texts are; intervals are over references."""

    distinct: int
    """Different texts. It grows with the number of texts and shrinks in a resample, so it has no interval: quote ``same``."""
    distinct_share: float
    """distinct / n."""
    top_share: Interval
    """Share of the most frequent text,"""
    top_five_share: Interval
    """and of the five most frequent ones together."""
    entropy: Interval
    """Plug-in, in bits, 0 to log₂ n; the interval is moved to its place, as resampled texts repeat."""
    same: Interval
    """Chance that the descriptions of two images of different references are the same, whatever n is; 1 / same is an effective
    number of templates (Simpson 1949; Hill 1973)."""


@dataclass(frozen=True)
class TemplateCounts:
    """Of how many templates descriptions are made."""

    n: int
    references: int
    masked: Variety
    """Of the texts with their slots masked: the templates."""
    unmasked: Variety
    """Of the texts with nothing masked. Many texts and few templates: only the slots are filled anew."""
    templates: Table
    """Rows ``template, n, share, references, example`` (its first text), the most frequent first."""

    def as_dict(self) -> dict[str, Any]:
        """Everything but the rare templates, JSON-able."""
        return asdict(replace(self, templates=self.templates[:SHOWN]))


@dataclass(frozen=True, repr=False)
class Contradictions(Result):
    """How often a level contradicts its description; intervals are over references.

    Each image has one outcome: the level is ``unparsed``; the description says nothing of quality (``silent``) or praises and
    blames (``mixed``); the level is ``fair``, which contradicts nothing; or one-sided description and level are ``consistent``,
    or the image is ``praised`` and its level poor or bad, or ``blamed`` and its level good or excellent.
    """

    n: int
    references: int
    judged: int
    """Images that could contradict: consistent, praised or blamed."""
    rate: Interval
    """Share of the judged that are praised or blamed; NaN where none is judged."""
    outcomes: Table
    """Rows ``outcome, n, share, low, high``, of all images; the shares add up to 1."""
    by_attribute: Table
    """Rows ``attribute``, and with ``_low`` and ``_high`` ``positive`` and ``negative`` (shares of the descriptions with such a
    word), and ``contradictions`` (number of contradicting descriptions in which a word of this attribute is against the
    level)."""
    table: Table = field(repr=False)
    """One row per image: ``positive`` and ``negative`` words, ``polarity`` (positive, negative, mixed, silent), ``level,
    outcome`` and ``contradiction`` (None where not judged)."""

    def as_dict(self) -> dict[str, Any]:
        """Everything but the rows, JSON-able."""
        plain = asdict(replace(self, table=[]))
        return {name: value for name, value in plain.items() if name != "table"}


def usual_slots(taxonomy: str | Path = "paper8") -> dict[str, tuple[str, ...]]:
    """Words to mask: ``class`` has a taxonomy's classes with all their wordings, ``quality`` the five levels."""
    asked = question("distortion", taxonomy)
    forms = [form for name, wording in asked.options.items() for form in (name, wording, *asked.synonyms.get(name, ()))]
    return {"class": tuple(dict.fromkeys(forms)), "quality": LEVELS[::-1]}


def masked(text: str, slots: Slots) -> str:
    """The template of a text: lower case without punctuation, with ‹slot› for the words of a slot and ‹number› for numbers.

    Args:
        text: a description.
        slots: slot → words and phrases; the longest phrase wins, and of two slots with the same word the first.
    """
    return _masked(text, _phrases(slots))


def template_counts(
    texts: Sequence[str], slots: Slots, groups: Sequence[str] | np.ndarray, n_boot: int = 1000, seed: int = 0
) -> TemplateCounts:
    """How many templates descriptions are made of, and how often the most frequent ones are used.

    Args:
        texts: (n,) descriptions.
        slots: what to mask, such as ``usual_slots()``, and content words with it where they are known.
        groups: (n,) references.
        n_boot: resamples of references.
        seed: of the resamples.

    Raises:
        InputError: no texts, lengths that differ, fewer than two references.
    """
    said = strings(texts, "descriptions")
    sample, phrases = resampled(groups, len(said), n_boot, seed), _phrases(slots)
    templates = np.array([_masked(text, phrases) for text in said.tolist()])
    plain = np.array([_masked(text, None) for text in said.tolist()])
    return TemplateCounts(
        len(said), sample.weights.shape[1], _variety(templates, sample), _variety(plain, sample),
        _templates(said, templates, sample.number),
    )  # fmt: skip


def levels_of(scores: Sequence[float] | np.ndarray, low: float = 1.0, high: float = 5.0) -> list[str]:
    """The level of each score: five equal parts of [low, high], the upper end of each included.

    Q-Align is trained on such levels (Wu et al. 2023, arXiv 2312.17090).

    Raises:
        InputError: a score outside of [low, high]; NaN is unparsed.
    """
    found = np.asarray(scores, float)
    if (found < low).any() or (found > high).any():
        raise InputError(
            f"Got scores from {np.nanmin(found):g} to {np.nanmax(found):g}. Expected {low:g} to {high:g}. Give their range."
        )
    share = (np.nan_to_num(found, nan=low) - low) / (high - low)
    part = np.clip(np.ceil(share * len(LEVELS) - 1e-9), 1, len(LEVELS)).astype(int) - 1
    return [UNPARSED if np.isnan(score) else LEVELS[own] for score, own in zip(found, part, strict=True)]


def contradictions(
    texts: Sequence[str],
    levels: Sequence[str],
    groups: Sequence[str] | np.ndarray,
    n_boot: int = 1000,
    seed: int = 0,
    *,
    only: Sequence[str] | None = None,
) -> Contradictions:
    """How often descriptions and quality levels of the same images contradict each other.

    Args:
        texts: (n,) descriptions.
        levels: (n,) ``bad, poor, fair, good, excellent`` or ``unparsed``; scores become levels by ``levels_of``.
        groups: (n,) references.
        n_boot: resamples of references.
        seed: of the resamples.
        only: attributes whose words count, all by default; leave ``overall`` out where the description names the level itself.

    Raises:
        InputError: unknown level or attribute, lengths that differ, fewer than two references.
    """
    counted = attributes() if only is None else tuple(only)
    _known(levels, (*LEVELS, UNPARSED), "level")
    _known(counted, attributes(), "attribute")
    same_length(levels, len(texts), "levels")
    sample = resampled(groups, len(texts), n_boot, seed)
    found = [[own for own in mentions(text) if own.attribute in counted] for text in strings(texts, "descriptions").tolist()]
    table = [_row(own, level) for own, level in zip(found, levels, strict=True)]
    outcome = np.array([row["outcome"] for row in table])
    against = np.array([np.nan if row["contradiction"] is None else float(row["contradiction"]) for row in table])
    drawn = sample.means({"rate": against} | {name: outcome == name for name in OUTCOMES})
    shares = {name: told(drawn[name]) for name in OUTCOMES}
    rows = [
        {"outcome": name, "n": int((outcome == name).sum()), "share": own.value, "low": own.low, "high": own.high}
        for name, own in shares.items()
    ]
    return Contradictions(
        len(texts), sample.weights.shape[1], int(np.isfinite(against).sum()), told(drawn["rate"]), rows,
        [_by_attribute(name, found, table, sample) for name in counted], table,
    )  # fmt: skip


def _phrases(slots: Slots) -> dict[tuple[str, ...], str]:
    return {tuple(words(form)): f"‹{slot}›" for slot, own in reversed(list(slots.items())) for form in own}


def _masked(text: str, phrases: Mapping[tuple[str, ...], str] | None) -> str:
    """Masked by phrases; with None nothing is masked, numbers neither."""
    spoken = [word for word in words(text) if word not in PUNCTUATION]
    if phrases is None:
        return " ".join(spoken)
    return " ".join(slot or ("‹number›" if NUMBER.fullmatch(word) else word) for word, slot in longest(spoken, phrases))


def _variety(texts: np.ndarray, sample: Resampled) -> Variety:
    _, code, count = np.unique(texts, return_inverse=True, return_counts=True)
    order = np.argsort(-count, kind="stable")
    drawn = sample.means({"top": code == order[0], "five": np.isin(code, order[:5])})
    _, together = np.unique(sample.number * len(count) + code, return_inverse=True)  # of one reference and the same
    bits, same = np.empty((2, len(sample.weights)))
    for i, weights in enumerate(sample.weights):
        own = weights[sample.number]
        counts, within, sizes = (np.bincount(number, own) for number in (code, together, sample.number))
        pairs = sizes.sum() ** 2 - sizes @ sizes
        bits[i], same[i] = entropy(counts, base=2), (counts @ counts - within @ within) / pairs if pairs else np.nan
    return Variety(
        len(count), len(count) / len(texts), told(drawn["top"]), told(drawn["five"]),
        interval(bits[0], bits[1:] - bits[1:].mean() + bits[0]), told(same),
    )  # fmt: skip


def _templates(texts: np.ndarray, templates: np.ndarray, number: np.ndarray) -> Table:
    names, first, code, count = np.unique(templates, return_index=True, return_inverse=True, return_counts=True)
    references = np.bincount(np.unique(np.stack([code, number]), axis=1)[0], minlength=len(names))
    return [
        {"template": str(names[i]), "n": int(count[i]), "share": float(count[i] / len(texts)), "references": int(references[i]),
         "example": str(texts[first[i]])}
        for i in np.argsort(-count, kind="stable")
    ]  # fmt: skip


def _row(found: Sequence[Mention], level: str) -> dict[str, Any]:
    positive, negative = ([str(own) for own in found if own.positive is side] for side in (True, False))
    polarity = ("silent", "positive", "negative", "mixed")[bool(positive) + 2 * bool(negative)]
    outcome = _outcome(polarity, level)
    contradiction = outcome != "consistent" if outcome in ("consistent", "praised", "blamed") else None
    return {"positive": positive, "negative": negative, "polarity": polarity, "level": level, "outcome": outcome,
            "contradiction": contradiction}  # fmt: skip


def _outcome(polarity: str, level: str) -> str:
    if level == UNPARSED or polarity in ("silent", "mixed"):
        return UNPARSED if level == UNPARSED else polarity
    if level == "fair":
        return "fair"
    if (polarity == "positive") == (level in HIGH):
        return "consistent"
    return "praised" if level in LOW else "blamed"


def _by_attribute(name: str, found: Sequence[Sequence[Mention]], table: Table, sample: Resampled) -> dict[str, Any]:
    said = {
        side: np.array([any(own.attribute == name and own.positive is side for own in mine) for mine in found])
        for side in (True, False)
    }
    drawn = sample.means({"positive": said[True], "negative": said[False]})
    against = np.array([row["contradiction"] is True for row in table])  # all of its words are against the level
    count = int((against & (said[True] | said[False])).sum())
    return {
        "attribute": name,
        **_share("positive", drawn["positive"]),
        **_share("negative", drawn["negative"]),
        "contradictions": count,
    }


def _share(name: str, draws: np.ndarray) -> dict[str, Any]:
    found = told(draws)
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _known(values: Sequence[str], known: Sequence[str], what: str) -> None:
    odd = [value for value in values if value not in known]
    if odd:
        raise InputError(f"'{odd[0]}' is no {what}. Expected {', '.join(known)}. Use one of these.")
