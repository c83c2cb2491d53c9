"""Pieces of ``results.json``."""

from dataclasses import replace

from analysis.perception import Answers, score_answers
from snellen.results import tuning_entry
from stimuli.types import Stimulus

STIMULI = [Stimulus(f"{r}-{c}", f"r{r}", c or None, None) for r in range(6) for c in ("jpeg", "")]
LABELS = ["compression", "clean"] * 6


def answered(right: int) -> Answers:
    """Answers of which the first ``right`` are right."""
    wrong = {"compression": "clean", "clean": "compression"}
    said = [label if i < right else wrong[label] for i, label in enumerate(LABELS)]
    return score_answers(STIMULI, LABELS, said, ("compression", "clean"), "forced-choice", said, n_boot=200)


def test_a_tuned_arm_gains_over_the_base_and_the_base_gains_nothing() -> None:
    base, better = answered(4), answered(12)
    entry = tuning_entry("vision+constraint", better, base)
    assert entry["component"] == "vision" and entry["gain"] == better.balanced_accuracy - base.balanced_accuracy
    assert entry["gain_low"] <= entry["gain"] <= entry["gain_high"] and entry["p"] < 0.05
    alone = tuning_entry("base", base, None)
    assert alone["component"] is None and alone["gain"] is None and alone["accuracy"] == base.accuracy
    assert tuning_entry("llm", replace(base), base)["gain"] == 0
