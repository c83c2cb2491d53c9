"""Parts of an exam: the stages before the first weight, measured once and told where they cannot be; causes, on every page."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hooks.load import Mllm
from snellen import exam_cause, examination
from snellen.config import build
from snellen.runs import exam
from stimuli.errors import InputError
from stimuli.statistics import pixel_statistics
from stimuli.types import StimulusSet

SETTINGS = build(None, {"folds": 3, "n_boot": 50})


def test_the_entrance_holds_the_statistics_of_both_stages_and_the_table(llava: Mllm, six: StimulusSet) -> None:
    found = examination._entrance(llava, six, SETTINGS, False)
    assert found.note == "" and set(found.statistics) == {"pixels", "processed"}
    assert {row["processor"] for row in found.table} == {llava.name}
    assert [row["energy_kept"] for row in found.table if row["type"] == "jpeg"] == pytest.approx([1, 1]), (
        "it does not resize them"
    )
    assert set(found.over([six[0].id])) == {"pixels", "processed"} and not found.over(["a stranger"])


def test_without_the_processors_images_pixels_are_all_there_is_and_the_reason_is_told(
    llava: Mllm, six: StimulusSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*given: Any, **options: Any) -> Any:
        raise InputError("cannot be put back together")

    monkeypatch.setattr(examination, "measure_inputs", refuses)
    found = examination._entrance(llava, six, SETTINGS, False)
    assert set(found.statistics) == {"pixels"} and found.table == [] and found.note == "cannot be put back together"
    assert (found.statistics["pixels"].of(six[0].id) == pixel_statistics(six[0].image)).all()


@pytest.mark.heavy
def test_causes_are_in_results_tables_figures_and_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exam_cause, "MARGIN", -1)  # else the model would have to be one that answers
    for module in ("all", "interview"):  # the other figures are drawn by other exams
        monkeypatch.setattr(f"analysis.figures.{module}.FIGURES", {})
    settings: dict[str, Any] = {"references": 4, "levels": (5,), "n_boot": 50, "folds": 3, "arms": (), "interview": "off", "cause": 4,
                                "random_baseline": False, "progress": False}  # fmt: skip
    done = exam("embedded", tmp_path / "run", **settings)
    cause = json.loads((tmp_path / "run" / "results.json").read_text())["cause"]
    assert cause["model"] == exam_cause.LOADED and cause["references"] == cause["distorted"] == 4
    for part in ("patching", "knockout", "lens"):
        assert "skipped" not in cause[part] and cause[part]["table"]
        assert (tmp_path / "run" / "cause" / f"{part}.json").is_file()
        assert (tmp_path / "run" / "tables" / f"cause_{part}.csv").is_file()
        for ending in ("png", "pdf", "svg", "csv"):
            assert (tmp_path / "run" / "figures" / f"cause_{part}.{ending}").stat().st_size > 100
    page = done.report.read_text()
    section = page[page.index('<h2 id="cause">') : page.index('<h2 id="detail">')]
    assert section.count("<img") == 3 and len(re.findall(r'alt="[^"]{40,}"', section)) == 3
    assert "Measured on the model as loaded" in section
