"""One process at a time in a folder whose files cannot be shared."""

from __future__ import annotations

import errno
import functools
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
PATIENCE = 2.0
"""Seconds that a lock is waited for whose owner is gone."""
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
        if not _gets(handle):
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
            _let_go(handle)


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


def _gets(handle: Any) -> bool:
    """Whether the lock can be had: at once, or, where whoever took it is gone, as soon as a child of theirs has let go of it.

    A process that is being started holds what its parent has open until it runs a program of its own.
    """
    end = time.monotonic() + PATIENCE
    while not _locked(handle):
        who = records.load(Path(handle.name))
        at_work = who is not None and (who["host"] != socket.gethostname() or psutil.pid_exists(who["pid"]))
        if at_work or time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _let_go(handle: Any) -> None:
    """Also of copies of the open file, which children may have."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)


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
