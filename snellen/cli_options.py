"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

Model = Annotated[str, typer.Argument(help="embedded, embedded-template, a checkpoint folder or a hub id")]
Images = Annotated[
    str,
    typer.Option(
        help="embedded (scenes) or leaves (built in), a folder of pristine images, a CSV of labelled ones, or a dataset: kadid10k:DIR, "
        "tid2013:DIR, csiq:DIR, live:DIR, koniq10k:DIR, spaq:DIR, pipal:DIR"
    ),
]
References = Annotated[int, typer.Option(help="source images of a built-in set or a folder")]
Levels = Annotated[str, typer.Option(help="published distortion levels, comma-separated")]
Seed = Annotated[int, typer.Option(help="everything is deterministic given the seed")]
Loading = Annotated[
    list[str] | None,
    typer.Option(
        "--load",
        help="how to load the model, KEY=VALUE, may be repeated: dtype, device, device_map, quantization, adapter, revision, "
        "trust_remote_code, stages",
    ),
]
Progress = Annotated[bool, typer.Option(help="show progress")]


def keep_examples(app: typer.Typer) -> None:
    """Show the examples of every command line by line, as they are written, instead of as flowing text."""
    for command in app.registered_commands:
        if command.callback is not None and command.callback.__doc__:
            command.callback.__doc__ = command.callback.__doc__.replace("    Example", "    \b\n    Example", 1)


@contextmanager
def resumable() -> Iterator[None]:
    """Ctrl-C is one line and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("\nsnellen: interrupted. What was finished is kept; the same command goes on.", err=True)
        raise typer.Exit(130) from None


def whole_numbers(text: str) -> tuple[int, ...]:
    """Read ``1,3,5``.

    Raises:
        InputError: something else.
    """
    from stimuli.errors import InputError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"Got --levels {text}; expected whole numbers from 1 to 5, such as --levels 1,3,5.") from error


def shared(rank: int | None, world_size: int | None, job: str | None, load: list[str] | None) -> tuple[Any, list[str]]:
    """This process's share, and how its model is loaded: on its own device where several were started."""
    from hooks.ranks import share

    mine = share(rank, world_size, job)
    how = list(load or ())
    if mine.device is not None and not any(pair.split("=")[0] in ("device", "device_map") for pair in how):
        how.append(f"device={mine.device}")
    return mine, how


def first() -> bool:
    """Whether this is the first of the processes that torchrun started, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0
