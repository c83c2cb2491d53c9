"""The questions put to a model, read from ``data/questions.yaml``: prompt, wordings of the answers, synonyms, source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from stimuli.errors import InputError
from stimuli.taxonomy import taxonomy as load_taxonomy

FILE = Path(__file__).parent / "data" / "questions.yaml"


@dataclass(frozen=True)
class Question:
    """One question: what is asked, and how each possible answer is worded."""

    name: str
    prompt: str
    options: Mapping[str, str]
    """Class to wording, in the taxonomy's order; empty for an open question."""
    synonyms: Mapping[str, tuple[str, ...]]
    """Class to further wordings that the parser of open answers accepts, as whole words."""
    source: str


@cache
def _file() -> dict[str, Any]:
    return dict(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def question(name: str, taxonomy: str | Path = "paper8") -> Question:
    """A question by name (``distortion``, ``describe``, ``quality``); that about distortions has a taxonomy's answers.

    Raises:
        InputError: unknown question or taxonomy.
    """
    if name not in _file():
        raise InputError(f"Unknown question '{name}'. Known questions: {', '.join(_file())}. Use one of these.")
    entry = _file()[name]
    prompt, source = str(entry["prompt"]), str(entry["source"])
    if not entry.get("by_taxonomy"):
        options = dict(entry.get("options", {}))
        return Question(name, prompt, options, {label: () for label in options}, source)
    chosen = load_taxonomy(taxonomy)
    options = {label: chosen.wordings[label] for label in chosen.classes}
    synonyms = {label: chosen.synonyms.get(label, ()) for label in chosen.classes}
    return Question(name, prompt, options, synonyms, f"{source}; answers: {chosen.source}")
