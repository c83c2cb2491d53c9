"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer


def known(model: str) -> str:
    """A model that may be one: told before anything is imported or made.

    Raises:
        InputError: a folder that is no checkpoint, or neither a folder nor a hub id.
    """
    from hooks.folder import check_folder
    from snellen.embedded import PATIENTS

    if model not in PATIENTS:
        check_folder(model)
    return model


MODEL = "embedded, embedded-template, a checkpoint folder or a hub id"
Model = Annotated[str, typer.Argument(help=MODEL, callback=known)]
ModelNamed = Annotated[str, typer.Option("--model", help=MODEL, callback=known)]
Images = Annotated[
    str,
    typer.Option(
        help="embedded (scenes) or leaves (built in), a folder of pristine images, a CSV of labelled ones, or a dataset: kadid10k:DIR, "
        "tid2013:DIR, csiq:DIR, live:DIR, koniq10k:DIR, spaq:DIR, pipal:DIR; hf:DIR, which Hugging Face's datasets saved"
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


class Kept(KeyboardInterrupt):
    """Ctrl-C while what is finished stays on disk, so that the same command goes on."""


@contextmanager
def resumable() -> Iterator[None]:
    """What is finished inside is kept when Ctrl-C ends it (``snellen.cli_output`` says how to go on)."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        raise Kept from stopped


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
