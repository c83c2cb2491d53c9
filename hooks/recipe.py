"""What the activations of a folder are of, and whether two runs are of the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hooks import manifest, records
from stimuli.errors import InputError

FORMAT = 3
"""Version of the layout of a store."""
CONFIG = "config.json"


def recipe(folder: Path) -> dict[str, Any]:
    """What the activations of a folder are of.

    Raises:
        InputError: the folder holds no activations, those of another version of the format, or the recipe is damaged.
    """
    path = folder / CONFIG
    if not path.is_file() and not (folder / manifest.PARTS).is_dir():
        raise InputError(
            f"The folder {folder} holds no activations (no {CONFIG}). Expected a folder that sn.extract or "
            "`snellen extract --out` wrote. Check the path."
        )
    config = records.load(path)
    if config is None and damaged_recipe(path):
        state = "damaged: its checksum does not hold" if path.is_file() else "missing"
        raise InputError(
            f"{path} is {state}. Expected it as it was written. `snellen repair {folder}` writes it "
            "again from the copies beside the activations; so does the same extraction."
        )
    if config is None:
        config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("format") != FORMAT:
        raise InputError(
            f"The activations in {folder} have format {config.get('format', 1)}; this version of Snellen reads format {FORMAT}. "
            f"Extract them again into another folder. Their recipe: {json.dumps(config, ensure_ascii=False)}"
        )
    sites = config.get("sites")
    if not isinstance(sites, list) or not all(isinstance(site, str) for site in sites):
        raise InputError(f"{path} names the sites {sites!r:.200}. Expected a list of names. Do not trust it, or extract again.")
    return config


def damaged_recipe(path: Path) -> bool:
    """Whether a ``config.json`` without a sound checksum is damaged, rather than one of an early format, which had none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return records.CRC in found or found.get("format", 1) not in (1, 2)
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return True


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """How two configs differ, as text: ``seed: 0 → 1; levels: [1] → [3]``; empty if they do not."""
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return "; ".join(f"{key}: {old.get(key)!r} → {new.get(key)!r}" for key in keys)


def refuse_other(old: Mapping[str, Any], new: Mapping[str, Any], folder: Path) -> None:
    """Refuse to mix activations of two recipes.

    Raises:
        InputError: the recipes differ; the difference and both are shown.
    """
    new = json.loads(json.dumps(new))
    changed = difference(old, new)
    if changed:
        raise InputError(
            f"The folder {folder} holds activations of another run ({changed}). Give another --out, or repeat with the same "
            f"settings to resume; nothing was overwritten.\nRecipe there: {json.dumps(old, ensure_ascii=False)}\n"
            f"Recipe now:   {json.dumps(new, ensure_ascii=False)}"
        )
