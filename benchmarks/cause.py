"""The numbers of docs/cause.md: exchange, knock-out, lenses and steering on small models that answer, each with its controls.

python benchmarks/cause.py                      # the healthy model kept beside this file; about two minutes on one core
python benchmarks/cause.py --tuned FOLDER       # also the embedded model as tuned in FOLDER by `snellen tune` or an exam's arm
python benchmarks/cause.py --parts patching lens --quick --work runs/quick-cause
python benchmarks/cause.py … --page docs/cause.md           # writes the tables of the page

Results are kept under runs/cause, part by part and model by model, with a CSV per part: a killed run goes on. Each table
stands between two marks; what is written by hand around it stays. Attribution has a script of its own, attribution.py, whose models
and classes these are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(p for p in sys.path if Path(p).resolve() != HERE)]

from analysis.knockout import knockout  # noqa: E402
from analysis.lens import lens  # noqa: E402
from analysis.patch_map import patch_map  # noqa: E402
from analysis.patching import patch  # noqa: E402
from analysis.steering import dose_response  # noqa: E402
from benchmarks.attribution import (  # noqa: E402
    ABOUT,
    HEALTHY,
    LEVEL,
    SEED,
    SHARE,
    TUNED,
    answered,
    classes_of,
    grid,
    kept,
    local,
    model,
    number,
    replaced,
    spread,
)  # fmt: skip
from hooks.checksum import weights_checksum  # noqa: E402
from stimuli.generated import exam_set  # noqa: E402
from stimuli.pairs import pairs  # noqa: E402
from stimuli.tables import Row, Table, write_csv, write_text  # noqa: E402

WORK = Path("runs/cause")
REFERENCES, LENS_REFERENCES, STEER_REFERENCES, FIT_REFERENCES = 12, 20, 12, 40
PATCH_SITES = ("vision.embed", "vision.2", "vision.5", "projector", "llm.embed", "llm.0", "llm.1", "llm.2", "llm.3")
SETS = ("image", "region", "question", "last")
EDGES = ("image->last", "image->question", "question->last")
LENS_SITES = ("projector", "llm.embed", "llm.0", "llm.1", "llm.2", "llm.3")
STEER_SITE, DOSES, CONTENT = "projector", (1.0, 4.0), (1.0, 4.0)
CONTENT_REFERENCES = 4
"""Of the steered ones whose descriptions are asked for too, which takes longest."""


@dataclass(frozen=True)
class Subject:
    """A model, and what all parts of it share."""

    name: str
    mllm: Any
    classes: list[str]
    """That it answers about local distortions."""
    quick: bool

    def few(self, references: int) -> int:
        """As many references as are shown."""
        return min(references, 3) if self.quick else references

    def whole(self, references: int, split: Any = "exam") -> list[Any]:
        """Clean and wholly distorted images of all classes."""
        return list(exam_set(self.few(references), levels=(LEVEL,), seed=SEED, split=split, measure=False))


# ---- parts: what is measured -------------------------------------------------------------------------------------------


def patching(own: Subject) -> Row:
    """Features exchanged within minimal pairs with local distortions, clean receiving from distorted."""
    shown = local(own.few(REFERENCES), SEED, own.classes)
    found = patch(own.mllm, pairs(shown), sites=PATCH_SITES, sets=SETS, directions=("forward",), seed=SEED)
    return {"answered": answered(own.mllm, shown), "table": found.table, "notes": list(found.notes)}


def knocked(own: Subject) -> Row:
    """Edges of attention cut, window by window and in all layers."""
    shown = own.whole(REFERENCES)
    return {"answered": answered(own.mllm, shown), "table": knockout(own.mllm, shown, edges=EDGES, window=1, seed=SEED).table}


def lenses(own: Subject) -> Row:
    """The right word's place at the last position, and the map of image tokens that say it against the distorted region."""
    shown = own.whole(LENS_REFERENCES)
    found = lens(own.mllm, shown, sites=LENS_SITES, positions=("last", "image"), seed=SEED)
    regions = local(own.few(LENS_REFERENCES), SEED, own.classes)
    maps = patch_map(own.mllm, regions, list(LENS_SITES), seed=SEED)
    return {
        "answered": answered(own.mllm, shown),
        "answered_local": answered(own.mllm, regions),
        "table": [row for row in found.table if row["class"] == "all"],
        "maps": [row for row in maps.table if row["class"] == "all"],
        "notes": [*found.notes, *maps.notes],
    }


