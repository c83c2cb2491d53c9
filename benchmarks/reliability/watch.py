"""Hostile input handed to Snellen under watch: in a child process with little memory and a time limit, every act of it noted.

A case may return or be refused in words. Anything else is a finding: another exception (or a command that ends with a traceback), no end
within the time limit, too much memory, a file written outside of the output folder, and anything run (a process, a pickle's function,
code of the input's own, a connection). Python's audit events (PEP 578) tell of writing and running, whoever does it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

READ, REFUSED, CRASHED, SLOW, MEMORY, WROTE, RAN = "read", "refused", "crashed", "slow", "memory", "wrote", "ran"
FINDINGS = (CRASHED, SLOW, MEMORY, WROTE, RAN)
SECONDS = 5.0
"""No case may take more of a processor's time; twelve times as long by the clock, for those that wait for something."""
MEGABYTES = 2048
"""No case may have more memory resident than before by so much."""
ROOM = 6144
"""Megabytes of address space more than before: threads take much of it and use little."""
LONGEST = 8000
"""Characters of a message that someone can still read."""
CANARY = "SNELLEN_CANARY"
"""The environment variable that names a file which code in the input makes, if it is run."""
RUNS = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "pickle.find_class",
    "socket.connect",
    "socket.getaddrinfo",
)
WRITES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "shutil.rmtree")


Parser = tuple[str, Sequence[bytes], Callable[[Path, Path], Any]]
"""The name that a file must have, good contents, and what reads it, writing only below its second argument."""


@dataclass(frozen=True)
class Case:
    """One piece of input."""

    kind: str
    name: str
    write: Callable[[Path], Any]
    """Makes the input below a folder, and says what of it is to be read."""
    read: Callable[[Any, Path], Any]
    """Reads it; the second argument is the one folder that may be written to."""


@dataclass(frozen=True)
class Ended:
    """How a case ended."""

    kind: str
    name: str
    how: str
    where: str = ""
    """Kind of the exception and the innermost place in Snellen's own code, or what was done that may not be."""
    seconds: float = 0.0
    megabytes: float = 0.0


class Slow(BaseException):
    """Time is over; nothing that handles errors may catch it."""


class Traceback(Exception):
    """A command ended with a traceback instead of a message."""


def command(*arguments: object) -> None:
    """Run ``snellen …`` in this process.

    Raises:
        InputError: it was refused, in words.
        Traceback: it ended in another way.
    """
    from snellen import cli
    from stimuli.errors import InputError

    said = io.StringIO()
    before, sys.argv = sys.argv, ["snellen", *map(str, arguments)]
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            cli.main()
    except SystemExit as ended:
        text = said.getvalue().strip()
        if ended.code not in (0, 1, 2) or "Traceback (most recent call last)" in text:
            raise Traceback(f"{_innermost(text)}: exit code {ended.code}") from None
        if ended.code == 2:
            raise InputError(text) from None
    finally:
        sys.argv = before


def _innermost(text: str) -> str:
    """The last frame of Snellen's and the exception of a printed traceback."""
    own = [line.strip() for line in text.splitlines() if line.strip().startswith("File ") and _ours(line)]
    last = text.splitlines()[-1].partition(":")[0] if text else "nothing said"
    return f"{last} ({own[-1].rpartition('/')[2] if own else '?'})"


def _ours(place: str) -> bool:
    return any(f"/{room}/" in place for room in ("stimuli", "hooks", "probes", "tuning", "analysis", "snellen")) and (
        "site-packages" not in place
    )


def _where(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _ours(frame.filename)]
    at = f"{'/'.join(Path(frames[-1].filename).parts[-2:])}:{frames[-1].name}" if frames else "?"
    return f"{type(error).__name__} at {at}" if not isinstance(error, Traceback) else str(error)


# ---- what is done meanwhile ------------------------------------------------------------------------------------------


@dataclass
class Acts:
    """What audit events told of since it was last cleared."""

    out: Path = Path("/nowhere")
    on: bool = False
    ran: list[str] = field(default_factory=list)
    wrote: list[str] = field(default_factory=list)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """For ``sys.addaudithook``."""
        if not self.on:
            return
        if event in RUNS and not (event == "socket.connect" and arguments[1][0] == "127.0.0.1"):
            self.ran.append(f"{event} {arguments[:2]!r:.60}")
        elif event == "open" and self._writes(arguments):
            self._note(arguments[0])
        elif event in WRITES:
            self._note(arguments[event in ("os.link", "os.symlink")])  # of a link, where it comes to be

    @staticmethod
    def _writes(arguments: tuple[Any, ...]) -> bool:
        _, mode, flags = arguments
        return any(sign in mode for sign in "wax+") if isinstance(mode, str) else bool(flags & (os.O_WRONLY | os.O_RDWR))

    def _note(self, path: Any) -> None:
        if isinstance(path, int):  # a file that was opened before
            return
        self.on = False
        real = Path(os.path.realpath(os.fsdecode(path)))
        self.on = True
        if not real.is_relative_to(self.out) and real != Path(os.devnull):
            self.wrote.append(str(real))


