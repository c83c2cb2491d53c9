"""Compacting and merging stores: the same rows, fewer files, nothing lost half-way."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from hooks import compact as module
from hooks import manifest, shards
from hooks.compact import compact, merge
from hooks.ragged import Ragged
from hooks.store import Store
from hooks.writer import Writer
from stimuli.errors import InputError

CONFIG = {"sites": ["a", "t"]}


def fill(folder: Path, start: int, batches: int, rank: int = 0, overlap: int = 0) -> None:
    into = Writer(folder, CONFIG, rank)
    for n in range(start, start + batches):
        ids = [f"s{i:03d}" for i in range(4 * n - (overlap if n == start else 0), 4 * n + 4)]
        own = [int(id[1:]) for id in ids]
        into.batch(
            [{"id": id} for id in ids],
            {
                "a": torch.tensor(own).float()[:, None],
                "t": Ragged.of([torch.full((1 + i % 3, 2), float(i)).bfloat16() for i in own]),
            },
        )
    into.skip(f"bad{start}", "no image")
    into.close({"images": 4 * batches, "started": str(start)})


def check(store: Store, count: int) -> None:
    assert sorted(store.ids) == [f"s{i:03d}" for i in range(count)] and store.verify() == []
    rows, tokens = store.read("a"), store.read("t")
    assert tokens.tensor.dtype == torch.bfloat16
    for i in range(count):
        assert rows.of(f"s{i:03d}").tolist() == [i]
        assert np.array_equal(tokens.of(f"s{i:03d}"), np.full((1 + i % 3, 2), i))


def test_compacting_keeps_every_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, 0, 3)
    fill(tmp_path, 3, 3, 1, overlap=2)  # two stimuli a second time
    store = compact(tmp_path, progress=False)
    check(store, 24)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1 and isinstance(store.read("a").values, np.memmap)
    assert [run["started"] for run in store.runs] == ["0", "3"]
    assert [row["id"] for row in store.skipped] == ["bad0", "bad3"] and store.metadata("s007") == {"id": "s007"}
    check(compact(tmp_path, progress=False), 24)
    Writer(tmp_path, CONFIG).close()  # can be gone on with


def test_compacting_killed_half_way_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, 0, 2)
    fill(tmp_path, 2, 2)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for place in ("gathered", "os.replace", "shutil.rmtree"):
        holder, _, name = place.rpartition(".")
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(getattr(module, holder) if holder else module, name, killed)
            compact(tmp_path, progress=False)
        check(Store(tmp_path), 16)
    check(compact(tmp_path, progress=False), 16)
    assert len(manifest.all_parts(tmp_path)) == 1 and not list((tmp_path / "parts").glob(".*"))


def test_large_sites_take_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "BYTES", 1024**2 + 128)
    for n in range(12):
        fill(tmp_path, n, 1)
    store = compact(tmp_path, progress=False)
    check(store, 48)
    assert len(list(tmp_path.rglob("*.safetensors"))) > 2


def test_a_store_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    into = Writer(tmp_path, CONFIG)
    into.batch([{"id": "s000"}], {"a": torch.zeros(1, 1), "t": Ragged.of([torch.zeros(1, 2)])})
    with pytest.raises(InputError, match="still being written.*wait for the extraction"):
        compact(tmp_path, progress=False)
    (part,) = manifest.all_parts(tmp_path)
    (part / "owner.json").write_text('{"host": "elsewhere", "pid": 1}')
    with pytest.raises(InputError, match="begun on another machine and never finished.*--force"):
        compact(tmp_path, progress=False)
    assert compact(tmp_path, force=True, progress=False).ids == ("s000",)


def test_stores_of_one_recipe_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "one", 0, 2)
    fill(tmp_path / "two", 2, 2, overlap=1)
    check(merge([tmp_path / "one", tmp_path / "two"], tmp_path / "all"), 16)

    def refused(*_: object) -> None:
        raise OSError

    fill(tmp_path / "three", 4, 1)
    monkeypatch.setattr(os, "link", refused)  # a file system without links: files are copied
    check(merge([tmp_path / "three"], tmp_path / "all"), 20)
    check(compact(tmp_path / "all", progress=False), 20)
    Writer(tmp_path / "other", {"sites": ["b"]}).close()
    with pytest.raises(InputError, match=r"(?s)another run \(sites: .*Recipe there"):
        merge([tmp_path / "one", tmp_path / "other"], tmp_path / "x")
    with pytest.raises(InputError, match="as source and as --out"):
        merge([tmp_path / "one"], tmp_path / "one")
    with pytest.raises(InputError, match="no folders to merge"):
        merge([], tmp_path / "x")
