"""Causes within an exam: in which model, about which images, part by part, and what is told of those that cannot be measured."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from analysis.figures.cause import cause_figures
from analysis.figures.files import written
from hooks.checksum import weights_checksum
from hooks.load import Mllm
from snellen import exam_cause
from snellen.config import build
from snellen.exam_cause import LOADED, answering, by_class, exchanged, one_each, spread, told
from stimuli.errors import InputError
from stimuli.generated import exam_set
from stimuli.types import Stimulus, StimulusSet

SETTINGS = build(None, {"cause": 3, "n_boot": 40, "batch_size": 16})


def seen(share: float, low: float) -> Any:
    """Answers of eight classes of which so many are right."""
    return SimpleNamespace(
        answers=SimpleNamespace(balanced_accuracy=share, balanced_low=low, balanced_high=2 * share - low, chance=0.125)
    )


def of(**shares: float) -> dict[str, Any]:
    return {name: seen(share, share - 0.02).answers for name, share in shares.items()}


def test_the_model_as_loaded_is_taken_if_it_answers_else_the_best_arm_else_none() -> None:
    assert answering(of(loaded=0.3, llm=0.9)) == ("loaded", ""), "it is the patient"
    assert answering(of(loaded=0.2, llm=0.3, vision=0.4)) == ("vision", "")
    assert answering({"loaded": seen(0.2, 0.1).answers, "llm": seen(0.5, 0.22).answers})[0] is None, "so uncertain an arm"
    name, why = answering(of(loaded=0.13, llm=0.2))
    assert name is None
    assert "the best has a balanced accuracy of 20.0 % [18.0 %, 22.0 %], and the lower end would have to be above 22.5 %" in why
    assert answering(of(loaded=0.1))[0] is None, "without arms"


def shown(references: int = 4) -> StimulusSet:
    made = []
    for i in range(references):
        kinds = [(None, None), ("gaussian_blur", 2), ("gaussian_blur", 5), ("white_noise", 3)][: 4 if i else 1]
        made += [Stimulus(f"{i}-{kind}-{level}", f"r{i}", kind, level) for kind, level in kinds]
    return StimulusSet([*made, Stimulus("same", "r1", "contrast_change", 3, is_identity=True)], "shown")


def test_one_image_of_each_class_at_its_highest_level_of_references_spread_evenly() -> None:
    found = by_class(shown(), "paper8", 2)
    assert list(found) == ["r1", "r3"], "r0 has nothing distorted; the first and the last of the others"
    assert {label: stimulus.id for label, stimulus in found["r1"].items()} == {
        "clean": "1-None-None", "blur": "1-gaussian_blur-5", "noise": "1-white_noise-3",
    }, "what leaves the image as it was is no clean image of its own"  # fmt: skip
    assert spread("abcdefg", 3) == ["a", "d", "g"] and spread("ab", 5) == ["a", "b"] and spread("abc", 1) == ["a"]


def test_classes_come_in_turn() -> None:
    few = one_each(by_class(shown(), "paper8", 9))
    assert [stimulus.type for stimulus in few] == ["gaussian_blur", "white_noise", "gaussian_blur"]
    kinds = ("gaussian_blur", "white_noise", "jpeg", "jitter")
    many = StimulusSet([Stimulus(f"{i}-{kind}", f"r{i}", kind, 3) for i in range(13) for kind in kinds], "many")
    found = one_each(by_class(many, "paper8", 13))
    assert [s.reference for s in found] == [f"r{i}" for i in range(13)]
    assert sorted([s.type for s in found].count(kind) for kind in kinds) == [3, 3, 3, 4]
    scarce = one_each(by_class(many, "paper8", 5))
    assert sorted(Counter(s.type for s in scarce).values()) == [2, 3], "each class twice, for a control of the same class"


def test_features_are_exchanged_where_components_end_and_at_blocks_spread_over_the_language_model(llava: Mllm) -> None:
    found = exchanged(llava.stages)
    sites = list(llava.stages.sites)
    assert found == sorted(found, key=sites.index) and found[0] == "vision.embed"
    assert {llava.stages.read_layer, "projector", "llm.0", sites[-1]} <= set(found)
    assert llava.stages.proof is not None and not set(found) & set(llava.stages.proof.dead)


def measured(**refused: Exception) -> tuple[dict[str, Any], list[str]]:
    """Parts that note that they were run."""
    runs: list[str] = []

    def part(name: str) -> Any:
        def run(*_: Any) -> dict[str, Any]:
            runs.append(name)
            if name in refused:
                raise refused[name]
            rows = [{"class": label, "number": float("nan")} for label in ("all", "blur")]
            return {"table": rows, "pairs": [{"before": "a"}], "notes": [name]}

        return run

    return {f"_{name}": part(name) for name in ("patching", "knockout", "lens")}, runs


def test_a_part_that_is_refused_or_fails_says_so_and_the_others_go_on_and_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    parts, runs = measured(patching=InputError("flash attention has no mask"), lens=RuntimeError("out of memory"))
    for name, part in parts.items():
        monkeypatch.setattr(exam_cause, name, part)
    arms: Any = {LOADED: (None, seen(0.13, 0.1)), "llm": (None, seen(0.5, 0.4)), "vision": (None, seen(0.6, 0.5))}
    found = told(arms, shown(), SETTINGS, tmp_path, False)
    assert runs == ["patching", "knockout", "lens"]
    assert found.results["patching"] == {"skipped": "flash attention has no mask"}
    assert found.results["lens"] == {"skipped": "It failed with RuntimeError: out of memory"}
    assert found.results["knockout"] == {"table": [{"class": "all", "number": None}], "notes": ["knockout"]}
    assert found.results["model"] == "vision" and found.results["balanced_accuracy"] == 0.6
    assert (found.results["references"], found.results["distorted"], found.results["images"]) == (3, 3, 9)
    assert {name: len(rows) for name, rows in found.tables.items()} == {"cause_knockout": 2, "cause_knockout_pairs": 1}

    parts, runs = measured()
    for name, part in parts.items():
        monkeypatch.setattr(exam_cause, name, part)
    again = told(arms, shown(), SETTINGS, tmp_path, False)
    assert runs == ["patching", "lens"], "what is done is not done again, what could not be is tried"
    assert again.results["knockout"] == found.results["knockout"] and "skipped" not in again.results["lens"]
    told({**arms, "vision": arms["llm"], "llm": arms["vision"]}, shown(), SETTINGS, tmp_path, False)
    assert runs[2:] == ["patching", "knockout", "lens"], "that of another model is not taken for its own"


def test_nothing_is_run_where_nobody_answers_or_it_is_switched_off(tmp_path: Path) -> None:
    models: Any = {LOADED: (None, seen(0.13, 0.1))}
    found = told(models, shown(), SETTINGS, tmp_path, False)
    assert set(found.results) == {"skipped"} and "No model answers clearly better than chance" in found.results["skipped"]
    off = told({LOADED: (models[LOADED][0], seen(0.9, 0.8))}, shown(), build(None, {"cause": 0}), tmp_path, False)
    assert off.results == {"skipped": "It was switched off (cause: 0)."} and not off.tables
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llava", pytest.param("qwen", marks=pytest.mark.heavy)])
def test_the_parts_are_measured_and_drawn(family: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    before = weights_checksum(mllm.model)
    images = exam_set(3, levels=(5,), size=64, measure=False, in_memory=True, photographs=False)
    found = told({LOADED: (mllm, seen(0.9, 0.8))}, images, SETTINGS, tmp_path / "cause", False)
    assert [found.results[part].get("skipped") for part in ("patching", "knockout", "lens")] == [None] * 3
    assert json.loads(json.dumps(found.results, allow_nan=False)) == found.results and weights_checksum(mllm.model) == before
    rows = found.results["patching"]["table"]
    assert {row["set"] for row in rows} == {"image", "last"} and {row["references"] for row in rows} == {3}
    assert {row["site"] for row in rows} == set(exchanged(mllm.stages)) and all(row["control"] is not None for row in rows)
    assert {row["class"] for row in found.results["lens"]["table"]} == {"all"} and found.results["lens"]["words"]
    assert {row["edge"] for row in found.results["knockout"]["table"]} == {"image->last", "image->question", "question->last"}
    assert len(found.tables["cause_patching_pairs"]) == 3 and len(found.tables["cause_lens"]) > len(
        found.results["lens"]["table"]
    )
    drawn = written(cause_figures(found.results), tmp_path / "figures", ("png",))
    assert set(drawn) == {"cause_patching", "cause_knockout", "cause_lens"}
    assert all((tmp_path / "figures" / f"{name}.csv").is_file() for name in drawn)
    assert cause_figures({"skipped": "why"}) == {} and cause_figures({"lens": {"skipped": "why"}}) == {}
