"""Which attribution method finds where a distortion is? A leader table on small models that answer, with the truth at hand.

python benchmarks/attribution.py                    # the healthy model kept beside this file; about four minutes on one core
python benchmarks/attribution.py --tuned FOLDER     # also the embedded model as tuned in FOLDER by `snellen tune` or an exam's arm
python benchmarks/attribution.py --sanity           # also randomise the weights; as long again
python benchmarks/attribution.py … --page docs/cause.md     # writes the section of the page, and the CSV and figure beside it

Classes are those of which a model answers at least half of the local distortions of other references. Results are kept under
runs/attribution, model by model: a killed run goes on. The section stands between two marks; what is written by hand around it stays.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(p for p in sys.path if Path(p).resolve() != HERE)]

from analysis.attribution.run import MASK, attribute  # noqa: E402
from analysis.attribution.sanity import sanity  # noqa: E402
from analysis.attribution.stages import conductance  # noqa: E402
from analysis.choice import choice  # noqa: E402
from hooks.checksum import weights_checksum  # noqa: E402
from stimuli.generated import exam_set  # noqa: E402
from stimuli.regions import Region  # noqa: E402
from stimuli.tables import Table, write_csv, write_json, write_text  # noqa: E402
from stimuli.taxonomy import CLEAN, taxonomy  # noqa: E402

WORK = Path("runs/attribution")
HEALTHY, TUNED = "healthy-1", "embedded-tuned"
ABOUT = {
    HEALTHY: "the encoder of `embedded-template` under a language model taught the truth (`benchmarks/healthy-1.safetensors`)",
    TUNED: "`embedded`, its vision encoder tuned by the arm `vision+constraint` of `snellen exam embedded --budget full --seed 1`",
}
SHARE = (0.2, 0.4)
LEVEL, SEED, REFERENCES = 5, 1, 10
"""With ten references the least p of a sign test passes Holm's correction over all methods."""
CHOSEN_SEED, CHOSEN_REFERENCES, BAR = 0, 16, 0.5
"""The classes are chosen on these references, by the share of local distortions answered right."""
BEGIN, END = "<!-- benchmarks/attribution.py writes from here -->", "<!-- benchmarks/attribution.py writes to here -->"
CSV, FIGURE = "attribution-leaders.csv", "images/attribution-leaders.png"

# ---- models and stimuli ------------------------------------------------------------------------------------------------


def model(name: str, tuned: str | None, work: Path) -> Any:
    """The healthy model, or the embedded one as tuned."""
    if name == TUNED:
        from snellen.models import load
        from tuning.tuned import reopen

        assert tuned is not None
        return reopen(load("embedded"), tuned).mllm
    from benchmarks.organism_exams import Bench

    return Bench(work / "base", 40).base(name)


def local(references: int, seed: int, classes: Sequence[str] | None = None) -> list[Any]:
    """Clean images and local distortions, of all classes or some."""
    chosen = taxonomy("paper8")
    region = Region("any", SHARE, seed=seed)
    found = exam_set(references, levels=(LEVEL,), seed=seed, region=region, measure=False)
    return [s for s in found if s.type is None or classes is None or chosen.label(s) in classes]


def answered(mllm: Any, stimuli: Sequence[Any]) -> dict[str, Any]:
    """How well it answers about distorted stimuli: accuracy, mean p of the right class, and the share right of each class."""
    chosen, asked = taxonomy("paper8"), choice()
    shown = [(s, label) for s in stimuli if (label := chosen.label(s)) not in (None, CLEAN)]
    p = asked.probabilities(mllm, asked.prepared(mllm, [s.image for s, _ in shown]))
    right = [(label, int(row.argmax()) == asked.place(label)) for row, (_, label) in zip(p, shown, strict=True)]
    own = [float(row[asked.place(label)]) for row, (_, label) in zip(p, shown, strict=True)]
    of, hits = Counter(label for label, _ in right), Counter(label for label, hit in right if hit)
    return {
        "n": len(shown),
        "references": len({s.reference for s, _ in shown}),
        "accuracy": sum(hits.values()) / len(shown),
        "p": sum(own) / len(own),
        "chance": 1 / p.shape[1],
        "classes": {label: hits[label] / count for label, count in of.items()},
    }


def classes_of(mllm: Any, references: int = CHOSEN_REFERENCES) -> list[str]:
    """The classes that it answers about local distortions, told on other references than the table's."""
    found = answered(mllm, local(references, CHOSEN_SEED))["classes"]
    return [label for label, share in found.items() if share >= BAR]


