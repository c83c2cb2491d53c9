"""What a description says of an image's quality: words that praise or blame it, after negation.

The words are those of ``stimuli/data/description_words.yaml``, which are ours, as are the rules of negation, in the manner of
Chapman et al. (2001): a negator reaches some words far and no further than its clause. Words are counted here, nothing is
understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

import stimuli

Meaning = TypeVar("Meaning")
FILE = Path(stimuli.__file__).parent / "data" / "description_words.yaml"
REACH, REACH_OF_LESS = 5, 2
"""How many words a negator reaches, as in Chapman et al. (2001); "low" and its like reach fewer."""
TOKEN = re.compile(r"\d+(?:[.,]\d+)*(?!\w)|\w+(?:'\w+)*|[.,;:!?()]")
REWRITTEN = (("[’ʼ]", "'"), (r"\bun-(?=\w)", "un"), (r"[_\-‐‑‒–—/]", " "), (r"\n", " . "), (r"\bcan't\b|\bcannot\b", "can not"),
             (r"\bwon't\b", "will not"), (r"n't\b", " not"), ("colour", "color"), ("artefact", "artifact"))  # fmt: skip
"""So that one word is written in one way; a line break ends a sentence."""


@dataclass(frozen=True)
class Mention:
    """A word or phrase that praises or blames an image, after negation."""

    words: str
    attribute: str
    positive: bool
    negated: bool

    def __str__(self) -> str:
        """The words, after "not" where negated."""
        return f"not {self.words}" if self.negated else self.words


@dataclass(frozen=True)
class _Sense:
    """What a phrase of the lexicon does; an attribute's words have a sign: 1 praises, −1 blames, 0 only when negated."""

    kind: str
    attribute: str = ""
    sign: int = 0


WORD = _Sense("word")


@dataclass
class _Hit:
    """A word of an attribute in a description, and how many negators it has."""

    words: str
    sense: _Sense
    negations: int

    def mention(self) -> Mention | None:
        if not self.sense.sign and not self.negations:
            return None
        negated = self.negations % 2 == 1
        return Mention(self.words, self.sense.attribute, (self.sense.sign >= 0) != negated, negated)


@dataclass
class _Reader:
    """How far a description is read; one method per kind of phrase."""

    hits: list[_Hit] = field(default_factory=list)
    chain: list[_Hit] = field(default_factory=list)
    """The last hits that are negated together."""
    negations: int = 0
    """How many negators wait for a hit,"""
    left: int = 0
    """and for how many words more."""
    joined: bool = False
    """Only joins and fillers since the last hit."""
    near: bool = False
    """Only links and fillers since the last hit,"""
    linked: bool = False
    """and a link among them."""

    def hit(self, phrase: str, sense: _Sense) -> None:
        if not (self.joined and self.chain[-1].sense.sign == sense.sign):
            self.chain = []
        self.chain.append(_Hit(phrase, sense, self.chain[-1].negations if self.chain else self.negations))
        self.hits.append(self.chain[-1])
        self.negations, self.joined, self.near, self.linked = 0, True, True, False

    def negator(self, reach: int = REACH) -> None:
        self.left = max(self.left, reach) if self.negations else reach
        self.negations += 1
        self.joined = self.near = False

    def turn_back(self) -> None:
        for hit in self.chain:
            hit.negations += 1
        self.joined = self.near = False

    def absent(self, needs_link: bool = False) -> None:
        if self.near and (self.linked or not needs_link):
            self.turn_back()
        else:
            self.negator(REACH_OF_LESS)

    def join(self, phrase: str) -> None:
        if phrase == "," and not self.joined:
            self.negations = 0
        if phrase == "nor" and not self.joined:
            self.negator()
        self.near = False

    def word(self) -> None:
        self.left -= 1
        self.negations = self.negations if self.left > 0 else 0
        self.joined = self.near = False

    def link(self) -> None:
        near = self.near
        self.word()
        self.near = self.linked = near

    def stop(self) -> None:
        self.negations, self.joined, self.near = 0, False, False

    def read(self, phrase: str, sense: _Sense) -> None:
        match sense.kind:
            case "hit":
                self.hit(phrase, sense)
            case "join":
                self.join(phrase)
            case "less":
                self.absent(needs_link=True)
            case "negator" | "absent" | "link" | "stop" | "word":
                getattr(self, sense.kind)()


def words(text: str) -> list[str]:
    """Lower-case words, numbers and punctuation marks; hyphens part words, n't is ``not``, spelling is American."""
    text = text.lower()
    for pattern, plain in REWRITTEN:
        text = re.sub(pattern, plain, text)
    return TOKEN.findall(text)


def longest(found: Sequence[str], phrases: Mapping[tuple[str, ...], Meaning]) -> Iterator[tuple[str, Meaning | None]]:
    """The words from left to right, put together where they are a phrase, the longest one that fits.

    Args:
        found: words.
        phrases: words of a phrase → meaning.

    Yields:
        A phrase and its meaning, or a word and None.
    """
    most, place = max(map(len, phrases), default=1), 0
    while place < len(found):
        sizes = range(min(most, len(found) - place), 0, -1)
        size = next((size for size in sizes if tuple(found[place : place + size]) in phrases), 1)
        own = tuple(found[place : place + size])
        yield " ".join(own), phrases.get(own)
        place += size


def attributes() -> tuple[str, ...]:
    """The attributes of quality that the lexicon knows."""
    return tuple(_file()["attributes"])


def mentions(text: str) -> list[Mention]:
    """The words of a description that praise or blame the image, in order.

    A negator turns around the next such word within its reach. Words that are joined to it by "and", "or" or a comma go with it
    if they have the same tendency: "no noise, blur or artifacts", but "not blurry and sharp". Two negators undo each other.
    Hedges count for nothing: "slightly blurry" is blurry. Names of attributes (contrast, detail) count when negated: "lacks
    contrast".
    """
    reader = _Reader()
    for phrase, sense in longest(words(text), _lexicon()):
        reader.read(phrase, sense or WORD)
    found = [hit.mention() for hit in reader.hits]
    return [mention for mention in found if mention is not None]


@cache
def _file() -> dict[str, Any]:
    return dict(yaml.safe_load(FILE.read_text(encoding="utf-8")))


@cache
def _lexicon() -> dict[tuple[str, ...], _Sense]:
    """Phrase → sense; of two senses, the later one here."""
    entry = _file()
    senses: dict[tuple[str, ...], _Sense] = {}
    for attribute, own in entry["attributes"].items():
        for sign, name in ((0, "named"), (1, "positive"), (-1, "negative")):
            senses |= {tuple(words(phrase)): _Sense("hit", attribute, sign) for phrase in own[name]}
    kinds = {"negators": "negator", "less": "less", "absent": "absent", "links": "link", "joins": "join", "stops": "stop",
             "fillers": "filler", "ignored": "filler", "neutral": "word"}  # fmt: skip
    for name, kind in kinds.items():
        senses |= {tuple(words(phrase)): _Sense(kind) for phrase in entry[name]}
    return senses
