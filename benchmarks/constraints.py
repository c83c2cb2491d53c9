"""The ablation of constraints: the vision encoder of a patient tuned with each of them, written to docs/constraints.md.

python benchmarks/constraints.py                                  # runs what is missing, then writes the table
python benchmarks/constraints.py --steps 400 --jobs 2             # two runs at a time, one thread each
python benchmarks/constraints.py --quick --out runs/quick-constraints --page runs/quick-constraints/constraints.md
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(p for p in sys.path if Path(p).resolve() != HERE)]  # benchmarks/probes.py is not the room

from analysis.captions import Captions, captions_kept  # noqa: E402
from analysis.perception import ask  # noqa: E402
from analysis.semantic_distance import semantic_distance  # noqa: E402
from hooks.extract import extract  # noqa: E402
from hooks.load import Mllm  # noqa: E402
from probes.intervals import Difference, balanced_difference, holm  # noqa: E402
from probes.sweep import sweep  # noqa: E402
from snellen.models import load  # noqa: E402
from stimuli.sets import exam_set  # noqa: E402
from stimuli.tables import write_json  # noqa: E402
from stimuli.types import Stimulus, StimulusSet  # noqa: E402
from tuning.constraints import WEIGHTS  # noqa: E402
from tuning.lessons import Lesson, own_words  # noqa: E402
from tuning.tune import tune  # noqa: E402

BASE, NONE = "untuned", "none"
SETTINGS: Mapping[str, str | None] = {
    NONE: None,
    **{name: name for name in WEIGHTS},
    "align+keep": "align+keep",
    "align+distill": "align+distill",
    "align-cosine+keep": "align-cosine+keep",
    "align+keep+order": "align+keep+order",
    "align+keep+decorrelate": "align+keep+decorrelate",
    "all": "+".join(WEIGHTS),
}
COLUMNS = (
    ("balanced accuracy", "balanced"), ("colour named", "colour"), ("shape named", "shape"), ("quality word", "quality"),
    ("description kept", "agreement"), ("probe at projector", "probe"), ("margin", "margin"),
)  # fmt: skip
"""Title and key of a measured value; the margin is a cosine, the others are shares."""
READING = "## How to read it"
"""From this heading on the page is written by hand, and kept when the table is made again."""
LEVELS = (2, 3, 4, 5)
EXAM, TRAIN, BATCH, REPLAYED = 40, 120, 32, 512


def shown_in_training(seed: int, references: int) -> StimulusSet:
    """Every reference once per class and level, so that ``order`` finds its pairs; the same for all settings."""
    options: dict[str, Any] = {"split": "train", "seed": seed, "measure": False, "in_memory": True}
    sets = [exam_set(references, levels=(level,), **options) for level in LEVELS]
    return StimulusSet(list({s.id: s for own in sets for s in own}.values()), "crossed-levels")


def measured(mllm: Mllm, shown: StimulusSet, base: Captions | None) -> tuple[dict[str, Any], Captions]:
    """The columns of a model with their intervals, and its answers one by one."""
    answers = ask(mllm, shown, progress=False)
    captions = captions_kept(mllm, shown, base, progress=False)
    store = extract(mllm, shown, ["projector"], progress=False)
    probe = sweep(store, progress=False).row("projector")
    distance = semantic_distance(mllm, shown, store=store, measures=("margin",), progress=False).row("projector")
    columns: dict[str, tuple[Any, ...] | None] = {
        "balanced": (answers.balanced_accuracy, answers.balanced_low, answers.balanced_high),
        "probe": tuple(probe[key] for key in ("score", "low", "high")),
        "margin": tuple(distance[key] for key in ("margin", "margin_low", "margin_high")),
    }
    for name in ("colour", "shape", "quality", "agreement"):
        found = getattr(captions, name)
        columns[name] = None if found is None else (found.value, found.low, found.high)
    rows = [{key: row[key] for key in ("id", "reference", "label", "correct")} for row in answers.table]
    return {"columns": columns, "answers": rows}, captions


def run_seed(options: argparse.Namespace, seed: int) -> None:
    """Every setting of a seed that is missing, on the same stimuli."""
    mllm, shown = load(options.patient), exam_set(EXAM, levels=LEVELS, seed=seed)
    train = shown_in_training(seed, options.train_references)
    for setting in (BASE, *SETTINGS):
        if finished(options, setting, seed) is None:
            run_one(options, setting, seed, mllm, shown, train)


def run_one(options: argparse.Namespace, setting: str, seed: int, mllm: Mllm, shown: StimulusSet, train: StimulusSet) -> None:
    """Tune with one setting, measure, and write; the untuned model's run also keeps its captions and replays for the others."""
    print(f"{time.strftime('%H:%M:%S')} {setting}, seed {seed}", flush=True)
    if setting == BASE:
        found, captions = measured(mllm, shown, None)
        lessons = own_words(mllm, train, options.replay_images, seed, progress=False)
        replays = [{"id": x.stimulus.id, "prompt": x.prompt, "answer": x.answer} for x in lessons]
        found |= {"captions": captions.table, "replays": replays}
    else:
        base = json.loads(file_of(options, BASE, seed).read_text())
        captions = Captions(base["captions"], None, None, None, None)
        known = {stimulus.id: stimulus for stimulus in train}
        lessons = tuple(replayed(row, known) for row in base["replays"])
        tuned = tune(mllm, train, "vision", steps=options.steps, batch_size=BATCH, constraint=SETTINGS[setting], seed=seed,
                     replays=lambda: lessons, replay_images=options.replay_images, held_out=shown.references,
                     progress=False)  # fmt: skip
        found, _ = measured(tuned.mllm, shown, captions)
        found |= {"last": tuned.history[-1], "largest_move": tuned.audit.as_dict()["largest_move"]}
    write_json({"setting": setting, "seed": seed, "config": config_of(options), **found}, file_of(options, setting, seed))


