"""MATLAB files: what SciPy writes is read as SciPy reads it; what is damaged is refused, whatever the damage."""

import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from benchmarks.reliability.mutate import mutated
from stimuli.readers.matlab import LARGEST, read_mat

CELLS = np.empty((2, 2), object)
CELLS[:] = [["one.bmp", "two.bmp"], ["three.bmp", "ünï.bmp"]]
CONTENT: dict[str, Any] = {
    "d": np.arange(6.0).reshape(2, 3) / 7, "i": np.array([[-3, 4]], np.int16), "b": np.array([[True, False]]), "s": np.array([[2.5]]),
    "one": "a text", "rows": np.array(["ab", "cd"]), "names": CELLS, "nothing": np.empty((0, 3)),
}  # fmt: skip


def written(folder: Path, content: dict[str, Any], **how: Any) -> Path:
    savemat(folder / "a.mat", content, **how)
    return folder / "a.mat"


@pytest.mark.parametrize("compressed", [False, True])
def test_what_scipy_reads_is_read(compressed: bool, tmp_path: Path) -> None:
    path = written(tmp_path, CONTENT, do_compression=compressed)
    found, theirs = read_mat(path), loadmat(path)
    for name in ("d", "i", "b", "s", "nothing"):
        assert np.array_equal(found[name], theirs[name]) and found[name].shape == theirs[name].shape
    assert found["one"] == "a text" == theirs["one"].item() and found["rows"] == ["ab", "cd"] == theirs["rows"].tolist()
    assert found["names"] == ["one.bmp", "three.bmp", "two.bmp", "ünï.bmp"]
    assert [cell.item() for cell in theirs["names"].ravel(order="F")] == found["names"]


def test_other_kinds_are_there_without_a_value(tmp_path: Path) -> None:
    path = written(tmp_path, {"complex": np.array([[1j]]), "structure": {"a": 1.0}, "d": np.ones((1, 2))})
    assert {name: value is None for name, value in read_mat(path).items()} == {"complex": True, "structure": True, "d": False}


def test_the_other_order_of_bytes(tmp_path: Path) -> None:
    """Made by hand, as the format says: SciPy writes the machine's own."""

    def element(kind: int, data: bytes) -> bytes:
        return struct.pack(">II", kind, len(data)) + data + b"\0" * (-len(data) % 8)

    inner = (
        element(6, struct.pack(">II", 6, 0))
        + element(5, struct.pack(">ii", 1, 2))
        + element(1, b"d")
        + element(9, struct.pack(">dd", 0.5, 2))
    )
    (tmp_path / "a.mat").write_bytes(b"MATLAB".ljust(124) + b"\x01\x00MI" + element(14, inner))
    assert read_mat(tmp_path / "a.mat")["d"].tolist() == [[0.5, 2.0]] == loadmat(tmp_path / "a.mat")["d"].tolist()


def test_what_is_none_is_refused_in_words(tmp_path: Path) -> None:
    path, whole = tmp_path / "b.mat", written(tmp_path, CONTENT).read_bytes()
    bomb = zlib.compress(bytes(LARGEST + 9))
    for content, words in (
        (b"", "no header"), (b"MATLAB 7.3 MAT-file".ljust(512, b"\0"), "no header"), (whole[:131], "ends within a tag"),
        (whole[:300], "longer than what is left"), (whole[:128] + struct.pack("<II", 9, 8) + bytes(8), "type 9 stands"),
        (whole[:128] + struct.pack("<II", 15, 4) + b"nope", "compressed data are damaged"),
        (whole[:128] + struct.pack("<II", 15, len(bomb)) + bomb, "become more than"),
    ):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(ValueError, match=words):
            read_mat(path)


def test_nothing_but_a_refusal_comes_of_damage(tmp_path: Path) -> None:
    """SciPy's own reader ends the process at some of such files."""
    rng, path = random.Random(0), tmp_path / "b.mat"
    outcomes = []
    for compressed in (False, True):
        into = io.BytesIO()
        savemat(into, CONTENT, do_compression=compressed)
        for _ in range(1500):
            path.write_bytes(mutated(into.getvalue(), rng))
            try:
                read_mat(path)
                outcomes.append("read")
            except ValueError:
                outcomes.append("refused")
    assert min(outcomes.count("read"), outcomes.count("refused")) > 100
