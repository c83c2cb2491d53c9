"""Does the verdict find a bottleneck that was planted? Organisms with known truth, examined and told apart by the rule.

python benchmarks/organisms.py                  # trains the healthy bases (once), examines what is missing, writes the tables
python benchmarks/organisms.py --quick          # eight organisms, mostly of the one healthy base that is kept beside this file
python benchmarks/organisms.py --tables         # only what is examined already

Everything is kept under runs/organisms: a killed run goes on. Exits with 1 when a target is missed. What the targets, the
strengths and the columns mean: docs/verdict.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(p for p in sys.path if Path(p).resolve() != HERE)]  # benchmarks/probes.py is not the room

from analysis.perception import compare_answers  # noqa: E402
from analysis.verdict import decide  # noqa: E402
from benchmarks.organism_exams import ERASED, Bench, Organism, restored  # noqa: E402
from stimuli.tables import write_csv, write_json  # noqa: E402

WORK = Path("runs/organisms")
QUICK_REFERENCES = 40
"""Training references that the subspaces of the quick run are found on."""
RANKS = (8, 32, 2)
"""Of the erased subspace, in 192 dimensions in the encoder and 160 behind it."""
SHRUNK, MIXED = (8, 4, 2, 1.5), (1.0, 0.75, 0.5)
TRIED = ("healthy-1", 0)
"""Base and seed on which the rule's constants were chosen."""
HELD_OUT = (("healthy-2", 1), ("healthy-3", 2))
"""Bases and seeds that nothing was chosen on."""
UNTOUCHED = tuple(range(1, 9))
"""Seeds of the untouched exams of the held-out bases."""
GRADES: tuple[tuple[str, float], ...] = (("strong", 0.75), ("medium", 0.25), ("weak", -9.0))
"""By the share of the base's answers above chance that the plant costs."""
COMPONENTS = ("processor", "vision", "projector", "llm")
VERDICTS = (*COMPONENTS, "none", "cannot tell")


def planted(base: str, seed: int) -> list[Organism]:
    """Everything that is planted in one base, some of each kind first."""
    kinds = [
        [Organism(base, "processor", "processor", factor, seed) for factor in SHRUNK],
        *([Organism(base, site.split(".")[0], site, rank, seed) for rank in RANKS] for site in ERASED),
        [Organism(base, "llm", "template", share, seed) for share in MIXED],
    ]
    return [own for turn in zip_longest(*kinds) for own in turn if own is not None]


def cast(quick: bool) -> list[Organism]:
    """All organisms, or those of the quick run."""
    if quick:
        base = TRIED[0]
        sites = (("processor", 8), ("vision.3", 32), ("projector", 32), ("llm.0", 32))
        chosen = [Organism(base, site.split(".")[0], site, strength) for site, strength in sites]
        return [*(Organism(base, "none", seed=seed) for seed in (1, 2)), *chosen, *patients(base, 1)]
    everyone = []
    for base, seed in (*HELD_OUT[:1], TRIED, *HELD_OUT[1:]):
        everyone += [Organism(base, "none", seed=seed), *planted(base, seed), *patients(base, seed)]
        everyone += [Organism(base, "none", seed=other) for other in UNTOUCHED if other != seed and base != TRIED[0]]
    return everyone


def patients(base: str, seed: int) -> list[Organism]:
    """The two shipped ones."""
    return [
        Organism(name, truth, seed=seed, against=base) for name, truth in (("embedded", "vision"), ("embedded-template", "llm"))
    ]


# ---- verdicts and tables -----------------------------------------------------------------------------------------------


def judged(bench: Bench, organism: Organism) -> dict[str, Any]:
    """One row: truth, verdict, and what the plant cost the answers."""
    record = bench.examined(organism)
    survival, answers, inputs = restored(record)
    verdict = decide(survival, record["read_layer"], answers, inputs=inputs)
    row = {"organism": organism.name, "base": organism.base, "site": organism.site, "strength": organism.strength,
           "seed": organism.seed, "tried": (organism.base, organism.seed) == TRIED, "truth": organism.truth, "verdict": verdict.component,
           "candidates": " ".join(verdict.candidates), "answers": answers.balanced_accuracy}  # fmt: skip
    whole = Organism(organism.against or organism.base, "none", seed=organism.seed)
    if organism.truth == "none":
        return {**row, "cost": 0.0, "p": 1.0, "grade": "untouched", "seconds": record["seconds"]}
    before = restored(bench.examined(whole))[1]
    change = compare_answers(before, answers)
    cost = -change.value / (before.balanced_accuracy - before.chance)
    grade = next(name for name, least in GRADES if cost >= least)
    return {**row, "cost": cost, "p": change.p, "grade": grade, "seconds": record["seconds"]}


