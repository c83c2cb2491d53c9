"""The command that mends damaged activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snellen.cli_options import Progress, resumable
from stimuli.errors import InputError
from stimuli.tables import read_json

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

    below = stores(folder)
    how = {store: _maker(store) for store in below}  # what cannot be read is refused before anything is taken out
    done = [_mended(store, force, progress) for store in below]
    mended = [one for one in done if one.found]
    for one in mended:
        _tell(one)
    anew: list[str] = []
    with resumable():
        for one in mended if compute else ():
            anew += _again(one, how[one.folder], progress)
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


def _mended(store: Path, force: bool, progress: bool) -> Repaired:
    """A store without what is damaged; its exam is one that goes on before the first of it is gone, should this be the last that is done."""
    from hooks.repair import repair as run
    from snellen.runs import finish_again, unfinish

    exam = _exam(store)
    was = exam is not None and unfinish(exam)
    whole = True
    try:
        one = run(store, force=force, progress=progress)
        whole = not one.gone
        return one
    except BaseException as error:
        whole = isinstance(error, InputError)  # refused before anything was touched
        raise
    finally:
        if exam is not None and was and whole:
            finish_again(exam)


def _tell(one: Repaired) -> None:
    for damage in one.found:
        typer.echo(f"{one.folder.name}: {damage}")
    more = f" and {len(one.gone) - TOLD} more" if len(one.gone) > TOLD else ""
    if one.gone:
        typer.echo(f"{one.folder.name}: taken out: {', '.join(one.gone[:TOLD])}{more}; {one.kept} stay")


def _exam(store: Path) -> Path | None:
    """The folder of the exam that a store is part of."""
    from snellen.runs import RECORD

    return next((above for above in store.resolve().parents[:2] if (above / RECORD).is_file()), None)


def _maker(store: Path) -> Callable[[bool], Any] | None:
    """What wrote a store, to be run again with or without a progress bar, where that is known.

    Raises:
        InputError: it is kept, and damaged.
    """
    from snellen.cli_activations import COMMAND, extracted
    from snellen.runs import RECORD
    from snellen.runs import exam as examine

    command, exam = store / COMMAND, _exam(store)
    if command.is_file():
        options = read_json(command, "what `snellen extract` was told").get("options")
        if not isinstance(options, dict):
            raise InputError(
                f"{command} has no options. Expected what `snellen extract` was told. Take it away, and repair again."
            )
        return lambda progress: extracted({**options, "out": store}, progress=progress)
    if exam is not None:
        settings = read_json(exam / RECORD, "the settings of an exam")
        return lambda progress: examine(out=exam, progress=progress, **settings)
    return None


def _again(one: Repaired, maker: Callable[[bool], Any] | None, progress: bool) -> Sequence[str]:
    """Run again what wrote a store; which of the stimuli that were taken out are there then."""
    from hooks.store import Store

    if not one.gone or maker is None:
        return ()
    maker(progress)
    return sorted(set(one.gone) & set(Store(one.folder).ids))


def register(app: typer.Typer) -> None:
    """Make this command part of the command line."""
    app.command()(repair)
