"""The store: whole shards, checksums, several writers, resume."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from hooks import manifest, shards, writer
from hooks.activations import Activations
from hooks.ragged import Ragged
from hooks.recipe import difference
from hooks.store import Store
from hooks.writer import Writer
from stimuli.errors import InputError

CONFIG = {"sites": ["a", "b"], "pool": "mean"}


def rows(n: int, size: int = 3) -> list[dict[str, Any]]:
    return [{"id": f"s{n}{i}", "reference": "r"} for i in range(size)]


def filled(folder: Path, batches: int = 2, close: bool = True) -> Store:
    into = Writer(folder, CONFIG)
    for n in range(batches):
        into.batch(rows(n), {site: torch.full((3, 2), float(n)) for site in "ab"})
    if close:
        into.close({"images": 3 * batches})
    return Store(folder)


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def test_what_is_written_is_read_back_in_order(tmp_path: Path) -> None:
    for close in (False, True):
        store = filled(tmp_path / str(close), close=close)
        acts = store.read("b")
        assert acts.ids == ("s00", "s01", "s02", "s10", "s11", "s12") == store.ids
        assert np.array_equal(acts.values[:, 0], [0, 0, 0, 1, 1, 1]) and store.verify() == []
        assert np.array_equal(acts.of("s11"), [1, 1]) and store.metadata("s11") == {"id": "s11", "reference": "r"}
        assert isinstance(acts.values, np.memmap) is close and len(files(store.folder)) == 2 - close
        assert acts.tensor.tolist() == acts.values.tolist()
    assert store.runs == [{"images": 6}] and store.bytes == files(store.folder)[0].stat().st_size
    with safe_open(files(store.folder)[0], "pt") as library:  # the library reads what was written
        assert torch.equal(library.get_tensor("b"), acts.tensor)
    with pytest.raises(InputError, match="'s99' is not among these 6"):
        acts.of("s99")


def test_a_site_is_mapped_not_read(tmp_path: Path) -> None:
    store = filled(tmp_path)
    acts = store.read("a")
    assert all(isinstance(part, np.memmap) and not part.flags.writeable for part in acts.parts)
    acts.tensor[0, 0] = 7  # private to this process
    assert store.verify() == [] and store.read("a").values[0, 0] == 0


def test_bfloat16_and_ragged_rows_are_kept_as_they_are(tmp_path: Path) -> None:
    into = Writer(tmp_path, {"sites": ["t"]})
    first = [torch.randn(n, 4).bfloat16() for n in (2, 5, 1)]
    second = [torch.randn(n, 4).bfloat16() for n in (3, 3, 3)]
    into.batch(rows(0), {"t": Ragged.of(first)})
    into.batch(rows(1), {"t": Ragged.of(second)})
    for _ in range(2):
        acts = Store(tmp_path).read("t")
        assert acts.offsets is not None and acts.offsets.tolist() == [0, 2, 7, 8, 11, 14, 17]
        assert acts.tensor.dtype == torch.bfloat16 and torch.equal(acts.tensor, torch.cat(first + second))
        assert acts.values.dtype == np.float32 and np.array_equal(acts.values, acts.tensor.float().numpy())
        assert np.array_equal(acts.of("s01"), first[1].float()) and np.array_equal(acts.of("s12"), second[2].float())
        into.close()  # puts the two files together


def test_small_files_are_put_together_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MANY", 4)
    into = Writer(tmp_path, CONFIG)
    for n in range(30):
        into.batch(rows(n), {site: torch.full((3, 2), float(n)) for site in "ab"})
        acts = Store(tmp_path).read("a")  # beside the thread that puts files together
        assert acts.ids == tuple(f"s{m}{i}" for m in range(n + 1) for i in range(3))
        assert np.array_equal(acts.values[:, 0], np.repeat(np.arange(n + 1), 3))
    assert len(files(tmp_path)) < 20
    into.close()
    assert len(files(tmp_path)) == 1 and Store(tmp_path).verify() == [] and len(Store(tmp_path).ids) == 90


def test_no_file_is_larger_than_it_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "BYTES", 2 * 1024**2)
    into = Writer(tmp_path, CONFIG)
    for n in range(3):  # each site alone would fill a file
        into.batch(rows(n, 8), {site: torch.full((8, 65536), float(n)) for site in "ab"})
    into.close()
    assert max(file.stat().st_size for file in files(tmp_path)) <= shards.BYTES
    assert np.array_equal(Store(tmp_path).read("b").values[:, 0], np.repeat([0, 1, 2], 8))


def test_a_half_written_manifest_line_is_left_out_and_done_again(tmp_path: Path) -> None:
    filled(tmp_path, close=False)
    (path,) = tmp_path.rglob("manifest.jsonl")
    path.write_text(path.read_text()[:-20])
    assert Writer(tmp_path, CONFIG).done == {"s00", "s01", "s02"}


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "header"])
def test_damage_is_noticed_named_and_mended(tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path, close=False)
    shard = files(tmp_path)[1]
    data = bytearray(shard.read_bytes())
    if damage == "flip":
        data[-3] ^= 8
        shard.write_bytes(data)
    elif damage == "truncate":
        shard.write_bytes(data[:-10])
    elif damage == "header":
        data[12] ^= 255
        shard.write_bytes(data)
    else:
        shard.unlink()
    store = Store(tmp_path)
    (problem,) = store.verify()
    assert "shard-00001.safetensors" in problem and "3 stimuli: 's10' … 's12'" in problem
    assert (" at b " in problem) == (damage == "flip")  # only the second tensor has suffered
    if damage == "flip":
        assert len(store.ids) == 6
    else:
        with pytest.raises(InputError, match="shard-00001.safetensors cannot be read"):
            store.read("b")
    from hooks.repair import repair

    monkeypatch.setattr(manifest.psutil, "pid_exists", lambda pid: False)
    assert len(repair(tmp_path).gone) == 3
    filled(tmp_path, 2)
    assert Store(tmp_path).verify() == [] and len(Store(tmp_path).read("b").values) == 6


def test_a_stimulus_computed_twice_counts_once(tmp_path: Path) -> None:
    one, two = Writer(tmp_path, CONFIG, 0), Writer(tmp_path, CONFIG, 1)
    one.batch(rows(0), {site: torch.zeros(3, 2) for site in "ab"})
    two.batch(rows(0)[1:] + rows(1), {site: torch.ones(5, 2) for site in "ab"})
    store = Store(tmp_path)
    assert store.ids == ("s00", "s01", "s02", "s10", "s11", "s12")
    assert store.read("a").values[:, 0].tolist() == [0, 0, 0, 1, 1, 1]


def test_what_a_killed_process_left_behind_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, close=False)
    (part,) = manifest.all_parts(tmp_path)
    (part / ".shard-00009.safetensors.tmp").write_bytes(b"half")
    (part / "shard-00007.safetensors").write_bytes(b"whole, but no line names it")
    Writer(tmp_path, CONFIG)
    assert len(list(part.iterdir())) == 7  # this process lives: whose files they are, it may go on writing
    monkeypatch.setattr(manifest.psutil, "pid_exists", lambda pid: False)
    Writer(tmp_path, CONFIG)
    assert sorted(path.name for path in files(tmp_path)) == ["shard-00000.safetensors", "shard-00001.safetensors"]
    assert not list(part.glob(".*")) and len(Store(tmp_path).ids) == 6


def test_a_full_disk_costs_the_batch_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, 1, close=False)
    into = Writer(tmp_path, CONFIG)

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards, "_stream", full)
    with pytest.raises(OSError, match="No space"):
        into.batch(rows(1), {site: torch.ones(3, 2) for site in "ab"})
    into.close()
    monkeypatch.undo()
    assert Store(tmp_path).ids == ("s00", "s01", "s02") and not list(tmp_path.rglob("*.tmp"))


def test_skipped_stimuli_are_listed_until_they_are_there(tmp_path: Path) -> None:
    filled(tmp_path)
    into = Writer(tmp_path, CONFIG)
    into.skip("bad", "no image")
    assert Store(tmp_path).skipped == [{"id": "bad", "reason": "no image"}]
    into.batch([{"id": "bad"}], {site: torch.ones(1, 2) for site in "ab"})
    assert Store(tmp_path).skipped == []


def test_another_recipe_or_format_is_refused_with_both(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(InputError, match=r"another run \(pool: 'mean' → 'max'\).*nothing was overwritten") as caught:
        Writer(tmp_path, {**CONFIG, "pool": "max"})
    assert '"pool": "mean"' in str(caught.value) and '"pool": "max"' in str(caught.value)
    with pytest.raises(InputError, match="holds no activations"):
        Store(tmp_path / "nowhere")
    with pytest.raises(InputError, match="site 'c' was not extracted"):
        Store(tmp_path).read("c")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(InputError, match=r"have format 1; this version of Snellen reads format 3.*\"pool\": \"mean\""):
        Store(tmp_path)
    assert difference({"a": 1}, {"a": 1, "b": 2}) == "b: None → 2"


def test_arrays_in_memory_serve_as_activations() -> None:
    acts = Activations(("a", "b"), np.arange(4.0).reshape(2, 2))
    assert acts.values.shape == (2, 2) and acts.of("b").tolist() == [2, 3] and acts.tensor.shape == (2, 2)
