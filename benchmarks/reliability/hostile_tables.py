"""Lists of images, files of scores, workbooks and tables of questions: odd encodings, endless cells, formulas, duplicates, bombs."""

from __future__ import annotations

import base64
import csv
import random
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability.hostile_images import seeds
from benchmarks.reliability.mutate import mutated
from benchmarks.reliability.watch import Case, Parser, command

DEEP = 100_000
"""Brackets within brackets."""
CODE = "__import__('os').system('touch canary')"


def cases(count: int, seed: int = 0) -> Iterator[Case]:
    """By hand, and so many that were good."""
    for name, text in _lists().items():
        for way, file, reading in _WAYS:
            if way != "command" or len(text) < 10_000:
                yield Case("tables", f"{way}: {name}", _writer(file, text), reading)
    for name, text in _questions().items():
        yield Case("tables", f"questions: {name}", _writer("a.tsv", text), _mcq)
    for name, content in {**_workbooks(), **_arrays()}.items():
        yield Case(
            "tables",
            name,
            _writer("a.mat" if name.startswith("mat") else "a.xlsx", content),
            _array if "mat" in name else _sheet,
        )
    yield Case(
        "tables",
        "as --labels",
        _writer("a.csv", b'id,mine\n"a'),
        lambda path, out: command("probe", path.parent, "--labels", path),
    )
    rng = random.Random(seed)
    good = list(parsers().values())
    for i in range(count):
        name, (content,), reading = good[i % len(good)]
        yield Case("tables", f"{i}-{reading.__name__.strip('_')}", _writer(name, mutated(content, rng)), reading)


def parsers() -> dict[str, Parser]:
    """What reads tables, each with the name of its file and a good one."""
    return {
        "list": ("a.csv", [list_of()], _listed), "scores": ("dmos.csv", [scores_of()], _scores),
        "description": ("a.csv", [list_of()], _described), "questions": ("a.tsv", [questions_of()], _mcq),
        "workbook": ("a.xlsx", [workbook()], _sheet), "array": ("a.mat", [arrays()], _array),
        "answers": ("a.csv", [answers_of()], _compared),
    }  # fmt: skip


