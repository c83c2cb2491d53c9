"""The command that draws the figures of a run again, for screens or at the width of a journal's column."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def figures(
    run: Annotated[Path, typer.Argument(help="folder of an exam, or of any command that draws figures")],
    out: Annotated[
        Path | None,
        typer.Option(help="folder for figures and tables; by default RUN/figures, with --column RUN/figures-COLUMN"),
    ] = None,
    format_: Annotated[
        list[str] | None, typer.Option("--format", help="pdf, svg or png; may be repeated (default: all)")
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            help="width in a paper: single (3.5 inches), double (7.16), or inches such as 5.5; by default as on a screen"
        ),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="name of a figure; may be repeated")] = None,
    list_: Annotated[bool, typer.Option("--list", help="name the figures that there is data for, and draw nothing")] = False,
) -> dict[str, Any]:
    """Draw the figures of a run again from its saved results, without a model, each with its data as CSV.

    Examples:  snellen figures runs/demo --column double --format pdf
               snellen figures runs/demo --column single --only survival --only confusion --out paper/figures
               snellen figures runs/a-probes --list
    """
    from joblib import cpu_count

    from analysis.figures.columns import too_wide, width_of
    from analysis.figures.files import there, written
    from analysis.figures.saved import saved_figures

    formats = _formats(format_ or ())
    if column is not None:
        width_of(column)
    plan = saved_figures(run)
    if list_:
        names = there(plan)
        typer.echo("\n".join(names))
        return {"figures": names}
    chosen = {name: plan[name] for name in _known(only, plan)}
    folder = out or run / ("figures" if column is None else f"figures-{column}")
    files = written(chosen, folder, formats, column, workers=cpu_count())
    missing = [name for name in chosen if name not in files] if only else []
    if missing:
        typer.echo(f"There is no data for {', '.join(missing)}.")
    wide = [name for name in files if too_wide(name, column)]
    if wide:
        typer.echo(f"As wide as a page, as they cannot be read in a column: {', '.join(wide)}.")
    typer.echo(f"{len(files)} figures as {', '.join(formats)}, with the data behind each as .csv, in {folder}")
    return {
        "folder": str(folder),
        "figures": {name: {kind: str(path) for kind, path in own.items()} for name, own in files.items()},
    }


def _formats(given: Any) -> tuple[str, ...]:
    """The formats that were asked for, all by default; ``pdf,svg`` in one word is read as well.

    Raises:
        InputError: another one.
    """
    from analysis.figures.files import FORMATS
    from stimuli.errors import InputError

    wanted = tuple(dict.fromkeys(part.strip() for text in given for part in text.split(","))) or FORMATS
    wrong = [name for name in wanted if name not in FORMATS]
    if wrong:
        raise InputError(f"Got --format {', '.join(wrong)}; expected {', '.join(FORMATS)}. Use some of these.")
    return wanted


def _known(only: list[str] | None, plan: Any) -> list[str]:
    """The figures that were asked for, all by default.

    Raises:
        InputError: one that the run does not have.
    """
    from stimuli.errors import InputError

    wanted = list(dict.fromkeys(part.strip() for text in only or () for part in text.split(",")))
    unknown = [name for name in wanted if name not in plan]
    if unknown:
        raise InputError(f"Got --only {', '.join(unknown)}; expected some of {', '.join(plan)}. --list names those with data.")
    return wanted or list(plan)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(figures)
