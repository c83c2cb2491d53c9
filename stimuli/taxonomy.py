"""Taxonomies: from fine distortion types to the classes a model is asked about. Data files, not code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from stimuli.errors import InputError
from stimuli.types import Stimulus

FOLDER = Path(__file__).parent / "data" / "taxonomies"
CLEAN = "clean"


@dataclass(frozen=True)
class Taxonomy:
    """Answer classes and the distortion types that belong to each."""

    name: str
    classes: tuple[str, ...]
    """In the order of every table and confusion matrix; ``clean``, where present, stands for undistorted images."""
    types: Mapping[str, str]
    """Distortion type to class; a type that is not listed has no class."""

    def label(self, stimulus: Stimulus) -> str | None:
        """The class of a stimulus, or None where the taxonomy has none for it (unlisted type, identity level)."""
        return self.label_of(stimulus.type, stimulus.is_identity)

    def label_of(self, type: str | None, is_identity: bool = False) -> str | None:
        """The class of a type; None for an unlisted type or for a level that changes nothing."""
        if type is None:
            return CLEAN if CLEAN in self.classes else None
        return None if is_identity else self.types.get(type)

    def types_of(self, label: str) -> tuple[str, ...]:
        """The types of one class, in file order."""
        return tuple(type for type, name in self.types.items() if name == label)


def known() -> tuple[str, ...]:
    """The names of the taxonomies that ship with Snellen."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def taxonomy(name: str | Path) -> Taxonomy:
    """Load a taxonomy by name, or a user's own from a YAML file with ``name``, ``classes`` and ``types``.

    Raises:
        InputError: unknown name, unreadable file, or a type mapped to a class that is not listed.
    """
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        raise InputError(
            f"Unknown taxonomy '{name}'. Known taxonomies: {', '.join(known())}. "
            "Use one of these, or give the path of a YAML file with the keys name, classes and types."
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        result = Taxonomy(str(content["name"]), tuple(content["classes"]), dict(content["types"]))
    except (yaml.YAMLError, KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
        raise InputError(
            f"The taxonomy file {path} cannot be used ({type(error).__name__}: {error}). "
            "Expected YAML with name: text, classes: list, types: {type: class}."
        ) from error
    strangers = sorted(set(result.types.values()) - set(result.classes))
    if strangers:
        raise InputError(
            f"The taxonomy '{result.name}' maps types to {', '.join(strangers)}, which its classes do not list. "
            f"Classes are {', '.join(result.classes)}: add the missing ones or correct the mapping."
        )
    return result
