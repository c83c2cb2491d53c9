"""Commands that write stimuli, and questions about them for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from snellen.cli_options import Images, Levels, Progress, References, Seed, resumable, whole_numbers


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(stimuli)
    app.command()(questions)


def stimuli(
    out: Annotated[Path, typer.Argument(help="folder to write; a killed run goes on there")] = Path("runs/stimuli"),
    images: Images = "embedded",
    references: References = 40,
    taxonomy: Annotated[str, typer.Option(help="paper8, kadid25, depictqa12, qinsight5, liqe11 or a YAML file")] = "paper8",
    levels: Levels = "1,3,5",
    seed: Seed = 0,
    design: Annotated[
        str, typer.Option(help="balanced: one image per class and reference; crossed: every type and level")
    ] = "balanced",
    size: Annotated[int, typer.Option(help="side of built-in images in px")] = 128,
    region: Annotated[
        str | None, typer.Option(help="distort a part only: box, ellipse, segment or any; masks are written too")
    ] = None,
    mixed: Annotated[bool, typer.Option("--mixed", help="two distortions at once: clean, each alone, both")] = False,
    nested_noise: Annotated[bool, typer.Option("--nested-noise", help="the same draw at every level, scaled")] = False,
    stretch: Annotated[
        bool, typer.Option("--stretch", help="min-max stretch before and after, as KADID-10k's generator")
    ] = False,
    ordering: Annotated[str, typer.Option(help="levels of signed types: published or magnitude")] = "published",
    scale: Annotated[bool, typer.Option("--scale", help="lengths in px grow with the image")] = False,
    parts: Annotated[str | None, typer.Option("--split", help="train,validation,test as shares, by reference")] = None,
    sheet: Annotated[bool, typer.Option("--sheet", help="also draw a contact sheet of one reference")] = False,
    workers: Annotated[int, typer.Option(help="processes that make images at the same time")] = 1,
    progress: Progress = True,
) -> None:
    """Write stimuli as PNG files with stimuli.csv, which any other tool can use; with --sheet, draw them.

    Examples:  snellen stimuli runs/stimuli --references 10 --levels 3,5
               snellen stimuli runs/all --references 1 --taxonomy kadid25 --design crossed --levels 1,2,3,4,5 --sheet
               snellen stimuli runs/mine --images ./photos --split 0.7,0.15,0.15 --workers 8
               snellen stimuli runs/local --region ellipse --sheet
    """
    from snellen.steps import write_stimuli
    from stimuli.distortions import Options

    wanted: Any = {"ordering": ordering}
    options = Options(nested_noise=nested_noise, stretch=stretch, scale=scale, **wanted)
    how = {"taxonomy": taxonomy, "design": design, "size": size, "region": region, "options": options, "workers": workers}
    with resumable():
        lines = write_stimuli(
            out, images, references, whole_numbers(levels), seed, how, mixed=mixed, shares=parts, sheet=sheet, progress=progress
        )
    for line in lines:
        typer.echo(line)


def questions(
    out: Annotated[Path, typer.Argument(help="file to write, ending in .tsv")] = Path("runs/questions.tsv"),
    images: Images = "embedded",
    references: References = 40,
    taxonomy: Annotated[str, typer.Option(help="paper8, kadid25, depictqa12, qinsight5, liqe11 or a YAML file")] = "paper8",
    levels: Levels = "1,3,5",
    orders: Annotated[int, typer.Option(help="rows per image, with the options in as many orders")] = 1,
    prompt: Annotated[str | None, typer.Option(help="another question")] = None,
    seed: Seed = 0,
    progress: Progress = True,
) -> dict[str, Any]:
    """Write multiple-choice questions: which distortion has each image? As a table that VLMEvalKit runs.

    Examples:  snellen questions distortions.tsv --references 20
               snellen questions kadid.tsv --images kadid10k:KADID --taxonomy kadid25 --orders 4
    """
    from snellen.sources import chosen_set
    from stimuli.mcq_written import write_questions

    with resumable():
        shown = chosen_set(images, references, whole_numbers(levels), seed, taxonomy=taxonomy, progress=progress)
        done = write_questions(shown, out, taxonomy=taxonomy, prompt=prompt, orders=orders, seed=seed, progress=progress)
    for id, reason in done.left_out[:10]:
        typer.echo(f"left out: {id}: {reason}", err=True)
    typer.echo(f"{done.rows} questions in {done.path}; {len(done.left_out)} stimuli left out")
    return {"file": str(done.path), "questions": done.rows, "left_out": dict(done.left_out)}