def outcome(row: dict[str, Any]) -> str:
    """``right``, ``wrong`` (another component is named), or ``open`` (none or cannot tell, where something was planted)."""
    if row["verdict"] == row["truth"]:
        return "right"
    return "wrong" if row["verdict"] in COMPONENTS else "open"


def share(hits: int, n: int) -> str:
    """A share with its exact 95 % interval (Clopper and Pearson 1934)."""
    from scipy.stats import beta

    low = float(beta.ppf(0.025, hits, n - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0
    return f"{hits} of {n} ({100 * hits / n:.0f} % [{100 * low:.0f}, {100 * high:.0f}])" if n else "0 of 0"


def matrix(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Truth by verdict, one table per grade."""
    lines = []
    for grade in ("untouched", *(name for name, _ in GRADES)):
        own = [row for row in rows if row["grade"] == grade]
        counts = Counter((row["truth"], row["verdict"]) for row in own)
        lines += ["", f"| {grade}: truth | " + " | ".join(VERDICTS) + " |", "|---" * (1 + len(VERDICTS)) + "|"]
        for truth in dict.fromkeys(row["truth"] for row in sorted(own, key=lambda row: VERDICTS.index(row["truth"]))):
            lines.append(f"| {truth} | " + " | ".join(str(counts[truth, verdict] or "·") for verdict in VERDICTS) + " |")
    return lines


def summary(rows: Sequence[dict[str, Any]]) -> tuple[list[str], bool]:
    """What the rule got right, and whether the targets are met: on strong plants, on all of them, and on untouched ones."""
    strong, plants, idle = ([row for row in rows if test(row)] for test in (
        lambda row: row["grade"] == "strong", lambda row: row["truth"] != "none", lambda row: row["truth"] == "none"))  # fmt: skip
    right = sum(outcome(row) == "right" for row in strong)
    wrong = sum(outcome(row) == "wrong" for row in plants)
    named = [row for row in plants if row["verdict"] in COMPONENTS]
    alarms = sum(row["verdict"] in COMPONENTS for row in idle)
    lines = [
        f"strong plants named right: {share(right, len(strong))}, target 95 %",
        f"another component named, of all plants: {share(wrong, len(plants))}, target at most 5 %",
        f"where a component is named, it is the right one: {share(len(named) - wrong, len(named))}",
        f"false alarms on untouched ones: {share(alarms, len(idle))}, target at most 5 %",
        f"untouched ones called none: {share(sum(row['verdict'] == 'none' for row in idle), len(idle))}",
    ]
    met = right >= 0.95 * len(strong) and wrong <= 0.05 * len(plants) and alarms <= 0.05 * len(idle)
    return lines, bool(strong) and met


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="eight organisms, in two to three minutes")
    parser.add_argument("--tables", action="store_true", help="examine nothing")
    parser.add_argument("--work", type=Path, default=None, help=f"where everything is kept ({WORK})")
    options = parser.parse_args()
    started = time.time()
    work = options.work or (WORK / "quick" if options.quick else WORK)
    bench = Bench(work, QUICK_REFERENCES if options.quick else 2500)
    rows = []
    for organism in cast(options.quick):
        if options.tables and not bench.path(organism).exists():
            continue
        rows.append(judged(bench, organism))
        print(f"{organism.name}: {rows[-1]['verdict']} ({outcome(rows[-1])}, {rows[-1]['seconds']:.0f} s)", flush=True)
    lines, met = summary(rows)
    held = [row for row in rows if not row["tried"]]
    if len(held) < len(rows):
        lines += [
            "",
            f"Without the base and seed that the constants were chosen on ({TRIED[0]}, {TRIED[1]}):",
            *summary(held)[0],
        ]
    write_csv(rows, work / "verdicts.csv")
    write_json({"rows": rows, "summary": lines, "met": met, "n": len(rows)}, work / "verdicts.json")
    seconds = sorted(row["seconds"] for row in rows)
    told = f"{len(rows)} organisms; {seconds[len(seconds) // 2]:.0f} s each (median), {time.time() - started:.0f} s in all"
    print("\n".join([*matrix(rows), "", *lines, "", told, "targets met" if met else "TARGET MISSED"]))
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
