"""What the shell completes, without reading anything but names of folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from snellen.embedded import PATIENTS

TAXONOMIES = Path(__file__).resolve().parent.parent / "stimuli" / "data" / "taxonomies"


def models(incomplete: str) -> list[str]:
    """Packaged models and folders; hub ids are not asked for."""
    return _started(PATIENTS, incomplete) + folders(incomplete)


def images(incomplete: str) -> list[str]:
    """Built-in sets, datasets and folders."""
    from snellen.sources import BUILTIN, DATASETS, SAVED

    return _started((*BUILTIN, *(f"{name}:" for name in (*DATASETS, SAVED))), incomplete) + folders(incomplete)


def taxonomies(incomplete: str) -> list[str]:
    """Packaged taxonomies."""
    return _started(sorted(path.stem for path in TAXONOMIES.glob("*.yaml")), incomplete)


def folders(incomplete: str) -> list[str]:
    """Folders whose path starts so; of a single one that holds folders and is no checkpoint, these as well."""
    before, slash, start = incomplete.rpartition("/")
    found = _below(before + slash, start)
    if len(found) == 1 and not (Path(found[0]) / "config.json").exists():
        found += _below(found[0] + "/", "")
    return found


def _below(place: str, start: str) -> list[str]:
    try:
        inside = sorted(path.name for path in Path(place or ".").iterdir() if path.is_dir())
    except OSError:
        return []
    return [place + name for name in inside if name.startswith(start) and (start or not name.startswith("."))]


def _started(names: tuple[str, ...] | list[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


COMPLETIONS: Mapping[str, Callable[[str], list[str]]] = {
    "model": models,
    "models": models,
    "images": images,
    "taxonomy": taxonomies,
}
"""By the name of an option or argument."""
