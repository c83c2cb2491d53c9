"""One process at a time: in a folder of an exam and of a tuning run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import snellen as sn
from hooks import alone as module
from hooks import records
from hooks.alone import LOCK, alone, one_at_a_time
from stimuli.errors import InputError

HOLD = """
import sys, time
from pathlib import Path
from hooks.alone import alone
with alone(Path(sys.argv[1]), "an exam"):
    print("in", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds a folder."""
    root = Path(__file__).parent.parent
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True, cwd=root)
    assert process.stdout is not None and process.stdout.readline() == "in\n"
    return process


def test_another_process_is_refused_by_name_until_it_is_killed(tmp_path: Path) -> None:
    other = holder(tmp_path)
    try:
        for attempt in (lambda: sn.exam("embedded", tmp_path), lambda: _tuned(tmp_path)):
            with pytest.raises(
                InputError, match=f"is under way in .*process {other.pid} on .*Wait for it, stop it, or give another"
            ):
                attempt()
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate()
    with alone(tmp_path, "an exam"):  # the lock went with its process
        assert records.load(tmp_path / LOCK) == {"host": os.uname().nodename, "pid": os.getpid()}
        with pytest.raises(InputError, match=f"process {os.getpid()}"), alone(tmp_path, "an exam"):
            raise AssertionError
    with alone(tmp_path, "an exam"):
        pass


@pytest.mark.parametrize("stays", [0.4, 60])
def test_a_child_that_outlives_its_parent_keeps_the_lock_for_as_long_as_it_lives(
    stays: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does for a moment that is being started while its parent is killed."""
    monkeypatch.setattr(module, "PATIENCE", 20 if stays < 1 else 0.3)
    root = Path(__file__).parent.parent
    forked = HOLD.replace("time.sleep(60)", f"import os\n    time.sleep({stays} if os.fork() == 0 else 60)")
    parent = subprocess.Popen([sys.executable, "-c", forked, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        assert parent.stdout is not None and parent.stdout.readline() == "in\n"
        time.sleep(0.2)
        [child] = psutil.Process(parent.pid).children()
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        if stays < 1:
            with alone(tmp_path, "an exam"):
                assert records.load(tmp_path / LOCK) == {"host": os.uname().nodename, "pid": os.getpid()}
        else:
            with pytest.raises(InputError, match=f"process {parent.pid} on .* is at it"), alone(tmp_path, "an exam"):
                raise AssertionError
            child.kill()
    finally:
        parent.stdout.close()  # type: ignore[union-attr]


def test_a_child_does_not_keep_a_lock_that_was_let_go(tmp_path: Path) -> None:
    with alone(tmp_path, "an exam"):
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
    try:
        with alone(tmp_path, "an exam"):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@one_at_a_time("a tuning run")
def _tuned(*, out: Path) -> None:
    raise AssertionError("it was let in")


_tuned = lambda folder, tuned=_tuned: tuned(out=folder)  # noqa: E731


def test_without_locks_of_the_system_the_note_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "fcntl", None)
    with alone(tmp_path, "an exam"), pytest.raises(InputError, match="is under way"), alone(tmp_path, "an exam"):
        raise AssertionError
    records.write(tmp_path / LOCK, {"host": os.uname().nodename, "pid": 2**22 + 1})  # of a process that was killed
    with alone(tmp_path, "an exam"):
        pass
    records.write(tmp_path / LOCK, {"host": "elsewhere", "pid": 1})
    with pytest.raises(InputError, match="process 1 on elsewhere"), alone(tmp_path, "an exam"):
        raise AssertionError


def test_a_folder_that_cannot_be_written_to_needs_no_lock(tmp_path: Path) -> None:
    (tmp_path / LOCK).mkdir()  # no file can be opened in its place, as in a folder that is read-only
    with alone(tmp_path, "an exam"):
        time.sleep(0)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="a file is in its way"), alone(folder, "an exam"):
            pass


def test_two_exams_with_other_settings_cannot_both_claim_a_new_folder(tmp_path: Path) -> None:
    """What a refused start has left is taken over by the next, but not from one that is at work."""
    from snellen.runs import _open, build

    one, other = build(None, {"seed": 0}), build(None, {"seed": 1})
    with alone(tmp_path, "an exam"):
        assert _open(tmp_path, one) is None
        with pytest.raises(InputError, match="is under way"):
            sn.exam("embedded", tmp_path, seed=1)
    assert _open(tmp_path, other) is None


def test_a_half_written_claim_is_taken_over_and_half_written_results_are_computed_again(tmp_path: Path) -> None:
    from snellen.runs import PARTIAL, RECORD, RESULTS, _finished, _open, build, unfinish

    settings = build(None, {})
    (tmp_path / RECORD).write_text('{"model": "emb')
    assert _open(tmp_path, settings) is None and (tmp_path / RECORD).read_text().endswith("}\n")
    (tmp_path / "report.html").write_text("")
    (tmp_path / RESULTS).write_text('{"verdict": {}}')
    done = _finished(tmp_path)
    assert done is not None and done.results == {"verdict": {}}
    (tmp_path / RESULTS).write_text('{"verdict": {')
    assert _finished(tmp_path) is None
    unfinish(tmp_path)
    assert (tmp_path / PARTIAL).is_file() and not (tmp_path / RESULTS).exists()
    (tmp_path / RECORD).write_text('{"model": "emb')
    with pytest.raises(InputError, match="exam.json is damaged.*nobody can tell whose exam.*nothing was overwritten"):
        _open(tmp_path, settings)
