"""Damage to a store: noticed wherever it falls, refused before a number comes of it, mended by what is damaged alone."""

import json
import os
import random
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError

from benchmarks.reliability import damage
from hooks import manifest, records
from hooks.damage import damages, stores
from hooks.recipe import CONFIG
from hooks.repair import Repaired, repair
from hooks.store import Store
from hooks.writer import Writer
from snellen.cli_repair import _mended
from stimuli.errors import InputError
from tuning.checkpoints import room


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with damage.no_waiting():
        return damage.original(tmp_path_factory.mktemp("store") / "original")


@pytest.fixture
def store(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "store"))


@pytest.mark.parametrize("kind", damage.KINDS, ids=lambda kind: kind.__name__)
def test_no_damage_goes_unnoticed_or_unmended(kind: Any, original: Path, tmp_path: Path) -> None:
    before = set(map(str, damages(original)))
    assert len(before) == 1 and "its process was killed" in next(iter(before))
    with damage.no_waiting():
        for seed in range(3):
            row = damage.trial(kind, random.Random(seed), original, tmp_path, before)
            assert row["noticed"] and row["file_named"] and row["stimuli_named"] and row["mended"], row
            assert row["read"] != "wrong" and row["recomputed"] <= damage.COUNT / 3 * (1 + (kind is damage.swap)), row


@pytest.mark.heavy
def test_nothing_goes_unnoticed_at_scale() -> None:
    rows = damage.trials(400, seed=1)
    assert all(row["noticed"] and row["file_named"] and row["stimuli_named"] and row["mended"] for row in rows)
    assert not [row for row in rows if row["read"] == "wrong"]


def test_a_flipped_bit_is_refused_by_the_read_that_meets_it_and_by_no_other(store: Path) -> None:
    held = Store(store)
    shard = sorted(store.rglob("*.safetensors"))[1]
    data = bytearray(shard.read_bytes())
    data[data.index(np.float32(damage.true("a", "s17")[0]).tobytes())] ^= 1
    shard.write_bytes(data)
    rows = held.read("a")  # nothing is looked at yet
    assert np.array_equal(rows.of("s00"), damage.true("a", "s00"))  # lies in another file
    for look in (lambda: rows.of("s17"), lambda: rows.values, lambda: rows.tensor, lambda: list(rows.parts)):
        with pytest.raises(
            InputError, match=rf"{shard.name} cannot be read .it does not match its checksum.*'s16' … 's19'.*snellen repair"
        ):
            look()
    assert np.array_equal(held.read("t").of("s17"), damage.true("t", "s17"))  # the other site is whole
    data[data.index(damage.true("t", "s17")[0, 0].tobytes())] ^= 1  # changed behind the back of a process that had looked
    shard.write_bytes(data)
    with pytest.raises(InputError, match="does not match its checksum"):
        _ = Store(store).read("t").values


def test_a_lost_line_of_a_finished_part_is_refused(store: Path) -> None:
    part = manifest.all_parts(store)[1]
    lines = (part / manifest.MANIFEST).read_text().splitlines(keepends=True)
    (part / manifest.MANIFEST).write_text("".join(lines[1:]))
    with pytest.raises(
        InputError, match="manifest.jsonl is not what it was when the run ended: it is damaged, and stimuli may be missing"
    ):
        Store(store).read("a")
    (found,) = [str(one) for one in damages(store) if one.path.name == manifest.MANIFEST]
    assert "4 stimuli: 's16' … 's19'" in found
    assert repair(store).gone == ("s16", "s17", "s18", "s19") and damage.extracted(store, damage.IDS) == 4
    assert damage.read(store) == "whole" and damages(store) == []


def test_a_stimulus_of_which_nothing_is_known_is_refused(store: Path) -> None:
    path = manifest.all_parts(store)[2] / manifest.STIMULI
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    assert Store(store).metadata("s33")["reference"] == "rs33"
    with pytest.raises(InputError, match="Nothing is known of the stimulus 's32' .*snellen repair"):
        Store(store).metadata("s32")
    assert any("lacks stimuli (1 stimuli: 's32')" in str(one) for one in damages(store))


def test_the_recipe_is_written_again_from_its_copies(store: Path) -> None:
    whole = (store / CONFIG).read_bytes()
    for left in (whole[:50], None):
        (store / CONFIG).unlink()
        if left:
            (store / CONFIG).write_bytes(left)
        with pytest.raises(InputError, match=r"config.json is (damaged|missing).*snellen repair .* writes it again"):
            Store(store)
        assert stores(store.parent) == [store]
        repair(store)
        assert (store / CONFIG).read_bytes() == whole
    (store / CONFIG).write_bytes(whole[:50])
    with pytest.raises(InputError, match="another run .pool: 'none' → 'max'"):
        Writer(store, {**damage.RECIPE, "pool": "max"})
    Writer(store, damage.RECIPE)  # the same extraction does it, too
    assert (store / CONFIG).read_bytes() == whole


def test_a_repair_that_nothing_can_guide_says_so(store: Path) -> None:
    (store / CONFIG).unlink()
    for part in manifest.all_parts(store):
        (part / manifest.OWNER).unlink()
    with pytest.raises(InputError, match="0 recipes are kept.*Run the same extraction again"):
        repair(store, force=True)
    with pytest.raises(InputError, match="begun on another machine and never finished"):
        repair(store)
    with pytest.raises(InputError, match="no activations at or below"):
        stores(store / "parts" / "nowhere")


