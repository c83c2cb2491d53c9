"""Thousands of hostile inputs, each read under watch (``watch.py``); what is neither read nor refused in words is a finding.

python benchmarks/reliability/hostile.py                      # all of it; writes its section of docs/reliability.md
python benchmarks/reliability/hostile.py --quick              # what was made by hand, and a few hundred more
python benchmarks/reliability/hostile.py --minutes 20         # so long: what was made by hand first
python benchmarks/reliability/hostile.py --code DIR           # the same cases on another copy of the code: for the column "before"
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OTHER = sys.argv[sys.argv.index("--code") + 1 :][:1] if "--code" in sys.argv else []
sys.path[:] = [*OTHER, str(ROOT), *(p for p in sys.path if Path(p).resolve() != HERE)]

from benchmarks.reliability import (  # noqa: E402
    hostile_images,
    hostile_models,
    hostile_requests,
    hostile_stores,
    hostile_tables,
    hostile_texts,
)
from benchmarks.reliability.page import arguments, table, written  # noqa: E402
from benchmarks.reliability.watch import FINDINGS, READ, REFUSED, SLOW, Case, Ended, watched  # noqa: E402

COUNTS: Mapping[Any, tuple[int, int]] = {
    hostile_images: (2000, 60), hostile_tables: (420, 20), hostile_texts: (400, 20), hostile_requests: (200, 10),
    hostile_stores: (420, 20), hostile_models: (80, 0),
}  # fmt: skip
"""Per module, how many good inputs are made bad: in all, and with ``--quick``."""
CHUNK = 50
"""Cases per child."""


def cases(quick: bool, seed: int = 0) -> list[Case]:
    """All of them: those made by hand first, then the others of every kind in turn."""
    every = [list(module.cases(counts[quick], seed)) for module, counts in COUNTS.items()]
    by_hand = [case for own in every for case in own if not case.name[0].isdigit()]
    rest = [[case for case in own if case.name[0].isdigit()] for own in every]
    turns = zip_longest(*(in_turn(own, max(map(len, rest))) for own in rest))
    return [*by_hand, *(case for turn in turns for case in turn if case is not None)]


def in_turn(own: Sequence[Case], length: int) -> Iterator[Case | None]:
    """Cases evenly spread over so many turns."""
    for turn in range(length):
        place, before = turn * len(own) // length, (turn - 1) * len(own) // length
        yield own[place] if place != before else None


def run(chosen: Sequence[Case], minutes: float | None) -> list[Ended]:
    """As many as fit into the time."""
    found: list[Ended] = []
    end = time.monotonic() + 60 * minutes if minutes else None
    while len(found) < len(chosen) and (end is None or time.monotonic() < end):
        found += watched(chosen[len(found) : len(found) + CHUNK], progress=False)
        print(
            f"{len(found)} of {len(chosen)}: {sum(one.how in FINDINGS for one in found)} findings", file=sys.stderr, flush=True
        )
    return found


def prepare() -> None:
    """Import what the cases need, and make the good ones, so that no child does."""
    import openpyxl  # noqa: F401
    import scipy.io  # noqa: F401
    import transformers  # noqa: F401
    from PIL import Image

    import stimuli.disk
    import stimuli.mcq
    import stimuli.sets  # noqa: F401

    Image.init()
    hostile_models.prepare()
    hostile_stores.prepare()


def rows(found: Sequence[Ended], before: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """Per kind: cases, read, refused, findings before and now, the slowest and the largest."""
    made = []
    for kind in [*dict.fromkeys(one.kind for one in found), None]:
        own = [one for one in found if kind in (None, one.kind)]
        how = Counter(one.how for one in own)
        then = [row["how"] in FINDINGS for row in before if kind in (None, row["kind"])]
        now = sum(how[finding] for finding in FINDINGS)
        made.append([kind or "all", len(own), how[READ], how[REFUSED], f"{sum(then)} of {len(then)}" if then else "–", now,
                     f"{max(one.seconds for one in own if one.how != SLOW):.1f}", f"{max(one.megabytes for one in own):.0f}"])  # fmt: skip
    return made


def section(found: Sequence[Ended], before: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of the page."""
    now = [one for one in found if one.how in FINDINGS]
    places = {(row["how"], row["where"]) for row in before if row["how"] in FINDINGS}
    kinds = Counter(row["how"] for row in before if row["how"] in FINDINGS)
    told = ", ".join(f"{count} {how}" for how, count in kinds.most_common())
    lines = [
        "## Hostile input",
        "",
        f"Command: `python benchmarks/reliability/hostile.py`. {len(found):,} inputs, made by hand or from good ones with one to four things "
        "wrong with them, each read in a process of its own limits: 5 s of processor time, 2 GB more memory than before. Python's audit events "
        "tell what is opened for writing outside of the output folder, which processes, connections and unpickled functions there are; "
        "code in the input would make a file. An input is read, or refused in one paragraph of at most 8,000 characters; everything else is a "
        "finding: another exception, a command that ends with a traceback, too long, too large, a file written elsewhere, code run.",
        "",
        *table(
            (
                "input",
                "cases",
                "read",
                "refused",
                "findings before",
                "findings now",
                "slowest (s by the clock)",
                "most memory (MB)",
            ),
            rows(found, before),
        ),
        "",
    ]
    if before:
        lines += [
            f"Before (commit 41caf5c; {len(before):,} of the same cases): {told}; at {len(places)} places of the code. All are mended"
            f"{' but:' if now else '.'}",
            "",
        ]
    lines += [f"* Stands: {one.kind}, {one.name}: {one.how} ({one.where})." for one in now] or (
        [] if before else ["No finding stands."]
    )
    lines += [
        *([""] if lines[-1] else []),
        "A chat template is a program, run in Jinja's sandbox. The first prompt that it writes is written in a child with 5 s of processor "
        "time and 1 GB; one that takes more is refused. A template that is well-behaved for the first question and not for a later one is "
        "not caught by that: Ctrl-C ends it, and nothing that was computed is lost.",
    ]
    return lines


def main() -> int:
    """Command line."""
    parser = arguments(__doc__)
    parser.add_argument("--code", type=Path, help="another copy of the code, whose findings become the column 'before'")
    parser.add_argument("--minutes", type=float, help="stop after so many")
    parser.add_argument("--only", help="only cases with this in their kind or name")
    options = parser.parse_args()
    prepare()
    chosen = [case for case in cases(options.quick) if not options.only or options.only in f"{case.kind} {case.name}"]
    found = run(chosen, options.minutes)
    if options.code:
        from stimuli.tables import write_json

        print(write_json([asdict(one) for one in found], options.rows / "hostile-before.json"))
        return 0
    file = options.rows / "hostile-before.json"
    before = [] if options.quick or options.only or not file.is_file() else _before(file)
    written("hostile", [asdict(one) for one in found], section(found, before), options)
    return int(any(one.how in FINDINGS for one in found))


def _before(file: Path) -> list[dict[str, Any]]:
    import json

    return list(json.loads(file.read_text(encoding="utf-8")))


if __name__ == "__main__":
    raise SystemExit(main())
