"""The headline exam for two organisms of other shapes, written to a section of docs/headline.md.

python benchmarks/shapes.py --build             # teaches the organisms (snellen.embedded.shapes) and stops
python benchmarks/shapes.py                     # teaches and examines what is missing, then writes the section
python benchmarks/shapes.py --jobs 2 --set dtype=float32
python benchmarks/shapes.py --seeds 0 --budget demo --out runs/quick --page runs/quick/headline.md

Everything is kept under runs/shapes: a killed run goes on. The section stands between two marks; what is written by hand around
it stays.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(p for p in sys.path if Path(p).resolve() != HERE)]  # benchmarks/probes.py is not the room

from benchmarks import headline  # noqa: E402
from snellen.embedded import shapes  # noqa: E402

BEGIN, END = "<!-- benchmarks/shapes.py writes from here -->", "<!-- benchmarks/shapes.py writes to here -->"
ABOUT = {
    "wide": "LLaVA; the projector of `embedded` in front of a Llama of 6 blocks of width 256 (`embedded`: 4 of width 160)",
    "resampler": "Kosmos-2; 64 latent queries read the encoder's 65 tokens; 4 blocks of width 160, without a chat template",
}

SETTINGS = ('interview="off"',)
"""Of all exams here: the interview has questions without an image, which Kosmos-2 cannot answer; no cell of the tables needs it.
Quoted, because a plain off is false in YAML."""


def section(results: dict[str, list[dict[str, Any]]], seeds: Sequence[int], budget: str, settings: Sequence[str] = ()) -> str:
    """Heading, what was run, and one table per organism, between the marks."""
    first = next(iter(results.values()))[0]
    config = first["provenance"]["config"]
    lines = [
        BEGIN,
        "## Two organisms of other shapes",
        "",
        "Command: `python benchmarks/shapes.py`. Both have the encoder of `embedded`, weight by weight, and were taught its lessons on a "
        f"part of its images. The exams are `snellen exam ORGANISM --budget {budget} --seed S{headline.told(settings)}`, the cells are "
        f"as above. Seeds {', '.join(map(str, seeds))}; {first['stimuli']['exam']['n']} images of "
        f"{config['references']} references at levels {', '.join(map(str, config['levels']))}; arms of {config['steps']} steps of "
        f"{config['batch_size']} lessons on {config['train_references']} other references.",
        "",
        *(f"* `{name}`: {ABOUT[name]}." for name in results),
        "",
        *headline.sections(results, seeds, level=3),
        headline.longest(results),
        END,
    ]
    return "\n".join(lines)


def replaced(page: str, new: str) -> str:
    """A page with the section in the place of the one it has, or at its end."""
    before, begin, rest = page.partition(BEGIN)
    if not begin:
        return f"{page.rstrip()}\n\n{new}\n".lstrip()
    return before + new + rest.partition(END)[2]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [shape.name for shape in shapes.Recipe().shapes]
    parser.add_argument("--build", action="store_true", help="teach the organisms and stop")
    parser.add_argument("--patients", nargs="+", default=names, choices=names)
    parser.add_argument("--work", type=Path, default=shapes.WORK, help="where the organisms are")
    headline.arguments(parser, shapes.WORK / "exams")
    options = parser.parse_args()
    known = {shape.name: shape for shape in shapes.Recipe().shapes}
    folders = [str(shapes.build(known[name], options.work)) for name in options.patients]
    if options.build:
        print("\n".join(folders))
        return
    settings = [*SETTINGS, *options.set]
    results = headline.examined(folders, options.seeds, options.budget, options.out, options.jobs, settings)
    page = options.page.read_text() if options.page.exists() else ""
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(replaced(page, section(results, options.seeds, options.budget, settings)))
    print(options.page.read_text())


if __name__ == "__main__":
    main()