def steered(own: Subject) -> Row:
    """Class directions of other references added to the image's tokens; descriptions of a part of the images."""
    shown, fitting = own.whole(STEER_REFERENCES), own.whole(FIT_REFERENCES, "train")
    run = partial(dose_response, own.mllm, site=STEER_SITE, classes=own.classes, kinds=("means",), doses=DOSES, seed=SEED)
    found = run(shown, fitting, content=())
    few = set(list(dict.fromkeys(s.reference for s in shown))[:CONTENT_REFERENCES])
    told = run([s for s in shown if s.reference in few], found.directions, content=CONTENT)
    return {
        "answered": answered(own.mllm, shown),
        "table": [row for row in found.table if row["class"] == "all"],
        "content": [row for row in told.table if row["class"] == "all"],
        "slopes": [row for row in found.slopes if row["class"] == "all"],
        "notes": list(found.notes),
    }


# ---- tables: what the page shows ---------------------------------------------------------------------------------------


def cell(row: Mapping[str, Any] | None, key: str, control: str, p: str = "", ends: str = "", tests: int = 1) -> str:
    """A value with interval, its control's in round brackets, and a star where it is beyond it after Holm's correction.

    No star at what rounds to 0, nor where the exact sign test of as many references could not be as sure after so many tests.
    """
    if row is None or row.get(key) is None:
        return "–"
    low, high = (f"{key}_low", f"{key}_high") if not ends else ("low", "high")
    sure = p and row.get(p) is not None and row[p] < 0.05 and tests * 2.0 ** (1 - row["references"]) < 0.05
    value, beside = number(row[key]), f" ({number(row[control])})" if row.get(control) is not None else ""
    return f"{value}{'*' if sure and float(value) else ''} [{number(row[low])}, {number(row[high])}]{beside}"


def at(table: Table, **wanted: Any) -> Row | None:
    """The first row that has these values."""
    return next((row for row in table if wanted.items() <= row.items()), None)


def answering(found: Mapping[str, Any], what: str, key: str = "answered") -> str:
    """What a table is of."""
    own = found[key]
    return (
        f"{own['n']} {what} of {own['references']} references, {own['accuracy']:.0%} answered right, p(right) {own['p']:.2f} "
        f"(chance {own['chance']:.2f})"
    )


def patching_table(found: Mapping[str, Any]) -> list[str]:
    """Recovery, a row per site."""
    rows = [
        [
            site,
            *(cell(at(found["table"], site=site, set=name), "recovery", "recovery_control", "beyond_p_holm") for name in SETS),
        ]
        for site in PATCH_SITES
    ]
    return [answering(found, "pairs with local distortions"), "", *grid(["site", *SETS], rows)]


def knockout_table(found: Mapping[str, Any]) -> list[str]:
    """Change of p, a row per edge."""
    layers = list(dict.fromkeys(row["centre"] for row in found["table"]))
    rows = [
        [
            edge,
            number(found["table"][0]["p_before"]),
            *(
                cell(at(found["table"], edge=edge, centre=c), "change", "control_change", "beyond_p_holm", "plain", len(layers))
                for c in layers
            ),
        ]
        for edge in EDGES
    ]
    head = ["edge", "p before", *("all layers" if layer is None else f"layer {layer}" for layer in layers)]
    return [answering(found, "distorted images (clean ones are asked about too)"), "", *grid(head, rows)]


def lens_table(found: Mapping[str, Any]) -> list[str]:
    """First among the classes at the last position, and the maps, a row per site."""
    rows = []
    for site in LENS_SITES:
        last, mapped = at(found["table"], site=site, position="last"), at(found["maps"], site=site)
        rank = "–" if last is None else spread(last, "rank", ".0f")
        first = cell(last, "accuracy", "accuracy_control", "p_holm")
        rows.append(
            [
                site,
                first,
                rank,
                cell(mapped, "auc", "control", "p_holm", tests=len(LENS_SITES)),
                spread(mapped or {}, "pointing"),
            ]
        )
    chance = found["maps"][0]["pointing_chance"]
    head = [
        "site",
        "right word first of the eight",
        "its rank in the vocabulary",
        "map: AUC",
        f"map: pointing (chance {chance:.2f})",
    ]
    told = f"{answering(found, 'distorted images')}; maps: {answering(found, 'local distortions', 'answered_local')}"
    return [told, "", *grid(head, rows)]


def steering_table(found: Mapping[str, Any]) -> list[str]:
    """P of the class over the doses, beside the controls, and what becomes of descriptions."""
    rows = []
    for dose in (0.0, *DOSES):
        own = at(found["table"], kind="means", dose=dose) or at(found["table"], dose=dose) or {}
        told = at(found["content"], kind="means", dose=dose) or at(found["content"], dose=dose) or {}
        others = [spread(at(found["table"], kind=kind, dose=dose) or {}, "probability") for kind in ("random", "shuffled")]
        content = [spread(told, name) for name in ("colour", "shape")]
        rows.append([f"{dose:g}", spread(own, "probability"), *others, *content, spread(own, "outside")])
    head = [
        "dose",
        "p(class)",
        "random direction",
        "shuffled labels",
        "colour named right",
        "shape named right",
        "tokens of unusual norm",
    ]
    first = found["content"][0]
    line = f"{found['table'][0]['n']} images of other classes steered at the {STEER_SITE}, {found['table'][0]['references']} references; "
    line += f"descriptions of {first['n']}, {first['references']} references"
    return [line, "", *grid(head, rows)]


