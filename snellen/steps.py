"""What the smaller commands do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stimuli.errors import InputError
from stimuli.sets import distorted_set, exam_set, from_csv, images_in
from stimuli.tables import write_csv
from stimuli.types import StimulusSet


def chosen_set(images: str, references: int, levels: Sequence[int], seed: int) -> StimulusSet:
    """The built-in set, a CSV of labelled images, or a folder of pristine images (which are distorted)."""
    if images == "embedded":
        return exam_set(references, levels=levels, seed=seed)
    if images.lower().endswith(".csv"):
        return from_csv(images)
    root = Path(images)
    files = {path.relative_to(root).as_posix(): path for path in images_in(root)[:references]}
    return distorted_set(files, levels=levels, seed=seed, measure=False, name=root.name)


def write_stimuli(out: Path, references: int, levels: Sequence[int], seed: int, design: Any) -> int:
    """Write PNG files and ``stimuli.csv``, readable by ``from_csv``; returns how many."""
    from PIL import Image

    shown = exam_set(references, levels=levels, seed=seed, design=design)
    (out / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for stimulus in shown:
        name = f"images/{stimulus.id}.png"
        Image.fromarray(stimulus.image).save(out / name)
        rows.append({"image": name, **stimulus.metadata(), "attributes": json.dumps(dict(stimulus.attributes))})
    write_csv(rows, out / "stimuli.csv")
    return len(rows)


def redraw(folder: Path) -> Path:
    """Figures and report from ``results.json``."""
    from analysis.figures import draw_all
    from analysis.report import render

    results = folder / "results.json"
    if not results.is_file():
        raise InputError(f"{folder} holds no finished exam (no results.json). Run `snellen exam --out {folder}` first.")
    found = json.loads(results.read_text())
    return render(found, folder, draw_all(found, folder / "figures"))


def verify(folder: Path, *, drop: bool = False, progress: bool = False) -> tuple[list[str], int, int]:
    """Problems of every store at or below a folder, how many stores there are, and how many stimuli were taken out."""
    from hooks.compact import damaged
    from hooks.compact import drop as take_out

    stores = sorted(path.parent for path in folder.rglob("config.json") if "sites" in json.loads(path.read_text()))
    if not stores:
        raise InputError(f"There are no activations at or below {folder} (no config.json of a store). Check the path.")
    found = {store: [problem for _, problem in damaged(store, progress=progress)] for store in stores}
    dropped = sum(take_out(store) for store, problems in found.items() if drop and problems)
    return [f"{store.name}: {problem}" for store, problems in found.items() for problem in problems], len(stores), dropped


def named_prompts(given: Sequence[str]) -> str | dict[str, str] | None:
    """One question, or several as ``NAME=QUESTION``.

    Raises:
        InputError: several, of which one has no name.
    """
    if len(given) < 2:
        return given[0] if given else None
    pairs = [text.partition("=") for text in given]
    if not all(equals for _, equals, _ in pairs):
        raise InputError(
            f"Got --prompt {len(given)} times; expected NAME=QUESTION each, such as --prompt 'what=What is shown?'."
        )
    return {name.strip(): question for name, _, question in pairs}