def replayed(row: Mapping[str, str], known: Mapping[str, Stimulus]) -> Lesson:
    """One replay as it was kept."""
    return Lesson(known[row["id"]], row["prompt"], row["answer"], -1, "replay")


def config_of(options: argparse.Namespace) -> dict[str, Any]:
    """What decides a run's numbers besides setting and seed."""
    names = ("patient", "steps", "train_references", "replay_images")
    return {**{name: getattr(options, name) for name in names}, "weights": dict(WEIGHTS), "levels": list(LEVELS)}


def file_of(options: argparse.Namespace, setting: str, seed: int) -> Path:
    """Where a run is written."""
    folder: Path = options.out
    return folder / f"{setting}-{seed}.json"


def finished(options: argparse.Namespace, setting: str, seed: int) -> dict[str, Any] | None:
    """A run that is there.

    Raises:
        SystemExit: it was made with other settings.
    """
    file = file_of(options, setting, seed)
    if not file.is_file():
        return None
    found: dict[str, Any] = json.loads(file.read_text())
    if found["config"] != config_of(options):
        raise SystemExit(f"{file} was made with {found['config']}, now it is {config_of(options)}. Give another --out.")
    return found


def ensure(options: argparse.Namespace, seed: int) -> dict[str, dict[str, Any]]:
    """All runs of a seed, in a process of their own unless they are there."""
    names = (BASE, *SETTINGS)
    if any(finished(options, name, seed) is None for name in names):
        threads = max(1, (os.cpu_count() or 1) // options.jobs)
        command = [sys.executable, str(HERE / "constraints.py"), *sys.argv[1:], "--one", str(seed)]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": str(threads), "TQDM_DISABLE": "1"})
    found = {name: finished(options, name, seed) for name in names}
    return {name: run for name, run in found.items() if run is not None}


def cell(runs: Sequence[Mapping[str, Any]], name: str) -> str:
    """Mean over seeds, in brackets the lowest lower and the highest upper bound; a dash where unknown."""
    values = [run["columns"][name] for run in runs]
    if any(value is None for value in values):
        return "–"
    scale, digits = (1, 3) if name == "margin" else (100, 1)
    mean, low, high = np.mean([v[0] for v in values]), min(v[1] for v in values), max(v[2] for v in values)
    return f"{scale * mean:.{digits}f} [{scale * low:.{digits}f}, {scale * high:.{digits}f}]"


def pooled(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> Difference:
    """Paired change in balanced accuracy over the references of all seeds, each seed's references being its own."""
    rows = [{**row, "reference": f"{run['seed']}:{row['reference']}"} for run in before for row in run["answers"]]
    now = [row for run in after for row in run["answers"]]
    assert [row["id"] for row in rows] == [row["id"] for row in now]
    columns = {name: np.array([row[name] for row in rows]) for name in ("correct", "label", "reference")}
    return balanced_difference(
        columns["correct"], np.array([row["correct"] for row in now]), columns["label"], columns["reference"]
    )


def page(results: Mapping[str, Sequence[Mapping[str, Any]]], options: argparse.Namespace) -> str:
    """The whole document."""
    seeds = ", ".join(map(str, options.seeds))
    weights = ", ".join(f"`{name}` {weight:g}" for name, weight in WEIGHTS.items())
    lines = [
        "# Constraints on the visual tokens, compared",
        "",
        f"Command: `python benchmarks/constraints.py --steps {options.steps} --seeds {' '.join(map(str, options.seeds))}`. "
        f"The vision encoder of `{options.patient}` is tuned for {options.steps} steps of {BATCH} lessons with each setting, on "
        f"{options.train_references} references shown once per class at each of the levels {', '.join(map(str, LEVELS))}, "
        f"and examined on {EXAM} others. The weights are the defaults: {weights}; none was chosen on this table. Cells are "
        f"means over the seeds {seeds}, which change stimuli, training set and batches; brackets hold the lowest lower and the "
        "highest upper bound of the seeds' 95 % intervals over references. The margin is a cosine, everything else a "
        "percentage; chance is 12.5 for the answers and 20 for the quality word. The last two columns are the paired change in "
        f"balanced accuracy against `{NONE}`, pooled over the references of all seeds, with its 95 % interval, and its p "
        f"adjusted over the settings by Holm. That interval is over references; of the chance in training it knows "
        f"{len(options.seeds)} draws only.",
        "",
        "| constraint | " + " | ".join(title for title, _ in COLUMNS) + f" | change to {NONE} | p (Holm) |",
        "|---" * (len(COLUMNS) + 3) + "|",
    ]
    compared = [name for name in results if name not in (BASE, NONE)]
    changes = {name: pooled(results[NONE], results[name]) for name in compared}
    adjusted = dict(zip(compared, holm([changes[name].p for name in compared]), strict=True))
    for name, runs in results.items():
        cells = [cell(runs, key) for _, key in COLUMNS]
        told = ["–", "–"]
        if name in changes:
            change, low, high = (100 * value for value in (changes[name].value, changes[name].low, changes[name].high))
            told = [f"{change:+.1f} [{low:+.1f}, {high:+.1f}]", f"{adjusted[name]:.3f}"]
        lines.append(f"| {name if name in (BASE, NONE, 'all') else f'`{name}`'} | {' | '.join([*cells, *told])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[10, 11, 12], help="others than those of the headline, which choose nothing"
    )
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--patient", default="embedded")
    parser.add_argument("--train-references", type=int, default=TRAIN)
    parser.add_argument("--replay-images", type=int, default=REPLAYED)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="one seed, four steps, few images: whether it runs")
    parser.add_argument("--out", type=Path, default=Path("runs/constraints"))
    parser.add_argument("--page", type=Path, default=Path("docs/constraints.md"))
    parser.add_argument("--one", type=int, metavar="SEED", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.steps, options.train_references, options.replay_images = [0], 4, 4, 8
    if options.one is not None:
        run_seed(options, options.one)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        done = list(pool.map(lambda seed: ensure(options, seed), options.seeds))
    results = {name: [runs[name] for runs in done] for name in (BASE, *SETTINGS)}
    _, marker, reading = options.page.read_text().partition(READING) if options.page.exists() else ("", "", "")
    options.page.write_text(page(results, options) + (f"\n{marker}{reading}" if marker else ""))
    print(options.page.read_text())


if __name__ == "__main__":
    main()
