"""The command that mends damaged activations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snellen.cli_options import Progress, resumable

if TYPE_CHECKING:
    from hooks.repair import Repaired

TOLD = 10
"""Stimuli that are named one by one."""


def repair(
    folder: Annotated[Path, typer.Argument(help="folder of activations, or of an exam")],
    compute: Annotated[
        bool, typer.Option(help="compute what was taken out anew; else the same extraction or exam does, when it is run again")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="also if a run on another machine never finished")] = False,
    progress: Progress = True,
) -> dict[str, Any]:
    """Take damaged activations out and compute just these anew; what is whole stays as it is.

    Examples:  snellen repair runs/a
               snellen repair runs/demo
               snellen repair runs/a --no-compute
    """
    from hooks.damage import stores
    from hooks.repair import repair as run
    from snellen.runs import unfinish

    done = [run(store, force=force, progress=progress) for store in stores(folder)]
    mended = [one for one in done if one.found]
    for one in mended:
        _tell(one)
        exam = _exam(one)
        if one.gone and exam is not None:
            unfinish(exam)
    anew: list[str] = []
    with resumable():
        for one in mended if compute else ():
            anew += _again(one, progress)
    typer.echo(
        f"{len(done)} folders of activations checked, {sum(len(one.found) for one in done)} problems mended, "
        f"{sum(len(one.gone) for one in done)} stimuli taken out, {len(anew)} computed anew"
    )
    for one in mended:
        if one.gone and not set(one.gone) <= set(anew):
            typer.echo(
                f"{one.folder}: run the same again (snellen exam, snellen extract or sn.extract): it computes just what is missing"
            )
    return {
        "checked": len(done),
        "found": [f"{one.folder.name}: {damage}" for one in done for damage in one.found],
        "gone": {str(one.folder): list(one.gone) for one in mended},
        "computed": anew,
    }


def _tell(one: Repaired) -> None:
    for damage in one.found:
        typer.echo(f"{one.folder.name}: {damage}")
    more = f" and {len(one.gone) - TOLD} more" if len(one.gone) > TOLD else ""
    if one.gone:
        typer.echo(f"{one.folder.name}: taken out: {', '.join(one.gone[:TOLD])}{more}; {one.kept} stay")


def _exam(one: Repaired) -> Path | None:
    """The folder of the exam that a store is part of."""
    from snellen.runs import RECORD

    return next((above for above in one.folder.resolve().parents[:2] if (above / RECORD).is_file()), None)


def _again(one: Repaired, progress: bool) -> Sequence[str]:
    """Run again what wrote a store, where that is known; which of the stimuli that were taken out are there then."""
    from hooks.store import Store
    from snellen.cli_activations import COMMAND, extracted
    from snellen.runs import RECORD
    from snellen.runs import exam as examine

    command, exam = one.folder / COMMAND, _exam(one)
    if not one.gone:
        return ()
    if command.is_file():
        extracted({**json.loads(command.read_text(encoding="utf-8"))["options"], "out": one.folder}, progress=progress)
    elif exam is not None:
        examine(out=exam, progress=progress, **json.loads((exam / RECORD).read_text(encoding="utf-8")))
    else:
        return ()
    return sorted(set(one.gone) & set(Store(one.folder).ids))


def register(app: typer.Typer) -> None:
    """Make this command part of the command line."""
    app.command()(repair)
