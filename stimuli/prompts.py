"""Prompts, published and ours, and their paraphrases: read strictly from ``data/prompts.yaml`` or from a user's own file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from math import isfinite
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Literal

from stimuli.errors import InputError
from stimuli.taxonomy_files import _close
from stimuli.yaml_files import read_yaml

FILE = Path(__file__).parent / "data" / "prompts.yaml"
OWN = "the user's own file"
PLACES = ("question", "options", "classes", "severities", "wording")
_PLACE = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Prompt:
    """What is asked, how the answer begins, and which words are looked for; `fill` makes it the text to ask."""

    name: str
    text: str
    """With places in braces: any of `PLACES`."""
    prefix: str = ""
    """How the answer begins: words put into the model's mouth."""
    options: tuple[str, ...] = ()
    """The answers whose likelihoods are compared; empty where the model answers freely, and where the options are the caller's."""
    weights: tuple[float, ...] = ()
    """What each option counts: a score is their mean under the probabilities of the options. Empty where none is published."""
    source: str = ""
    """Paper and, after a semicolon, the public file that has the text."""
    ours: bool = False
    """Whether the wording, or a part of it that ``source`` names, is Snellen's own."""
    question: str = ""
    """What fills the place of that name unless another is given."""
    system: str = ""
    """The system message that belongs to the prompt."""
    severities: tuple[str, ...] = ()
    """Words for the levels 1, 2, …"""
    scale: tuple[float, float] | None = None
    """Lowest and highest of a number that is asked for."""
    images: int = 1
    """How many are shown."""
    note: str = ""
    """Where the published use differs from a question behind its image, and anything else a reader of a result should know."""

    @property
    def places(self) -> tuple[str, ...]:
        """The places of the text, in order."""
        return tuple(dict.fromkeys(_PLACE.findall(self.text)))

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


@dataclass(frozen=True)
class ParaphraseSet:
    """Questions that ask the same in other words."""

    name: str
    texts: tuple[str, ...] = field(repr=False)
    source: str = ""
    ours: bool = False


def known(kind: Literal["prompts", "paraphrases"] = "prompts") -> tuple[str, ...]:
    """The names of what ships with Snellen: ``prompts`` or ``paraphrases``."""
    return tuple(_shipped()[kind])


def prompt(name: str | Path) -> Prompt:
    """A prompt by name, or a user's own from a YAML file with the key ``text`` (schema in ``docs/prompts.md``).

    Raises:
        InputError: unknown name, unreadable file, or an entry that cannot be used (file and key are named).
    """
    return _entry("prompts", name).prompt()


def paraphrase_set(name: str | Path) -> ParaphraseSet:
    """Paraphrases with their source, by name or from a user's YAML file with the key ``texts``.

    Raises:
        InputError: as `prompt`.
    """
    return _entry("paraphrases", name).paraphrases()


def paraphrases(name: str | Path) -> tuple[str, ...]:
    """The questions of a `paraphrase_set`, each to be given to `fill` as the question of a prompt."""
    return paraphrase_set(name).texts


def fill(
    prompt: Prompt,
    *,
    question: str = "",
    options: Sequence[str] = (),
    classes: Sequence[str] = (),
    severities: Sequence[str] = (),
    wording: str = "",
) -> str:
    """The text of a prompt with its places filled.

    Args:
        prompt: what to ask.
        question: instead of the prompt's own, such as a paraphrase.
        options: wordings, put as ``A. …`` on lines of their own.
        classes: wordings of the distortions, put as a quoted list; without that of clean, for which `json` has ``null``.
        severities: words from least to most severe, instead of the prompt's own.
        wording: that of the one class which is asked about.

    Raises:
        InputError: a place without anything to fill it, something given that has no place, or options that cannot be lettered.
    """
    own: dict[str, Any] = {"question": prompt.question, "severities": prompt.severities}
    given: dict[str, Any] = dict(zip(PLACES, (question, options, classes, severities, wording), strict=True))
    for place, words in given.items():
        if words and place not in prompt.places:
            raise _unfilled(prompt, f"{place} was given, but its text has no place {{{place}}}", f"Leave {place} out")
        if place in prompt.places and not words and not own.get(place):
            raise _unfilled(prompt, f"nothing was given for its place {{{place}}}", f"Give {place}=…")
        if isinstance(words, str) and words and place in ("options", "classes", "severities"):
            raise _unfilled(prompt, f"{place} is the text {words!r} rather than a list", f"Give {place}=[…]")
    put = {"options": _lettered, "classes": _quoted, "severities": _quoted}
    words = {place: put.get(place, str)(given[place] or own[place]) for place in prompt.places}
    return _PLACE.sub(lambda found: words[found[1]], prompt.text)


def letters(count: int) -> tuple[str, ...]:
    """A, B, … for so many options.

    Raises:
        InputError: more options than letters.
    """
    if count > len(ascii_uppercase):
        raise InputError(f"{count} options cannot be lettered. Expected at most 26, A to Z. Ask for fewer classes at a time.")
    return tuple(ascii_uppercase[:count])


def _lettered(words: Sequence[str]) -> str:
    if len(set(words)) < len(words):
        raise InputError(f"Some of the options {', '.join(words)} are the same. Expected every option once. Remove the others.")
    return "\n".join(f"{letter}. {word}" for letter, word in zip(letters(len(words)), words, strict=True))


def _quoted(words: Sequence[str]) -> str:
    """`"a", "b", or "c"`."""
    *rest, last = [f'"{word}"' for word in words]
    return f"{', '.join(rest)}{',' * (len(rest) > 1)} or {last}" if rest else last


