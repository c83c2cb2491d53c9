"""Stores, features and saved results from anyone: lines with right checksums and wrong contents, arrays of objects, headers that lie."""

from __future__ import annotations

import base64
import json
import pickle
import random
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability.hostile_models import Running
from benchmarks.reliability.mutate import mutated
from benchmarks.reliability.watch import Case, Parser, command

Change = Callable[[Path], Any]
CONFIG = {"format": 3, "sites": ["a", "b"], "pool": "mean", "model": {"name": "m"}}


@cache
def good() -> Path:
    """A store of two sites and eight stimuli."""
    import torch

    from hooks.writer import Writer

    folder = Path(tempfile.mkdtemp(prefix="hostile-store-")) / "store"
    into = Writer(folder, {key: value for key, value in CONFIG.items() if key != "format"})
    for n in range(2):
        rows = [{"id": f"s{n}{i}", "reference": f"r{i}", "type": "jpeg", "level": 3} for i in range(4)]
        into.batch(rows, {site: torch.full((4, 2), float(n)) for site in "ab"})
    into.close({"images": 8})
    return folder


prepare = good


def cases(count: int, seed: int = 0) -> Iterator[Case]:
    """By hand, and so many that were good."""
    for name, alter in _lines().items():
        yield Case("stores", f"line: {name}", _store(lambda folder, alter=alter: _rewritten(folder, alter)), _opened)
    for name, change in _folders().items():
        yield Case("stores", name, _store(change), _opened)
    for name, content in _features().items():
        yield Case("features", name, _file(name, content), _read_features)
    for name, content in _results().items():
        yield Case("results", name, _file("a.json", json.dumps({"snellen": 1, "result": content}).encode()), _loaded)
    rng = random.Random(seed)
    files = [path.relative_to(good()) for path in sorted(good().rglob("*")) if path.is_file()]
    made = {"x.npy": _npy(np.ones((8, 2), np.float32)), "x.safetensors": _tensors(), "stimuli.csv": feature_rows()}
    saved = json.dumps({"snellen": 1, "result": _results()["as it was"]}).encode()
    for i in range(count):
        if i % 3 == 0:
            name, content = files[i % len(files)], mutated((good() / files[i % len(files)]).read_bytes(), rng)
            yield Case("stores", f"{i}-{name}", _store(lambda folder, n=name, c=content: (folder / n).write_bytes(c)), _opened)
        elif i % 3 == 1:
            kind = sorted(made)[i % len(made)]
            yield Case("features", f"{i}-{kind}", _file(kind, mutated(made[kind], rng)), _read_features)
        else:
            yield Case("results", f"{i}", _file("a.json", mutated(saved, rng)), _loaded)


def parsers() -> dict[str, Parser]:
    """What reads features, manifests and saved results, each with the name of its file and good ones."""
    lines = [path.read_bytes() for path in sorted(good().rglob("manifest.jsonl"))]
    return {
        "npy": ("x.npy", [_npy(np.ones((8, 2), np.float32))], _read_features), "safetensors": ("x.safetensors", [_tensors()], _read_features),
        "manifest": ("manifest.jsonl", lines, _lines_read),
        "result": ("a.json", [json.dumps({"snellen": 1, "result": _results()["as it was"]}).encode()], _loaded),
    }  # fmt: skip


def _lines_read(path: Path, out: Path) -> None:
    """A manifest in the place of a store's own."""
    from hooks.store import Store

    folder = out.parent / "store"
    if not folder.exists():
        shutil.copytree(good(), folder)
    shutil.copy(path, next(folder.rglob("manifest.jsonl")))
    store = Store(folder)
    for site in store.sites:
        np.asarray(store.read(site).values)


def _store(change: Change) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        made = folder / "store"
        shutil.copytree(good(), made)
        change(made)
        return made

    return write


def _file(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "stimuli.csv").write_bytes(feature_rows())
        path = folder / (name if "." in name else f"{name}.npy")
        path = folder / path.name.rpartition(": ")[2]
        path.write_bytes(content)
        return path if path.suffix != ".csv" else folder

    return write


