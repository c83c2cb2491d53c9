"""What a text says and does not deny: whole words, the longest wording that fits.

A denial reaches from its word to the end of its clause, after Chapman et al. 2001 (NegEx), whose fixed window of words it does
without: too far a reach leaves an answer unread, too short a one counts what was denied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

Phrase = tuple[str, ...]
Items = list[tuple[str, frozenset[str]]]
"""Words and phrases from left to right, each with what it means; of a mere word that is nothing."""

TOKEN = re.compile(r"\w+(?:'\w+)*|[.,;:!?]")
SPELLINGS = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        (r"[’ʼ]", "'"),
        (r"(?<=\s)[-–—]+\s|—", " , "),
        (r"\n+", " . "),
        (r"\b(de|un)-(?=\w)", r"\1"),
        (r"\b(over|under)[-\s]+(?=expos|satur|sharp)", r"\1"),
        (r"[_‐‑-]", " "),
        (r"\bjpeg\s?2000", "jpeg 2000"),
        (r"\bcannot\b|\bcan't\b", "can not"),
        (r"n't\b", " not"),
        (r"colour", "color"),
        (r"artefact", "artifact"),
        (r"(?<=\w)is(?=(?:ation|ed|ing)\b)", "iz"),
    )
)
"""So that one word is written in one way: hyphens are blanks, a dash is a comma, a new line begins a sentence."""

FLAW = "a flaw"
FLAWS = ("distortion", "distortions", "distorted", "degradation", "degradations", "degraded", "artifact", "artifacts")
DENIALS = frozenset(
    "no not without never neither nor nothing hardly barely scarcely minimal negligible lacks lacking little unable unlikely "
    "if whether".split()
) | {"free of", "free from", "lack of", "absence of", "devoid of", "rather than", "instead of", "none of", "opposed to"}
TURNS = frozenset(
    "but however although though yet except besides apart only just merely simply mainly mostly doubt because due since while "
    "whereas instead".split()
) | {"no other", "other than"}
"""A denial in front of them does not reach behind them."""
STOPS = frozenset(".;:!?")
STARTS = frozenset(
    "the it it's its this that that's there there's these they he i i'd i'm we you so image picture overall main primary is "
    "are has have appears seems looks shows contains suffers exhibits with rather which who some a an lots plenty then".split()
)
"""Behind a comma, an *and* or an *or* they begin a clause; anything else there goes on with a list."""
FILLERS = frozenset(
    "any a the of kind kinds type types sort sign signs form forms evidence visible noticeable obvious significant apparent "
    "clear specific particular major severe strong perceptible discernible evident image quality have has show exhibit "
    "contain suffer from appear appears seem to be display present see detect observe visibly noticeably obviously "
    "significantly really , and or".split()
)
"""Between a denial and a flaw they leave it a denial of all flaws; *no lens distortion* denies that one alone."""
EXCEPTIONS = {"other", "except", "besides", "apart", "aside", "beyond", "by", "from", "due", "caused"}
PRAISES = "good|great|excellent|proper|normal|adequate|appropriate|balanced|sufficient|perfect|natural|accurate"
PRAISED_BEFORE = frozenset(PRAISES.split("|"))
PRAISED_AFTER = re.compile(rf"(?:is|are|looks?|seems?|appears?) (?:\w+ )?(?:{PRAISES}|fine|ok|okay)\b")
PRESENT = "present|visible|noticeable|apparent|evident|there|seen|observed|detected|found|obvious|issue|problem|exist|appear"
DENIED_AFTER = re.compile(
    r"(?:(?:artifacts?|distortions?) )?(?:free|reduction|removal|suppression)\b"
    rf"|(?:[:?] )?(?:no|none|absent|false|not (?:{PRESENT}))$"
    r"|(?:(?:and|or) \S+ )?(?:is|are|was|were|can|could|do|does|seems?|appears?)(?: to be)? "
    rf"(?:absent|missing|(?:not|hardly|barely|never)(?:$| (?:\w+ )*(?:{PRESENT})\b))"
)


@lru_cache(maxsize=8192)
def words(text: str) -> Phrase:
    """Lower-case words and the punctuation that ends clauses; of ``SPELLINGS`` that differ, one."""
    text = text.lower()
    for pattern, plain in SPELLINGS:
        text = pattern.sub(plain, text)
    return tuple(TOKEN.findall(text))


def phrases(wordings: Iterable[tuple[str, str]]) -> dict[Phrase, frozenset[str]]:
    """Words of each wording → the names it stands for; two, where two names have the same.

    Args:
        wordings: (name, wording); those without words are left out.
    """
    found: dict[Phrase, frozenset[str]] = {}
    for name, wording in wordings:
        if phrase := words(wording.rstrip(".!?")):
            found[phrase] = found.get(phrase, frozenset()) | {name}
    return found


def said(text: str, known: Mapping[Phrase, frozenset[str]], *, praise: bool = False, flawless: str = "") -> set[str]:
    """The names that a text says by their wordings and does not deny.

    Args:
        text: a reply.
        known: as ``phrases`` gives them.
        praise: whether praise denies, too: good contrast, the contrast is good.
        flawless: what is said by denying all distortions ("no visible distortion", "free of artifacts"), and not said where an
            exception follows ("no distortion other than blur"); nothing by default.
    """
    flaws = phrases((FLAW, word) for word in FLAWS) if flawless else {}
    items = list(_longest(words(text), {**flaws, **known}))
    found: set[str] = set()
    for at, (_, meaning) in enumerate(items):
        if meaning == {FLAW}:
            found |= {flawless} if _flawless(items, at) else set()
        elif meaning and not (_denied(items, at) or (praise and _praised(items, at))):
            found |= set() if meaning == {flawless} and _excepted(items, at) else meaning
    return found


def _longest(found: Phrase, known: Mapping[Phrase, frozenset[str]]) -> Iterator[tuple[str, frozenset[str]]]:
    most, place = max(map(len, known), default=1), 0
    while place < len(found):
        sizes = range(min(most, len(found) - place), 0, -1)
        own = next((found[place : place + size] for size in sizes if found[place : place + size] in known), (found[place],))
        yield " ".join(own), known.get(own, frozenset())
        place += len(own)


def _denied(items: Items, at: int) -> bool:
    return _denial(items, at) is not None or DENIED_AFTER.match(_rest(items, at)) is not None


def _denial(items: Items, at: int) -> int | None:
    """The place of the denial that reaches a mention, or None."""
    if at and items[at - 1][0] == "non":
        return at - 1
    for place in range(at - 1, -1, -1):
        word, following = items[place][0], items[place + 1][0]
        pair = f"{word} {following}" if place + 1 < at else ""
        if pair in DENIALS:
            return place
        if word in STOPS or word in TURNS or pair in TURNS or (word in (",", "and", "or") and _begins(following)):
            return None
        if word.split()[0] in DENIALS and following != "," and not _a_little(items, place):
            return place
    return None


def _begins(word: str) -> bool:
    """Whether a word or phrase begins a clause of its own."""
    return word in STARTS or word.split()[0] in DENIALS


def _a_little(items: Items, place: int) -> bool:
    """A little is some."""
    return items[place][0] == "little" and place > 0 and items[place - 1][0] == "a"


def _rest(items: Items, at: int) -> str:
    """What stands behind a mention in its clause."""
    found: list[str] = []
    for word, _ in items[at + 1 : at + 11]:
        if word in TURNS or word in (".", ";", "!", ","):
            break
        found.append(word)
    return " ".join(found)


def _praised(items: Items, at: int) -> bool:
    return (at > 0 and items[at - 1][0] in PRAISED_BEFORE) or PRAISED_AFTER.match(_rest(items, at)) is not None


def _excepted(items: Items, at: int) -> bool:
    return at + 1 < len(items) and items[at + 1][0] in EXCEPTIONS


def _flawless(items: Items, at: int) -> bool:
    """Whether a flaw is denied, of any kind and without exception."""
    if _excepted(items, at) or (at > 0 and items[at - 1][1]):
        return False
    place = _denial(items, at)
    if place is None:
        alone = at == 0 or items[at - 1][0] in STOPS or items[at - 1][0] in FILLERS
        return alone and DENIED_AFTER.match(_rest(items, at)) is not None
    return all(meaning or word in FILLERS for word, meaning in items[place + 1 : at])
