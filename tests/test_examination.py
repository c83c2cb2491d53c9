"""The stages before the first weight, in an exam: measured once, and told where they cannot be."""

from typing import Any

import pytest

from hooks.load import Mllm
from snellen import examination
from snellen.config import build
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
