"""The ways to stop a run: signals, a full disk, one that becomes read-only, a rename that is cut short; each in a process of its own."""

from __future__ import annotations

import builtins
import errno
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from stimuli.errors import InputError

LOCKING = ("tune", "exam")
"""Runs that hold their folder's lock open."""
REFUSED, AGAIN = 7, 8
"""How a run ends that says in words what stopped it, and one that torch kept from beginning."""
POOL = "Invalid thread pool"
"""What torch says, about once in a hundred times, in a process that was forked from one that computes; not of a run that is started."""


@dataclass
class Task:
    """One kind of run."""

    name: str
    run: Callable[[Path], Any]
    """Into a folder."""
    result: Callable[[Path], Any]
    """What is on disk, as something that can be compared; raises AssertionError where something is there twice."""
    strikes: int
    """How many of each kind."""
    whole: Any = None
    seconds: float = 0.0
    size: int = 0
    """Bytes of a finished run."""


def child(work: Callable[[], Any], strike: Callable[[int], None] = lambda pid: None) -> int:
    """Run something in a forked process and do something to it; its exit status, negative for a signal."""
    while (code := _forked(work, strike)) == AGAIN:
        pass
    return code


def _forked(work: Callable[[], Any], strike: Callable[[int], None]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
            work()
            code = 0
        except (InputError, KeyboardInterrupt, OSError) as error:
            if isinstance(error, OSError) and error.errno not in (errno.ENOSPC, errno.EROFS):
                traceback.print_exc()
            print(f"{type(error).__name__}: {error}", file=sys.stderr)  # of the last run, that is what was wrong
            code = AGAIN if POOL in str(error) else REFUSED
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    try:
        strike(pid)
    finally:
        status = os.waitpid(pid, 0)[1]
    return os.waitstatus_to_exitcode(status)


def signalled(number: int, task: Task, folder: Path, rng: random.Random) -> int:
    """A signal at a moment drawn from all of a run."""

    def strike(pid: int) -> None:
        time.sleep(rng.uniform(0, task.seconds))
        os.kill(pid, number)

    return child(partial(task.run, folder), strike)


def full(task: Task, folder: Path, rng: random.Random) -> int:
    """A file system that is too small: its free space is drawn from what a run needs."""
    with _mounted(folder, f"size={4096 * (2 + rng.randrange(max(1, task.size // 4096)))}"):
        return child(partial(task.run, folder))


def read_only(task: Task, folder: Path, rng: random.Random) -> int:
    """A file system that becomes read-only at a moment drawn from all of a run."""
    if task.name in LOCKING:
        return denied(task, folder, rng)

    def strike(pid: int) -> None:
        time.sleep(rng.uniform(0, task.seconds))
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if not subprocess.run(["mount", "-o", "remount,ro", folder], stderr=subprocess.DEVNULL).returncode:
                return  # it is refused while a file is open for writing
            time.sleep(0.001)

    with _mounted(folder, "size=1g"):
        return child(partial(task.run, folder), strike)


def denied(task: Task, folder: Path, rng: random.Random) -> int:
    """The same for a run that holds a lock, whose open file keeps the system from it: what opens to write, or renames, fails from then on."""
    begin, real = time.monotonic() + rng.uniform(0, task.seconds), open

    def closed(call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*given: Any, **how: Any) -> Any:
            writes = call is not real or set(str(how.get("mode", given[1] if len(given) > 1 else "r"))) & set("wax+")
            if writes and time.monotonic() > begin:
                raise OSError(errno.EROFS, "Read-only file system", str(given[0]))
            return call(*given, **how)

        return made

    def work() -> None:
        os.replace, os.rename, os.mkdir = map(closed, (os.replace, os.rename, os.mkdir))
        builtins.open = io.open = closed(real)  # type: ignore[assignment]
        task.run(folder)

    return child(work)


@contextmanager
def _mounted(folder: Path, how: str) -> Iterator[None]:
    """A file system in memory for what a folder holds; afterwards the folder holds what is left."""
    folder.mkdir(parents=True, exist_ok=True)
    held = folder.with_name(f"{folder.name}-held")
    shutil.copytree(folder, held)
    used = sum(-(-path.stat().st_size // 4096) + 1 for path in held.rglob("*")) * 4096
    option = f"size={used + int(how[5:])}" if how[5:].isdigit() else how
    subprocess.run(["mount", "-t", "tmpfs", "-o", option, "tmpfs", folder], check=True)
    try:
        shutil.copytree(held, folder, dirs_exist_ok=True)
        shutil.rmtree(held)
        yield
        shutil.copytree(folder, held)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
    shutil.rmtree(folder)
    held.rename(folder)


def torn(task: Task, folder: Path, rng: random.Random) -> int:
    """A rename that copies, cut off half-way, and no hard links: as a network file system may do."""
    left = rng.randrange(1, 12)

    def rename(source: Any, target: Any, *_: Any, **__: Any) -> None:
        nonlocal left
        left -= not Path(source).is_dir()
        if Path(source).is_dir() or left > 0:
            return real(source, target)
        data = Path(source).read_bytes()
        Path(target).write_bytes(data[: rng.randrange(len(data))])
        os._exit(REFUSED)

    def link(*_: Any, **__: Any) -> None:
        raise OSError(95, "Operation not supported")

    def work() -> None:
        os.replace, os.rename, os.link = rename, rename, link  # type: ignore[assignment]
        task.run(folder)

    real = os.replace
    return child(work)


def faults() -> dict[str, Callable[[Task, Path, random.Random], int]]:
    """The ways to stop a run."""
    return {
        "SIGKILL": partial(signalled, signal.SIGKILL),
        "SIGTERM": partial(signalled, signal.SIGTERM),
        "Ctrl-C": partial(signalled, signal.SIGINT),
        "rename torn": torn,
        **({"disk full": full, "read-only": read_only} if _may_mount() else {}),
    }


def _may_mount() -> bool:
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], capture_output=True).returncode == 0
        return done and subprocess.run(["umount", place]).returncode == 0
