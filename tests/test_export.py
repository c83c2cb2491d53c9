"""Exported activations are plain arrays that NumPy and safetensors read, and come back as they were."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import hooks.export
from hooks import shards
from hooks.export import export
from hooks.foreign import read_features
from hooks.ragged import Ragged
from hooks.store import Store
from hooks.writer import Writer
from stimuli.errors import InputError
from stimuli.types import Stimulus
from tests.test_cli import here, refused

SITES = ("vision.0", "llm.10@what", "odd/name", "odd:name", "tokens")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two batches: float32, bfloat16, float16, names that are no file names, and several rows per stimulus."""
    out = tmp_path_factory.mktemp("store")
    into = Writer(out, {"sites": list(SITES), "pool": "mean", "model": {"name": "small"}, "dead_ends": ["odd:name"]})
    draw = torch.Generator().manual_seed(0)
    for batch in range(2):
        shown = [
            Stimulus(f"s{batch}{i}", f"r{i}", "jpeg" if i else None, i or None, psnr=30.5, attributes={"shape": "disc"})
            for i in range(3)
        ]
        rows = torch.randn(3, 4, generator=draw)
        tokens = [torch.randn(k + batch, 2, generator=draw) for k in range(3)]
        values = {
            "vision.0": rows,
            "llm.10@what": rows.bfloat16(),
            "odd/name": rows.half(),
            "odd:name": -rows,
            "tokens": Ragged.of(tokens),
        }
        into.batch([one.metadata() for one in shown], values)
    into.close({})
    return Store(out)


@pytest.mark.parametrize("format", ["npy", "safetensors"])
def test_the_round_trip_is_equal(format: str, store: Store, tmp_path: Path) -> None:
    done = export(store, tmp_path / "out", format)  # type: ignore[arg-type]
    found = read_features(tmp_path / "out")
    assert (done.stimuli, done.sites) == (6, SITES) and found.sites == SITES and found.ids == store.ids
    assert found.dead_ends == ("odd:name",) and found.config["model"] == {"name": "small"} and found.config["pool"] == "mean"
    for site in SITES:
        mine, theirs = store.read(site), found.read(site)
        assert np.array_equal(mine.values, theirs.values) and theirs.values.dtype == mine.values.dtype
        assert (mine.offsets is None) == (theirs.offsets is None)
        assert all(np.array_equal(mine.of(id), theirs.of(id)) for id in store.ids)
    assert [found.metadata(id) for id in found.ids] == [store.metadata(id) for id in store.ids]
    again = export(found, tmp_path / "again", format)  # type: ignore[arg-type]
    assert again.bytes == done.bytes and np.array_equal(
        read_features(tmp_path / "again").read("tokens").values, store.read("tokens").values
    )


def test_other_libraries_read_it(store: Store, tmp_path: Path) -> None:
    export(store, tmp_path / "n")
    values = np.load(tmp_path / "n" / "vision.0.npy", allow_pickle=False)
    assert np.array_equal(values, store.read("vision.0").values) and values.flags.c_contiguous
    with open(tmp_path / "n" / "stimuli.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["id"] for row in rows] == list(store.ids) and [row["distortion"] for row in rows[:3]] == ["", "jpeg", "jpeg"]
    about = json.loads((tmp_path / "n" / "sites.json").read_text())
    assert [entry["width"] for entry in about["sites"]] == [4, 4, 4, 4, 2]
    assert [entry["file"] for entry in about["sites"]][2:4] == ["odd_name.npy", "odd_name-2.npy"]
    export(store, tmp_path / "s", "safetensors", sites=["vision.0", "llm.10@what"])
    tensors = load_file(tmp_path / "s" / "activations.safetensors")
    assert tensors["llm.10@what"].dtype == torch.bfloat16 and torch.equal(
        tensors["llm.10@what"], store.read("llm.10@what").tensor
    )


def test_rows_are_streamed(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces of two rows, and no piece is larger."""
    seen: list[int] = []
    pieces = hooks.export._chunks

    def counted(*given: object) -> object:
        for piece in pieces(*given):  # type: ignore[arg-type]
            seen.append(piece.nbytes)
            yield piece

    monkeypatch.setattr(shards, "CHUNK", 32)
    monkeypatch.setattr(hooks.export, "_chunks", counted)
    export(store, tmp_path / "out", sites=["vision.0"])
    assert seen == [32, 16, 32, 16] or max(seen) == 32 and sum(seen) == 96
    assert np.array_equal(read_features(tmp_path / "out").read("vision.0").values, store.read("vision.0").values)


def test_nothing_is_overwritten_and_nothing_half_done_is_left(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    export(store, tmp_path / "out", sites=["vision.0"])
    with pytest.raises(InputError, match="out is not empty. Expected a new folder, since nothing is overwritten"):
        export(store, tmp_path / "out")
    monkeypatch.setattr(hooks.export, "write_csv", lambda *_: (_ for _ in ()).throw(OSError("No space left")))
    with pytest.raises(OSError, match="No space left"):
        export(store, tmp_path / "full")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_cannot_be_exported_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Unknown format 'mat'. Expected one of npy, safetensors"):
        export(store, tmp_path / "out", "mat")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'vision.9' was not extracted"):
        export(store, tmp_path / "out", sites=["vision.9"])


@pytest.mark.parametrize("bounds", [[0, 1, 2, 4, 5, 7, 8], [0, 2, 1, 3, 5, 7, 9], [1, 1, 2, 3, 4, 7, 9]])
def test_bounds_that_divide_nothing_are_refused(bounds: list[int], store: Store, tmp_path: Path) -> None:
    export(store, tmp_path / "out", sites=["tokens"])
    assert np.load(tmp_path / "out" / "tokens#offsets.npy").tolist() == [0, 0, 1, 3, 4, 6, 9]
    np.save(tmp_path / "out" / "tokens#offsets.npy", np.array(bounds))
    with pytest.raises(
        InputError, match="does not divide the 9 rows of its site among 6 stimuli. Expected rising numbers from 0 to 9"
    ):
        read_features(tmp_path / "out")


def test_on_the_command_line(store: Store, tmp_path: Path) -> None:
    shown = here("export", store.folder, "--to", tmp_path / "out", "--format", "safetensors", "--sites", "vision.0")
    assert "6 stimuli, 1 sites" in shown and (tmp_path / "out" / "activations.safetensors").is_file()
    assert "is not empty" in refused("export", store.folder, "--to", tmp_path / "out")