def kept(path: Path, config: Mapping[str, Any], make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """What ``make`` gave for a configuration, made once; read from its file in either case."""
    wanted = json.loads(json.dumps(config))
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if found.get("config") != wanted:
        start = time.process_time()
        write_json({"config": wanted, **make(), "cpu_seconds": time.process_time() - start}, path)
        found = json.loads(path.read_text())
    return found


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """The leader table of a model, and what else was asked for; part by part from the work folder where it is known."""
    mllm, work = model(name, options.tuned, options.work), options.work / name
    config = {
        "weights": weights_checksum(mllm.model),
        "references": options.references,
        "seed": SEED,
        "share": SHARE,
        "level": LEVEL,
    }
    classes = kept(work / "classes.json", {**config, "bar": BAR}, lambda: {"classes": classes_of(mllm)})["classes"]
    config["classes"] = classes
    stimuli = local(options.references, SEED, classes)

    def leaders() -> dict[str, Any]:
        found = attribute(mllm, stimuli, points=options.points, seed=SEED)
        write_csv(found.each, work / "each.csv")
        return {"answered": answered(mllm, stimuli), "table": found.table, "left_out": dict(found.left_out)}

    def sane() -> dict[str, Any]:
        names = [row["method"] for row in first["table"] if row["method"] not in (MASK, "shapley")]
        return {"table": sanity(mllm, stimuli, methods=names, seed=SEED).table}

    first = kept(work / "leaders.json", {**config, "points": options.points}, leaders)
    found = {"name": name, "classes": classes, "leaders": first}
    if options.sanity:
        found["sanity"] = kept(work / "sanity.json", config, sane)
    if options.stages:
        found["stages"] = kept(work / "stages.json", config, lambda: {"table": conductance(mllm, stimuli, seed=SEED).table})
    for key in {"leaders", "sanity", "stages"} & set(found):
        write_csv(found[key]["table"], work / f"{key}.csv")
    return found


# ---- what is written ---------------------------------------------------------------------------------------------------


def number(value: float, form: str = ".2f") -> str:
    """A rounded number; what rounds to 0 has no sign."""
    told = f"{value:{form}}"
    return told.lstrip("+-") if not float(told) else told


def spread(row: Mapping[str, Any], key: str, form: str = ".2f") -> str:
    """A value with its interval."""
    if row.get(key) is None:
        return "–"
    ends = [end for side in ("low", "high") if (end := row.get(f"{key}_{side}")) is not None]
    told = f" [{', '.join(number(end, form) for end in ends)}]" if len(ends) == 2 else ""
    return f"{number(row[key], form)}{told}"


def starred(row: Mapping[str, Any], key: str, p: str, tests: int) -> str:
    """A difference, with a star where its corrected p is below 0.05 and could be so by the exact sign test of as many references."""
    if row.get(key) is None:
        return "–"
    proven = row[p] is not None and row[p] < 0.05 and tests * 2.0 ** (1 - row["references"]) < 0.05
    return f"{number(row[key], '+.2f')}{'*' if proven else ''}"


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def leader_rows(table: Table) -> list[str]:
    """The leader table: scores with intervals, best AUC first, then what the region itself scores, and chance."""
    head = ["method", "AUC [95 %]", "other regions", "beyond", "over edges", "pointing game [95 %]", "IoU [95 %]"]
    head += ["deletion ↓ [95 %]", "insertion ↑ [95 %]", "passes"]
    rows = []
    for row in table:
        cells = [f"*{row['method']}*" if row["method"] in (MASK, "edges", "random") else row["method"], spread(row, "auc")]
        cells += [
            f"{row['auc_control']:.2f}",
            starred(row, "beyond", "p_holm", len(table)),
            starred(row, "over_edges", "over_edges_p_holm", len(table)),
        ]
        cells += [spread(row, key) for key in ("pointing", "iou", "deletion", "insertion")]
        rows.append([*cells, "–" if row["passes"] is None else f"{row['passes']:.0f}"])
    level = table[0]
    rows.append(
        ["*chance*", "0.50", "–", "0", "–", f"{level['pointing_chance']:.2f}", f"{level['iou_chance']:.2f}", "–", "–", "–"]
    )
    return grid(head, rows)


def sanity_rows(table: Table) -> list[str]:
    """Rank correlation of maps before and after, a column per step of the randomisation."""
    steps = list(dict.fromkeys(row["randomised"] for row in table))
    found = {(row["method"], row["randomised"]): row for row in table}
    rows = [
        [name, *(spread(found[name, step], "spearman") for step in steps)] for name in dict.fromkeys(r["method"] for r in table)
    ]
    return grid(["method", *(f"{step} [95 %]" for step in steps)], rows)


def about(found: Mapping[str, Any]) -> str:
    """What a table is of, in a sentence or two."""
    own = found["leaders"]["answered"]
    left = ", ".join(found["leaders"]["left_out"])
    line = f"{ABOUT[found['name']]}. {own['n']} local distortions ({', '.join(found['classes'])}; level {LEVEL}) of {own['references']} "
    line += f"references, {own['accuracy']:.0%} answered right, p(right) {own['p']:.2f} (chance {own['chance']:.2f})."
    return line + (f" Left out, as the model cannot do it: {left}." if left else "")


def section(results: Sequence[Mapping[str, Any]], command: str) -> str:
    """The page's section, between the marks."""
    lines = [BEGIN, f"Command: `{command}`. All columns: [{CSV}]({CSV}).", ""]
    for found in results:
        lines += [f"**`{found['name']}`**: {about(found)}", "", *leader_rows(found["leaders"]["table"]), ""]
        if "sanity" in found:
            note = "Rank correlation of the maps with those after weights were shuffled, from the top down (0: the map is the model's):"
            lines += [note, "", *sanity_rows(found["sanity"]["table"]), ""]
    return "\n".join([*lines, END])


def command(options: argparse.Namespace) -> str:
    """What was called, as far as the section depends on it."""
    words = ["python benchmarks/attribution.py", *(["--tuned FOLDER"] if options.tuned else [])]
    words += [f"--models {' '.join(options.models)}"] if options.models else []
    words += [f"--references {options.references}"] if options.references != REFERENCES else []
    return " ".join([*words, *(["--sanity"] if options.sanity else [])])


def replaced(page: str, new: str, begin: str = BEGIN, end: str = END) -> str:
    """A page with the section in the place of the one it has, or at its end."""
    before, mark, rest = page.partition(begin)
    if not mark:
        return f"{page.rstrip()}\n\n{new}\n".lstrip()
    return before + new + rest.partition(end)[2]


def figure(results: Sequence[Mapping[str, Any]], path: Path) -> None:
    """AUC and pointing game of every method, a row per model."""
    from analysis.figures.attribution import draw_leaders
    from analysis.figures.files import canvas
    from analysis.figures.style import style

    with style():
        made, axes = canvas(9.6, 3.2 * len(results), len(results), 2, squeeze=False)
        for row, found in zip(axes, results, strict=True):
            for ax, measure in zip(row, ("auc", "pointing"), strict=True):
                draw_leaders(ax, found["leaders"]["table"], measure)
                ax.set_title(found["name"])
            handles, labels = row[0].get_legend_handles_labels()
            row[0].get_legend().remove()
            told = ["chance" if label.startswith("chance") else label for label in labels]
            row[1].legend(handles, told, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7.5)
        path.parent.mkdir(parents=True, exist_ok=True)
        made.savefig(path)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuned", default=None, help="folder of a tuned embedded model, which is measured too")
    parser.add_argument("--models", nargs="+", default=None, choices=[HEALTHY, TUNED], help="all that there are by default")
    parser.add_argument("--references", type=int, default=REFERENCES)
    parser.add_argument("--points", type=int, default=4, help="of deletion and insertion curves")
    parser.add_argument("--sanity", action="store_true", help="also randomise the weights")
    parser.add_argument("--stages", action="store_true", help="also conductance by site, in the work folder")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--page", type=Path, default=None, help="a page whose section is written, such as docs/cause.md")
    options = parser.parse_args()
    if options.tuned is None and TUNED in (options.models or []):
        parser.error(f"{TUNED} needs --tuned FOLDER: a folder that `snellen tune --out` or an exam's arm has written.")
    there = [HEALTHY] if options.tuned is None else [HEALTHY, TUNED]
    names = there if options.models is None else [name for name in there if name in options.models]
    results = [measured(name, options) for name in names]
    text = section(results, command(options))
    print(text)
    figure(results, options.work / "leaders.png")
    if options.page is not None:
        write_text(replaced(options.page.read_text() if options.page.exists() else "", text), options.page)
        rows = [{"model": found["name"], **row} for found in results for row in found["leaders"]["table"]]
        write_csv([{key: value for key, value in row.items() if key != "seconds"} for row in rows], options.page.parent / CSV)
        figure(results, options.page.parent / FIGURE)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
