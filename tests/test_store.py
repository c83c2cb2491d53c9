"""The store: whole shards, checksums, resume."""

from pathlib import Path

import numpy as np
import pytest

from hooks.store import Store, Writer, difference
from stimuli.errors import InputError

CONFIG = {"sites": ["a", "b"], "pool": "mean"}


def filled(folder: Path, shards: int = 2) -> Store:
    writer = Writer(folder, CONFIG)
    for n in range(shards):
        rows = [{"id": f"s{n}{i}", "reference": "r"} for i in range(3)]
        writer.shard(rows, {site: np.full((3, 2), n, np.float32) for site in "ab"})
    return Store(folder)


def test_what_is_written_is_read_back_in_order(tmp_path: Path) -> None:
    store = filled(tmp_path)
    acts = store.read("b")
    assert acts.ids == ("s00", "s01", "s02", "s10", "s11", "s12") == store.ids
    assert np.array_equal(acts.values[:, 0], [0, 0, 0, 1, 1, 1]) and store.verify() == []
    assert store.metadata("s11") == {"id": "s11", "reference": "r"}
    assert isinstance(filled(tmp_path / "one", 1).read("a").values, np.memmap)


def test_a_half_written_manifest_line_is_left_out_and_done_again(tmp_path: Path) -> None:
    filled(tmp_path)
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(manifest.read_text()[:-20])
    assert Writer(tmp_path, CONFIG).done == {"s00", "s01", "s02"}


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damage_is_noticed(tmp_path: Path, damage: str) -> None:
    store = filled(tmp_path)
    shard = tmp_path / "shard-00001.safetensors"
    data = bytearray(shard.read_bytes())
    if damage == "flip":
        data[-3] ^= 8
        shard.write_bytes(data)
    elif damage == "truncate":
        shard.write_bytes(data[:-10])
    else:
        shard.unlink()
    (problem,) = store.verify()
    assert problem.startswith("shard-00001.safetensors") and "3 stimuli" in problem
    if damage != "flip":
        with pytest.raises(InputError, match="shard-00001.safetensors cannot be read"):
            store.read("b")
        assert Writer(tmp_path, CONFIG).done == {"s00", "s01", "s02"} or damage == "truncate"


def test_another_run_is_refused_with_the_difference(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(InputError, match=r"another run \(pool: 'mean' → 'max'\).*nothing was overwritten"):
        Writer(tmp_path, {**CONFIG, "pool": "max"})
    with pytest.raises(InputError, match="holds no activations"):
        Store(tmp_path / "nowhere")
    with pytest.raises(InputError, match="site 'c' was not extracted"):
        Store(tmp_path).read("c")
    assert difference({"a": 1}, {"a": 1, "b": 2}) == "b: None → 2"
