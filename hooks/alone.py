"""One process at a time in a folder whose files cannot be shared."""

from __future__ import annotations

import errno
import functools
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import psutil

from hooks import records
from stimuli.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def alone(folder: Path, what: str) -> Iterator[None]:
    """Keep other processes out of a folder for the time of the block.

    The system holds the lock (``flock``), so it goes with the process, however that ends. Where a file system knows no locks, who wrote
    the file is asked for instead; a folder that cannot be written to needs none.

    Args:
        folder: is made if it is not there.
        what: is going on inside, such as ``an exam``.

    Raises:
        InputError: another process is in there, or a file is where the folder should be.
        OSError: it is not there and may not be made, or the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{folder} cannot be made: a file is in its way. Expected a folder. Give another.") from error
    try:
        handle = open(folder / LOCK, "a+b")
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        yield
        return
    with handle:
        if not _locked(handle):
            who = records.load(folder / LOCK) or {}
            told = f"process {who['pid']} on {who['host']}" if who else "another process"
            raise InputError(
                f"{what.capitalize()} is under way in {folder}: {told} is at it. Expected a folder that nobody works in. Wait for it, stop it, "
                "or give another folder; nothing was overwritten."
            )
        _note(folder / LOCK)
        try:
            yield
        finally:
            handle.truncate(0)


def one_at_a_time(what: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function hold the folder that it is given as ``out=``, by the first of the processes that torchrun started."""

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def wrapped(*args: P.args, **given: P.kwargs) -> R:
            out: Any = given.get("out")
            if out is None or os.environ.get("RANK", "0") != "0":
                return function(*args, **given)
            with alone(Path(out), what):
                return function(*args, **given)

        return wrapped

    return wrap


def _locked(handle: Any) -> bool:
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
    who = records.load(Path(handle.name))
    here = who is not None and who["host"] == socket.gethostname()
    return who is None or (here and not psutil.pid_exists(who["pid"]))


def _note(path: Path) -> None:
    """Say who holds it, into the file that is locked: a new one would not be."""
    try:
        path.write_text(records.text({"host": socket.gethostname(), "pid": os.getpid()}), encoding="utf-8")
    except OSError:  # the disk is full; the lock holds without
        pass
