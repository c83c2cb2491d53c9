"""Progress bars, which become parts of one line where a whole run has one."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tqdm import auto, std

Told = Callable[[str], None]
"""Takes how far a part of a run is, in words."""
_told: Told | None = None


@contextmanager
def gathered(told: Told) -> Iterator[None]:
    """Inside, progress bars are not drawn: what they would show goes to ``told``, as ``extract 32/128, 4.1 image/s``; ``tell`` is silent."""
    global _told
    before, _told = _told, told
    try:
        yield
    finally:
        _told = before


def tqdm(*given: Any, **how: Any) -> Any:
    """A bar of ``tqdm.auto``, or a part of the line of a run."""
    kind: Any = auto.tqdm if _told is None else _Part
    return kind(*given, **how, **({} if _told is None else {"file": io.StringIO()}))


def tell(text: str) -> None:
    """Tell what a bar that has ended brought, on stderr, unless it was a part."""
    if _told is None:
        print(text, file=sys.stderr)


class _Part(std.tqdm):
    """Counts and measures as any bar, and shows itself in another's line."""

    def display(self, *_: Any, **__: Any) -> None:
        """Hand on what there is to show."""
        if _told is not None:
            _told(words(self.format_dict))

    def close(self) -> None:
        """Leave nothing behind."""
        self.leave = False
        super().close()


def words(state: Mapping[str, Any]) -> str:
    """How far a bar is: description, count, and rate where there is one yet (slower than one a second as time for one)."""
    count, total, unit = state["n"], state["total"], state["unit"]
    rate = state["rate"] or (count - state["initial"]) / state["elapsed"] if state["elapsed"] else 0
    speed = f", {rate:.1f} {unit}/s" if rate >= 1 else f", {1 / rate:.1f} s/{unit}" if rate else ""
    return f"{state['prefix']} {count}{f'/{total}' if total else ''}{speed}".strip()
