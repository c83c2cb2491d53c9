"""Answers on disk: found again, whoever wrote them and whatever happened to the disk in between."""

import errno
import json
import math
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from hooks.book import PART, RECORD, Book
from stimuli.errors import InputError

MODEL = {"name": "tiny", "checksum": "1a", "adapter": None}
ROWS: list[dict[str, Any]] = [
    {
        "key": "a",
        "id": "s0",
        "text": 'two\nlines, "quoted", na\u00efve \u2028 and \u2603',
        "confidence": 0.1 + 0.2,
        "tokens": 3,
    },
    {"key": "b", "id": "s0", "text": "", "confidence": math.nan, "tokens": 0},
    {"key": "c", "id": "s1", "loglik": [-1e-300, -math.inf, -123.456], "tokens": [1, 2, 3]},
]


def known(book: Book) -> str:
    """What is known of the rows, with NaN equal to itself."""
    return json.dumps([book[row["key"]] if row["key"] in book else None for row in ROWS])


def filled(folder: Path) -> tuple[Book, Path]:
    """A book with all rows, one line each, and its file."""
    book = Book(folder, MODEL)
    for row in ROWS:
        book.add([row])
    (path,) = folder.glob(PART)
    return book, path


@pytest.mark.parametrize("place", [None, "answers", "a/new/folder"])
def test_what_was_added_is_known(place: str | None, tmp_path: Path) -> None:
    book = Book(None if place is None else tmp_path / place, MODEL)
    assert "a" not in book and len(book) == 0
    book.add(ROWS[:1])
    book.add(ROWS[1:])
    book.add([])
    assert len(book) == 3 and known(book) == json.dumps(ROWS)


def test_another_process_finds_it_to_the_last_bit(tmp_path: Path) -> None:
    filled(tmp_path)
    assert known(Book(tmp_path, MODEL)) == json.dumps(ROWS)
    assert len(Book(None, MODEL)) == 0


def test_every_process_writes_into_a_file_of_its_own_and_sees_the_others_after_a_refresh(tmp_path: Path) -> None:
    one, other = Book(tmp_path, MODEL), Book(tmp_path, MODEL)
    one.add(ROWS[:2])
    other.add(ROWS[2:])
    assert len(list(tmp_path.glob(PART))) == 2 and (len(one), len(other)) == (2, 1)
    one.refresh()
    assert known(one) == json.dumps(ROWS)


def test_what_a_run_measured_is_kept_beside_the_answers(tmp_path: Path) -> None:
    book, _ = filled(tmp_path)
    book.log({"seconds": 1.5})
    Book(tmp_path, MODEL).log({"seconds": 2.5})
    assert sorted(run["seconds"] for run in Book(tmp_path, MODEL).runs) == [1.5, 2.5]
    assert len(Book(tmp_path, MODEL)) == 3 and Book(None, MODEL).runs == []


@pytest.mark.parametrize("lost", range(1, 100, 7))
def test_a_half_written_last_line_is_left_out(lost: int, tmp_path: Path) -> None:
    _, path = filled(tmp_path)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:2], lines[2][:-lost]]))
    assert known(Book(tmp_path, MODEL)) == json.dumps([*ROWS[:2], None])


@pytest.mark.parametrize("place", range(0, 200, 11))
def test_a_line_with_one_other_byte_is_left_out_and_only_that(place: int, tmp_path: Path) -> None:
    _, path = filled(tmp_path)
    content = bytearray(path.read_bytes())
    line = content[:place].count(b"\n")
    content[place] ^= 1
    path.write_bytes(bytes(content))
    left = [None if i == line else row for i, row in enumerate(ROWS)]
    assert known(Book(tmp_path, MODEL)) == json.dumps(left)


def test_anything_else_in_a_file_is_left_out(tmp_path: Path) -> None:
    _, path = filled(tmp_path)
    rubbish = [
        b"",
        b"\xff\xfe\x00",
        b"[]",
        b"null",
        b"3",
        b'"text"',
        b"{}",
        b'{"key": "d"}',
        b'{"key": "d", "crc32": 1}',
        b"{" * 50,
    ]
    path.write_bytes(b"\n".join([*rubbish, path.read_bytes(), *rubbish]))
    assert known(Book(tmp_path, MODEL)) == json.dumps(ROWS) and len(Book(tmp_path, MODEL)) == 3


def test_a_line_behind_a_half_written_one_counts_again_after_the_next_line_end(tmp_path: Path) -> None:
    book, path = filled(tmp_path)
    path.write_bytes(path.read_bytes()[:-10] + b"\n")
    book.add([{"key": "d"}])
    assert known(Book(tmp_path, MODEL)) == json.dumps([*ROWS[:2], None]) and "d" in Book(tmp_path, MODEL)


def test_the_answers_of_another_model_are_refused_with_the_difference(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(InputError, match="holds the answers of another model .*checksum: '1a' → '2b'.*nothing was overwritten"):
        Book(tmp_path, {**MODEL, "checksum": "2b"})
    assert known(Book(tmp_path, MODEL)) == json.dumps(ROWS)


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(
        InputError, match=f"not empty and holds no answers \\({RECORD} is missing\\). Give a new folder as --out"
    ):
        Book(tmp_path, MODEL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match="not empty and holds no answers"):
        Book(tmp_path / "thesis.tex", MODEL)


def test_a_folder_with_hidden_files_alone_is_taken_as_empty(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").write_text("")
    assert len(Book(tmp_path, MODEL)) == 0


def test_processes_that_begin_a_folder_at_the_same_moment_all_may(tmp_path: Path) -> None:
    """The record of one appears, first under a hidden name, while the others look at the folder."""
    failed: list[Exception] = []
    for attempt in range(20):
        gate = threading.Barrier(6)

        def begin(folder: Path, gate: threading.Barrier) -> None:
            gate.wait()
            try:
                Book(folder, MODEL).add(ROWS[:1])
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=begin, args=(tmp_path / str(attempt), gate)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failed, failed[0]


def test_a_process_that_comes_between_two_looks_of_another_does_it_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.exists

    def slow(path: Path, **options: Any) -> bool:
        there = real(path, **options)
        if path == tmp_path / "a":
            monkeypatch.setattr(Path, "exists", real)
            filled(tmp_path / "a")
        return there

    monkeypatch.setattr(Path, "exists", slow)
    assert known(Book(tmp_path / "a", MODEL)) == json.dumps(ROWS)


def test_a_full_disk_is_said_and_what_was_written_before_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book(tmp_path, MODEL)
    book.add(ROWS[:1])

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("hooks.records.os.fsync", full)
    with pytest.raises(InputError, match="cannot be written to .*No space left.*run the same again: it goes on"):
        book.add(ROWS[1:])
    monkeypatch.undo()
    assert "a" in Book(tmp_path, MODEL)


def test_a_folder_that_cannot_be_made_is_said_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("hooks.records.write_once", full)
    with pytest.raises(InputError, match="cannot be written to .*Read-only file system"):
        Book(tmp_path / "a", MODEL)


def test_a_half_written_record_is_written_again_as_long_as_there_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text('{"name": "ti')
    Book(tmp_path, MODEL).add(ROWS)
    assert known(Book(tmp_path, MODEL)) == json.dumps(ROWS)
    (tmp_path / RECORD).write_text('{"name": "ti')
    with pytest.raises(InputError, match="model.json is damaged.*Give another --out"):
        Book(tmp_path, MODEL)
