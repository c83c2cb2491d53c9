"""What the page knows of single stimuli: joined from the files of an exam, fewer pictures where they do not fit, none where there are none."""

import json
import sys
from pathlib import Path

import pytest

from analysis.report import render
from analysis.report.seen import seen, with_less
from stimuli.errors import InputError
from tests.exams import EVIL, folder, results


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return folder(tmp_path / "run")


def test_rows_are_joined_by_stimulus(run: Path) -> None:
    found = seen(run, results())
    assert (
        found is not None
        and found["models"] == ["as loaded", "llm"]
        and found["shown"] == 1
        and len(found["rows"]) == found["total"] == 12
    )
    at = {row[0]: dict(zip(found["fields"], row, strict=True)) for row in found["rows"]}
    first = {"id": "a-blur", "reference": "a", "type": "white_blur", "level": "3", "psnr": 25.123, "label": "blur", "probe": EVIL,
             "encoded": True, "confidence": 0.5, "answers": ["blur", "blur"]}  # fmt: skip
    assert at["a-blur"] == first and at["a-noise"]["encoded"] is False
    assert at["a-clean"]["type"] == "clean" and at["a-clean"]["level"] is None
    assert at["d-clean"]["answers"] == ["", ""], "an answer that names no class"
    (run / "tables" / "answers_llm.csv").write_text("id,answer\na-blur,noise\n")
    found = seen(run, results())
    assert found is not None and [row[-1][1] for row in found["rows"]] == ["noise"] + [None] * 11, "not asked"


def test_an_exam_without_pictures_or_answers_has_none_and_a_damaged_file_says_so(run: Path) -> None:
    (run / "pictures.json").write_text("{}")
    with pytest.raises(InputError, match=r"pictures.json cannot be read \(KeyError.*delete it and render again"):
        seen(run, results())
    (run / "pictures.json").unlink()
    found = seen(run, results())
    assert found is not None and found["pictures"] == {} and found["without"] == "the exam saved none (pictures.json)"
    page = render(results(), run, {}).read_text()
    assert "There are no pictures: the exam saved none (pictures.json)." in page and 'id="pairs"' not in page
    (run / "tables" / "answers_base.csv").unlink()
    assert (
        seen(run, results()) is None and "stimuli-data" not in render(results(), run, {}).read_text().partition("<script>")[0]
    )


def test_pictures_that_do_not_fit_are_left_out_evenly(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen(run, results())
    assert found is not None
    pairs = len(json.dumps([found["pairs"], found["clean"]]))
    each = max(len(text) for text in found["pictures"].values()) + len("a-blur") + 8
    less = with_less(found, pairs + 6 * each)
    assert less["pairs"] == [] and 4 <= len(less["pictures"]) <= 6 and {id[0] for id in less["pictures"]} == set("abcd")
    assert with_less(found, pairs - 1)["pictures"].keys() <= found["pictures"].keys()
    assert with_less(found, pairs + 13 * each)["without"] == "with them, the page would be too large"
    whole = len(render(results(), run, {}).read_text())
    monkeypatch.setattr(sys.modules["analysis.report.render"], "MOST", whole - pairs - 5 * each)
    page = render(results(), run, {}).read_text()
    assert len(page) <= whole - pairs - 5 * each and "of 6 images" in page
