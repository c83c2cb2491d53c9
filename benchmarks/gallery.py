"""The pictures of docs/gallery.md: every figure of one small exam and of the commands beside it, as small PNG.

python -m benchmarks.gallery              # makes the runs where they are not there yet (half an hour on a free core), then the pictures
python -m benchmarks.gallery --only survival,matrix
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from pathlib import Path

from PIL import Image

from analysis.figures.columns import fit
from analysis.figures.saved import RECORDS, saved_figures
from analysis.figures.style import style
from stimuli.tables import write_csv

RUNS, IMAGES = Path("runs/gallery"), Path("docs/images/gallery")
SMALL = ["references=16", "train_references=48", "steps=50", "levels=[1, 3, 5]"]
COMMANDS = {
    "exam": ["exam", *(part for one in SMALL for part in ("--set", one))],
    "probe": ["probe", "{exam}", "--differences", "--information", "--equal-dimension", "--sample-size", "--by-type", "--control-task", "cell",
              "--transfer", "type"],
    "attribute": ["attribute", "--references", "4", "--stages", "--sanity", "--methods", "gradient,occlusion,relevancy,edges,random"],
    "steer": ["steer", "projector", "--references", "8", "--fit-references", "16"],
    "knockout": ["knockout", "--references", "8", "--shares", "--region", "any"],
    "tune": ["tune", "vision", "projector", "llm", "--rates", "1", "--references", "24", "--steps", "10"],
}  # fmt: skip
"""Name of a run → the command that makes it, but for --out."""
WIDE, ROOM, COLOURS = 620, 1_500_000, 256
"""Pixels of a picture's width, bytes of all of them, and colours of each (fewer turn blue and green into one)."""


def made(name: str) -> Path:
    """The folder of a run, which is made if it holds no results yet."""
    folder = RUNS / name
    if not any((folder / record).is_file() for record in RECORDS):
        command = [part.format(exam=RUNS / "exam") for part in COMMANDS[name]]
        subprocess.run([sys.executable, "-m", "snellen", *command, "--out", str(folder), "--no-progress"], check=True)
    return folder


def picture(figure: object, path: Path) -> int:
    """A figure at the width of a page as a small PNG of few colours; its bytes."""
    fit(figure, 7.16)
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=110)  # type: ignore[attr-defined]
    with Image.open(written) as image:
        small = image.convert("RGB").resize((WIDE, round(image.height * WIDE / image.width)), Image.Resampling.LANCZOS)
        few = small.quantize(COLOURS, Image.Quantize.FASTOCTREE, kmeans=2, dither=Image.Dither.NONE)
        few.save(path, optimize=True)
    return path.stat().st_size


def main() -> None:
    """Make the pictures, and the table of which run each is of."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of figures, comma-separated")
    parser.add_argument("--runs", default=",".join(COMMANDS), help="of the runs, comma-separated")
    given = parser.parse_args()
    only = {name for name in given.only.split(",") if name}
    IMAGES.mkdir(parents=True, exist_ok=True)
    rows = []
    for run in given.runs.split(","):
        for name, make in saved_figures(made(run)).items():
            stem = name if run == "exam" else f"{run}-{name}"
            if only and stem not in only:
                continue
            with style():
                drawn = make()
                if drawn is not None:
                    rows.append({"figure": stem, "bytes": picture(drawn[0], IMAGES / f"{stem}.png")})
                    print(rows[-1], flush=True)
    if not only:
        write_csv(rows, RUNS / "gallery.csv")
    total = sum(path.stat().st_size for path in IMAGES.glob("*.png"))
    assert total <= ROOM, f"{total} bytes of pictures, {ROOM} are allowed; lower COLOURS"
    print(f"{len(list(IMAGES.glob('*.png')))} pictures, {total} bytes")


if __name__ == "__main__":
    main()