def _status(key: str) -> float:
    """Megabytes, as the system counts them of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _peak_from_now() -> None:
    Path("/proc/self/clear_refs").write_text("5")


# ---- the children ----------------------------------------------------------------------------------------------------


def watched(cases: Sequence[Case], *, seconds: float = SECONDS, progress: bool = True) -> list[Ended]:
    """Every case, one after another; a child that dies or hangs is replaced, and its case is a finding.

    Args:
        cases: what to read. Whatever they need must have been imported, so that no child pays for it.
        seconds: limit of each.
        progress: show how far it is.
    """
    from tqdm.auto import tqdm

    found: list[Ended] = []
    with tqdm(total=len(cases), disable=not progress, desc="hostile", mininterval=2) as bar:
        while len(found) < len(cases):
            for ended in _child(cases[len(found) :], seconds):
                found.append(ended)
                bar.update()
    return found


def _child(cases: Sequence[Case], seconds: float) -> Iterator[Ended]:
    """Outcomes of a child, up to the case that it dies of."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            _work(cases, seconds, writing)
        except BaseException:  # a mistake of this module's, or a second alarm
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    done, buffer = 0, b""
    try:
        while done < len(cases):
            part = _next(reading, 15 * seconds)
            if not part:
                break
            *lines, buffer = (buffer + part).split(b"\n")
            for line in lines:
                done += 1
                yield Ended(**json.loads(line))
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        _, how = os.waitpid(child, 0)
    if done < len(cases):
        case = cases[done]
        if part is None:
            yield Ended(case.kind, case.name, SLOW, "no end, not even when told", 15 * seconds)
        else:
            yield Ended(case.kind, case.name, CRASHED, f"the process died, signal {os.WTERMSIG(how)}")


def _next(pipe: int, seconds: float) -> bytes | None:
    """What came; empty when the other end is closed, None if nothing comes in time."""
    import select

    ready, _, _ = select.select([pipe], [], [], seconds)
    return os.read(pipe, 65536) if ready else None


def _work(cases: Sequence[Case], seconds: float, pipe: int) -> None:
    acts, base = Acts(), tempfile.gettempdir()
    sys.addaudithook(acts.hook)
    sys.dont_write_bytecode = True
    for alarm in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(alarm, _over)
    limit = int((_status("VmSize") + ROOM) * 1024**2)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    errors = os.dup(2)
    for case in cases:
        place = Path(tempfile.mkdtemp(prefix="hostile-", dir=base)).resolve()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)  # decoders in C complain there
        os.close(nowhere)
        try:
            ended = _one(case, place, acts, seconds)
        finally:
            os.dup2(errors, 2)
            _make_free(place)
        os.write(pipe, json.dumps(asdict(ended)).encode() + b"\n")


def _over(signal_number: int, frame: object) -> None:
    raise Slow


def _make_free(place: Path) -> None:
    for folder, _, _ in os.walk(place):
        os.chmod(folder, 0o700)
    shutil.rmtree(place, ignore_errors=True)


def _one(case: Case, place: Path, acts: Acts, seconds: float) -> Ended:
    from stimuli.errors import SnellenError

    (place / "in").mkdir()
    (place / "out").mkdir()
    (place / "tmp").mkdir()
    canary = place / "canary"
    os.environ[CANARY], tempfile.tempdir = str(canary), str(place / "out")
    given = case.write(place / "in")
    _peak_from_now()
    before, start = _status("VmRSS"), time.perf_counter()
    acts.out, acts.ran, acts.wrote = place / "out", [], []
    how, where = READ, ""
    try:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, 12 * seconds)
        acts.on = True
        case.read(given, place / "out")
    except SnellenError as error:
        how = REFUSED if len(str(error)) <= LONGEST else CRASHED
        where = "" if how == REFUSED else f"a message of {len(str(error))} characters"
    except Slow as error:
        how, where = SLOW, _where(error)
    except MemoryError as error:
        how, where = MEMORY, _where(error)
    except Exception as error:  # whatever it is, it is a finding
        how, where = CRASHED, _where(error)
    finally:
        acts.on = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    took, used = time.perf_counter() - start, max(0.0, _status("VmHWM") - before)
    if acts.ran or canary.exists():
        how, where = RAN, acts.ran[0] if acts.ran else "code of the input's own"
    elif acts.wrote:
        how, where = WROTE, Path(acts.wrote[0]).name
    elif used > MEGABYTES and how in (READ, REFUSED):
        how, where = MEMORY, f"{used:.0f} MB"
    return Ended(case.kind, case.name, how, where, round(took, 4), round(used, 1))
