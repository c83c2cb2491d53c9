"""The command that probes stored activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snellen.cli_options import Progress, Seed, resumable

if TYPE_CHECKING:
    from hooks.activations import Activations
    from hooks.foreign import Features
    from hooks.store import Store

CLASSES = ("site", "dim", "score", "low", "high", "control", "content", "chance")
NUMBERS = ("site", "dim", "score", "low", "high", "plcc", "within_type", "control", "type_only")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "differences": ("site", "against", "score", "change", "low", "high", "p_holm"),
    "best_sites": ("site", "score", "behind", "p", "among_best"),
    "online_code": ("site", "bits_per_stimulus", "compression", "compression_low", "compression_high", "control_compression", "p_holm"),
    "usable_information": ("site", "h_null", "information", "low", "high", "control", "p_holm"),
    "control_task": ("site", "score", "control", "control_chance", "selectivity", "selectivity_low", "selectivity_high", "p_holm"),
    "equal_dimension": ("site", "dim", "effective_dim", "score", "pca", "random", "pca_change", "pca_change_p_holm"),
    "sample_size_gain": ("site", "gain", "low", "high", "p_holm", "limited"),
    "transfer": ("site", "held_out", "score", "low", "high", "inside", "change", "p_holm", "detection"),
}  # fmt: skip
"""What is shown of each table; all columns stand in the CSV."""
HEADINGS = {
    "differences": "Against the best site (paired over references, Holm over sites)",
    "best_sites": "Which sites cannot be told from the best (95 % set)",
    "online_code": "Bits of the online code; compression 1 is none",
    "usable_information": "Usable bits per stimulus",
    "control_task": "Selectivity: score less control task, key",
    "equal_dimension": "At equal dimension",
    "sample_size_gain": "Gain of the last step, half → all training references",
    "types": "Types against clean: AUC at the best site, and the mildest level from which on all are detected",
    "transfer": "Transfer, held out:",
}


def probe(
    store: Annotated[
        Path | None, typer.Argument(help="folder that `snellen extract` wrote, or that of an exam", show_default=False)
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(help="instead of it, features made elsewhere: .npy, .safetensors or a folder of them, with --labels CSV"),
    ] = None,
    site_names: Annotated[str | None, typer.Option(help="names for the sites of a .npy file, comma-separated")] = None,
    target: Annotated[
        str,
        typer.Option(
            help="distortion, type, level, severity, psnr, ssim, mos, reference, or a column: of the metadata, or of --labels"
        ),
    ] = "distortion",
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV file with the columns 'id' and the target (with --features also 'reference', a line per row)"),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="classes or numbers; by default as the values are (levels: classes)")] = None,
    taxonomy: Annotated[str, typer.Option(help="name or YAML file")] = "paper8",
    sites: Annotated[str | None, typer.Option(help="names, comma-separated; all by default")] = None,
    folds: Annotated[int, typer.Option(help="folds by reference")] = 5,
    repeats: Annotated[int, typer.Option(help="times that references are dealt into folds")] = 1,
    baseline: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER:SITE, features to probe beside the sites; may be repeated")
    ] = None,
    differences: Annotated[bool, typer.Option("--differences", help="which sites cannot be told from the best")] = False,
    information: Annotated[bool, typer.Option("--information", help="bits: online code and usable information")] = False,
    control_task: Annotated[
        list[str] | None,
        typer.Option(
            help="selectivity against random labels by KEY: cell (type × level) or a column; may be repeated", metavar="KEY"
        ),
    ] = None,
    equal_dimension: Annotated[bool, typer.Option("--equal-dimension", help="every site in as many dimensions")] = False,
    sample_size: Annotated[bool, typer.Option("--sample-size", help="would more references help?")] = False,
    by_type: Annotated[bool, typer.Option("--by-type", help="each type against clean images, and from which level on")] = False,
    transfer: Annotated[
        list[str] | None,
        typer.Option(
            help="score on what was not trained on: type, source, level, severity or a column; may be repeated", metavar="BY"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="folder for tables, figures and settings, gone on with; or a .csv or .json for the main table alone"),
    ] = None,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Probe every site of stored activations: what can a linear probe read there?

    Examples:  snellen probe runs/a --out runs/a-probes
               snellen probe runs/demo --target severity --out runs/severity
               snellen probe runs/a --differences --information --by-type --out runs/a-probes
               snellen probe runs/a --control-task cell --equal-dimension --sample-size --out runs/controls
               snellen probe runs/a --transfer type --transfer severity --sites vision.3,projector,llm.3
               snellen probe runs/a --target artist --labels mine.csv --out runs/artist.csv
               snellen probe --features mine.npy --labels mine.csv --site-names vision.0,vision.1,projector
    """
    from snellen.cli_features import named, open_features
    from snellen.probing import NO_IMAGES, Probing, Wanted, target_in
    from snellen.probing import probe as run
    from stimuli.tables import write_table

    wanted = Wanted(
        differences, information, tuple(control_task or ()), equal_dimension, sample_size, by_type, tuple(transfer or ())
    )
    file = out if out is not None and out.suffix.lower() in (".csv", ".json") else None
    with resumable():
        if features is None:
            opened: Store | Features = open_store(named(store, site_names))
        else:
            opened = open_features(store, features, labels, site_names)
            target, labels = target_in(opened, target), None
            typer.echo(NO_IMAGES)
        probing = Probing(
            opened, target, taxonomy, labels, kind_of(kind), None if sites is None else tuple(sites.split(",")), folds,
            repeats, seed, baselines_of(baseline or ()), progress,
        )  # fmt: skip

        def told(own: dict[str, Any], notes: dict[str, Any]) -> None:
            for line in lines(own, notes, probing):
                typer.echo(line)

        tables, _ = run(probing, wanted, None if file else out, told)
    if file is not None:
        typer.echo(f"\nTable: {write_table(file, tables['probe'])}")
    elif out is not None:
        typer.echo(f"\n{len(tables)} tables, probe.json and {drawn(tables, target, out)} figures in {out}")


