"""Every verdict can be reached, and only by its evidence."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from analysis.perception import Answers, score_answers
from analysis.verdict import Arm, Verdict, decide
from analysis.verdict_steps import way
from probes.intervals import difference, holm, least_p
from probes.linear import Prediction
from probes.sweep import SweepResult
from stimuli.types import Stimulus

CLASSES = ("a", "b", "c", "d")
N = 320
LABELS = np.array(CLASSES)[np.arange(N) % 4]
STIMULI = [Stimulus(f"s{i}", f"r{i // 4}", None, None) for i in range(N)]
READ = "vision.1"


def guesses(accuracy: float, seed: int) -> np.ndarray:
    """Answers of which a share is right and the rest are wrong."""
    rng = np.random.default_rng(seed)
    wrong = np.array(CLASSES)[(np.arange(N) + rng.integers(1, 4, N)) % 4]
    return np.where(rng.permutation(N) < accuracy * N, LABELS, wrong)


def prediction(said: np.ndarray) -> Prediction:
    return Prediction((said[:, None] == np.array(CLASSES)).astype(float), CLASSES, (1.0,))


def swept(scores: Mapping[str, float], n_boot: int = 200, **changed: object) -> SweepResult:
    table, predictions = [], {}
    for i, (site, accuracy) in enumerate(scores.items()):
        said = guesses(accuracy, i)
        predictions[site] = prediction(said)
        name = site.split(".")[0]
        part = name if name in ("vision", "projector", "llm") else "baseline" if ":" in name else "input"
        row: dict[str, Any] = {"site": site, "component": part, "score": float(np.mean(said == LABELS)), "dim": 8}
        row |= {"content": 0.9, "content_chance": 0.0125}
        table.append({**row, "low": row["score"] - 0.05, "control_high": 0.3, **changed})
    ids, groups = tuple(s.id for s in STIMULI), np.array([s.reference for s in STIMULI])
    return SweepResult("distortion", table, predictions, LABELS, groups, ids, 0, 0, n_boot)


def survival(vision: float, read: float, projector: float, llm: float, n_boot: int = 200) -> SweepResult:
    return swept({"vision.0": vision, READ: read, "projector": projector, "llm.0": llm}, n_boot)


@cache
def said(accuracy: float, seed: int = 50) -> Answers:
    answers = guesses(accuracy, seed).tolist()
    return score_answers(STIMULI, LABELS.tolist(), answers, CLASSES, "forced-choice", answers, n_boot=200)


def arms(projector: float, llm: float, vision: float, constraint: float) -> list[Arm]:
    values = {"projector": projector, "llm": llm, "vision": vision, "vision+constraint": constraint}
    return [Arm(name, name.split("+")[0], said(value, 60 + i)) for i, (name, value) in enumerate(values.items())]


PAPER = survival(0.95, 0.5, 0.4, 0.4)
INTACT = survival(0.95, 0.95, 0.93, 0.93)
CASES: list[tuple[SweepResult, float, list[Arm], str, str]] = [
    (PAPER, 0.25, arms(0.35, 0.4, 0.6, 0.9), "vision", "strong"),
    (INTACT, 0.25, arms(0.3, 0.85, 0.3, 0.3), "llm", "strong"),
    (survival(0.95, 0.95, 0.4, 0.4), 0.25, arms(0.85, 0.4, 0.4, 0.45), "projector", "strong"),
    (INTACT, 0.25, arms(0.3, 0.35, 0.3, 0.85), "vision", "mixed"),
    (INTACT, 0.93, arms(0.9, 0.9, 0.9, 0.9), "none", "strong"),
    (PAPER, 0.25, arms(0.25, 0.25, 0.25, 0.25), "cannot tell", "weak"),
    (survival(0.95, 0.5, 0.45, 0.45), 0.42, arms(0.8, 0.2, 0.3, 0.8), "vision", "strong"),
    (PAPER, 0.25, [], "vision", "weak"),
    (INTACT, 0.25, [], "llm", "weak"),
    (INTACT, 0.93, [], "none", "weak"),
    (survival(0.95, 0.95, 0.4, 0.4), 0.35, [], "projector", "weak"),
    (survival(0.26, 0.26, 0.26, 0.26), 0.25, [], "cannot tell", "weak"),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case[3]}" for i, case in enumerate(CASES)])
def test_every_verdict_is_reached_by_its_evidence(case: tuple[SweepResult, float, list[Arm], str, str]) -> None:
    result, base, tuned, component, confidence = case
    found = decide(result, READ, said(base), tuned)
    assert (found.component, found.confidence) == (component, confidence), found.sentence
    assert found.sentence.endswith(".") and found.as_dict()["component"] == component
    assert component in ("none", "cannot tell") or found.candidates == (component,)
    assert found.evidence


def test_the_order_of_the_arms_changes_nothing() -> None:
    tuned = arms(0.35, 0.4, 0.6, 0.9)
    found: list[Verdict] = [decide(PAPER, READ, said(0.25), order) for order in list(itertools.permutations(tuned))[::5]]
    assert len({verdict.component for verdict in found}) == 1
    assert len({str(verdict.evidence) for verdict in found}) == 1


def test_evidence_says_what_it_supports() -> None:
    rows = decide(PAPER, READ, said(0.25), arms(0.35, 0.4, 0.6, 0.9)).evidence
    by_name = {row["what"]: row["supports"] for row in rows}
    assert by_name["vision: probe, vision.0 → vision.1"] == "vision"
    assert by_name["answers after tuning vision+constraint"] == "vision"
    assert any(name.startswith("vision+constraint against") for name in by_name)


def test_shares_of_the_loss_are_evidence_and_decide_nothing() -> None:
    found = decide(PAPER, READ, said(0.25), arms(0.35, 0.4, 0.6, 0.9))
    rows = {row["what"].split(":")[0]: row for row in found.evidence if row["note"].startswith("mediation")}
    assert list(rows) == ["vision", "projector", "llm"] and found.component == "vision"
    assert [rows[name]["value"] for name in rows] == pytest.approx([0.5 / 0.65, 0, 0.15 / 0.65], abs=0.02)
    assert [row["supports"] for row in rows.values()] == ["vision", "", ""]
    early = arms(0.25, 0.7, 0.25, 0.85)  # the language model reads more than half of it, and the encoder still cures
    apart = decide(PAPER, READ, said(0.25), early)
    assert [row["supports"] for row in apart.evidence if row["note"].startswith("mediation")] == ["", "", "llm"]
    assert apart.component == "vision"


def test_one_component_or_a_union_gives_no_shares() -> None:
    union = Arm("vision+projector", "vision+projector", said(0.9, 61))
    for tuned in ([], [Arm("vision", "vision", said(0.9))], [Arm("vision", "vision", said(0.9)), union]):
        evidence = decide(PAPER, READ, said(0.25), tuned).evidence
        assert not any(row["note"].startswith("mediation") for row in evidence)


def test_missing_pieces_are_no_error() -> None:
    part = swept({"vision.0": 0.95, READ: 0.5})
    assert decide(part, READ, said(0.35), []).component == "vision"


# ---- survival alone ----------------------------------------------------------------------------------------------------

BEHIND = {"vision.0": 0.6, READ: 0.6, "projector": 0.6, "llm.0": 0.6}


def test_a_processor_that_removes_it_is_named_and_an_idle_one_is_not() -> None:
    wiped = swept({"pixels": 0.9, "processed": 0.5, **dict.fromkeys(BEHIND, 0.5)})
    found = decide(wiped, READ, said(0.45))
    assert found.component == "processor", found.sentence
    assert any(
        row["supports"] == "processor" and row["what"] == "processor: pixel statistics, pixels → processed"
        for row in found.evidence
    )
    assert decide(wiped, READ, said(0.45), arms(0.45, 0.45, 0.45, 0.45)).component == "processor"
    idle = swept({"pixels": 0.9, "processed": 0.9, **dict.fromkeys(BEHIND, 0.5)})
    assert decide(idle, READ, said(0.45)).component == "vision"  # never encoded, although the input holds it


def test_what_is_read_behind_the_processor_was_not_lost_in_it() -> None:
    found = decide(swept({"pixels": 0.9, "processed": 0.5, **dict.fromkeys(BEHIND, 0.92)}), READ, said(0.9))
    assert found.component == "none", found.sentence


def test_a_projector_that_was_not_probed_is_not_cleared() -> None:
    found = decide(swept({"vision.0": 0.95, READ: 0.95, "llm.0": 0.95}), READ, said(0.3))
    assert found.component == "cannot tell" and found.candidates == ("llm", "projector")


def test_very_different_widths_are_pointed_out() -> None:
    wide = survival(0.95, 0.95, 0.4, 0.4)
    wide.row("projector")["dim"] = 64
    wide.row("llm.0")["dim"] = 64
    assert any("8 → 64 features: compare at equal dimension" in row["what"] for row in decide(wide, READ, said(0.3)).evidence)


def test_a_site_behind_the_one_that_is_read_counts_for_what_leaves_the_encoder() -> None:
    scores = {"vision.0": 0.95, READ: 0.5, "vision.2": 0.93, "projector": 0.5, "llm.0": 0.5}
    steps = {step.component: step for step in way(swept(scores), READ, said(0.45)).steps}
    assert steps["vision"].end == "vision.2"


def test_other_features_before_and_after_the_processor_are_not_compared() -> None:
    mixed = swept({"pixels": 0.9, "processed": 0.5, **dict.fromkeys(BEHIND, 0.9)})
    mixed.row("pixels")["dim"] = 48
    assert "processor" not in [step.component for step in way(mixed, READ, said(0.9)).steps]


def test_a_better_reading_of_the_input_shows_what_the_encoder_never_took_in() -> None:
    blind = swept({"pixels": 0.5, "processed": 0.5, **dict.fromkeys(BEHIND, 0.5)})
    assert decide(blind, READ, said(0.5)).component != "vision"
    inputs = {name: prediction(guesses(0.95, 9)) for name in ("pixels", "processed")}
    assert decide(blind, READ, said(0.45), inputs=inputs).component == "vision"


def test_a_random_encoder_that_reads_more_is_evidence_against_the_encoder() -> None:
    scores = {**dict.fromkeys(BEHIND, 0.5), "baseline:random-weights": 0.95}
    assert decide(swept(scores), READ, said(0.45)).component == "vision"


def test_a_loss_below_the_margin_names_nobody() -> None:
    found = decide(INTACT, READ, said(0.89))
    assert found.component == "none" and not any(row["supports"] for row in found.evidence)


def test_the_answers_may_fall_behind_a_probe_by_more_before_the_language_model_is_named() -> None:
    assert decide(INTACT, READ, said(0.76)).component == "cannot tell"
    assert decide(survival(0.95, 0.95, 0.76, 0.76), READ, said(0.75)).component == "projector"
    assert decide(INTACT, READ, said(0.65)).component == "llm"


def test_an_early_loss_that_is_not_excluded_keeps_a_later_one_from_being_named() -> None:
    found = decide(survival(0.95, 0.8, 0.8, 0.8), READ, said(0.3))
    assert found.component == "cannot tell" and found.candidates == ("vision", "llm")
    assert "vision or in llm" in found.sentence


def test_of_two_losses_alike_the_first_is_named_and_a_larger_later_one_prevents_it() -> None:
    assert decide(survival(0.95, 0.7, 0.45, 0.45), READ, said(0.42)).component == "vision"
    found = decide(survival(0.95, 0.7, 0.3, 0.3), READ, said(0.28))
    assert found.component == "cannot tell" and found.candidates == ("vision", "projector")


def test_behind_an_encoder_of_unknown_intake_nobody_is_named() -> None:
    alike = survival(0.6, 0.6, 0.6, 0.6)
    kept = dict.fromkeys(alike.predictions, alike.predictions["llm.0"])  # no step loses anything before the answers
    found = decide(replace(alike, predictions=kept), READ, said(0.26))
    assert found.component == "cannot tell" and found.candidates == ("llm", "vision")


def test_p_is_adjusted_over_the_steps() -> None:
    steps = way(survival(0.9, 0.8, 0.7, 0.6), READ, said(0.5)).steps
    raw = [difference(step.change.value, step.draws).p if step.start != step.end else 1.0 for step in steps]
    assert [step.change.p for step in steps] == holm(raw) != raw


def test_few_resamples_name_nobody() -> None:
    found = decide(survival(0.95, 0.5, 0.4, 0.4, n_boot=50), READ, said(0.25))
    assert found.component == "cannot tell" and "50 resamples are too few for 3 comparisons" in found.sentence


def test_few_references_name_nobody() -> None:
    few = replace(PAPER, groups=np.array([f"r{i % 6}" for i in range(N)]))
    found = decide(few, READ, said(0.25))
    assert found.component == "cannot tell" and "6 references are too few for 3 comparisons" in found.sentence
    assert [step.change.p for step in way(few, READ, said(0.25)).steps][0] == 3 * least_p(6)
    enough = replace(PAPER, groups=np.array([f"r{i % 12}" for i in range(N)]))
    assert decide(enough, READ, said(0.25)).component != "cannot tell"


def test_a_site_that_cannot_tell_the_references_apart_is_no_witness() -> None:
    dead = survival(0.95, 0.25, 0.25, 0.25)
    for site in (READ, "projector", "llm.0"):
        dead.row(site)["content"] = 0.0125
    found = decide(dead, READ, said(0.25))
    assert found.component == "cannot tell" and "cannot tell the references apart" in found.sentence


def test_a_later_probe_that_finds_more_clears_the_earlier_site() -> None:
    steps = {step.component: step for step in way(survival(0.95, 0.95, 0.4, 0.9), READ, said(0.9)).steps}
    assert steps["projector"].end == "llm.0" and not steps["projector"].counts(0.1, 0.05)


def test_the_losses_add_up_to_the_whole_distance() -> None:
    found = way(survival(0.9, 0.7, 0.6, 0.65), READ, said(0.4))
    assert sum(step.change.value for step in found.steps) == pytest.approx(found.whole.change.value)
    assert all(step.change.value <= 0 for step in found.steps)


def test_answers_better_than_every_probe_are_no_loss() -> None:
    assert decide(survival(0.6, 0.6, 0.6, 0.6), READ, said(0.95)).component == "none"


def test_an_answered_part_of_the_stimuli_is_compared_on_that_part() -> None:
    whole = said(0.25)
    part = score_answers(STIMULI[:160], LABELS[:160].tolist(), [r["answer"] for r in whole.table[:160]], CLASSES, "forced-choice",
                         ["" for _ in range(160)], n_boot=300)  # fmt: skip
    assert way(PAPER, READ, part).scores["answer"] == pytest.approx(part.balanced_accuracy)
