"""Lists, scores and workbooks from anyone: cells that never end, code, depth, bombs and ids that are paths."""

import io
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.reliability.hostile_tables import list_of, workbook
from snellen.compared import _answered
from stimuli import disk, sets
from stimuli.errors import LONGEST, InputError
from stimuli.readers import labels
from stimuli.readers.csiq import COLUMNS
from stimuli.readers.kadid import COLUMNS as KADID
from stimuli.readers.labels import read_csv, read_xlsx
from stimuli.types import Stimulus, StimulusSet


def listed(folder: Path, content: bytes) -> StimulusSet:
    Image.new("RGB", (4, 4)).save(folder / "a.png")
    (folder / "a.csv").write_bytes(content)
    return sets.from_csv(folder / "a.csv")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"attributes": "[" * 100_000}, "line 2: attributes is .*Expected a JSON object"),
        ({"measured": '{"a":' * 20_000}, "line 2: measured is .*Expected a JSON object"),
        ({"measured": '{"a": %s}' % ("9" * 400)}, "line 2: measured is .*Expected a JSON object"),
        ({"parts": "-" * 9000 + "1"}, "line 2: parts is .*Expected a list such as"),
        ({"parts": "[['jpeg', 1e999]]"}, "line 2: parts is .*Expected a list such as"),
        ({"parts": "__import__('os').mkdir('ran')"}, "line 2: parts is .*Expected a list such as"),
        ({"level": "1e999"}, "line 2: level is '1e999'. Expected a whole number"),
        ({"level": "9" * 5000}, "line 2: level is '9{200}'. Expected"),
        ({"mos": '=HYPERLINK("http://x")'}, "line 2: mos is '=HYPERLINK"),
        ({"id": "x" * 200_000}, "a.csv, line .: field larger than field limit .*Look for a quote that is never closed"),
    ],
)
def test_cells_that_are_no_values_are_refused_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words) as refused:
        listed(tmp_path, list_of(**changed))
    assert len(str(refused.value)) <= LONGEST and not (tmp_path / "ran").exists()


def test_a_quote_that_is_never_closed_is_refused_by_every_reader(tmp_path: Path) -> None:
    text = ",".join(KADID) + '\n"' + "x" * 200_000
    (tmp_path / "dmos.csv").write_text(text)
    with pytest.raises(InputError, match="field larger than field limit"):
        read_csv(tmp_path / "dmos.csv", KADID)


def test_many_columns_take_no_time(tmp_path: Path) -> None:
    start = time.process_time()
    listed(tmp_path, b",".join([b"image", *(b"c%d" % i for i in range(30_000))]) + b"\na.png\n")
    assert time.process_time() - start < 5


def test_ids_that_are_paths_or_long_stay_in_the_folder(tmp_path: Path) -> None:
    ids = ["../../../escaped", "/tmp/escaped", "..", "i" * 300, "i" * 299 + "j", "\udcffx"]
    pixels = np.zeros((4, 4, 3), np.uint8)
    (tmp_path / "set").mkdir()
    before = set(tmp_path.rglob("*"))
    names = disk._names(StimulusSet([Stimulus(id, "r", None, None, pixels=pixels) for id in ids], "x"))
    assert len(set(names)) == len(ids) and all(0 < len(name) < 200 and "/" not in name and name[0] != "." for name in names)
    disk.save(StimulusSet([Stimulus(id, "r", None, None, pixels=pixels) for id in ids[:5]], "x"), tmp_path / "set")
    assert all(path.is_relative_to(tmp_path / "set") for path in set(tmp_path.rglob("*")) - before)
    assert len(list((tmp_path / "set" / "images").iterdir())) == 5


def rezipped(old: bytes, new: bytes) -> bytes:
    kept = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook())) as book, zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as made:
        for name in book.namelist():
            made.writestr(name, book.read(name).replace(old, new))
    return kept.getvalue()


def test_workbooks_that_explode_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.xlsx"
    file.write_bytes(workbook())
    assert len(read_xlsx(file, COLUMNS, "all_by_image").lines) == 5
    file.write_bytes(rezipped(b"</sheetData>", b'<row r="900"><c r="XFD900"><v>1</v></c></row></sheetData>'))
    monkeypatch.setattr(labels, "CELLS", 10_000)
    with pytest.raises(InputError, match="a.xlsx cannot be read .it has more than 10000 cells.. Expected an Excel workbook"):
        read_xlsx(file, COLUMNS, "all_by_image")
    monkeypatch.setattr(labels, "UNPACKED", 100_000)
    file.write_bytes(rezipped(b"<sheetData>", b"<sheetData>" + b" " * 200_000))
    with pytest.raises(InputError, match="it unpacks to .* bytes, more than 100000"):
        read_xlsx(file, COLUMNS, "all_by_image")
    file.write_bytes(rezipped(b"<v>1600</v>", b"<v>16x</v>"))
    with pytest.raises(InputError, match="a.xlsx cannot be read"):
        read_xlsx(file, COLUMNS, "all_by_image")


@pytest.mark.parametrize("content", [b"\xff\xfe", b'id,reference,label,correct\n"' + b"x" * 200_000])
def test_answers_that_are_no_table_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match="a.csv cannot be read .*snellen ask --out"):
        _answered(tmp_path / "a.csv")
