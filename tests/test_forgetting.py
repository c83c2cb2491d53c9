"""What is forgotten is paired with what was known, and nothing is lost by a model that did not change."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis import forgetting
from analysis.captions import Captions
from analysis.forgetting import GENERAL, Knowledge, forgotten, knowledge
from hooks.load import Mllm
from probes.intervals import least_p
from stimuli.errors import InputError
from stimuli.sets import exam_set

ROWS = [{"id": f"s{i}", "reference": f"r{i // 2}", "describe": "a red square", "colour": 1.0, "shape": None, "quality": float(i % 2)}
        for i in range(12)]  # fmt: skip


def known(describe: str = "a red square", colour: float = 1.0, answer: str = "a barn") -> Knowledge:
    table = [{**row, "describe": describe, "colour": colour} for row in ROWS]
    general = [{"id": row["id"], "reference": row["reference"], "question": "What?", "answer": answer} for row in ROWS]
    return Knowledge(Captions(table, None, None, None, None), None, general)


def test_changes_are_paired_and_unknown_truths_left_out() -> None:
    rows = {row["measure"]: row for row in forgotten(known(), known("a blue square", 0.25, "a big barn"), 200)}
    assert set(rows) == {"colour", "quality", "description", "general answers"}
    assert (rows["colour"]["before"], rows["colour"]["after"], rows["colour"]["change"]) == (1.0, 0.25, -0.75)
    assert rows["description"]["after"] == pytest.approx(2 / 3) and rows["general answers"]["after"] == pytest.approx(0.8)
    assert rows["quality"]["change"] == 0 and rows["quality"]["p_holm"] > 0.9
    assert rows["description"]["p"] is rows["general answers"]["p_holm"] is None, "1 cannot be passed: nothing to test"
    assert rows["colour"]["p_holm"] == 2 * least_p(6) and rows["colour"]["n"] == 12
    assert {name for name, row in rows.items() if not row["rehearsed"]} == {"general answers"}


def test_images_that_only_one_has_do_not_count() -> None:
    before, after = known(), known(colour=0.0)
    after = replace(after, captions=replace(after.captions, table=after.captions.table[:4]), general=[])
    rows = {row["measure"]: row for row in forgotten(before, after, 200)}
    assert rows["colour"]["n"] == 4 and "general answers" not in rows


def test_only_a_missing_truth_leaves_quality_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise InputError("the disk is full")

    monkeypatch.setattr(forgetting, "captions_kept", lambda *_, **__: known().captions)
    monkeypatch.setattr(forgetting, "quality", refuse)
    stimuli = exam_set(2, levels=(5,))
    untold = [replace(s, mos=None, ssim=None, psnr=None) for s in stimuli]
    assert knowledge(None, untold, questions=()).quality is None  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the disk is full"):
        knowledge(None, stimuli, questions=())  # type: ignore[arg-type]


def test_a_model_forgets_nothing_of_itself(llava: Mllm, tmp_path: Any) -> None:
    stimuli = exam_set(3, levels=(5,))
    how: dict[str, Any] = {"out": tmp_path, "progress": False, "n_boot": 100}
    before, after = knowledge(llava, stimuli, **how), knowledge(llava, stimuli, **how)
    rows = {row["measure"]: row for row in forgotten(before, after, 100)}
    assert all(row["change"] == 0 for row in rows.values()) and {"description", "quality SRCC"} <= set(rows)
    assert rows["quality SRCC"]["rehearsed"] and not rows["general answers"]["rehearsed"]
    assert len(before.general) == 3 * len(GENERAL) and {row["question"] for row in before.general} == set(GENERAL)
    assert before.quality is not None and np.isfinite(before.quality.scores).all()
