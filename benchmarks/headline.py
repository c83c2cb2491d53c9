"""The headline table: both patients, three seeds, full budget, written to docs/headline.md.

python benchmarks/headline.py                     # runs what is missing, then writes the table
python benchmarks/headline.py --jobs 2            # two exams at a time, one thread each
python benchmarks/headline.py --seeds 0 --budget demo --out runs/quick --page runs/quick/headline.md
python benchmarks/headline.py --patients ./my-model --set steps=800 --out runs/mine --page runs/mine/headline.md
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

PATIENTS = ("embedded", "embedded-template")
READING = "## How to read it"
"""From this heading on the page is written by hand, and kept when the table is made again."""
ARMS = ("base", "projector", "llm", "vision", "vision+constraint")


def examine(patient: str, seed: int, budget: str, out: Path, threads: int, settings: Sequence[str] = ()) -> Path:
    """Run one exam in a process of its own, unless it is finished.

    Args:
        patient: a name or a folder.
        seed: of the exam.
        budget: ``demo`` or ``full``.
        out: one folder per exam is written here.
        threads: how many the process may use.
        settings: ``KEY=VALUE``, as ``snellen exam --set`` takes them.

    Returns:
        Its ``results.json``.
    """
    folder = out / f"{Path(patient).name}-{seed}"
    command = [sys.executable, "-m", "snellen", "exam", patient, "--budget", budget, "--seed", str(seed), "--out", str(folder)]
    for setting in settings:
        command += ["--set", setting]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TQDM_DISABLE": "1"}
    subprocess.run(command, check=True, env=environment)
    return folder / "results.json"


def examined(
    patients: Sequence[str], seeds: Sequence[int], budget: str, out: Path, jobs: int = 1, settings: Sequence[str] = ()
) -> dict[str, list[dict[str, Any]]]:
    """Results of all exams, per patient in the order of the seeds; those that are missing are run, ``jobs`` at a time."""
    pairs = [(patient, seed) for seed in seeds for patient in patients]
    with ThreadPoolExecutor(jobs) as pool:
        done = list(pool.map(lambda pair: examine(pair[0], pair[1], budget, out, threads(jobs), settings), pairs))
    found = dict(zip(pairs, (json.loads(path.read_text()) for path in done), strict=True))
    return {Path(patient).name: [found[patient, seed] for seed in seeds] for patient in patients}


def threads(jobs: int) -> int:
    """Of each of so many exams at a time."""
    return max(1, (os.cpu_count() or 1) // jobs)


COLUMNS: tuple[tuple[str, str | None, str, str, str], ...] = (
    ("accuracy", None, "accuracy", "low", "high"),
    ("balanced accuracy", None, "balanced_accuracy", "balanced_low", "balanced_high"),
    ("colour named", "captions", "colour", "colour_low", "colour_high"),
    ("shape named", "captions", "shape", "shape_low", "shape_high"),
    ("quality word", "captions", "quality", "quality_low", "quality_high"),
    ("description kept", "captions", "agreement", "agreement_low", "agreement_high"),
    ("best probe", "best_probe", "score", "low", "high"),
    ("probe at projector", "projector_probe", "score", "low", "high"),
    ("centred distance", "distance", "centred", "centred_low", "centred_high"),
    ("margin", "distance", "margin", "margin_low", "margin_high"),
)
"""Title, part of a ``tuning`` entry, and the keys of value and interval there."""


def table(runs: Sequence[dict[str, Any]]) -> list[str]:
    """The rows of one patient."""
    lines = ["| tuned | " + " | ".join(column[0] for column in COLUMNS) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
    for name in ARMS:
        entries = [run["tuning"]["base"] if name == "base" else run["tuning"]["arms"][name] for run in runs]
        cells = [cell([entry[part] if part else entry for entry in entries], *keys) for _, part, *keys in COLUMNS]
        lines.append(f"| {'nothing' if name == 'base' else name} | " + " | ".join(cells) + " |")
    return lines


def cell(entries: Sequence[dict[str, Any]], value: str, low: str, high: str) -> str:
    """Mean over seeds, and in brackets the lowest lower and the highest upper bound of their intervals; a dash where unknown.

    Shares are percentages (86.10 [82.0, 90.3]), distances are as they are (0.913 [0.88, 0.95]); a best probe names its sites.
    """
    if any(entry.get(value) is None for entry in entries):
        return "–"
    scale, digits = (1, 3) if value in ("centred", "margin") else (100, 2)
    bounds = scale * min(entry[low] for entry in entries), scale * max(entry[high] for entry in entries)
    text = f"{scale * np.mean([entry[value] for entry in entries]):.{digits}f} "
    text += f"[{bounds[0]:.{digits - 1}f}, {bounds[1]:.{digits - 1}f}]"
    sites = dict.fromkeys(entry["site"] for entry in entries) if value == "score" else {}
    return text + (f" {', '.join(sites)}" if sites and set(sites) != {"projector"} else "")


def page(results: dict[str, list[dict[str, Any]]], seeds: Sequence[int], budget: str, settings: Sequence[str] = ()) -> str:
    """The whole document.

    Args:
        results: as ``examined`` gives them.
        seeds: in the same order.
        budget: of the exams.
        settings: that they differ from the budget in.
    """
    first = next(iter(results.values()))[0]
    config = first["provenance"]["config"]
    shown = "both patients" if tuple(results) == PATIENTS else ", ".join(f"`{name}`" for name in results)
    lines = [
        "# The headline, measured",
        "",
        f"Command: `python benchmarks/headline.py{told(settings)}` (`make headline`): `snellen exam PATIENT --budget {budget} "
        f"--seed S{told(settings)}` for {shown} and the seeds {', '.join(map(str, seeds))}. Each exam shows "
        f"{first['stimuli']['exam']['n']} images of {config['references']} references at the published levels "
        f"{', '.join(map(str, config['levels']))}; each arm is tuned alone for {config['steps']} steps of {config['batch_size']} lessons "
        f"on {config['train_references']} other references. "
        "A seed changes the stimuli, the training set, the batches and the folds. Cells are means over the seeds; brackets "
        "hold the lowest lower and the highest upper bound of the seeds' 95 % intervals over references. All but the last two "
        "columns are percentages; chance is 12.5 for the answers and 20 for the quality word. Distances are at the projector "
        "(definitions in `analysis/semantic_distance.py`).",
        "",
        "The paper (arXiv 2512.09573) reports 14.92 % before and 84.43 % after aligning the vision encoder of a 7B model on "
        "other data; the numbers here are of model organisms built to show that effect and its rival, not a replication.",
        "",
    ]
    return "\n".join([*lines, *sections(results, seeds), longest(results)]) + "\n"


def sections(results: dict[str, list[dict[str, Any]]], seeds: Sequence[int], level: int = 2) -> list[str]:
    """Heading (of a level), table, verdicts and answers to a blank image of each patient."""
    lines = []
    for patient, runs in results.items():
        verdicts = "; ".join(
            f"seed {s}: {r['verdict']['component']} ({r['verdict']['confidence']})" for s, r in zip(seeds, runs, strict=True)
        )
        blind = [run["perception"]["blind"]["balanced_accuracy"] for run in runs]
        line = f"Verdicts: {verdicts}. Balanced accuracy with a blank image: {100 * np.mean(blind):.1f} %."
        lines += [f"{'#' * level} `{patient}`", "", *table(runs), "", line, ""]
    return lines


def told(settings: Sequence[str]) -> str:
    """Settings as they stand in a command."""
    return "".join(f" --set {shlex.quote(setting)}" for setting in settings)


def longest(results: dict[str, list[dict[str, Any]]]) -> str:
    """How long the shortest and the longest exam took, whatever else the machine did."""
    minutes = [sum(run["provenance"]["seconds"].values()) / 60 for runs in results.values() for run in runs]
    return f"An exam took from {min(minutes):.0f} to {max(minutes):.0f} minutes of wall time, with other work on the machine or without."


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", nargs="+", default=list(PATIENTS), help="names or folders")
    arguments(parser, Path("runs/headline"))
    options = parser.parse_args()
    results = examined(options.patients, options.seeds, options.budget, options.out, options.jobs, options.set)
    _, marker, reading = options.page.read_text().partition(READING) if options.page.exists() else ("", "", "")
    written = page(results, options.seeds, options.budget, options.set)
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(written + (f"\n{marker}{reading}" if marker else ""))
    print(options.page.read_text())


def arguments(parser: argparse.ArgumentParser, out: Path) -> None:
    """Which exams, how many at a time, and where to."""
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budget", default="full", choices=["demo", "full"])
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting of the exams; may be repeated"
    )
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--page", type=Path, default=Path("docs/headline.md"))
    parser.add_argument("--jobs", type=int, default=1)


if __name__ == "__main__":
    main()
