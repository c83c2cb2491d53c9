"""What the smaller commands do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snellen.sources import BUILTIN, chosen_set, pristine
from stimuli.errors import InputError
from stimuli.splits import Split, split
from stimuli.tables import read_json, write_csv
from stimuli.types import StimulusSet


def redraw(folder: Path) -> Path:
    """Figures and report from ``results.json``."""
    from jinja2 import TemplateError
    from joblib import cpu_count

    from analysis.figures import exam_figures, written
    from analysis.report import render

    results = folder / "results.json"
    if not results.is_file():
        raise InputError(f"{folder} holds no finished exam (no results.json). Run `snellen exam --out DIR` and give DIR.")
    found = read_json(results, "the results of a finished exam")
    try:
        return render(found, folder, written(exam_figures(found), folder / "figures", workers=cpu_count()))
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, TemplateError) as error:
        raise InputError(
            f"{results} cannot be drawn ({type(error).__name__}: {error}). Expected what an exam of this version wrote. Run the exam again."
        ) from error


def verify(folder: Path, *, progress: bool = False) -> tuple[list[str], int]:
    """Problems of every store at or below a folder, and how many stores there are."""
    from hooks.damage import damages, stores

    below = stores(folder)
    return [f"{store.name}: {found}" for store in below for found in damages(store, progress=progress)], len(below)


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


def write_stimuli(
    out: Path, images: str, references: int, levels: Sequence[int], seed: int, how: Mapping[str, Any], *, mixed: bool = False,
    shares: str | None = None, sheet: bool = False, progress: bool = False,
) -> list[str]:  # fmt: skip
    """Write a set to disk; what to tell the user.

    Args:
        out: folder.
        images: as ``--images``.
        references: how many.
        levels: published levels.
        seed: of everything.
        how: further arguments of ``exam_set``.
        mixed: two distortions at once.
        shares: train, validation and test, comma-separated; adds ``splits.csv``.
        sheet: draw a contact sheet.
        progress: show progress bars.

    Raises:
        InputError: nothing to show, or another set in the folder.
    """
    from stimuli.disk import save
    from stimuli.taxonomy import taxonomy as load_taxonomy

    chosen = None if mixed else load_taxonomy(how["taxonomy"])
    if mixed:
        shown = _mixed(images, references, levels, seed, how, progress)
    else:
        shown = chosen_set(images, references, levels, seed, progress=progress, **{"measure": True, **how})
    dealt = None if shares is None else _split(shown, shares, seed, None if mixed else how["taxonomy"])
    save(shown, out, taxonomy=chosen, workers=how["workers"], progress=progress)
    lines = [f"{len(shown)} stimuli of {len(shown.references)} references in {out}"]
    if "dataset" in shown.info:
        from stimuli.readers.report import summary_lines

        lines += summary_lines(shown)[1:]
    if dealt is not None:
        write_csv(
            [{"id": s.id, "reference": s.reference, "part": part} for part, own in dealt.parts.items() for s in own],
            out / "splits.csv",
        )
        lines += str(dealt).splitlines()
    if sheet:
        from analysis.figures.sheet import contact_sheet

        lines.append(f"Sheet: {contact_sheet(shown, out / 'sheet')['png']}")
    return lines


def _mixed(
    images: str, references: int, levels: Sequence[int], seed: int, how: Mapping[str, Any], progress: bool
) -> StimulusSet:
    from stimuli.sets import mixed_set

    if images != "embedded" and images in BUILTIN:
        raise InputError("Got --mixed with --images leaves; expected embedded or a folder of pristine images.")
    sources = references if images in BUILTIN else pristine(images, references)
    own = {name: how[name] for name in ("size", "options", "workers")}
    return mixed_set(sources, levels=levels, seed=seed, progress=progress, **own)


def _split(shown: StimulusSet, shares: str, seed: int, taxonomy: Any) -> Split:
    try:
        train, validation, test = (float(part) for part in shares.split(","))
    except ValueError as error:
        raise InputError(f"Got --split {shares}; expected three shares, such as --split 0.7,0.15,0.15.") from error
    return split(shown, train, validation, test, seed=seed, taxonomy=taxonomy)
