"""What was found in a set of stimuli, as lines of plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stimuli.types import StimulusSet

SHOWN = 3
"""How many names a line gives."""
WORDS = {
    "missing": "listed but not there, left out",
    "unlisted": "there but not listed, left out",
    "duplicates": "rows repeated an earlier one and were dropped",
    "repeated_references": "entries repeat a reference and were left out",
    "without_subset": "images belong to no subset",
}


def summary_lines(stimuli: StimulusSet) -> list[str]:
    """Name, size, types and scores of a set, and everything unusual that its ``info`` tells; what is as it should be is not said."""
    info = stimuli.info
    return [*_contents(stimuli), *_unusual(info), *_images(info.get("images", {}))]


def _contents(stimuli: StimulusSet) -> Iterator[str]:
    yield f"{stimuli.name}: {len(stimuli)} images of {len(stimuli.references)} references"
    types: dict[str, int] = {}
    for stimulus in stimuli:
        types[stimulus.type or "clean"] = types.get(stimulus.type or "clean", 0) + 1
    yield "types: " + ", ".join(f"{type} {count}" for type, count in types.items())
    score = stimuli.info.get("mos")
    if score and score["range"]:
        low, high = score["range"]
        turned = ", sign turned" if score["original_direction"] == "lower is better" else ""
        yield f"score: {score['unit']}, {score['original_direction']}{turned}; from {low:g} to {high:g}"


def _unusual(info: Mapping[str, Any]) -> Iterator[str]:
    for what, counts in info.get("incomplete", {}).items():
        yield f"incomplete: {counts['found']} of {counts['expected']} {what}"
    for key, words in WORDS.items():
        found = info.get(key)
        if isinstance(found, Mapping) and found["count"]:
            yield f"{key}: {found['count']} images are {words}{_names(found)}"
        elif isinstance(found, int) and found:
            yield f"{key.replace('_', ' ')}: {found} {words}"
    if info.get("extra_columns"):
        yield f"extra columns, not read: {', '.join(info['extra_columns'])}"


def _images(found: Mapping[str, Any]) -> Iterator[str]:
    for problem in ("missing", "unreadable"):
        if found.get(problem, {}).get("count"):
            yield f"{problem}: {found[problem]['count']} images cannot be read{_names(found[problem])}"
    for kind, tally in found.get("converted", {}).items():
        yield f"converted when read: {tally['count']} images, {kind}{_names(tally)}"


def _names(tally: Mapping[str, Any]) -> str:
    """``(a, b, c, …)``."""
    names = list(tally["first"][:SHOWN])
    return f" ({', '.join(names)}{', …' if tally['count'] > len(names) else ''})"
