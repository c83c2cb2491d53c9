"""Do the shares of a loss name the component in which it was planted? The organisms of organisms.py, with donors that answer.

python benchmarks/mediation.py                # what is missing of all organisms and donors, then the tables
python benchmarks/mediation.py --quick        # six organisms of the base that is kept beside this file
python benchmarks/mediation.py --tables       # only what is measured already
python benchmarks/mediation.py --arms         # also tunes arms of a few strong plants, as readers (sn.loss_by_arms)
python benchmarks/mediation.py --exams runs/headline runs/shapes/demo    # loss_by_arms of exams that were run, no model needed

Donors: ``twin``, the base before anything was planted, which differs in nothing else, so that the shares must be 1 and 0 (a test of
the method's carrying out); ``tuned``, the base after all of it was tuned for some steps on other images, so that every component
differs a little; ``stranger``, a base whose projector and language model were trained apart, whose features mean nothing to the patient:
nobody should be named then. Everything is kept under runs/mediation: a killed run goes on. Exits with 1 when another component than
the planted one is named in more than 5 % of the plants, with a twin or a tuned donor. What came out: docs/verdict.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from tqdm.auto import tqdm

HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(p for p in sys.path if Path(p).resolve() != HERE)]  # benchmarks/probes.py is not the room

from analysis.mediation import mediation  # noqa: E402
from analysis.mediation_shares import loss_by_arms  # noqa: E402
from analysis.perception import ask  # noqa: E402
from benchmarks import organisms  # noqa: E402
from benchmarks.organism_exams import LEVELS, Bench, Organism  # noqa: E402
from stimuli.generated import exam_set  # noqa: E402
from stimuli.tables import write_csv, write_json  # noqa: E402
from stimuli.types import Stimulus  # noqa: E402
from tuning.tune import tune  # noqa: E402

WORK = Path("runs/mediation")
MOST_WRONG = 0.05
DONORS = ("twin", "tuned", "stranger")
REFERENCES = {"twin": 4, "tuned": 8, "stranger": 8}
"""Of the organism's own exam, the first ones, 8 images each; a twin gives shares without noise."""
FOREIGN = "healthy-1"
"""The base whose strong plants a stranger is the donor of."""
TUNING: dict[str, Any] = {"steps": 30, "replay": 0.0, "remember": 0}
"""How the tuned donor comes from a base, all components at once."""
ARM: dict[str, Any] = {"steps": 60, "replay": 0.0}
TRAIN_REFERENCES, TRAIN_SEED = 60, 1000
"""Of the images that donors and arms are tuned on; exams have seeds from 0 to 8."""
ARMS = ("vision", "projector", "llm")
GRADES = (*(name for name, _ in organisms.GRADES), "untouched")
READ = (("vision.3", 32), ("projector", 32), ("llm.0", 32), ("vision.1", 32), ("llm.2", 32))
"""Site and rank of the plants whose arms are tuned."""
TRUTHS = {"embedded": "vision", "embedded-template": "llm", "wide": "vision", "resampler": "vision"}
"""Where the shipped patients and the organisms of shapes.py, which have the encoder of ``embedded``, were made to lose it."""


# ---- exchanges with a donor ------------------------------------------------------------------------------------------------


class Donors:
    """The donors of each base, made once."""

    def __init__(self, bench: Bench, work: Path) -> None:
        self.bench, self.work = bench, work
        self._tuned: dict[str, Any] = {}

    def get(self, kind: str, base: str) -> Any:
        """A donor of a base's organisms."""
        if kind == "twin":
            return self.bench.base(base)
        if kind == "stranger":
            names = [name for name, _ in (organisms.TRIED, *organisms.HELD_OUT)]
            return self.bench.base(names[names.index(base) - 1])
        if base not in self._tuned:
            own = self.bench.base(base)
            out = self.work / "donors" / base
            self._tuned[base] = tune(own, taught(), "vision+projector+llm", out=out, **TUNING).mllm
        return self._tuned[base]


def taught() -> Any:
    """What donors and arms are tuned on."""
    return exam_set(references=TRAIN_REFERENCES, levels=LEVELS, seed=TRAIN_SEED, measure=False)


def cast(bench: Bench, quick: bool) -> list[tuple[Organism, str]]:
    """Organisms and donors, what costs the answers most first."""
    found: list[tuple[Organism, str]] = []
    if quick:
        chosen = [own for own in organisms.cast(True) if own.base == organisms.TRIED[0]]
        return [(own, kind) for own in chosen for kind in DONORS[:2]]
    for base, seed in (organisms.TRIED, *organisms.HELD_OUT):
        own = [Organism(base, "none", seed=seed), *organisms.planted(base, seed)]
        found += [(one, kind) for one in own for kind in DONORS[:2]]
        if base == FOREIGN:
            strong = [one for one in own if grade(bench, one) == GRADES[0]]
            found += [(one, DONORS[2]) for one in (*strong, *organisms.patients(base, seed))]
    return sorted(
        found, key=lambda pair: (order(pair[0].against or pair[0].base, pair[1]), GRADES.index(grade(bench, pair[0])))
    )


