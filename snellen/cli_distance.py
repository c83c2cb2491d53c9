"""The command that measures how near visual tokens are to the words that name their distortion, before and after tuning."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snellen.cli_options import Images, Levels, Loading, Model, Progress, References, Seed, resumable, whole_numbers

if TYPE_CHECKING:
    import numpy as np

    from analysis.semantic_distance import Distances
    from hooks.load import Mllm
    from hooks.store import Store
    from stimuli.tables import Table
    from stimuli.types import StimulusSet

SHOWN = (
    "site",
    "space",
    "cosine",
    "centred",
    "whitened",
    "margin",
    "zero_shot_balanced",
    "chance",
    "zero_shot_p_holm",
    "transport_margin",
)
ALIKE = ("cka", "mutual_knn", "mutual_knn_others", "procrustes")
RANKS = ("effective_rank", "modality_gap", "overlap", "rebuilt", "rebuilt_above_random")
CHANGED = ("site", "space", "measure", "before", "after", "change", "low", "high", "relative_change", "p_holm")
"""What is shown of each table; all columns stand in the CSV."""


def distance(
    model: Model = "embedded",
    after: Annotated[
        str | None,
        typer.Argument(
            help="the model after tuning: a checkpoint, a folder of a PEFT adapter, or one that `snellen tune` wrote"
        ),
    ] = None,
    references: References = 40,
    levels: Levels = "1,3,5",
    images: Images = "embedded",
    taxonomy: Annotated[str, typer.Option(help="name or YAML file")] = "paper8",
    words: Annotated[
        str, typer.Option(help="input (embeddings), contextual (states in a neutral sentence) or unembedding (the output head)")
    ] = "input",
    measures: Annotated[
        str | None, typer.Option(help="some of cosine,centred,whitened,whitened_margin,margin,zero_shot; all by default")
    ] = None,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="single tokens and transport, at the projector, of 256 stimuli at most")
    ] = False,
    vision: Annotated[
        bool,
        typer.Option("--vision", help="vision sites too, mapped to the projector's output by a cross-fitted ridge regression"),
    ] = False,
    geometry: Annotated[
        bool,
        typer.Option(
            "--geometry", help="also, of every site: CKA, neighbours, Procrustes, effective rank, what the projector keeps"
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="folder for tables and figures; or a .csv or .json for the table of the one model alone")
    ] = None,
    seed: Seed = 0,
    load: Loading = None,
    progress: Progress = True,
) -> None:
    """Distance of visual tokens to the words that name their distortion, of one model or before and after tuning.

    Examples:  snellen distance embedded --out runs/distance
               snellen distance embedded runs/tuned --geometry --out runs/distance
               snellen distance ./base ./adapter --words contextual --tokens --images kadid10k:DIR
    """
    from analysis.distance_measures import MEASURES
    from analysis.semantic_distance import semantic_distance
    from snellen.models import loaded
    from snellen.sources import chosen_set
    from stimuli.questions import question

    file = out if out is not None and out.suffix.lower() in (".csv", ".json") else None
    wanted = MEASURES if measures is None else tuple(part.strip() for part in measures.split(","))
    options: dict[str, Any] = {"taxonomy": taxonomy, "word": words, "measures": wanted, "tokens": tokens, "vision": vision, "seed": seed,
                               "progress": progress}  # fmt: skip
    _check({**options, "geometry": geometry}, after, file)
    with resumable():
        mllm = loaded(model, load or ())
        tuned = None if after is None else after_model(mllm, after, load or ())
        shown = chosen_set(images, references, whole_numbers(levels), seed)
        stores = _stores({"before": mllm, **({} if tuned is None else {"after": tuned})}, shown, progress) if geometry else {}
        before = semantic_distance(mllm, shown, store=stores.get("before"), **options)
        tables, models = {"distance": before.table}, {"before": mllm.provenance}
        _print(before.table, SHOWN)
        if tuned is not None:
            later = semantic_distance(tuned, shown, store=stores.get("after"), **options)
            changes = before.compare(later, seed=seed)
            tables = {"distance": _stacked(before, later), "distance_change": changes}
            models["after"] = tuned.provenance
            typer.echo("\nAfter less before, paired over references, Holm over sites and classes")
            _print(changes, CHANGED)
        if geometry:
            wordings = list(question("distortion", taxonomy).options.values())
            near = words_of_gap(mllm, wordings, stores["before"].sites, words)
            later_near = near if tuned is None else words_of_gap(tuned, wordings, stores["after"].sites, words)
            tables |= _geometry(stores, (near, later_near), shown, seed, progress)
        for note in before.notes:
            typer.echo(f"\n{note}")
        if out is not None:
            typer.echo(f"\n{_written(tables, models, shown, before, options, out, file)}")


def _stores(models: Mapping[str, Mllm], shown: Any, progress: bool) -> dict[str, Store]:
    """The mean activations of every site, once for distances and geometry."""
    from hooks.extract import extract

    return {name: extract(model, shown, progress=progress) for name, model in models.items()}


def words_of_gap(mllm: Mllm, wordings: Sequence[str], sites: Sequence[str], kind: str) -> dict[str, np.ndarray]:
    """The words that the images of a site are held against, site → (k, d), at the sites in whose space words of the kind live.

    Those are the projector and ``llm.embed`` for ``input``, they and all layers of the language model for ``contextual``, and its
    layers alone for ``unembedding``.

    Args:
        mllm: the model whose words they are.
        wordings: one per class.
        sites: to choose from.
        kind: as in ``analysis.word_vectors``.

    Raises:
        InputError: see ``hooks.words.word_rows``.
    """
    from analysis.word_vectors import word_vectors

    entrance = [site for site in sites if site in ("projector", "llm.embed")]
    layers = [site for site in sites if site.startswith("llm") and site != "llm.embed"]
    return word_vectors(
        mllm, wordings, {"input": entrance, "contextual": [*entrance, *layers], "unembedding": layers}[kind], kind
    )


def _geometry(
    stores: Mapping[str, Store],
    words: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]],
    shown: Any,
    seed: int,
    progress: bool,
) -> dict[str, Table]:
    """The tables of the geometry, and its lines on the screen."""
    from analysis.geometry import geometry as measured

    own = [site for site in stores["before"].sites if site not in ("pixels", "processed")]
    found = measured(stores["before"], stores.get("after"), stimuli=shown, sites=own, words=words, seed=seed, progress=progress)
    typer.echo(f"\n{found.note}")
    rows = [row for row in found.table if row["measure"] in ALIKE] or [row for row in found.table if row["measure"] in RANKS]
    _lines(rows, ("site", "model", "measure", "k", "value", "low", "high", "chance"))
    return {"geometry": found.table, **({"geometry_change": found.change} if found.change else {})}


def after_model(before: Mllm, path: str | Path, load: Sequence[str] = ()) -> Mllm:
    """The model after tuning, of any of the kinds in which it can lie in a folder.

    Args:
        before: the model before.
        path: a folder that ``sn.tune(out=...)`` wrote (``tuning.json``), a PEFT adapter's (``adapter_config.json``), which is put on a copy
            of ``before``, or what ``sn.load`` takes.
        load: ``KEY=VALUE`` pairs for a checkpoint, as for ``snellen.models.loaded``.

    Raises:
        InputError: none of these, or what loading refuses.
    """
    from snellen.models import load as load_model
    from snellen.models import loaded

    folder = Path(path)
    if (folder / "tuning.json").is_file():
        from tuning.tuned import reopen

        done: Mllm = reopen(before, folder).mllm
        return done
    if (folder / "adapter_config.json").is_file():
        return load_model(copy.deepcopy(before.model), before.processor, adapter=folder)
    return loaded(path, load)


def _check(options: Mapping[str, Any], after: str | None, file: Path | None) -> None:
    """Refuse what would fail late, before anything is loaded."""
    from analysis.distance_measures import check_measures
    from hooks.words import KINDS
    from stimuli.errors import InputError

    check_measures(options["measures"])
    if options["word"] not in KINDS:
        raise InputError(f"Got --words {options['word']}; expected one of {', '.join(KINDS)}. Use one of these.")
    if file is not None and options["geometry"]:
        raise InputError(
            f"Got --out {file} and --geometry; expected a folder, since there are several tables. Give --out {file.stem}."
        )
    if after is not None and file is not None:
        raise InputError(
            f"Got --out {file} and two models; expected a folder, since there are two tables. Give --out {file.stem}."
        )


def _stacked(before: Distances, after: Distances) -> Table:
    return [{"model": name, **row} for name, found in (("before", before), ("after", after)) for row in found.table]


def _written(
    tables: Mapping[str, Table],
    models: Mapping[str, Any],
    shown: StimulusSet,
    found: Distances,
    options: Mapping[str, Any],
    out: Path,
    file: Path | None,
) -> str:
    """Write tables, provenance and figures; what to say of them."""
    from analysis.figures.distance_map import distance_figures
    from analysis.figures.files import written
    from analysis.figures.geometry import geometry_figures
    from snellen.provenance import provenance
    from stimuli.fingerprint import fingerprint
    from stimuli.tables import write_csv, write_json, write_table

    if file is not None:
        return f"Table: {write_table(file, tables['distance'])}"
    for name, table in tables.items():
        write_csv(table, out / f"{name}.csv")
    settings = {name: value for name, value in options.items() if name != "progress"}
    made = provenance(models["before"], {"stimuli": fingerprint(shown)}, seed=options["seed"])
    about = {"provenance": made, "models": models, "settings": settings, "stimuli": len(found.ids),
             "references": len(set(found.groups.tolist())), "classes": found.classes, "notes": found.notes}  # fmt: skip
    write_json({**about, **tables}, out / "distance.json")
    plan = {**distance_figures(tables, found.classes), **geometry_figures(tables.get("geometry", []))}
    figures = len(written(plan, out / "figures", ("png", "pdf")))
    names = ", ".join(f"{name}.csv" for name in tables)
    return f"{names}, distance.json and {figures} figures in {out}"


def _print(table: Table, columns: Sequence[str]) -> None:
    """The rows of all classes together, those of the columns that there are."""
    _lines([row for row in table if row["class"] == "all"], columns)


def _lines(rows: Table, columns: Sequence[str]) -> None:
    """A plain table of the columns that there are."""
    kept = [column for column in columns if any(row.get(column) is not None for row in rows)]
    cells = [kept, *([_cell(row.get(column)) for column in kept] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(kept))]
    for row in cells:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(distance)