def _opened(folder: Path, out: Path) -> None:
    """Everything that is done with a store: looked over, read, exported, joined."""
    from hooks.store import Store

    command("verify", folder)
    store = Store(folder)
    for site in store.sites:
        np.asarray(store.read(site).values)
    [store.metadata(id) for id in store.ids]
    command("export", folder, "--to", out / "arrays")
    command("merge", folder, "--out", out / "joined")


def _read_features(path: Path, out: Path) -> None:
    from hooks.foreign import read_features

    folder = path if path.is_dir() else path.parent
    found = read_features(path, folder / "stimuli.csv")
    for site in found.sites:
        np.asarray(found.read(site).values)


def _loaded(path: Path, out: Path) -> None:
    from stimuli.result_files import load_result

    load_result(path)


# ---- stores ----------------------------------------------------------------------------------------------------------


def _rewritten(folder: Path, alter: Callable[[dict[str, Any]], Any]) -> None:
    """Every line of the manifests altered, with a checksum that holds."""
    from hooks import manifest, records

    for path in folder.rglob("manifest.jsonl"):
        rows = records.read(path)
        for row in rows:
            if "ids" in row:
                alter(row)
        records.rewrite(path, rows)
        manifest.seal(path.parent)


def _each(row: dict[str, Any], **changed: Any) -> None:
    for entry in row["tensors"].values():
        entry.update(changed)


def _lines() -> dict[str, Callable[[dict[str, Any]], Any]]:
    return {
        "as it was": lambda row: None,
        "file that leaves": lambda row: _each(row, file="../../../../../../etc/passwd"),
        "absolute file": lambda row: _each(row, file="/etc/passwd"),
        "files that leave": lambda row: row.update(files={"../../../outside.safetensors": 3}),
        "files: a list": lambda row: row.update(files=[1]),
        "files: none": lambda row: row.update(files={}),
        "ids: a number": lambda row: row.update(ids=5),
        "ids: numbers": lambda row: row.update(ids=[1, 2, 3, 4]),
        "ids: too many": lambda row: row.update(ids=[f"x{i}" for i in range(9)]),
        "ids: twice": lambda row: row.update(ids=["same"] * 4),
        "tensors: none": lambda row: row.update(tensors={}),
        "tensors: text": lambda row: row.update(tensors="x"),
        "shape: giant": lambda row: _each(row, shape=[10**9, 10**9]),
        "shape: negative": lambda row: _each(row, shape=[-4, 2]),
        "shape: words": lambda row: _each(row, shape=["a", "b"]),
        "dtype: object": lambda row: _each(row, dtype="O"),
        "checksum: text": lambda row: _each(row, crc32="x"),
        "replaces itself": lambda row: row.update(replaces=list(row["files"])),
        "replaces: a number": lambda row: row.update(replaces=7),
    }


def _config(**changed: Any) -> Change:
    def change(folder: Path) -> None:
        from hooks import records

        found = records.load(folder / "config.json") or {}
        records.write(folder / "config.json", {**found, **changed})

    return change


def _shard(content: bytes) -> Change:
    return lambda folder: [path.write_bytes(content) for path in folder.rglob("*.safetensors")]


def _linked(folder: Path) -> None:
    for path in folder.rglob("*.safetensors"):
        path.unlink()
        path.symlink_to("/etc/passwd")


def _folders() -> dict[str, Change]:
    return {
        "config: sites that leave": _config(sites=["../../escaped", "/tmp/escaped"]),
        "config: sites a number": _config(sites=3),
        "config: sites none": _config(sites=None),
        "config: a list": lambda folder: (folder / "config.json").write_text("[1]"),
        "config: deep": lambda folder: (folder / "config.json").write_text('{"sites":' + "[" * 100_000),
        "config: not JSON": lambda folder: (folder / "config.json").write_bytes(b"\xff\0"),
        "shard: link out": _linked,
        "shard: header of 2^63": _shard(struct.pack("<Q", 2**63)),
        "shard: deep header": _shard(struct.pack("<Q", 200_000) + b"[" * 200_000),
        "shard: pickle": _shard(pickle.dumps(Running())),
        "part: link out": lambda folder: (folder / "parts" / "00009-x").symlink_to("/etc"),
        "part: odd name": lambda folder: (folder / "parts" / "notanumber").mkdir(),
    }