def _writer(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        (folder / "images").mkdir()
        (folder / "a.png").write_bytes(seeds()["rgb.png"])
        return folder / name

    return write


# ---- how they are read -----------------------------------------------------------------------------------------------


def _listed(path: Path, out: Path) -> None:
    """Every stimulus and its image, then the set written to disk, where ids become names of files."""
    from stimuli import disk, sets
    from stimuli.errors import InputError

    found = sets.from_csv(path)
    try:
        [stimulus.image for stimulus in found]
    except InputError:
        return
    disk.save(found, out / "set")


def _described(path: Path, out: Path) -> None:
    from stimuli.readers.described import described

    described(path)


def _scores(path: Path, out: Path) -> None:
    from stimuli import sets

    sets.kadid10k(path.parent)


def _sheet(path: Path, out: Path) -> None:
    from stimuli.readers.csiq import COLUMNS
    from stimuli.readers.labels import read_xlsx

    read_xlsx(path, COLUMNS, "all_by_image")


def _array(path: Path, out: Path) -> None:
    from stimuli.readers.live import _array as read

    read(path, "dmos")


def _mcq(path: Path, out: Path) -> None:
    from stimuli.mcq import read_mcq

    [stimulus.image for stimulus in read_mcq(path).stimuli]


def _compared(path: Path, out: Path) -> None:
    command("compare", path, path)


def _by_command(path: Path, out: Path) -> None:
    command("stimuli", out / "set", "--images", path, "--no-progress")


_WAYS = (("list", "a.csv", _listed), ("description", "a.csv", _described), ("command", "a.csv", _by_command),
         ("scores", "dmos.csv", _scores))  # fmt: skip


# ---- what was good ---------------------------------------------------------------------------------------------------


def _csv(rows: list[dict[str, Any]], separator: str = ",") -> bytes:
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=separator, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def list_of(**changed: Any) -> bytes:
    """A list of two images with everything that may be said of them."""
    row = {
        "image": "a.png", "id": "one", "reference": "r", "type": "jpeg", "level": "3", "mos": "3.5", "mos_std": "0.5", "signed_param": "1",
        "psnr": "30", "ssim": "0.9", "is_identity": "false", "source": "mine", "attributes": '{"colour": "red"}',
        "measured": '{"lpips": 0.2}', "parts": '[["jpeg", 3], ["white_noise", 3]]', "mask": "",
    }  # fmt: skip
    return _csv([{**row, **changed}, {**row, "id": "two", "type": ""}])


def scores_of() -> bytes:
    """The beginning of KADID-10k's file of scores."""
    return _csv([{"dist_img": f"I01_{t:02}_03.png", "ref_img": "I01.png", "dmos": "3.1", "var": "0.2"} for t in range(1, 9)])


def answers_of() -> bytes:
    """Answers as ``snellen ask`` writes them."""
    return _csv(
        [{"id": f"s{i}", "reference": f"r{i % 4}", "label": "ab"[i % 2], "correct": str(i % 3 == 0)} for i in range(12)]
    )


def questions_of() -> bytes:
    """Two multiple-choice questions with an image inside."""
    image = base64.b64encode(seeds()["rgb.png"]).decode()
    rows = [{"index": str(i), "image": own, "question": "Which?", "hint": "", "A": "blur", "B": "noise", "answer": "A", "category": "x"}
            for i, own in enumerate((image, "0"))]  # fmt: skip
    return _csv(rows, "\t")


def workbook() -> bytes:
    """CSIQ's workbook, its beginning."""
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    sheet.title = "all_by_image"
    sheet.append(["image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"])
    for level in range(1, 6):
        sheet.append([1600, 1, "noise", level, 0.1, 0.2 * level])
    kept = BytesIO()
    book.save(kept)
    return kept.getvalue()


def arrays() -> bytes:
    """A MATLAB file."""
    from scipy.io import savemat

    kept = BytesIO()
    savemat(kept, {"dmos": np.arange(982.0), "names": np.array(["a", "b"], object)}, do_compression=True)
    return kept.getvalue()


# ---- made by hand ----------------------------------------------------------------------------------------------------


def _lists() -> dict[str, bytes]:
    good = list_of()
    return {
        "empty": b"", "header alone": good.split(b"\n")[0], "zeros": bytes(2000), "UTF-16": good.decode().encode("utf-16"),
        "Latin-1": good.replace(b"red", b"\xe9"), "NUL in a cell": good.replace(b"red", b"r\0d"), "lines end in CR": good.replace(b"\n", b"\r"),
        "quote not closed": good.replace(b"one", b'"one'), "a cell of 10 MB": list_of(id="x" * 10_000_000),
        "a cell of 200 kB": list_of(id="x" * 200_000), "50,000 columns": b",".join([b"image"] + [b"c%d" % i for i in range(50_000)]),
        "no such columns": b"a,b\n1,2\n", "columns twice": b"image,image\na.png,a.png\n", "formula": list_of(id="=cmd|' /C calc'!A0"),
        "formula in a number": list_of(mos='=HYPERLINK("http://x")'), "duplicates": good + good.split(b"\n")[1] + b"\n",
        "contradicting": good + good.split(b"\n")[1].replace(b"3.5", b"1.5") + b"\n", "deep JSON": list_of(attributes="[" * DEEP),
        "deeper JSON": list_of(measured='{"a":' * DEEP), "deep list": list_of(parts="[" * DEEP), "deep tuple": list_of(parts="(" * 300),
        "code in a list": list_of(parts=CODE), "code in JSON": list_of(attributes=CODE), "minus minus": list_of(parts="-" * 9000 + "1"),
        "infinite level": list_of(level="1e999"), "no level": list_of(level="nan"), "long level": list_of(level="9" * 5000),
        "infinite part": list_of(parts="[['jpeg', 1e999]]"), "huge measure": list_of(measured='{"a": %s}' % ("9" * 400)),
        "list for an object": list_of(attributes="[1, 2]"), "number for an object": list_of(measured="5"),
        "path that leaves": list_of(image="../../../../etc/passwd"), "absolute path": list_of(image="/etc/passwd"),
        "NUL in a path": list_of(image="a\0.png"), "long path": list_of(image="a" * 5000), "mask that leaves": list_of(mask="/dev/zero"),
        "id that leaves": list_of(id="../../../escaped"), "absolute id": list_of(id="/tmp/escaped"), "long id": list_of(id="i" * 300),
        "id of dots": list_of(id=".."), "ids of one name": list_of(id="TWO"), "script": list_of(id="<script>alert(1)</script>"),
        "lone surrogate": list_of(id="x").replace(b"x", b"\xed\xa0\x80"), "right to left": list_of(id="\u202egnp.a"),
    }  # fmt: skip


def _questions() -> dict[str, bytes]:
    good = questions_of()
    return {
        "bomb": good.replace(b"iVBOR", base64.b64encode(b"x" * 999)[:5]), "not base64": good.replace(b"iVBOR", b"!!!!!"),
        "points at itself": good.replace(b"\n1\t0\t", b"\n1\t1\t"),
        "a path that leaves": b"index\timage_path\tquestion\tA\tB\n1\t../../etc/passwd\tq\ta\tb\n",
        "NUL": good.replace(b"Which", b"Wh\0ch"), "UTF-16": good.decode().encode("utf-16"),
        "a cell of 5 MB": good.replace(b"Which", b"W" * 5_000_000),
        "quote not closed": good.replace(b"Which", b'"Which'),
    }  # fmt: skip


def _rezipped(change: Callable[[str, bytes], bytes]) -> bytes:
    kept = BytesIO()
    with zipfile.ZipFile(BytesIO(workbook())) as old, zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return kept.getvalue()


def _workbooks() -> dict[str, bytes]:
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    entity = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "lol">{laughs}]>'.encode()
    outside = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'

    def in_sheet(new: Callable[[bytes], bytes]) -> bytes:
        return _rezipped(lambda name, old: new(old) if "sheet1" in name else old)

    row = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    rows = b"".join(b'<row r="%d"><c r="XFD%d"><v>1</v></c></row>' % (i, i) for i in range(10, 3000))
    return {
        "book: no zip": b"PK\3\4 not", "book: bomb": in_sheet(lambda old: old.replace(b"<sheetData>", b"<sheetData>" + b" " * 400_000_000)),
        "book: laughs": in_sheet(lambda old: entity + b"<worksheet>&l9;</worksheet>"),
        "book: entity": in_sheet(lambda old: outside + old.replace(b"noise", b"&e;")), "book: no sheet": in_sheet(lambda old: b""),
        "book: far row": in_sheet(lambda old: old.replace(b"</sheetData>", row + b"</sheetData>")),
        "book: wide rows": in_sheet(lambda old: old.replace(b"</sheetData>", rows + b"</sheetData>")),
        "book: formula": in_sheet(lambda old: old.replace(b"<v>1600</v>", b"<f>WEBSERVICE(1)</f><v>1600</v>", 1)),
        "book: no types": _rezipped(lambda name, old: b"" if "Content" in name else old),
        "book: odd number": in_sheet(lambda old: old.replace(b"<v>1600</v>", b"<v>16x</v>", 1)),
        "book: no strings": _rezipped(lambda name, old: b"<sst/>" if "shared" in name else old),
    }  # fmt: skip


def _arrays() -> dict[str, bytes]:
    from scipy.io import savemat

    kept = BytesIO()
    savemat(kept, {"dmos": np.array([[[1]], "a", {"b": 1}], object)})
    good = arrays()
    return {"mat: objects": kept.getvalue(), "mat: empty": b"", "mat: HDF5": b"\x89HDF\r\n\x1a\n" + bytes(200),
            "mat: half": good[: len(good) // 2],
            "mat: zeros": bytes(400)}  # fmt: skip
