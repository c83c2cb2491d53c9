"""Take what is damaged out of a store, and nothing else, so that the same extraction computes just that anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hooks import manifest, records
from hooks.compact import refuse_writing
from hooks.damage import Damage, damages
from hooks.recipe import CONFIG, recipe
from hooks.store import Store
from hooks.writer import tidy
from stimuli.errors import InputError


@dataclass(frozen=True)
class Repaired:
    """What a repair found and did."""

    folder: Path
    found: tuple[Damage, ...]
    """What was damaged."""
    gone: tuple[str, ...]
    """Stimuli that are to be computed anew, as far as their ids are known."""
    kept: int
    """Stimuli that are whole."""


def repair(folder: str | Path, *, force: bool = False, progress: bool = False) -> Repaired:
    """Take out of a store what is damaged; what is whole stays as it is.

    ``config.json`` is written again from the copies beside the activations. A repair that is killed is done again.

    Args:
        folder: of the store.
        force: also where a part was written on another machine and never finished (make sure that it no longer runs).
        progress: show a progress bar.

    Raises:
        InputError: a process may still be writing, or there is nothing left that says what the activations are of.
    """
    folder = Path(folder)
    found = damages(folder, progress=progress)
    touched = [part for part in manifest.all_parts(folder) if any(_inside(damage, part, folder) for damage in found)]
    refuse_writing(touched, force)
    if any(damage.path == Path(CONFIG) for damage in found):
        _restore(folder)
    before = {id for part in touched for id in manifest.known(part)}
    for damage in found:
        if damage.path.parts[0] == "jobs":  # what was left when a job began, which is over
            (folder / damage.path).unlink(missing_ok=True)
    for part in touched:
        _mend(part, [damage for damage in found if _inside(damage, part, folder)], recipe(folder))
    left = set(Store(folder).ids)
    lost = {id for damage in found for id in damage.ids} | before
    return Repaired(folder, tuple(found), tuple(sorted(lost - left)), len(left))


def _inside(damage: Damage, part: Path, folder: Path) -> bool:
    return (folder / damage.path).is_relative_to(part)


def _restore(folder: Path) -> None:
    kept = manifest.recipes(folder)
    if len(kept) != 1:
        raise InputError(
            f"{folder / CONFIG} is damaged, and {len(kept)} recipes are kept beside the activations in {folder}. Expected one to write "
            "it again from. Run the same extraction again, which knows the recipe, or extract into another folder."
        )
    records.write(folder / CONFIG, kept[0])


def _mend(part: Path, found: Sequence[Damage], recipe: dict[str, object]) -> None:
    """A part with its whole groups alone: those with files as they were, and something known of every stimulus."""
    bad = [damage.line for damage in found if damage.line is not None]
    known = manifest.known(part)
    keep = [line for line in manifest.lines(part) if line not in bad and known.issuperset(line.ids)]
    if records.load(part / manifest.OWNER) is None:
        manifest.own(part, recipe)
    tidy(part, keep)