def order(base: str, kind: str) -> int:
    """One base with all donors first, then the other bases with theirs."""
    return DONORS.index(kind) // 2 if base == FOREIGN else 2 + DONORS.index(kind)


def first(stimuli: Sequence[Stimulus], count: int) -> list[Stimulus]:
    """Those of the first references."""
    kept = list(dict.fromkeys(one.reference for one in stimuli))[:count]
    return [one for one in stimuli if one.reference in kept]


def measured(bench: Bench, donors: Donors, organism: Organism, kind: str, work: Path) -> dict[str, Any]:
    """The shares of an organism with a donor, JSON-able; kept."""
    path = work / kind / f"{organism.name.replace('/', '_')}.json"
    if not path.exists():
        started = time.process_time()
        patient, donor = bench.planted(organism), donors.get(kind, organism.against or organism.base)
        found = mediation(patient, donor, first(bench.stimuli(organism.seed), REFERENCES[kind]), progress=False)
        record = {
            "table": found.table,
            "total": found.total,
            "component": found.component,
            "seconds": time.process_time() - started,
        }
        write_json(record, path)
    return dict(json.loads(path.read_text()))


def row_of(bench: Bench, organism: Organism, kind: str, record: dict[str, Any]) -> dict[str, Any]:
    """Truth, what is named, and the shares."""
    shares = {f"share_{own['component']}": own["share"] for own in record["table"]}
    total = record["total"]
    return {"organism": organism.name, "base": organism.base, "site": organism.site, "strength": organism.strength, "donor": kind,
            "truth": organism.truth, "named": record["component"] or "none", "grade": grade(bench, organism), "patient": total["patient"],
            "donor_right": total["donor"], "difference_low": total["difference_low"], "difference_high": total["difference_high"],
            **shares, "n": total["n"], "references": total["references"], "seconds": record["seconds"]}  # fmt: skip


def grade(bench: Bench, organism: Organism) -> str:
    """By the share of the base's answers above chance that it costs, as in organisms.py, from the kept exams (made if missing)."""
    if organism.truth == "none":
        return "untouched"
    whole = bench.examined(Organism(organism.against or organism.base, "none", seed=organism.seed))
    before, chance = right(whole), 1 / len(set(whole["labels"]))
    cost = (before - right(bench.examined(organism))) / (before - chance)
    return next(name for name, least in organisms.GRADES if cost >= least)


def right(record: dict[str, Any]) -> float:
    """Balanced accuracy of a kept exam's answers."""
    labels, said = np.array(record["labels"]), np.array([record["answers"][id] for id in record["ids"]])
    return float(np.mean([(said[labels == name] == name).mean() for name in set(record["labels"])]))


# ---- arms as readers -------------------------------------------------------------------------------------------------------


def read_by_arms(bench: Bench, organism: Organism, work: Path) -> dict[str, Any]:
    """``loss_by_arms`` of a plant whose components were tuned one by one; kept."""
    path = work / "arms" / f"{organism.name.replace('/', '_')}.json"
    if not path.exists():
        patient, stimuli = bench.planted(organism), first(bench.stimuli(organism.seed), 20)
        base, tuned = ask(patient, stimuli, progress=False), {}
        for name in tqdm(ARMS, desc=organism.name):
            arm = tune(patient, taught(), name, **ARM, progress=False)
            tuned[name] = [ask(arm.mllm, stimuli, progress=False)]
        said = {name: own[0].balanced_accuracy for name, own in tuned.items()}
        write_json({"table": loss_by_arms(base, tuned), "base": base.balanced_accuracy, "arms": said, "n": len(stimuli)}, path)
    return dict(json.loads(path.read_text()))


