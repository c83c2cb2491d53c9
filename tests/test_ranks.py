"""Sharing an extraction: every batch once, whoever starts when, without a word between the processes."""

from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hooks import ranks
from hooks.ranks import Share, blocks, share
from stimuli.errors import InputError

IDS = [f"s{i}" for i in range(23)]


def shares(folder: Path, world: int, job: str | None, done: set[str]) -> list[list[list[int]]]:
    return [blocks(folder, Share(rank, world, job), IDS, done, 4) for rank in range(world)]


@pytest.mark.parametrize("job", [None, "j1"])
def test_every_stimulus_belongs_to_one_process_and_to_the_same_batch(tmp_path: Path, job: str | None) -> None:
    alone = blocks(tmp_path, Share(), IDS, set(), 4)
    assert alone == [list(range(b, min(b + 4, 23))) for b in range(0, 23, 4)]
    for world in (2, 3, 7):
        found = shares(tmp_path, world, job, set())
        assert sorted(chain.from_iterable(found)) == alone


def test_what_is_left_is_shared_evenly_within_a_job(tmp_path: Path) -> None:
    done = {f"s{i}" for i in chain(range(0, 4), range(8, 12))}  # the first of two processes had done its first two
    uneven = shares(tmp_path, 2, None, done)
    assert [len(own) for own in uneven] == [1, 3]
    even = shares(tmp_path, 2, "again", done)
    assert [len(own) for own in even] == [2, 2] and sorted(chain.from_iterable(even)) == sorted(chain.from_iterable(uneven))


def test_a_process_that_comes_late_goes_by_what_the_first_found(tmp_path: Path) -> None:
    first = blocks(tmp_path, Share(0, 2, "job"), IDS, set(), 4)
    done = {IDS[i] for i in chain.from_iterable(first)}  # it has finished before the second comes
    second = blocks(tmp_path, Share(1, 2, "job"), IDS, done, 4)
    assert sorted(chain.from_iterable(first + second)) == list(range(23))


@given(st.sets(st.integers(0, 22)), st.integers(1, 5), st.integers(1, 6))
def test_nothing_is_lost_or_done_twice(tmp_path_factory: pytest.TempPathFactory, done: set[int], world: int, size: int) -> None:
    folder, there = tmp_path_factory.mktemp("x"), {f"s{i}" for i in done}
    for job in (None, "j"):
        found = [i for r in range(world) for block in blocks(folder, Share(r, world, job), IDS, there, size) for i in block]
        assert sorted(found) == sorted(set(range(23)) - done)


def test_processes_of_a_job_must_agree(tmp_path: Path) -> None:
    blocks(tmp_path, Share(0, 2, "job"), IDS, set(), 4)
    with pytest.raises(InputError, match=r"job job were started with other stimuli or batch sizes: .*'batch_size': \(4, 8\)"):
        blocks(tmp_path, Share(1, 2, "job"), IDS, set(), 8)


def test_shares_are_read_from_flags_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ranks.JOBS, "WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    assert share() == Share()
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "77")
    assert share(3, 8) == Share(3, 8, "77") and share(3, 8, "mine").job == "mine" and share() == Share()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert share(0, 2).job == "77"
    with pytest.raises(InputError, match="Got rank 8 of 8; expected 0 to 7"):
        share(8, 8)
    with pytest.raises(InputError, match="expected both or neither, such as --rank 0 --world-size 8"):
        share(rank=1)
