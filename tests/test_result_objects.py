import ast
import base64
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import snellen as sn
from analysis.blind import Blind
from analysis.figures.of_results import FIGURES
from analysis.knockout import Knockout
from probes.sample_size import SampleSizeResult
from stimuli.errors import InputError
from stimuli.result_files import dumps, loads
from stimuli.results import SHOWN, Result

ROOT = Path(__file__).parents[1]
NOT_SHOWN = {"TunedLens", "Entrance", "Changed"}
"""What has a table and is no result by itself: a lens that is saved as a folder, a part of the exam, a part of Agreement."""


def knockout(**changed: object) -> Knockout:
    row = {"edge": "image → last", "layers": "0-1", "first": 0, "last": 1, "change": -0.25, "p_holm": None}
    given = {
        "table": [row, {**row, "change": float("nan")}],
        "window": 2,
        "p": np.arange(6.0).reshape(2, 3),
        "ids": ("a", "b", "c"),
    }
    return Knockout(**{**given, **changed})  # type: ignore[arg-type]


def test_rows_are_copies() -> None:
    result = knockout()
    records = result.to_records()
    records[0]["edge"] = "changed"
    assert result.table[0]["edge"] == "image → last" and len(records) == 2


def test_a_frame_is_made_by_pandas_of_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = SimpleNamespace(DataFrame=SimpleNamespace(from_records=lambda records: ("frame", records)))
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    kind, records = knockout().to_frame()
    assert kind == "frame" and [row["edge"] for row in records] == ["image → last"] * 2


def test_without_pandas_the_error_names_what_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"to_frame needs pandas.*pip install pandas.*to_records\(\)"):
        knockout().to_frame()


def test_printed_it_is_a_heading_and_its_first_rows() -> None:
    text = repr(knockout(table=[{"edge": f"e{i}", "change": i / 7} for i in range(SHOWN + 3)]))
    lines = text.splitlines()
    assert lines[0] == f"Knockout: {SHOWN + 3} rows, window 2"
    assert lines[1].split() == ["edge", "change"] and lines[3].split() == ["e1", "0.143"]
    assert lines[-1].startswith("… and 3 more") and len(lines) == SHOWN + 3


def test_in_a_notebook_it_escapes_what_it_shows() -> None:
    html = Blind("<script>alert(1)</script>", 0.5, [{"control": "<b>grey</b>", "accuracy": 0.5}])._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html and "<b>grey</b>" not in html


def test_a_result_without_rows_shows_itself() -> None:
    assert repr(knockout(table=[])) == "Knockout: 0 rows, window 2"
    assert "<table>" in knockout(table=[])._repr_html_()


def test_saved_and_loaded_everything_is_the_same(tmp_path: Path) -> None:
    result = knockout(p=np.array([[1.5, np.nan], [np.inf, -1]], np.float32))
    path = result.save(tmp_path / "k.json")
    again = Knockout.load(path)
    assert np.isnan(again.table[1]["change"]) and again.table[0] == result.table[0]
    assert again.ids == ("a", "b", "c") and again.p.dtype == np.float32
    np.testing.assert_array_equal(again.p, result.p)
    assert repr(sn.load_result(path)) == repr(result)


@pytest.mark.parametrize(
    "value",
    [
        {("a", 1): 2.0}, {"~": "tuple"}, frozenset({"b", "a"}), np.array(["x", "äö"]), np.array([], np.int64), np.float32(0.5), [1, (2, [None])],
        np.array([True, False]),
    ],
)  # fmt: skip
def test_values_of_all_kinds_come_back(value: object) -> None:
    again = loads(dumps(SampleSizeResult("t", [], [{"value": value}]))).last[0]["value"]
    if isinstance(value, np.ndarray):
        assert again.dtype == value.dtype
        np.testing.assert_array_equal(again, value)
    else:
        assert again == value


@pytest.mark.parametrize("value", [object(), np.array([object()]), lambda: 0, 1j])
def test_what_cannot_be_saved_is_refused_by_its_kind(value: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be saved"):
        SampleSizeResult("t", [], [{"value": value}]).save(tmp_path / "x.json")
    assert not list(tmp_path.iterdir())


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ends in .json"):
        knockout().save(tmp_path / "x.pkl")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"), ("subprocess", "Popen"), ("snellen.__main__", "main"), ("probes.sweep", "sweep"), ("probes.sweep", "np"),
        ("probes..sweep", "SweepResult"), ("analysis.nowhere", "Result"), ("pathlib", "Path"), (3, "x"), ("collections", "Counter"),
        ("probes.sweep", "Result"),
    ],
)  # fmt: skip
def test_a_file_can_name_nothing_but_our_results(module: object, name: str) -> None:
    text = json.dumps({"snellen": 1, "result": {"~": "result", "module": module, "class": name, "fields": {}}})
    with pytest.raises(InputError, match="no result of this version"):
        loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{", "null",
        '{"snellen": 1}', '{"snellen": 1, "result": {"~": "what"}}', '{"snellen": 1, "result": {"~": "float", "is": "1e9"}}',
        '{"snellen": 1, "result": {"~": "result", "module": "analysis.knockout", "class": "Knockout", "fields": {"window": 2}}}',
        json.dumps({"snellen": 1, "result": {"~": "array", "dtype": "|O", "shape": [1], "data": "AAAAAAAAAAA="}}),
        json.dumps({"snellen": 1, "result": {"~": "array", "dtype": "<f8", "shape": [9], "data": base64.b64encode(b"12345678").decode()}}),
        json.dumps({"snellen": 1, "result": {"~": "array", "dtype": "<f8", "shape": [1], "data": "!!"}}),
        json.dumps({"snellen": 1, "result": {"~": "array", "dtype": ",f8", "shape": [0], "data": ""}}),  # numpy raises a SyntaxError
        json.dumps({"snellen": 1, "result": {"~": "array", "dtype": ["f8"], "shape": [0], "data": ""}}),
        "[" * 100_000,
    ],
)  # fmt: skip
def test_a_damaged_file_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(InputError, match="r.json"):
        sn.load_result(tmp_path / "r.json")


def test_another_format_and_no_file_and_another_kind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="format 2"):
        loads('{"snellen": 2, "result": null}')
    with pytest.raises(InputError, match="Cannot read a result"):
        sn.load_result(tmp_path / "none.json")
    path = knockout().save(tmp_path / "k.json")
    with pytest.raises(InputError, match="holds a Knockout. Expected a Blind"):
        Blind.load(path)


def test_without_a_figure_of_its_kind_the_error_says_what_has_one() -> None:
    with pytest.raises(InputError, match="no figure of a Blind alone.*SweepResult"):
        Blind("p", 0.5, []).plot()
    assert "<img" not in Blind("p", 0.5, [{"control": "grey"}])._repr_html_()


def test_every_result_with_a_table_is_one_and_prints_itself() -> None:
    wrong, found = [], set()
    for file in (file for room in ("stimuli", "hooks", "probes", "tuning", "analysis") for file in (ROOT / room).rglob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and node.name not in NOT_SHOWN and _has_table(node):
                found.add(node.name)
                bases = {ast.unparse(base) for base in node.bases}
                if "Result" not in bases or not any("repr=False" in ast.unparse(one) for one in node.decorator_list):
                    wrong.append(f"{file.name}: {node.name}")
    assert not wrong and len(found) > 30
    assert all(one.__repr__ is Result.__repr__ for one in (Blind, Knockout, SampleSizeResult))
    assert set(FIGURES) <= found


def _has_table(node: ast.ClassDef) -> bool:
    fields = {one.target.id for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)}
    return "table" in fields and node.name != "Result"