def exams(roots: Sequence[Path]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Exams with arms, and ``loss_by_arms`` of their answers."""
    for folder in sorted(path for root in roots for path in (root, *root.iterdir()) if (path / "tables").is_dir()):
        found = {path.stem.removeprefix("answers_"): _answers(path) for path in (folder / "tables").glob("answers_*.csv")}
        arms: dict[str, list[Any]] = {}
        for name, own in found.items():
            if name.split("+")[0] in ARMS:
                arms.setdefault(name.split("+")[0], []).append(own)
        if "base" in found and len(arms) > 1:
            yield folder.name, loss_by_arms(found["base"], arms)


def _answers(path: Path) -> Any:
    with open(path, newline="", encoding="utf-8") as handle:
        rows = [{**row, "correct": row["correct"] == "True"} for row in csv.DictReader(handle)]
    return SimpleNamespace(table=rows)


def reader_row(name: str, truth: str, table: list[dict[str, Any]]) -> dict[str, Any]:
    """Truth, the component whose share is beyond the others', and all shares."""
    named = next((own["component"] for own in table if (own["beyond_next_low"] or 0) > 0), "none")
    numbers = {
        f"{key}_{own['component']}": own[key] for own in table for key in ("accuracy", "share", "share_low", "share_high")
    }
    return {"model": name, "truth": truth, "named": named, **numbers}


# ---- tables ----------------------------------------------------------------------------------------------------------------


def told(rows: Sequence[dict[str, Any]], kind: str) -> list[str]:
    """Agreement by grade with one kind of donor."""
    lines = ["", f"| donor: {kind} | planted component named | another one | none |", "|---|---|---|---|"]
    for name in GRADES:
        own = [row for row in rows if row["donor"] == kind and row["grade"] == name]
        if own:
            counts = [sum(outcome(row) == what for row in own) for what in ("right", "wrong", "open")]
            lines.append(f"| {name} | " + " | ".join(organisms.share(count, len(own)) for count in counts) + " |")
    return lines if len(lines) > 3 else []


def outcome(row: dict[str, Any]) -> str:
    """``right``, ``wrong`` (another component is named), or ``open`` (none is); nothing planted and none named is right."""
    if row["named"] == row["truth"]:
        return "right"
    return "open" if row["named"] == "none" else "wrong"


def summary(rows: Sequence[dict[str, Any]]) -> tuple[str, bool]:
    """How often another component than the planted one is named with a donor of the same origin, and whether that is rare enough."""
    plants = [row for row in rows if row["truth"] != "none" and row["donor"] in DONORS[:2]]
    wrong = sum(outcome(row) == "wrong" for row in plants)
    line = f"another component named, twin and tuned donors: {organisms.share(wrong, len(plants))}, target at most {100 * MOST_WRONG:.0f} %"
    return line, bool(plants) and wrong <= MOST_WRONG * len(plants)


def readers(rows: Sequence[dict[str, Any]], out: Path) -> int:
    """Write and print what arms read, and how often that names another component than the true one; 1 if too often."""
    write_csv(rows, out / "readers.csv")
    lines = [
        "",
        "| model | truth | named | " + " | ".join(f"{name}: share, accuracy" for name in ARMS) + " |",
        "|---" * 6 + "|",
    ]
    for row in rows:
        cells = [cell(row, name) for name in ARMS]
        lines.append(f"| {row['model']} | {row['truth']} | {row['named']} | " + " | ".join(cells) + " |")
    counts = {what: sum(outcome(row) == what for row in rows) for what in ("right", "wrong", "open")}
    lines += ["", *(f"{what}: {organisms.share(count, len(rows))}" for what, count in counts.items())]
    print("\n".join(lines))
    return 0 if rows and counts["wrong"] <= MOST_WRONG * len(rows) else 1


def cell(row: dict[str, Any], name: str) -> str:
    """A component's share with its interval, and how right its best arm is."""
    if row.get(f"share_{name}") is None:
        return "–"
    share, low, high = (row[f"{key}_{name}"] for key in ("share", "share_low", "share_high"))
    return f"{share:.2f} [{low:.2f}, {high:.2f}], {100 * row[f'accuracy_{name}']:.0f} %"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="six organisms of one base")
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    parser.add_argument("--arms", action="store_true", help="also tune arms of a few strong plants")
    parser.add_argument("--exams", type=Path, nargs="+", default=None, metavar="DIR", help="only loss_by_arms of these exams")
    parser.add_argument("--work", type=Path, default=None, help=f"where everything is kept ({WORK})")
    options = parser.parse_args()
    work = options.work or (WORK / "quick" if options.quick else WORK)
    if options.exams:
        return readers(
            [reader_row(name, TRUTHS[name.rpartition("-")[0] or name], table) for name, table in exams(options.exams)],
            work / "exams",
        )
    bench = Bench(organisms.WORK / ("quick" if options.quick else ""), organisms.QUICK_REFERENCES if options.quick else 2500)
    donors, rows = Donors(bench, work), []
    pairs = cast(bench, options.quick)
    for organism, kind in tqdm(pairs, desc="mediation"):
        if options.tables and not (work / kind / f"{organism.name.replace('/', '_')}.json").exists():
            continue
        rows.append(row_of(bench, organism, kind, measured(bench, donors, organism, kind, work)))
        tqdm.write(f"{organism.name} ({rows[-1]['grade']}), {kind}: {rows[-1]['named']} ({outcome(rows[-1])})")
    line, met = summary(rows)
    write_csv(rows, work / "mediation.csv")
    write_json({"rows": rows, "summary": line, "met": met}, work / "mediation.json")
    print(
        "\n".join([*(text for kind in DONORS for text in told(rows, kind)), "", line, "target met" if met else "TARGET MISSED"])
    )
    if options.arms:
        base, seed = organisms.HELD_OUT[0]
        plants = [Organism(base, site.split(".")[0], site, rank, seed) for site, rank in READ]
        readers([reader_row(own.name, own.truth, read_by_arms(bench, own, work)["table"]) for own in plants], work / "arms")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
