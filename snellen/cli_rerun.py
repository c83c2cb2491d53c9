"""The command that repeats a run and compares."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from snellen.cli_options import Progress, resumable
from snellen.cli_output import FOUND, Failing

SHOWN = 20
"""Rows of values that differ at most; with ``--json`` all."""


def rerun(
    run: Annotated[Path, typer.Argument(help="folder of a finished run, of an exam or of another command")],
    out: Annotated[Path | None, typer.Option(help="folder of the repetition; by default RUN-again beside it")] = None,
    tolerance: Annotated[
        float, typer.Option(help="two numbers are the same if they differ by no more than this share of the larger, or of 1")
    ] = 1e-6,
    progress: Progress = True,
) -> dict[str, Any]:
    """Repeat a run from its own config, and compare number by number. Exit code 1 if something is different.

    Times are not compared. Where versions, threads, the model's weights or the images are not the same, it warns.

    Examples:  snellen rerun runs/demo
               snellen rerun runs/a-probes --out runs/a-probes-again --tolerance 0
    """
    from snellen.repeat import rerun as repeat

    with resumable():
        found = repeat(run, out, tolerance=tolerance, progress=progress)
    for line in found.warnings:
        typer.echo(f"warning: {line}", err=True)
    for row in found.different[:SHOWN]:
        typer.echo(f"different  {row['file']}  {row['key']}: {row['first']} → {row['second']}")
    if len(found.different) > SHOWN:
        typer.echo(f"… and {len(found.different) - SHOWN} more")
    typer.echo(found.sentence)
    result = {"same": found.same, "equal": found.equal, "within": found.within, "different": found.different,
              "tolerance": tolerance, "warnings": list(found.warnings), "out": str(found.second)}  # fmt: skip
    if not found.same:
        raise Failing(FOUND, result)
    return result


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(rerun)
