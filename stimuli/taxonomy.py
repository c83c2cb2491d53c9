"""Taxonomies: from fine distortion types to the classes a model is asked about. Data files, not code; schema in ``docs``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from stimuli.errors import InputError
from stimuli.types import Stimulus

FOLDER = Path(__file__).parent / "data" / "taxonomies"
CLEAN = "clean"
LEVELS = (1, 2, 3, 4, 5)
Parts = Iterable[Sequence[Any]]
"""(type, level) of each distortion of a mixture."""


@dataclass(frozen=True)
class Taxonomy:
    """Answer classes, the distortion types that belong to each, and how the classes are said."""

    name: str
    classes: tuple[str, ...]
    """In the order of every table and confusion matrix; ``clean``, where present, stands for undistorted images."""
    types: Mapping[str, str | Mapping[int, str]]
    """Distortion type to class, or to a class per published level; types and levels that are not listed have no class.
    ``dataset/type`` holds for one dataset only and goes before ``type``."""
    source: str = ""
    """Who the classes and the mapping are from."""
    ours: bool = False
    """Whether the mapping, or a part of it that ``source`` names, is Snellen's own."""
    wordings: Mapping[str, str] = field(default_factory=dict)
    """Class to the answer that names it; every class has one."""
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Class to further words that open answers may name it by."""
    excluded: Mapping[str, str] = field(default_factory=dict)
    """Types (as in ``types``), or patterns of types (``pipal_*``), that were left out on purpose, with the reason."""
    own_types: tuple[str, ...] = ()
    """Types that Snellen does not know, as in a user's own CSV."""

    def label(self, stimulus: Stimulus) -> str | None:
        """The class of a stimulus, or None where the taxonomy has none for it (see ``label_of``)."""
        s = stimulus
        return self.label_of(s.type, s.is_identity, s.level, parts=s.parts, source=s.source, parameter=s.signed_param)

    def label_of(
        self,
        type: str | None,
        is_identity: bool = False,
        level: int | None = None,
        *,
        parts: Parts = (),
        source: str | None = None,
        parameter: float | None = None,
    ) -> str | None:
        """The class of a distortion; None for what is not listed, and for a level that changes nothing.

        Args:
            type: the distortion, None for a clean image.
            is_identity: whether the image is as it was.
            level: 1 to 5.
            parts: (type, level) of each distortion of a mixture, which has a class only if all of them have the same one.
            source: the dataset.
            parameter: the published parameter, which tells the published level where levels were reordered.
        """
        if type is None:
            return CLEAN if CLEAN in self.classes else None
        if is_identity:
            return None
        given = list(parts) or [(type, _published(type, level, parameter))]
        found = {self._class(own, at, source) for own, at in given}
        return found.pop() if len(found) == 1 else None

    def _class(self, type: str, level: Any, source: str | None) -> str | None:
        for name in (f"{source}/{type}", type):
            if name in self.excluded:
                return None
            if name in self.types:
                own = self.types[name]
                return own if isinstance(own, str) else own.get(level)
        return None

    def types_of(self, label: str) -> tuple[str, ...]:
        """The types that have a class at one level at least, in file order; not all of them can be generated."""
        return tuple(type for type in self.types if self.levels_of(type, label))

    def levels_of(self, type: str, label: str) -> tuple[int, ...]:
        """The published levels at which a type has a class, ascending; empty where it never has."""
        own = self.types.get(type)
        return tuple(level for level in LEVELS if label == (own.get(level) if isinstance(own, Mapping) else own))

    def why_excluded(self, type: str) -> str | None:
        """The reason for which a type was left out, or None."""
        return next((reason for pattern, reason in self.excluded.items() if fnmatchcase(type, pattern)), None)


def _published(type: str, level: int | None, parameter: float | None) -> int | None:
    """The level at which a parameter was published; the given one where the type or the parameter is not known."""
    if parameter is None:
        return level
    from stimuli.distortions import TYPES

    known = TYPES[type].parameters if type in TYPES else ()
    return known.index(parameter) + 1 if parameter in known else level


def known() -> tuple[str, ...]:
    """The names of the taxonomies that ship with Snellen."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def taxonomy(name: str | Path) -> Taxonomy:
    """Load a taxonomy by name, or a user's own from a YAML file.

    Raises:
        InputError: unknown name, unreadable file, or an entry that cannot be used (file and key are named).
    """
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        raise InputError(
            f"Unknown taxonomy '{name}'. Known taxonomies: {', '.join(known())}. "
            "Use one of these, or give the path of a YAML file with the keys name, classes and types."
        )
    from stimuli.taxonomy_files import read

    return read(path)
