"""Taxonomy files: YAML read strictly, every entry checked, every refusal naming file and key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import combinations
from pathlib import Path
from typing import Any

from stimuli.errors import InputError
from stimuli.taxonomy import CLEAN, LEVELS, Taxonomy
from stimuli.yaml_files import read_yaml

KEYS = ("name", "source", "ours", "classes", "types", "wordings", "synonyms", "excluded", "own_types")
NEEDED = ("name", "classes", "types")


def read(path: Path) -> Taxonomy:
    """A taxonomy from a file.

    Raises:
        InputError: the file cannot be read, or an entry cannot be used.
    """
    try:
        content = read_yaml(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"The taxonomy file {path} cannot be used: {' '.join(str(error).split())}. "
            "Expected YAML with name: text, classes: list, types: {type: class}. Correct the file."
        ) from error
    file = _File(path)
    result = file.entries(content)
    file.check_classes(result)
    file.check_types(result)
    file.check_words(result)
    return result


@dataclass(frozen=True)
class _File:
    """A file and what is expected of it; every method raises InputError where the expectation fails."""

    path: Path

    def refuse(self, key: str, came: str, expected: str) -> InputError:
        return InputError(
            f"The taxonomy file {self.path} cannot be used. {key}: {came}. Expected {expected}. Correct the file."
        )

    def entries(self, content: object) -> Taxonomy:
        """The file's content as it is, of the right kinds, with a wording for every class."""
        own = self.mapping("The file", content)
        for key in own:
            if key not in KEYS:
                raise self.refuse(key, f"this key is not known{_close(key, KEYS)}", f"only {', '.join(KEYS)}")
        missing = [key for key in NEEDED if key not in own]
        if missing:
            raise self.refuse(missing[0], "this key is missing", f"the keys {', '.join(NEEDED)}")
        classes = self.texts("classes", own["classes"])
        given = self.text_by_key("wordings", own.get("wordings", {}))
        return Taxonomy(
            self.text("name", own["name"]),
            classes,
            {type: self.class_of(type, label) for type, label in self.mapping("types", own["types"]).items()},
            self.text("source", own.get("source", "the user's own file")),
            self.flag("ours", own.get("ours", False)),
            {**{label: label.replace("_", " ") for label in classes}, **given},
            {k: self.texts(f"synonyms, {k}", v) for k, v in self.mapping("synonyms", own.get("synonyms", {})).items()},
            self.text_by_key("excluded", own.get("excluded", {})),
            self.texts("own_types", own.get("own_types", [])),
        )

    def check_classes(self, found: Taxonomy) -> None:
        """Every class named anywhere is listed, and has a type."""
        if not found.classes:
            raise self.refuse("classes", "there are none", "at least one")
        used = {label for own in found.types.values() for label in (own.values() if isinstance(own, Mapping) else [own])}
        for key, labels in (("types", used), ("wordings", found.wordings), ("synonyms", found.synonyms)):
            for label in sorted(set(labels) - set(found.classes)):
                came = f"'{label}' is not among the classes{_close(label, found.classes)}"
                raise self.refuse(key, came, f"one of {', '.join(found.classes)}")
        for label in found.classes:
            if label not in used and label != CLEAN:
                raise self.refuse("types", f"the class '{label}' has no type", f"a type for every class but {CLEAN}")

    def check_types(self, found: Taxonomy) -> None:
        """Every type is known, or the user's own, and either mapped or excluded."""
        from stimuli.distortions import TYPES
        from stimuli.readers.names import DATASET_TYPES

        known = {*TYPES, *DATASET_TYPES, *found.own_types}
        for key, names in (("types", found.types), ("excluded", found.excluded)):
            for name in names:
                bare = name if name in known else name.rpartition("/")[2]
                if bare not in known and not (key == "excluded" and any(fnmatchcase(type, name) for type in known)):
                    came = f"the type '{name}' is not known{_close(bare, known)}"
                    raise self.refuse(
                        key, came, "a type that can be generated or that a dataset has, or one listed in own_types"
                    )
        for type in found.types:
            if found.why_excluded(type) is not None:
                raise self.refuse("excluded", f"the type '{type}' has a class, too", "a type in one of the two")

    def check_words(self, found: Taxonomy) -> None:
        """No word names two classes."""
        words = {
            label: {_plain(word) for word in (found.wordings[label], *found.synonyms.get(label, ()))} for label in found.classes
        }
        for one, other in combinations(found.classes, 2):
            for word in sorted(words[one] & words[other]):
                raise self.refuse("wordings", f"'{word}' names both '{one}' and '{other}'", "different words for each class")

    def class_of(self, type: str, own: object) -> str | dict[int, str]:
        """The class of a type, or its class per level."""
        if not isinstance(own, Mapping):
            return self.text(f"types, {type}", own)
        if not own:
            raise self.refuse(f"types, {type}", "no level is given", "a class, or a class per level")
        for level in own:
            if isinstance(level, bool) or level not in LEVELS:
                raise self.refuse(f"types, {type}", f"there is no level {level!r}", "levels from 1 to 5")
        return {level: self.text(f"types, {type}, level {level}", label) for level, label in own.items()}

    def mapping(self, key: str, value: object) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise self.refuse(key, f"got {value!r}", "keys and their values")
        return {self.text(key, name): own for name, own in value.items()}

    def text_by_key(self, key: str, value: object) -> dict[str, str]:
        return {name: self.text(f"{key}, {name}", own) for name, own in self.mapping(key, value).items()}

    def texts(self, key: str, value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise self.refuse(key, f"got {value!r}", "a list, as in [one, another]")
        found = tuple(self.text(key, item) for item in value)
        twice = next((item for item, count in Counter(found).items() if count > 1), None)
        if twice is not None:
            raise self.refuse(key, f"'{twice}' is listed twice", "each name once")
        return found

    def text(self, key: str, value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self.refuse(
                key, f"{value!r} is not text", "text; YAML reads no, null, on and numbers as something else, so quote them"
            )
        return value.strip()

    def flag(self, key: str, value: object) -> bool:
        if not isinstance(value, bool):
            raise self.refuse(key, f"got {value!r}", "true or false")
        return value


def _close(word: str, known: Iterable[str]) -> str:
    """A hint at what may have been meant."""
    found = get_close_matches(word, list(known), n=3)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _plain(word: str) -> str:
    return " ".join(word.lower().split())
