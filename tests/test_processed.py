"""What is left of a distortion, where what should be left is known (see ``test_inputs``)."""

from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest

from analysis.inputs import measure_inputs
from analysis.processed import ProcessedSurvival, processed_survival
from stimuli.errors import InputError
from stimuli.types import Stimulus, StimulusSet
from tests.test_inputs import Half, changed, photo, shown

OPTIONS: dict[str, Any] = {"folds": 4, "n_boot": 200, "progress": False}


@pytest.fixture(scope="module")
def result() -> ProcessedSurvival:
    return processed_survival({"half": Half(), "two": Half(2)}, shown(16), **OPTIONS)


def test_energy_kept_is_what_averaging_four_pixels_leaves(result: ProcessedSurvival) -> None:
    for name in ("half", "two"):
        assert result.row(name, "brighten")["energy_kept"] == pytest.approx(1, abs=1e-4)
        assert result.row(name, "jitter")["energy_kept"] == pytest.approx(0, abs=1e-6)
    noise = result.row("half", "white_noise")
    assert (
        noise["kept_low"] <= noise["energy_kept"] <= noise["kept_high"] and noise["kept_low"] < 0.25 < noise["kept_high"] + 0.01
    )
    assert noise["psnr_in"] == pytest.approx(-20 * np.log10(12 / 255), abs=0.2)
    assert noise["psnr_out"] - noise["psnr_in"] == pytest.approx(-10 * np.log10(noise["energy_kept"]))


def test_separability_falls_where_nothing_is_left_and_stays_where_it_is(result: ProcessedSurvival) -> None:
    chess = result.row("half", "jitter")
    assert chess["before"] > 0.95 and chess["after_low"] < 0.6
    assert chess["change_high"] < 0 and chess["p_holm"] < 0.05
    assert chess["change"] == pytest.approx(chess["after"] - chess["before"])
    noise = result.row("half", "white_noise")
    assert noise["before"] > 0.95 and noise["after"] > 0.9
    for row in (chess, noise):
        assert row["chance"] == 0.5 and row["before_control_low"] - 0.05 <= 0.5 <= row["before_control_high"] + 0.05


def test_the_whole_task_stands_first_with_the_classes_of_the_taxonomy(result: ProcessedSurvival) -> None:
    row = result.row("half")
    assert row is result.table[0] and row["class"] is None and row["n"] == 48 and row["references"] == 16
    assert row["chance"] == 1 / 4 and row["after"] < row["before"]
    assert result.row("half", "jitter")["class"] == "jitter" and result.row("half", "white_noise")["class"] == "noise"
    assert [r["processor"] for r in result.table] == ["half"] * 12 + ["two"] * 12


def test_levels_are_rows_of_their_own_by_the_probe_of_all(result: ProcessedSurvival) -> None:
    one, two, all_ = (result.row("half", "jitter", level) for level in (1, 2, "all"))
    assert one["n"] + two["n"] == all_["n"] == 16 and one["references"] == 8
    assert (one["before"] + two["before"]) / 2 == pytest.approx(all_["before"])
    assert "before_control" not in one and one["before_low"] <= one["before"] <= one["before_high"]


def test_sizes_are_told(result: ProcessedSurvival) -> None:
    assert result.row("half")["size_in"] == "64x64" and result.row("half")["size_out"] == "32x32"
    assert result.row("two")["size_out"] == "2 of 16x32" and result.row("two")["pixels_out"] == 1024
    mixed = [*shown(5), *(replace(s, id=f"s{s.id}", reference=f"s{s.reference}", pixels=s.image[:32]) for s in shown(5))]
    row = processed_survival({"half": Half()}, mixed, **OPTIONS).row("half")
    assert row["size_in"] == "64x64 (of 2 sizes)" and row["pixels_in"] == 64 * 48


def test_one_clean_image_against_several_levels_is_balanced() -> None:
    """Without weights a probe would call everything distorted and be right about half of the classes."""
    stimuli = []
    for number in range(12):
        clean = photo(number)
        stimuli.append(Stimulus(f"{number}-clean", f"{number}", None, None, pixels=clean))
        for level in range(1, 6):
            image = clean if level < 3 else changed(clean, "brighten", number)  # what cannot be told apart
            stimuli.append(Stimulus(f"{number}-{level}", f"{number}", "brighten", level, pixels=image, is_identity=level == 1))
    found = processed_survival({"half": Half()}, StimulusSet(stimuli, "crossed"), **OPTIONS)
    row = found.row("half", "brighten")
    assert row["n"] == 48 and row["references"] == 12, "the identity is left out"
    assert 0.35 < row["before"] < 0.9
    with pytest.raises(StopIteration):
        found.row("half", "brighten", 1)


def test_distorted_images_without_their_reference_are_told_and_have_no_energy() -> None:
    stimuli = [s for s in shown(10) if s.id != "r0-clean" and s.type != "jitter"]
    found = processed_survival({"half": Half()}, stimuli, **OPTIONS)
    assert found.without_reference == 2
    row = found.row("half", "white_noise")
    assert row["n"] == 10 and row["n_energy"] == 9
    orphans = processed_survival({"half": Half()}, [s for s in stimuli if s.type is not None], **OPTIONS)
    row = orphans.row("half", "white_noise")
    assert np.isnan(row["energy_kept"]) and row["kept_low"] is None and "nothing to tell apart" in row["note"]
    assert orphans.row("half")["before"] > 0.5, "classes can be told apart all the same"


def test_too_few_references_are_noted_and_the_energy_is_there() -> None:
    row = processed_survival({"half": Half()}, shown(2), **OPTIONS).row("half", "white_noise")
    assert "4 folds by reference need at least 4 references, got 2" in row["note"] and "before" not in row
    assert row["energy_kept"] > 0 and row["kept_low"] is not None
    alone = processed_survival({"half": Half()}, shown(1), **OPTIONS).row("half", "white_noise")
    assert alone["energy_kept"] > 0 and alone["kept_low"] is None


@pytest.mark.slow
@pytest.mark.heavy
def test_measured_once_probed_as_often_as_wished() -> None:
    measured = measure_inputs({"half": Half()}, shown(8), progress=False)
    first, again, other = (processed_survival(measured, **{**OPTIONS, "seed": seed}).table for seed in (1, 1, 2))
    assert first == again != other
    with pytest.raises(InputError, match="None of the stimuli is distorted"):
        processed_survival({"half": Half()}, [s for s in shown(8) if s.type is None], **OPTIONS)


def test_the_result_is_frozen(result: ProcessedSurvival) -> None:
    with pytest.raises(FrozenInstanceError):
        result.folds = 3  # type: ignore[misc]