# ---- features and results --------------------------------------------------------------------------------------------


def _npy(value: np.ndarray) -> bytes:
    kept = BytesIO()
    np.save(kept, value, allow_pickle=True)
    return kept.getvalue()


def _header(about: str) -> bytes:
    text = about.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n" + bytes(64)


def _tensors(**changed: Any) -> bytes:
    about = {"x": {"dtype": "F32", "shape": [8, 2], "data_offsets": [0, 64], **changed}}
    text = json.dumps(about).encode()
    return struct.pack("<Q", len(text)) + text + bytes(64)


def feature_rows() -> bytes:
    """Of eight features, what each is of."""
    return b"id,reference,type\n" + b"".join(b"s%d,r%d,jpeg\n" % (i, i % 4) for i in range(8))


def _features() -> dict[str, bytes]:
    return {
        "as it was": _npy(np.ones((8, 2), np.float32)),
        "objects": _npy(np.array([[Running()] * 2] * 8, object)),
        "pickle": pickle.dumps(Running()),
        "empty": b"",
        "header runs": _header("{'descr': __import__('os').system('x'), 'fortran_order': False, 'shape': (8, 2)}"),
        "header deep": _header("(" * 60_000),
        "header giant": _header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000000)}"),
        "header negative": _header("{'descr': '<f4', 'fortran_order': False, 'shape': (-8, 2)}"),
        "header of records": _header("{'descr': [('a', '<f4'), ('b', 'O')], 'fortran_order': False, 'shape': (8,)}"),
        "header wide": _header("{'descr': '<U1000000000', 'fortran_order': False, 'shape': (8, 2)}"),
        "giant: x.safetensors": _tensors(shape=[10**12, 10**12]),
        "negative: x.safetensors": _tensors(shape=[-8, 2]),
        "beyond: x.safetensors": _tensors(data_offsets=[0, 10**12]),
        "odd: x.safetensors": _tensors(dtype="O"),
        "deep: x.safetensors": struct.pack("<Q", 90_000) + b"[" * 90_000,
        "sites: sites.json": json.dumps({"sites": [{"site": "a", "file": "../../etc/passwd"}]}).encode(),
    }


def _kind(kind: str, **more: Any) -> dict[str, Any]:
    return {"~": kind, **more}


def _results() -> dict[str, Any]:
    data = base64.b64encode(np.arange(6.0).tobytes()).decode()
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    return {
        "as it was": {"table": [{"a": 1}], "p": _kind("array", dtype="<f8", shape=[2, 3], data=data), "n": _kind("float", **{"is": "nan"}),
                      "r": _kind("result", module="hooks.shards", **{"class": "Part"}, fields={"dtype": "F32", "shape": [1], "chunks": []})},
        "objects": _kind("array", dtype="O", shape=[1], data=data),
        "giant array": _kind("array", dtype="<f8", shape=[10**15], data=data),
        "wide words": _kind("words", shape=[20_001], data=["x" * 1_000_000, *["y"] * 20_000]),
        "system": _kind("result", module="os", **{"class": "system"}, fields={"command": "x"}),
        "subprocess": _kind("result", module="subprocess", **{"class": "Popen"}, fields={"args": "x"}),
        "main": _kind("result", module="snellen.__main__", **{"class": "app"}, fields={}),
        "function": _kind("result", module="stimuli.tables", **{"class": "write_text"}, fields={"text": "x", "path": "../escaped"}),
        "no class": _kind("result", module="stimuli.images", **{"class": "Path"}, fields={}),
        "store": _kind("result", module="hooks.manifest", **{"class": "Line"}, fields={"part": 1, "ids": 2, "files": 3, "tensors": 4}),
        "other kind": _kind("nothing"),
        "unhashable": _kind("set", items=[[1]]),
        "deep": deep,
    }  # fmt: skip