Part = tuple[Callable[[Subject], Row], Callable[[Mapping[str, Any]], list[str]], tuple[Any, ...], str]
STARRED = "a star: beyond it after Holm's correction (none at what rounds to 0)."
PARTS: Mapping[str, Part] = {
    "patching": (
        patching, patching_table, (REFERENCES, PATCH_SITES, SETS, SHARE),
        f"Recovery, clean receiving from distorted; square brackets: 95 % over references; round: the same from a stranger; {STARRED}",
    ),
    "knockout": (
        knocked, knockout_table, (REFERENCES, EDGES),
        f"Change of p(right) by the cut; square brackets: 95 % over references; round: as many pairs cut elsewhere; {STARRED}",
    ),
    "lens": (
        lenses, lens_table, (LENS_REFERENCES, LENS_SITES, SHARE),
        f"Square brackets: 95 % over references; round: labels shuffled within references, and regions of other references; {STARRED}",
    ),
    "steering": (
        steered, steering_table, (STEER_REFERENCES, FIT_REFERENCES, CONTENT_REFERENCES, STEER_SITE, DOSES, CONTENT),
        f"Mean over the classes steered to; directions of {FIT_REFERENCES} other references; square brackets: 95 % over references.",
    ),
}  # fmt: skip
"""Name to what measures it, what shows it, the settings that it depends on, and how to read it."""


def measured(own: Subject, part: str, work: Path) -> dict[str, Any]:
    """A part of a model, from the work folder where it is known."""
    make, _, settings, _ = PARTS[part]
    config = {
        "weights": weights_checksum(own.mllm.model),
        "classes": own.classes,
        "seed": SEED,
        "level": LEVEL,
        "quick": own.quick,
    }
    return kept(work / own.name / f"{part}.json", {**config, "settings": settings}, lambda: make(own))


def marks(part: str) -> tuple[str, str]:
    """Between which a part's tables stand."""
    return f"<!-- benchmarks/cause.py writes {part} from here -->", f"<!-- benchmarks/cause.py writes {part} to here -->"


def section(part: str, results: Mapping[str, Mapping[str, Any]], command: str) -> str:
    """A part's tables of all models, between the marks."""
    _, show, _, read = PARTS[part]
    begin, end = marks(part)
    lines = [begin, f"Command: `{command}`. {read}", ""]
    for name, found in results.items():
        about, *table = show(found)
        lines += [f"**`{name}`**: {about}.", *table, ""]
    return "\n".join([*lines, end])


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuned", default=None, help="folder of a tuned embedded model, which is measured too")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="three references each, to see that it runs")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--page", type=Path, default=None, help="a page whose tables are written, such as docs/cause.md")
    options = parser.parse_args()
    found: dict[str, dict[str, dict[str, Any]]] = {part: {} for part in options.parts}
    for name in [HEALTHY] if options.tuned is None else [HEALTHY, TUNED]:
        mllm = model(name, options.tuned, options.work)
        asked = {"weights": weights_checksum(mllm.model), "quick": options.quick}
        chosen = kept(options.work / name / "classes.json", asked, partial(_classes, mllm, options.quick))
        own = Subject(name, mllm, chosen["classes"], options.quick)
        for part in options.parts:
            found[part][name] = measured(own, part, options.work)
    command = "python benchmarks/cause.py" + (" --tuned FOLDER" if options.tuned else "")
    sections = {part: section(part, results, command) for part, results in found.items()}
    print("\n\n".join([*(f"{name}: {text}" for name, text in ABOUT.items()), *sections.values()]))
    if options.page is not None:
        page = options.page.read_text() if options.page.exists() else ""
        for part, tables in sections.items():
            page = replaced(page, tables, *marks(part))
        write_text(page, options.page)
    for part, of in found.items():
        for key in ("table", "maps", "content", "slopes"):
            rows = [{"model": name, **row} for name, one in of.items() for row in one.get(key, [])]
            if rows:
                write_csv(rows, options.work / f"{part}{'' if key == 'table' else f'-{key}'}.csv")
    return 0


def _classes(mllm: Any, quick: bool) -> dict[str, Any]:
    return {"classes": classes_of(mllm, 4) if quick else classes_of(mllm)}


if __name__ == "__main__":
    raise SystemExit(main())
