"""Tables and files written whole."""

import json
from pathlib import Path

import numpy as np

from stimuli.tables import write_csv, write_json


def test_csv_has_the_union_of_columns(tmp_path: Path) -> None:
    path = write_csv([{"a": 1}, {"a": np.float32(0.5), "b": "x"}], tmp_path / "deep" / "t.csv")
    assert path.read_text() == "a,b\n1,\n0.5,x\n"
    assert [p.name for p in path.parent.iterdir()] == ["t.csv"]


def test_json_knows_numpy_and_turns_nan_into_null(tmp_path: Path) -> None:
    value = {"a": np.arange(2), "b": float("nan"), "c": (np.float64("inf"), Path("x")), 3: np.bool_(True)}
    assert json.loads(write_json(value, tmp_path / "t.json").read_text()) == {
        "a": [0, 1],
        "b": None,
        "c": [None, "x"],
        "3": True,
    }