def _unfilled(prompt: Prompt, came: str, do: str) -> InputError:
    places = ", ".join(prompt.places) or "none"
    return InputError(f"The prompt '{prompt.name}' cannot be filled: {came}. Expected words for its places: {places}. {do}.")


@cache
def _shipped() -> dict[str, dict[str, Any]]:
    return dict(_content(FILE))


def _content(path: Path) -> Any:
    try:
        return read_yaml(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"The prompt file {path} cannot be used: {' '.join(str(error).split())}. "
            "Expected YAML with text: what to ask, or texts: a list of paraphrases. Correct the file."
        ) from error


def _end(sentence: str) -> str:
    return sentence if sentence.endswith("?") else f"{sentence}."


def _entry(kind: str, name: str | Path) -> _Entry:
    shipped = _shipped()[kind]
    if name in shipped:
        return _Entry(FILE, f"{kind}, {name}, ", str(name), shipped[name])
    path = Path(name)
    if not path.is_file():
        what, key = ("prompt", "text") if kind == "prompts" else ("set of paraphrases", "texts")
        came = _end(f"Unknown {what} '{name}'{_close(str(name), shipped)}")
        do = f"Use one of these, or give the path of a YAML file with the key {key}."
        raise InputError(f"{came} Known: {', '.join(shipped)}. {do}")
    return _Entry(path, "", path.stem, _content(path))


@dataclass(frozen=True)
class _Entry:
    """An entry of a file and what is expected of it; every method raises InputError where the expectation fails."""

    path: Path
    where: str
    """The entry's place in the file, before its keys."""
    name: str
    """Unless the entry has one."""
    content: Any

    def refuse(self, key: str, came: str, expected: str) -> InputError:
        return InputError(
            f"The prompt file {self.path} cannot be used. {self.where}{key}: {_end(came)} Expected {expected}. Correct the file."
        )

    def prompt(self) -> Prompt:
        self.check_keys(tuple(Prompt.__dataclass_fields__), "text")
        found = Prompt(
            name=self.text("name", self.name),
            text=self.text("text"),
            prefix=self.text("prefix", ""),
            options=self.texts("options"),
            weights=self.numbers("weights"),
            source=self.text("source", OWN),
            ours=self.one_of("ours", (False, True), "true or false"),
            question=self.text("question", ""),
            system=self.text("system", ""),
            severities=self.texts("severities"),
            scale=self.scale(),
            images=self.one_of("images", (1, 2), "1 or 2"),
            note=self.text("note", ""),
        )
        self.check_places(found)
        if len(found.weights) not in (0, len(found.options)):
            came = f"{len(found.weights)} for {len(found.options)} options"
            raise self.refuse("weights", came, "one for each option, or none")
        return found

    def paraphrases(self) -> ParaphraseSet:
        self.check_keys(tuple(ParaphraseSet.__dataclass_fields__), "texts")
        texts = self.texts("texts")
        if not texts:
            raise self.refuse("texts", "there are none", "at least one")
        ours = self.one_of("ours", (False, True), "true or false")
        return ParaphraseSet(self.text("name", self.name), texts, self.text("source", OWN), ours)

    def check_keys(self, keys: Sequence[str], needed: str) -> None:
        if not isinstance(self.content, Mapping):
            raise self.refuse("The entry", f"got {self.content!r}", "keys and their values")
        for key in self.content:
            if key not in keys:
                raise self.refuse(str(key), f"this key is not known{_close(str(key), keys)}", f"only {', '.join(keys)}")
        if needed not in self.content:
            raise self.refuse(needed, "this key is missing", f"the key {needed}")

    def check_places(self, found: Prompt) -> None:
        """Places are known, and what is given for a place has one."""
        for place in found.places:
            if place not in PLACES:
                came = f"there is no place {{{place}}}{_close(place, PLACES)}"
                raise self.refuse("text", came, f"only {', '.join(PLACES)} in braces")
        for key in ("question", "severities"):
            if getattr(found, key) and key not in found.places:
                raise self.refuse(key, f"the text has no place {{{key}}}", "a text that has it, or no such key")

    def text(self, key: str, default: str | None = None) -> str:
        """Text as it is: blanks and line breaks at its ends are part of a prompt."""
        return default if default is not None and key not in self.content else self.checked_text(key, self.content[key])

    def checked_text(self, key: str, value: object) -> str:
        if isinstance(value, str) and value.strip():
            return value
        raise self.refuse(key, f"{value!r} is not text", "text; quote what YAML reads as something else: no, null, on, numbers")

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.content.get(key, [])
        if not isinstance(value, list):
            raise self.refuse(key, f"got {value!r}", "a list, as in [one, another]")
        found = tuple(self.checked_text(key, item) for item in value)
        twice = next((item for item, count in Counter(found).items() if count > 1), None)
        if twice is not None:
            raise self.refuse(key, f"'{twice}' is listed twice", "each once")
        return found

    def numbers(self, key: str) -> tuple[float, ...]:
        value = self.content.get(key, [])
        if not isinstance(value, list) or not all(type(item) in (int, float) and isfinite(item) for item in value):
            raise self.refuse(key, f"got {value!r}", "a list of numbers, as in [1, 0.5, 0]")
        return tuple(float(item) for item in value)

    def scale(self) -> tuple[float, float] | None:
        found = self.numbers("scale")
        if found and (len(found) != 2 or not found[0] < found[1]):
            raise self.refuse("scale", f"got {self.content['scale']!r}", "the lowest and the highest number, as in [1, 5]")
        return (found[0], found[1]) if found else None

    def one_of(self, key: str, allowed: tuple[Any, ...], expected: str) -> Any:
        value = self.content.get(key, allowed[0])
        if type(value) is not type(allowed[0]) or value not in allowed:
            raise self.refuse(key, f"got {value!r}", expected)
        return value
