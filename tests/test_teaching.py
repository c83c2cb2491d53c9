"""Components are taught at matched budgets, the rate is chosen on references that are reported nowhere."""

import json
from pathlib import Path
from typing import Any

import pytest

from hooks.load import Mllm
from snellen.teaching import teach
from stimuli.errors import InputError
from stimuli.sets import exam_set
from stimuli.types import StimulusSet

OPTIONS: dict[str, Any] = {"steps": 2, "batch_size": 4, "replay_images": 2, "progress": False, "n_boot": 50, "validation": 0.34}


@pytest.fixture(scope="module")
def train() -> StimulusSet:
    return exam_set(3, levels=(5,), split="train", measure=False)


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_budgets_are_matched_and_the_best_rate_is_reported(llava: Mllm, train: StimulusSet, tmp_path: Path) -> None:
    shown = exam_set(3, levels=(5,))
    names = ("projector", "llm.3")
    how: dict[str, Any] = {"budgets": ("seconds", "parameters", "steps"), "rates": (0.1, 100.0), "out": tmp_path, **OPTIONS}
    done = teach(llava, train, shown, names, **how)
    assert [(row["budget"], row["component"]) for row in done.matrix] == [
        (b, c) for b in ("steps", "parameters", "seconds") for c in names
    ]
    assert len(done.rates) == 12 and all(row["unchanged"] for row in done.matrix)
    for row in done.matrix:
        own = [one for one in done.rates if (one["budget"], one["component"]) == (row["budget"], row["component"])]
        best = min(own, key=lambda one: one["loss"])
        assert [one["chosen"] for one in own] == [one is best for one in own] and row["rate"] == best["rate"]
    equal = [row["n_trained"] for row in done.matrix if row["budget"] == "parameters"]
    assert max(equal) < 1.5 * min(equal), "ranks are chosen for it"
    slowest = max(row["seconds"] for row in done.rates if row["budget"] == "steps")
    assert all(row["seconds"] >= slowest for row in done.rates if row["budget"] == "seconds")
    assert {row["measure"] for row in done.forgotten} >= {"description", "quality SRCC"}
    assert json.loads((tmp_path / "teaching.json").read_text())["matrix"] and (tmp_path / "forgotten.csv").is_file()


def test_refusals_are_in_words(llava: Mllm, train: StimulusSet) -> None:
    shown = exam_set(2, levels=(5,))
    with pytest.raises(InputError, match=r"Got the budgets \['money'\]. Expected some of steps, parameters, seconds"):
        teach(llava, train, shown, budgets=("money",), **OPTIONS)
    with pytest.raises(InputError, match="Got the budget 'seconds' without a number"):
        teach(llava, train, shown, budgets=("seconds",), **OPTIONS)
    with pytest.raises(InputError, match="Expected factors above 0"):
        teach(llava, train, shown, rates=(0.0,), **OPTIONS)
    with pytest.raises(InputError, match="'llm' is given twice"):
        teach(llava, train, shown, ("llm", "llm"), **OPTIONS)
    with pytest.raises(InputError, match="held out for the exam"):
        teach(llava, shown, shown, **OPTIONS)
    with pytest.raises(InputError, match="shapes visual tokens"):
        teach(llava, train, shown, ("llm+constraint",), **OPTIONS)
