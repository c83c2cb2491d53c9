"""Settings: budgets, files, overrides, refusals."""

from pathlib import Path

import pytest

from snellen.config import ARMS, BUDGETS, build, parse_overrides
from stimuli.errors import InputError


def test_a_budget_sets_sizes_unless_they_are_set_by_hand() -> None:
    assert build().steps == BUDGETS["demo"]["steps"] and build().arms == ARMS
    full = build(None, {"budget": "full", "steps": 7})
    assert full.steps == 7 and full.references == BUDGETS["full"]["references"]


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "exam.yaml"
    file.write_text("seed: 3\nlevels: [1, 5]\n")
    config = build(file, {"seed": 4, "model": None})
    assert (config.seed, config.levels, config.model) == (4, (1, 5), "embedded")
    assert parse_overrides(["seed=1", "levels=[3, 5]"]) == {"seed": 1, "levels": [3, 5]}


def test_unknown_and_wrong_settings_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="setting 'sede' cannot be used.*Known settings: model, images, taxonomy"):
        build(None, {"sede": 1})
    with pytest.raises(InputError, match="setting 'steps' cannot be used"):
        build(None, {"steps": "many"})
    with pytest.raises(InputError, match="setting 'method' cannot be used"):
        build(None, {"method": "magic"})
    with pytest.raises(InputError, match="Unknown budget 'huge'. Expected one of demo, full"):
        build(None, {"budget": "huge"})
    with pytest.raises(InputError, match="Got --set seed; expected KEY=VALUE"):
        parse_overrides(["seed"])
    file = tmp_path / "exam.yaml"
    file.write_text("- a list")
    with pytest.raises(InputError, match="holds list; expected YAML"):
        build(file)
    with pytest.raises(InputError, match="cannot be read"):
        build(tmp_path / "none.yaml")


def test_a_map_by_hand_can_be_set() -> None:
    patterns = {"vision": "v.*", "projector": ["a", "b"], "llm": "l.*"}
    found = build(None, parse_overrides(["stages={vision: v.*, projector: [a, b], llm: l.*}"])).stages
    assert found == {**patterns, "projector": ("a", "b")}


def test_an_interview_that_is_off_in_yaml_is_off() -> None:
    assert build(None, parse_overrides(["interview=off"])).interview == "off"


def test_causes_are_looked_for_in_so_many_references_or_not_at_all() -> None:
    assert 0 < build().cause < build(None, {"budget": "full"}).cause == BUDGETS["full"]["cause"]
    assert build(None, parse_overrides(["cause=0"])).cause == 0
    with pytest.raises(InputError, match="setting 'cause' cannot be used: Input should be greater than or equal to 0"):
        build(None, {"cause": -1})
