"""Which attribution method finds where a distortion is? A leader table on a small model that answers, with the truth at hand.

python benchmarks/attribution.py                    # the healthy model kept beside this file; about three minutes on one core
python benchmarks/attribution.py --tuned FOLDER     # the embedded model as tuned in a folder that `snellen tune` or an exam wrote
python benchmarks/attribution.py --sanity           # also randomise the weights; about three minutes more

Classes are those that the healthy model answers about local distortions, told on the references of seed 0; the table is of seed 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(p for p in sys.path if Path(p).resolve() != HERE)]

from analysis.attribution.maps import local_pairs  # noqa: E402
from analysis.attribution.run import Attribution, attribute, leader_table  # noqa: E402
from analysis.attribution.sanity import sanity  # noqa: E402
from analysis.attribution.stages import conductance  # noqa: E402
from analysis.choice import choice  # noqa: E402
from stimuli.generated import exam_set  # noqa: E402
from stimuli.regions import Region  # noqa: E402
from stimuli.tables import write_csv, write_text  # noqa: E402
from stimuli.taxonomy import taxonomy  # noqa: E402

WORK = Path("runs/attribution")
CLASSES = ("noise", "brightness", "contrast", "colorfulness")
SHARE = (0.2, 0.4)
LEVEL, SEED, REFERENCES = 5, 1, 8


def shown(references: int) -> list[Any]:
    """Clean images and local distortions of the classes."""
    chosen = taxonomy("paper8")
    region = Region("any", SHARE, seed=SEED)
    found = exam_set(references, levels=(LEVEL,), seed=SEED, region=region, measure=False)
    return [s for s in found if s.type is None or chosen.label(s) in CLASSES]


def model(tuned: str | None, work: Path) -> Any:
    """The healthy model, or the embedded one as tuned."""
    if tuned is not None:
        from snellen.models import load
        from tuning.tuned import reopen

        return reopen(load("embedded"), tuned).mllm
    from benchmarks.organism_exams import Bench

    return Bench(work / "base", 40).base("healthy-1")


def answered(mllm: Any, stimuli: list[Any]) -> str:
    """How well it answers, in a line."""
    pairs, labels = local_pairs(stimuli, "paper8")
    asked = choice()
    p = asked.probabilities(mllm, asked.prepared(mllm, [pair.after.image for pair in pairs]))
    at = [asked.place(label) for label in labels]
    own = [float(row[i]) for row, i in zip(p, at, strict=True)]
    right = sum(int(row.argmax()) == i for row, i in zip(p, at, strict=True)) / len(at)
    line = f"{len(at)} local distortions of {len({pair.reference for pair in pairs})} references: accuracy {right:.2f}, "
    return line + f"p(right) {sum(own) / len(own):.2f} (chance {1 / p.shape[1]:.2f})"


def told(result: Attribution, line: str, seconds: float) -> str:
    """The table with what it is of."""
    level = result.table[0]
    note = f"\n\\* p < 0.05 after Holm. `mask` is the region itself in cells, the ceiling. {level['n']} maps, {seconds:.0f} s in all."
    gap = next((row["gap"] for row in result.table if row["gap"] is not None), None)
    short = "" if gap is None else f" Integrated gradients miss completeness by {100 * gap:.0f} % of the change they explain."
    return f"{line}\n\n{leader_table(result)}\n{note}{short}\n"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuned", default=None, help="folder of a tuned embedded model")
    parser.add_argument("--references", type=int, default=REFERENCES)
    parser.add_argument("--points", type=int, default=4, help="of deletion and insertion curves")
    parser.add_argument("--sanity", action="store_true", help="also randomise the weights")
    parser.add_argument("--stages", action="store_true", help="also conductance by site")
    parser.add_argument("--work", type=Path, default=WORK)
    options = parser.parse_args()
    start = time.time()
    mllm, stimuli = model(options.tuned, options.work), shown(options.references)
    line = answered(mllm, stimuli)
    result = attribute(mllm, stimuli, points=options.points, seed=SEED)
    text = told(result, line, time.time() - start)
    write_csv(result.table, options.work / "leaders.csv")
    write_csv(result.each, options.work / "each.csv")
    write_text(text, options.work / "leaders.md")
    print(text)
    if options.sanity:
        checked = sanity(mllm, stimuli, methods=tuple(name for name in result.maps if name != "shapley"), seed=SEED)
        write_csv(checked.table, options.work / "sanity.csv")
        for row in checked.table:
            print(
                f"{row['method']:22} {row['randomised']:24} {row['spearman']:+.2f} [{row['spearman_low']:+.2f}, {row['spearman_high']:+.2f}]"
            )
    if options.stages:
        carried = conductance(mllm, stimuli, seed=SEED)
        write_csv(carried.table, options.work / "stages.csv")
        for row in carried.table:
            print(f"{row['site']:14} {row['set']:10} {row['share']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
