"""The rooms have common names; make sure that those imported are Snellen's own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

ROOMS = ("stimuli", "hooks", "probes", "tuning", "analysis")


def check(home: Path | None = None) -> None:
    """Refuse to run when another package of the same name stands in front of one of the rooms.

    Args:
        home: the folder that holds this package and must hold the rooms; found by default.

    Raises:
        ImportError: a room is missing or shadowed; the message says by what.
    """
    home = home or Path(__file__).resolve().parent.parent
    for room in ROOMS:
        spec = find_spec(room)
        found = Path(spec.origin).resolve().parent if spec is not None and spec.origin else None
        if found != home / room:
            raise ImportError(
                f"Snellen needs its own package '{room}' from {home / room}, but Python finds {found or 'none'} first. "
                "Start from another folder, rename the other package, or install Snellen into an environment of its own."
            )