def kind_of(kind: str | None) -> Any:
    """Check ``--kind``.

    Raises:
        InputError: neither classes nor numbers.
    """
    from stimuli.errors import InputError

    if kind not in (None, "classes", "numbers"):
        raise InputError(f"Got --kind {kind}; expected classes or numbers. Leave it out to decide by the values.")
    return kind


def drawn(tables: Mapping[str, Any], target: str, out: Path) -> int:
    """Draw what the tables have data for; how many figures."""
    from analysis.figures.files import written
    from analysis.figures.probing import probing_figures

    return len(written(probing_figures(tables, target), out / "figures"))


def open_store(folder: Path) -> Store:
    """The activations in a folder, or the base model's in the folder of an exam.

    Raises:
        InputError: there are none.
    """
    from hooks.store import Store
    from stimuli.errors import InputError

    for place in (folder, folder / "activations" / "base"):
        if (place / "config.json").exists():
            store = Store(place)
            if not store.ids:
                raise InputError(
                    f"{place} holds no finished activations yet. Expected at least one shard. Run its extraction again; it goes on."
                )
            return store
    below = [
        path.parent.relative_to(folder) for path in sorted(folder.glob("**/config.json")) if (path.parent / "parts").exists()
    ]
    if below:
        raise InputError(
            f"{folder} holds no activations itself, but {', '.join(map(str, below[:6]))} below it do. Expected a folder that `snellen extract` "
            "wrote, or that of an exam. Give one of these."
        )
    what = "has no activations in it" if folder.is_dir() else "does not exist"
    raise InputError(
        f"{folder} {what}. Expected a folder that `snellen extract` wrote, or that of an exam. Run `snellen extract MODEL --out {folder}`."
    )


def baselines_of(given: Sequence[str]) -> dict[str, Activations]:
    """Features to probe beside the sites, each as ``NAME=FOLDER:SITE``.

    Raises:
        InputError: something else, no such activations, or a site that they lack.
    """
    from stimuli.errors import InputError

    found: dict[str, Activations] = {}
    for text in given:
        name, equals, place = text.partition("=")
        folder, colon, site = place.rpartition(":")
        if not (name and equals and colon and folder and site):
            raise InputError(
                f"Got --baseline {text}; expected NAME=FOLDER:SITE, such as --baseline random-weights=runs/blank:vision.3. Write it so."
            )
        found[name] = open_store(Path(folder)).read(site)
    return found


# ---- what is told ----------------------------------------------------------------------------------------------------


def lines(tables: Mapping[str, Sequence[Mapping[str, Any]]], notes: Mapping[str, Any], probing: Any) -> list[str]:
    """The tables of one step, each under a heading."""
    found: list[str] = []
    for name, rows in tables.items():
        heading, columns = _about(name)
        if name == "probe":
            found += _main(rows, notes["dropped"], probing)
        elif name == "types":
            shown = ("type", "n", "site", "auc", "auc_low", "auc_high", "threshold")
            found += ["", heading, *plain_table(_best_types(rows), shown)]
        elif columns:
            own = _at_best(rows) if name.startswith("transfer") else rows
            more = [f"(at the best site; the other sites stand in the table {name})"] if len(own) < len(rows) else []
            found += ["", heading, *plain_table(own, columns), *more]
    return [*found, *(f"{kind} is shown on {count} references, too few to probe" for kind, count in _few(notes).items())]


def _main(rows: Sequence[Mapping[str, Any]], dropped: int, probing: Any) -> list[str]:
    """The main table, and what it is of."""
    numbers = "within_type" in rows[0]
    what = "Spearman correlation of out-of-fold predictions" if numbers else "Balanced accuracy of a linear probe"
    head = (
        f"{what}, target {probing.target}: {rows[0]['n']} stimuli of {rows[0]['references']} references, {probing.folds} folds by reference, "
        "95 % intervals over references" + (f"; {dropped} stimuli have no such label" if dropped else "")
    )
    return [head, *plain_table(rows, NUMBERS if numbers else CLASSES)]


def plain_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """Rows as aligned text, a head line first."""
    cells = [list(columns), *([_cell(row.get(c)) for c in columns] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _about(name: str) -> tuple[str, tuple[str, ...]]:
    """Heading and columns of a table."""
    for start in ("transfer", "control_task"):
        if name.startswith(f"{start}_"):
            return f"{HEADINGS[start]} {name.removeprefix(f'{start}_')}", COLUMNS[start]
    return HEADINGS.get(name, ""), COLUMNS.get(name, ())


def _at_best(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Of many held-out kinds those of the site with the highest mean score, of one kind all."""
    model = [row for row in rows if row["component"] != "baseline"]
    sites = {row["site"]: [own["score"] for own in rows if own["site"] == row["site"]] for row in model}
    if len({row["held_out"] for row in rows}) == 1:
        return rows
    best = max(sites, key=lambda site: sum(sites[site]) / len(sites[site]))
    return [row for row in rows if row["site"] == best]


def _best_types(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The row of each type at the site of its highest AUC."""
    sites = [row for row in rows if row["component"] != "baseline"]
    kinds = sorted({row["type"] for row in sites})
    return [max((row for row in sites if row["type"] == kind), key=lambda row: row["auc"]) for kind in kinds]


def _few(step: Mapping[str, Any]) -> dict[str, int]:
    left_out = step.get("left_out")
    return left_out if isinstance(left_out, dict) else {}


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def register(app: typer.Typer) -> None:
    """Make this command part of the command line."""
    app.command()(probe)
