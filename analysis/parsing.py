"""What a reply says: a class, a level, yes or no, a letter, a number, JSON. Nothing is guessed.

What says nothing, or two things, is ``unparsed`` (None where the answer is no class). Of a reply with reasoning only what
stands behind ``</think>`` counts, and inside ``<answer>`` where there are such tags; reasoning that was cut off is no answer.
Words count as whole words in any case, the longest wording that fits (color quantization is not quantization), and what is
denied is not said (``denials``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from analysis.denials import Phrase, phrases, said, words
from stimuli.errors import InputError
from stimuli.questions import Question
from stimuli.taxonomy import CLEAN

UNPARSED = "unparsed"
UNFLAWED = ("clean", "undistorted", "none", "null")
"""Name clean besides what the taxonomy has, unless it gives them to another class."""


def final(text: str) -> str:
    """The answer of a reply: what stands behind its reasoning, and inside ``<answer>`` tags where there are any."""
    text = re.sub(r"(?is)<think>.*", "", re.split(r"(?i)</think>", text)[-1])
    tagged = re.findall(r"(?is)<answer>(.*?)(?:</answer>|\Z)", text)
    return "\n".join(tagged) if tagged else text


def named(text: str, question: Question) -> str:
    """The class that an open answer names by its wording or a synonym, or ``unparsed``.

    Denied classes are not named ("no blur", "blur is not visible", "noise-free", "noise rather than blur"), nor is what is
    praised ("good contrast"). A lack is a denial, too: "lacks contrast" names contrast only as a synonym. Clean is also named by
    *clean*, *undistorted*, *none*, *null*, and by the denial of all flaws. Two classes are unparsed, unless one of them alone
    stands behind "answer:" or "answer is".
    """
    wordings = question.options.items()
    own = phrases((label, form) for label, word in wordings for form in (word, *question.synonyms.get(label, ())))
    if CLEAN not in question.options:
        return _one(text, own, praise=True) or UNPARSED
    return _one(text, {**phrases((CLEAN, word) for word in UNFLAWED), **own}, praise=True, flawless=CLEAN) or UNPARSED


def exact(text: str, question: Question) -> str:
    """The class whose wording the reply is to the letter, or ``unparsed``: the exact match of DepictQA-Wild (You et al. 2024).

    Blanks around it are stripped and the first letter is a capital, as in the published answers ("Color quantization").
    """
    forms = {wording[:1].upper() + wording[1:]: label for label, wording in question.options.items()}
    return forms.get(text.strip(), UNPARSED)


def level(text: str, levels: Sequence[str]) -> int | None:
    """Which of the words for levels is said: its place, from 0; None for none of them, or two."""
    found = _one(text, _numbered(levels))
    return None if found is None else int(found)


def _numbered(wordings: Sequence[str]) -> dict[Phrase, frozenset[str]]:
    return phrases((str(place), wording) for place, wording in enumerate(wordings))


def _one(text: str, known: Mapping[Phrase, frozenset[str]], **how: Any) -> str | None:
    """The one thing that is said; of several the one that stands behind "answer:"."""
    answer = final(text)
    found = said(answer, known, **how)
    if len(found) > 1:
        found &= said(re.split(r"(?i)\banswer\b\W{0,3}(?:is\b|:)", answer)[-1], known, **how)
    return found.pop() if len(found) == 1 else None


YES = r"(yes)\b(?!\s*(?:/|(?:and|or)\b))"
NO = r"(no)\b(?!\s*(?:/|(?:and|or|doubt|other|question|problem|wonder|one|matter|more|less|longer|further|additional)\b))"
OPENING = re.compile(rf"(?i)\W{{0,8}}(?:{YES}|{NO})")
SENTENCE = re.compile(r"(?i)(?:[.!?;:\n]|\banswer is\b)\W{0,8}(yes|no)(?=\s*(?:[.!?;,\n)*\"]|\Z))")


def yes_no(text: str) -> bool | None:
    """Whether the reply is yes or no: the word it begins with, or one that stands as a sentence or behind "answer is".

    "No blur is visible" is no; "no doubt", "no other", "yes or no", or both words, are neither.
    """
    answer = final(text)
    opening = OPENING.match(answer)
    found = {word.lower() for word in [*(opening.groups() if opening else ()), *SENTENCE.findall(answer)] if word}
    return found.pop() == "yes" if len(found) == 1 else None


END = r"(?=[ \t]*(?:$|[.):;\],])(?!\w))"
ARTICLE = rf"(?:{END}|(?=\s+(?:is|because|since|as|and|or)\b)|(?=\s[-–]\s))"
"""What has to follow A and I for them to be letters rather than words."""
LETTER = rf"(?:[(\[]([A-Za-z])[)\]]|([B-HJ-Z])(?![\w'’.+-]*\w|\+)|([AI]){ARTICLE}|([a-z]){END})"
CUED = re.compile(
    r"(?i:\b(?:answer|option|choice|choose|select|pick|go with)\b)"
    rf"(?i:\s+(?:is|would be|should be|option|choice|letter|the|correct)\b)*\s*[:=]?\s*{LETTER}",
    re.M,
)
FIRST = re.compile(rf"\s*{LETTER}", re.M)
LINE = re.compile(r"^[ \t]*[(\[]?([A-Za-z])[)\].:]*[ \t]*$", re.M)
OPTION = re.compile(r"^[ \t]*[(\[]?([A-Z])[).:\]][ \t]*\S", re.M)
ENCLOSED = re.compile(r"(?<!\w)[(\[]([A-Za-z])[)\]]")
DOTTED = re.compile(r"(?<![\w'’.])([A-HJ-Z])[.)](?=\s+\S)")
MORE = re.compile(
    r"[\s)\].]*(?:[,/&+]|\bor\b|\band\b)\s*(?:option\s+)?[(\[]?(?:([B-HJ-Z])(?![\w'’])|(A)(?=\s*(?:$|[.),;\]])))", re.M
)
UNCUED = re.compile(r"(?i)(?:\bnot|n['’]t|\bnever|\bcannot)\s+(?:\w+\s+){0,2}$")


def letter(text: str, n: int, choices: Sequence[str] = ()) -> int | None:
    """Which of n lettered options the reply chooses: its place, from 0; None for none, or several.

    A letter counts at the beginning, on a line of its own, in brackets, or behind words such as "answer:" and "option"; one in
    the middle of a sentence does not, and A and I are words where a word follows. If no letter is said, a choice counts by its
    own words, denials heeded. The list of options repeated is no answer, nor is a letter with another choice's words behind it.

    Args:
        text: the reply.
        n: how many options there are, lettered from A.
        choices: their words, if a reply may name one by them.

    Raises:
        InputError: more options than letters, or another number of choices.
    """
    if n > len(ascii_uppercase) or (choices and len(choices) != n):
        raise InputError(
            f"Got {n} options with {len(choices)} choices. Expected at most 26, and every choice or none. Give them all."
        )
    answer = re.sub(r"\\boxed|[*_`\"“”{}$#]", "", final(text))
    chosen = _letters(answer)
    if not chosen:
        return _by_words(answer, choices) if choices else None
    place = ascii_uppercase.index(chosen.pop()) if len(chosen) == 1 else n
    return place if place < n and not _contradicted(answer, place, choices) else None


def _letters(answer: str) -> set[str]:
    """The letters that are chosen, in upper case."""
    cued = [found for found in CUED.finditer(answer) if not UNCUED.search(answer[max(0, found.start() - 40) : found.start()])]
    chosen = _upper(cued) | _upper(more for found in cued if (more := MORE.match(answer, found.end())))
    shown = [_upper(pattern.finditer(answer)) for pattern in (OPTION, ENCLOSED)]
    if any(len(letters) > 1 for letters in shown):
        return chosen
    first = FIRST.match(answer)
    also = [first, MORE.match(answer, first.end())] if first else []
    chosen |= _upper(found for found in also if found) | _upper(LINE.finditer(answer)) | shown[1]
    return chosen | _upper(DOTTED.finditer(answer)) if chosen else chosen


def _upper(found: Iterable[re.Match[str]]) -> set[str]:
    return {next(filter(None, own.groups())).upper() for own in found}


def _by_words(answer: str, choices: Sequence[str]) -> int | None:
    """The one choice whose words are said; yes and no are choices only where they answer."""
    own = [_bare(choice) for choice in choices]
    known = {phrase: places for phrase, places in _numbered(choices).items() if phrase not in (("yes",), ("no",))}
    verdict = {True: ("yes",), False: ("no",), None: ()}[yes_no(answer)]
    found = said(answer, known) | {str(place) for place, choice in enumerate(own) if choice and choice == verdict}
    return int(found.pop()) if len(found) == 1 else None


def _contradicted(answer: str, place: int, choices: Sequence[str]) -> bool:
    behind = re.match(r"\s*[(\[]?[A-Za-z][\s.):\]-]+(.*)", answer)
    tail = _bare(behind[1]) if behind else ()
    return any(tail and tail == _bare(choice) for other, choice in enumerate(choices) if other != place)


def _bare(text: str) -> Phrase:
    return words(text.strip().rstrip(".!?"))


NUMBER = r"(?:(?<!\w)[-+])?(?<![\w.])(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?!\.?\w)"
NO_NOUN = (
    r"(?=\s*(?:\Z|[^\w\s]|(?:stars?|points?|out|because|since|due|as|on|for|with|given|which|overall|based|in|and|but)\b))"
)
BETWEEN = (
    r"(?:[^\w.!?;]|\b(?:is|of|as|at|be|would|will|was|about|around|approximately|roughly|from|for|this|the|image|picture|it"
    r"|a|an|overall|quality)\b)*?"
)
STRONG = re.compile(
    rf"(?i)\b(?:score|rating|answer)\b(?:[^\w\n:=]{{0,6}}[:=][^\w.]{{0,6}}?({NUMBER})|{BETWEEN}({NUMBER}){NO_NOUN})"
)
WEAK = re.compile(rf"(?i)\b(?:rate|rated|give|assign|grade|quality|estimate|say)\b{BETWEEN}{NUMBER}{NO_NOUN}")
ALONE = re.compile(
    rf"(?im)\A\W{{0,8}}?{NUMBER}(?!-\w)\s*(?:stars?|points?)?[ \t]*(?=$|[^\w\s)]|\)\s*$)|^[^\w\n]{{0,8}}?{NUMBER}[^\w\n]*$"
)
STEP = re.compile(r"(?m)^[ \t]*([0-9]+)[.)][ \t]+(?=\S)")
RANGE = re.compile(rf"({NUMBER})\s*(?:-|–|—|to|and|through)\s*({NUMBER})")
FRACTION = re.compile(rf"({NUMBER})\s*(?:/|out\s+of)\s*({NUMBER})")
PERCENT = re.compile(rf"({NUMBER})\s*(?:%|percent\b)")


def score(text: str, low: float, high: float) -> float | None:
    """The number that a reply gives as its score; None without one, with two, or outside of [low, high].

    It stands behind *score*, *rating* or *answer*, as "4/5" or "75 out of 100" with ``high`` below, at the beginning, or on a
    line of its own; or, as the only number, behind *rate*, *give*, *quality* and the like. A number of things ("3 dogs") is
    none. Left out are the range repeated ("from 1 to 5"), the numbers of a list, percents but for 0 to 100, and fractions of
    anything but ``high``, which are not rescaled.
    """
    answer = _without_others(re.sub(r"[*_`]", " ", final(text)).replace("−", "-"), low, high)
    found = {float(one or other) for one, other in STRONG.findall(answer)}
    if not found and (WEAK.search(answer) or ALONE.search(answer)):
        found = {float(number) for number in re.findall(NUMBER, answer)}
    return found.pop() if len(found) == 1 and low <= min(found) <= high else None


def _without_others(answer: str, low: float, high: float) -> str:
    """Numbers that are no scores taken out, and a fraction of the highest marked as a score."""
    steps = STEP.findall(answer)
    if steps == [str(number + 1) for number in range(len(steps))]:
        answer = STEP.sub(" ", answer)
    answer = RANGE.sub(lambda own: " " if (float(own[1]), float(own[2])) == (low, high) else own[0], answer)
    answer = FRACTION.sub(lambda own: f" score {own[1]} " if float(own[2]) == high else " ", answer)
    return PERCENT.sub(lambda own: f" {own[1]} " if (low, high) == (0, 100) else " ", answer)


QUOTED = re.compile(r"(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')", re.S)


def json_reply(text: str) -> dict[str, Any] | None:
    """The JSON object of a reply, alone, in a fence or in prose; None for none, several that differ, or a key with two values.

    Single quotes are read where no double quote is between them, commas before a closing bracket are left out, and Python's
    True, False and None are JSON's; if that does not make it JSON, it is none. What is cut off is none.
    """
    answer = final(text)
    fenced = [block for block in re.findall(r"(?s)```\w*\n?(.*?)```", answer) if "{" in block]
    found: list[dict[str, Any]] = []
    for block in fenced or [answer]:
        if (own := _objects(block)) is None:
            return None
        found += own
    return found[0] if found and all(own == found[0] for own in found) else None


def _objects(text: str) -> list[dict[str, Any]] | None:
    """The outermost objects of a text; None where one cannot be read."""
    found: list[dict[str, Any]] = []
    decoder = json.JSONDecoder(object_pairs_hook=_once)
    start = text.find("{")
    while start >= 0:
        try:
            own, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            mended = _mended(text[start : text.rfind("}") + 1])
            return None if mended is None else [*found, mended]
        found.append(own)
        start = text.find("{", end)
    return found


def _mended(text: str) -> dict[str, Any] | None:
    pieces = QUOTED.split(text)
    pieces[::2] = [_plain(piece) for piece in pieces[::2]]
    pieces[1::2] = [f'"{own[1:-1]}"' if own[0] == "'" and '"' not in own else own for own in pieces[1::2]]
    try:
        return dict(json.loads("".join(pieces), object_pairs_hook=_once))
    except (ValueError, RecursionError):
        return None


def _plain(outside: str) -> str:
    """What stands between quoted pieces, in JSON's words and without commas before a closing bracket."""
    for python, plain in ((r",(\s*[}\]])", r"\1"), (r"\bTrue\b", "true"), (r"\bFalse\b", "false"), (r"\bNone\b", "null")):
        outside = re.sub(python, plain, outside)
    return outside


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if any(found[key] != value for key, value in pairs):
        raise ValueError("a key has two values")
    return found


def distortion_json(text: str, question: Question, severities: Sequence[str]) -> tuple[str, int | None]:
    """Class and severity of a JSON reply, as Q-Insight asks for them (Li et al. 2025).

    Args:
        text: the reply; its keys ``distortion_class`` and ``severity`` are read, in any order and case.
        question: the classes; null is clean.
        severities: words for the levels, from the least severe.

    Returns:
        Class or ``unparsed``, and the level from 1; None where no one word of them is said. A number is no word.
    """
    found = {re.sub(r"[\s-]", "_", key.strip().lower()): value for key, value in (json_reply(text) or {}).items()}
    kind, severity = found.get("distortion_class", ""), found.get("severity")
    kinds = ["null" if one is None else one for one in (kind if isinstance(kind, list) else [kind])]
    label = named("\n".join(kinds), question) if all(isinstance(one, str) for one in kinds) else UNPARSED
    place = level(severity, severities) if isinstance(severity, str) else None
    return label, None if place is None else place + 1
