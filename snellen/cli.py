"""The command line: ``snellen exam`` is the main job; the others are its steps."""

from __future__ import annotations

import errno
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from snellen import (
    cli_activations,
    cli_answers,
    cli_cause,
    cli_distance,
    cli_doctor,
    cli_figures,
    cli_probe,
    cli_processed,
    cli_repair,
    cli_report,
    cli_rerun,
    cli_stimuli,
    cli_tune,
    cli_view,
)
from snellen.cli_options import MODEL, Model, Progress, known, resumable
from snellen.cli_output import EXIT_CODES, FAILED, INTERRUPTED, REFUSED, Json, Quiet, Then, finish, told_as_json
from snellen.version import VERSION

app = typer.Typer(
    help="An eye exam for multimodal LLMs: where is distortion information lost between pixel and answer?",
    epilog="\b\nBegin with:  snellen exam --out runs/demo      (minutes on a CPU), and open runs/demo/report.html\n\n"
    "\b\nExit codes:\n" + "\n".join(f"  {code:3}  {meaning}" for code, meaning in EXIT_CODES.items()),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
"""What the system refuses, which is no mistake of Snellen's."""


def main() -> None:
    """Run the command line; what goes wrong is one paragraph on stderr, or one JSON document more with ``--json``."""
    try:
        ended = app(prog_name="snellen", standalone_mode=False)
        raise SystemExit(ended if isinstance(ended, int) else 0)
    except (KeyboardInterrupt, typer.Abort):
        _fail(INTERRUPTED, "Interrupted", "\nsnellen: interrupted.", "interrupted.")
    except Exception as error:
        _fail(*_told(error))


def _told(error: Exception) -> tuple[int, str, str, str]:
    """Exit code, kind, what is printed, and the message of an error."""
    from stimuli.errors import SnellenError

    kind, message = type(error).__name__, str(error)
    if isinstance(error, SnellenError):
        return REFUSED, kind, f"snellen: {message}", message
    if hasattr(error, "format_message"):  # the command line itself is wrong
        error.show()  # type: ignore[attr-defined]
        return REFUSED, "UsageError", "", error.format_message()
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        message = f"{error.strerror}: {error.filename or 'while writing'}. What was finished is kept; the same command goes on."
        return FAILED, kind, f"snellen: {message}", message
    return FAILED, kind, "".join(traceback.format_exception(error)).rstrip(), message


def _fail(code: int, kind: str, printed: str, message: str) -> None:
    if printed:
        print(printed, file=sys.stderr)
    arguments = sys.argv[1:]
    if "--json" in arguments:
        told_as_json(next((part for part in arguments if not part.startswith("-")), None), code, kind, message)
    raise SystemExit(code)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(VERSION)
        raise typer.Exit


@app.callback()
def options(
    json: Json = False,
    quiet: Quiet = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version and exit")
    ] = False,
) -> None:
    """Options of every command, which may as well stand behind its name."""


@app.command()
def exam(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help=MODEL)] = "embedded",
    images: Annotated[
        str | None, typer.Option(help="as for the other commands: embedded, leaves, a folder, a CSV, kadid10k:DIR, …")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder of the run; a killed run goes on there")] = Path("runs/exam"),
    budget: Annotated[str | None, typer.Option(help="demo (minutes) or full")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings, such as --print-config writes")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="one setting, KEY=VALUE or KEY.ENTRY=VALUE; may be repeated; --print-config shows them all"),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="check all settings, print them as YAML, and do nothing")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="of everything")] = None,
    strict: Annotated[bool | None, typer.Option("--strict", help="stop at the first unreadable image")] = None,
    progress: Progress = True,
) -> dict[str, Any] | Then:
    """Examine a model from pixels to answer and write a report.

    Examples:  snellen exam --out runs/demo
               snellen exam embedded-template --budget full --seed 1
               snellen exam ./my-checkpoint --images ./photos --set references=60 --set 'levels=[3, 5]'
               snellen exam --budget full --set prior.blur=0.3 --print-config > exam.yaml
               snellen exam --config exam.yaml --out runs/mine --json
    """
    from snellen.config import build
    from snellen.settings import as_yaml, chosen

    named = getattr(context.get_parameter_source("model"), "name", "") != "DEFAULT"
    own = {"images": images, "budget": budget, "seed": seed, "strict": strict, **chosen(set_ or [], config)}
    model_ = model if named or config is None else None
    if print_config:
        settings = build(config, {**own, "model": model_})
        typer.echo(as_yaml(settings), nl=False)
        return Then({"settings": settings.model_dump(mode="json")})
    if model_ is not None:
        known(model_)
    from snellen.runs import exam as run  # torch and all

    with resumable():
        done = run(model_, out, config=config, progress=progress, **own)
    typer.echo(f"\nVerdict: {done.verdict}. {done.sentence}\nReport: {done.report}")
    return {"verdict": done.results["verdict"], "report": str(done.report), "results": str(out / "results.json")}


@app.command()
def stages(
    model: Model = "embedded",
    every: Annotated[bool, typer.Option("--all", help="one line per site instead of one per run of like sites")] = False,
    prove: Annotated[bool, typer.Option("--prove", help="load the weights and run the self-test")] = False,
    out: Annotated[Path | None, typer.Option(help="write the table as .csv or .json")] = None,
    revision: Annotated[str | None, typer.Option(help="of the hub repository")] = None,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help="run code that the repository brings")] = False,
) -> dict[str, Any]:
    """Show the sites of a model, from its configuration alone (no weights are loaded, unless with --prove).

    Examples:  snellen stages Qwen/Qwen2.5-VL-72B-Instruct
               snellen stages ./my-checkpoint --prove --all --out stages.csv
               snellen stages ./my-checkpoint --json
    """
    from snellen.models import describe_stages
    from stimuli.tables import write_table

    lines, table = describe_stages(model, every=every, prove=prove, revision=revision, trust_remote_code=trust_remote_code)
    for line in lines:
        typer.echo(line)
    if out is not None:
        write_table(out, table)
    return {"stages": table}


cli_stimuli.register(app)
cli_activations.register(app)
cli_repair.register(app)
cli_rerun.register(app)
cli_probe.register(app)
cli_answers.register(app)
cli_processed.register(app)
cli_tune.register(app)
cli_distance.register(app)
cli_cause.register(app)
cli_figures.register(app)
cli_report.register(app)
cli_view.register(app)
cli_doctor.register(app)
finish(app)
