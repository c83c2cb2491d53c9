"""A first run of what came with a checkpoint, in a child of this process that may take so much time and memory and no more."""

from __future__ import annotations

import os
import select
import signal
import sys
import warnings
from collections.abc import Callable

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

SECONDS = 5
"""Of a processor's time; a chat template takes a thousandth of one."""
WAIT = 60
"""Seconds by the clock after which a child that does nothing is given up; it tells nothing then."""
MEGABYTES = 1024
"""More memory than this process has."""
LONGEST = 1_000_000
"""Characters that are no prompt any more."""
_MEMORY, _LONG = 3, 4
_WHY = {
    _MEMORY: f"takes more than {MEGABYTES} MB of memory",
    _LONG: f"writes more than {LONGEST:,} characters",
}


def trial(work: Callable[[], str]) -> str:
    """What is wrong with the resources that a piece of work takes; empty where nothing is, or nothing can be known.

    The work runs in a forked child with limits on processor time and memory, which ends whatever it does, also in one operation of the
    interpreter that no signal interrupts. An exception of its own is no concern of this: it comes again in the real run. Systems that do
    not fork know nothing.

    Args:
        work: gives a text; must not touch a GPU or start threads.
    """
    if resource is None or sys.platform == "darwin":  # macOS's own libraries do not survive a fork
        return ""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads: the child runs none and leaves by _exit
        child = os.fork()
    if child == 0:
        _limited(work)
    os.close(writing)
    ended: list[int] = []
    try:
        ended, _, _ = select.select([reading], [], [], WAIT)  # readable once the child is gone, and its end of the pipe with it
    finally:
        os.close(reading)
        if not ended:
            os.kill(child, signal.SIGKILL)
        _, how = os.waitpid(child, 0)
    if not ended:
        return ""
    if not os.WIFSIGNALED(how):
        return _WHY.get(os.WEXITSTATUS(how), "")
    number = os.WTERMSIG(how)
    if number == signal.SIGXCPU:
        return f"takes more than {SECONDS} s"
    if number in (signal.SIGINT, signal.SIGTERM):  # somebody stops this process, and its child with it
        return ""
    return f"ends the process that runs it ({signal.Signals(number).name})"


def _limited(work: Callable[[], str]) -> None:
    """Run it and leave with what it came to, past everything that this process would do at its end."""
    code = 0
    try:
        for alarm in (signal.SIGXCPU, signal.SIGINT, signal.SIGTERM):
            signal.signal(alarm, signal.SIG_DFL)
        _lower(resource.RLIMIT_CORE, 0)
        _lower(resource.RLIMIT_CPU, SECONDS)
        size = _address_space()
        if size:
            _lower(resource.RLIMIT_AS, size + MEGABYTES * 2**20)
        code = _LONG if len(work()) > LONGEST else 0
    except MemoryError:
        code = _MEMORY
    except BaseException:  # comes again where it is told
        code = 0
    finally:
        os._exit(code)


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _address_space() -> int:
    """Bytes that this process has mapped; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
