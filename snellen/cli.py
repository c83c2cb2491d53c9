"""The command line: ``snellen exam`` is the main job; the others are its steps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from snellen import cli_activations, cli_answers, cli_probe, cli_processed, cli_stimuli
from snellen.cli_options import (
    Images,
    Levels,
    Loading,
    Model,
    Progress,
    References,
    Seed,
    keep_examples,
    resumable,
    whole_numbers,
)

app = typer.Typer(
    help="An eye exam for multimodal LLMs: where is distortion information lost between pixel and answer?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command line; a refusal is one paragraph on stderr and exit code 2."""
    from stimuli.errors import SnellenError

    try:
        app()
    except SnellenError as error:
        print(f"snellen: {error}", file=sys.stderr)
        raise SystemExit(2) from None


@app.command()
def exam(
    model: Model = "embedded",
    images: Annotated[
        str | None, typer.Option(help="as for the other commands: embedded, leaves, a folder, a CSV, kadid10k:DIR, …")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder of the run; a killed run goes on there")] = Path("runs/exam"),
    budget: Annotated[str | None, typer.Option(help="demo (minutes) or full")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="one setting, KEY=VALUE; may be repeated")] = None,
    seed: Annotated[int | None, typer.Option(help="of everything")] = None,
    strict: Annotated[bool | None, typer.Option("--strict", help="stop at the first unreadable image")] = None,
    progress: Progress = True,
) -> None:
    """Examine a model from pixels to answer and write a report.

    Examples:  snellen exam --out runs/demo
               snellen exam embedded-template --budget full --seed 1
               snellen exam ./my-checkpoint --images ./photos --set references=60 --set 'levels=[3, 5]'
    """
    from snellen.config import parse_overrides
    from snellen.runs import exam as run

    chosen = {"images": images, "budget": budget, "seed": seed, "strict": strict, **parse_overrides(set_ or [])}
    default = None if config is not None and model == "embedded" else model
    with resumable():
        done = run(default, out, config=config, progress=progress, **chosen)
    typer.echo(f"\nVerdict: {done.verdict}. {done.sentence}\nReport: {done.report}")


@app.command()
def stages(
    model: Model = "embedded",
    every: Annotated[bool, typer.Option("--all", help="one line per site instead of one per run of like sites")] = False,
    prove: Annotated[bool, typer.Option("--prove", help="load the weights and run the self-test")] = False,
    out: Annotated[Path | None, typer.Option(help="write the table as .csv or .json")] = None,
    revision: Annotated[str | None, typer.Option(help="of the hub repository")] = None,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help="run code that the repository brings")] = False,
) -> None:
    """Show the sites of a model, from its configuration alone (no weights are loaded, unless with --prove).

    Examples:  snellen stages Qwen/Qwen2.5-VL-72B-Instruct
               snellen stages ./my-checkpoint --prove --all --out stages.csv
    """
    from snellen.models import describe_stages
    from stimuli.tables import write_table

    lines, table = describe_stages(model, every=every, prove=prove, revision=revision, trust_remote_code=trust_remote_code)
    for line in lines:
        typer.echo(line)
    if out is not None:
        write_table(out, table)


@app.command()
def tune(
    component: Annotated[str, typer.Argument(help="vision, projector or llm")],
    model: Annotated[str, typer.Option(help="embedded, embedded-template, a checkpoint folder or a hub id")] = "embedded",
    out: Annotated[Path, typer.Option(help="folder for the tuned weights and the audit")] = Path("runs/tuned"),
    steps: Annotated[int, typer.Option(help="optimizer steps")] = 200,
    references: Annotated[int, typer.Option(help="training references")] = 160,
    levels: Levels = "2,3,4,5",
    constraint: Annotated[str | None, typer.Option(help="align, keep or align+keep (vision and projector)")] = None,
    method: Annotated[str, typer.Option(help="full or lora")] = "full",
    lr: Annotated[float | None, typer.Option(help="peak learning rate")] = None,
    seed: Seed = 0,
    load: Loading = None,
    progress: Progress = True,
) -> None:
    """Tune one component on distortion answers.

    Example:  snellen tune vision --constraint align+keep --steps 400 --out runs/vision
    """
    from snellen.models import loaded
    from stimuli.sets import exam_set
    from tuning.tune import check
    from tuning.tune import tune as run

    check(component, method, constraint)
    train = exam_set(references, levels=whole_numbers(levels), seed=seed, split="train", measure=False, in_memory=True)
    wanted: Any = method
    done = run(loaded(model, load or ()), train, component, method=wanted, steps=steps, lr=lr, constraint=constraint, seed=seed,
               progress=progress, out=out)  # fmt: skip
    kept = "bit-identical" if done.audit.unchanged else "CHANGED"
    typer.echo(f"trained {done.audit.n_trained:,} numbers of {component}; everything else is {kept}; saved in {out}")


@app.command()
def distance(
    model: Model = "embedded",
    references: References = 40,
    levels: Levels = "1,3,5",
    images: Images = "embedded",
    out: Annotated[Path | None, typer.Option(help="write the table as CSV")] = None,
    seed: Seed = 0,
    load: Loading = None,
    progress: Progress = True,
) -> None:
    """Distance of visual tokens to the words that name their distortion.

    Example:  snellen distance embedded --out runs/distance.csv
    """
    from analysis.semantic_distance import semantic_distance
    from snellen.models import loaded
    from snellen.sources import chosen_set
    from stimuli.tables import write_csv

    shown = chosen_set(images, references, whole_numbers(levels), seed)
    found = semantic_distance(loaded(model, load or ()), shown, seed=seed, progress=progress)
    _print([r for r in found.table if r["class"] == "all"], ("site", "cosine", "centred", "margin", "zero_shot"))
    if out is not None:
        write_csv(found.table, out)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="folder of a finished exam")]) -> None:
    """Draw the figures and the report of a finished exam again, without a model.

    Example:  snellen report runs/demo
    """
    from snellen.steps import redraw

    typer.echo(f"Report: {redraw(run)}")


def _print(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    """A plain table on stdout."""
    cells = [list(columns), *([_cell(row.get(c)) for c in columns] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    for row in cells:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


cli_stimuli.register(app)
cli_activations.register(app)
cli_probe.register(app)
cli_answers.register(app)
cli_processed.register(app)
keep_examples(app)
