"""The command that draws reports from saved results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def report(
    runs: Annotated[list[Path], typer.Argument(help="folder of a finished exam; two or more are compared on one page")],
    out: Annotated[Path | None, typer.Option(help="page of a comparison  [default: comparison.html]")] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="what an exam is called in a comparison, in order; once for each")
    ] = None,
) -> dict[str, Any]:
    """Draw the figures and the report of a finished exam again, or one page that compares several, without a model.

    Examples:  snellen report runs/demo
               snellen report runs/a runs/b --out a-and-b.html
               snellen report runs/before runs/after --name before --name after
    """
    from stimuli.errors import InputError

    if len(runs) == 1:
        if out is not None or name:
            raise InputError(
                "Got --out or --name with one exam, whose report stays beside its results. Expected two or more exams to compare."
            )
        from snellen.steps import redraw

        made = redraw(runs[0])
        typer.echo(f"Report: {made}")
        return {"report": str(made)}
    return _compare(runs, out or Path("comparison.html"), name or [])


def _compare(runs: list[Path], out: Path, names: list[str]) -> dict[str, Any]:
    from analysis.report.compare import render_comparison
    from analysis.report.render import ours
    from snellen.side_by_side import side_by_side
    from stimuli.errors import InputError

    if out.exists() and not ours(out):
        raise InputError(
            f"{out} exists and is no page of Snellen's. Expected a new name; nothing was overwritten. Give another --out."
        )
    found = side_by_side(runs, names)
    made = render_comparison(found.runs, found.pairs, found.differences, out)
    for called, own in found.runs.items():
        typer.echo(f"{called}: {own['verdict']['component']}. {own['verdict']['sentence']}")
    first = next(iter(found.runs))
    for row in found.pairs:
        change = f"{100 * row['gain']:+.1f} points [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}], p {row['p']:.3g}"
        typer.echo(f"balanced accuracy, {row['name']} - {first}: {change} (paired over {row['references']} references)")
    typer.echo(f"Report: {made}")
    return {"report": str(made), "pairs": found.pairs, "differences": found.differences}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)
