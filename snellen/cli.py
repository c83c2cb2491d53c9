"""The command line: ``snellen exam`` is the main job; the others are its steps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from snellen import cli_activations, cli_answers, cli_cause, cli_distance, cli_probe, cli_processed, cli_stimuli, cli_tune
from snellen.cli_options import Model, Progress, keep_examples, resumable

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
def report(run: Annotated[Path, typer.Argument(help="folder of a finished exam")]) -> None:
    """Draw the figures and the report of a finished exam again, without a model.

    Example:  snellen report runs/demo
    """
    from snellen.steps import redraw

    typer.echo(f"Report: {redraw(run)}")


cli_stimuli.register(app)
cli_activations.register(app)
cli_probe.register(app)
cli_answers.register(app)
cli_processed.register(app)
cli_tune.register(app)
cli_distance.register(app)
cli_cause.register(app)
keep_examples(app)