def test_a_repair_leaves_a_store_alone_that_is_being_written(store: Path) -> None:
    damage.extracted(store, damage.IDS, close=False)
    shard = sorted(store.rglob("*.safetensors"))[-1]
    assert records.load(shard.parent / manifest.OWNER) is not None
    part = manifest.all_parts(store)[2]
    records.write(part / manifest.OWNER, {"host": os.uname().nodename, "pid": os.getpid(), "recipe": {}})
    (part / manifest.SEAL).unlink(missing_ok=True)
    next(part.glob("*.safetensors")).unlink()
    with pytest.raises(InputError, match="still being written by a process"):
        repair(store)


def test_a_rename_that_is_a_copy_cut_short_is_noticed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.replace

    def torn(source: Any, target: Any) -> None:
        real(source, target)
        if str(target).endswith(".safetensors"):
            os.truncate(target, 100)

    monkeypatch.setattr(os, "replace", torn)
    with pytest.raises(OSError, match="renamed, it has 100 of"):
        damage.extracted(tmp_path / "store", damage.IDS)
    monkeypatch.undo()
    assert Store(tmp_path / "store").ids == ()


def test_a_store_of_an_earlier_format_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text(json.dumps({"format": 2, "sites": ["a"]}))
    for look in (Store, damages, lambda folder: Writer(folder, damage.RECIPE)):
        with pytest.raises(InputError, match="have format 2; this version of Snellen reads format 3|another run"):
            look(tmp_path)


def test_a_killed_part_whose_tidying_was_cut_short_is_computed_anew_where_it_must_be(store: Path) -> None:
    """The rename of the tidied list of stimuli was a copy of half of it."""
    part = manifest.all_parts(store)[2]
    lines = (part / manifest.STIMULI).read_bytes().splitlines(keepends=True)
    (part / manifest.STIMULI).write_bytes(b"".join(lines[:5])[:-9])
    assert damage.extracted(store, damage.IDS) == 12  # three of the four batches; the first is known whole
    assert damage.read(store) == "whole" and damages(store) == []
    before = {path: path.stat().st_mtime_ns for path in part.iterdir()}
    (part / manifest.SEAL).unlink()
    damage.extracted(store, damage.IDS)  # tidies again, and writes nothing that is as it should be
    assert damages(store) == []
    assert {path: path.stat().st_mtime_ns for path in part.iterdir() if path.name != manifest.SEAL} == {
        path: time for path, time in before.items() if path.name != manifest.SEAL
    }


def test_a_half_written_seal_is_written_again_by_the_next_run(store: Path) -> None:
    path = manifest.all_parts(store)[1] / manifest.SEAL
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match="seal.json is not what was written"):
        Store(store).read("a")
    assert damage.extracted(store, damage.IDS[:1]) == 0 and damages(store) == []
    assert damage.read(store) == "whole"


def test_a_part_in_which_nothing_was_written_is_no_damage(store: Path) -> None:
    """Its process was killed while it said who it is, by a rename that is a copy."""
    before = list(map(str, damages(store)))
    part = store / manifest.PARTS / "00009-rank00000-0a1b2c3d"
    part.mkdir()
    (part / manifest.OWNER).write_text('{"host": "he')
    assert list(map(str, damages(store))) == before and Store(store).read("a").ids


@pytest.mark.parametrize("times", [3, 99])
def test_a_reader_looks_again_where_files_were_just_put_together(
    store: Path, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = Store._rows, iter(range(times))

    def gone(*given: Any) -> Any:
        if next(left, None) is not None:
            raise FileNotFoundError
        return real(*given)

    monkeypatch.setattr(Store, "_rows", gone)
    if times == 3:
        assert np.array_equal(Store(store).read("a").of("s20"), damage.true("a", "s20"))
    else:
        with pytest.raises(InputError, match="put together faster than they can be read.*Read again"):
            Store(store).read("a")


@pytest.mark.parametrize("kind", [OSError, SafetensorError])
def test_weights_that_cannot_be_written_are_told_in_words(kind: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Weights cannot be written to .*No space left.*Make room"), room(tmp_path):
        raise kind("No space left on device")


def test_two_processes_that_tidy_a_part_leave_each_other_s_files_alone(store: Path) -> None:
    part = manifest.all_parts(store)[2]
    (part / manifest.SEAL).unlink(missing_ok=True)
    at_work, left = (part / f".manifest.jsonl.{pid}.tmp" for pid in (os.getpid(), 2**22 + 1))
    for file in (at_work, left):
        file.write_text("half")
    damage.extracted(store, damage.IDS)
    assert at_work.exists() and not left.exists() and damage.read(store) == "whole"


@pytest.mark.parametrize(("stopped", "finished"), [(KeyboardInterrupt, False), (InputError, True), (None, True)])
def test_an_exam_goes_on_where_its_repair_was_cut_short(
    stopped: Any, finished: bool, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(folder: Path, **_: Any) -> Repaired:
        assert not (tmp_path / "results.json").exists(), "nothing is taken out of a finished exam"
        if stopped:
            raise stopped("stopped")
        return Repaired(folder, (), (), 48)

    monkeypatch.setattr("hooks.repair.repair", run)
    for name in ("results.json", "exam.json"):
        (tmp_path / name).write_text("{}")
    with suppress(KeyboardInterrupt, InputError):
        _mended(store, False, False)
    assert (tmp_path / "results.json").exists() is finished
