"""Every verdict can be reached, and only by its evidence."""

import itertools

import numpy as np
import pytest

from analysis.perception import Answers, score_answers
from analysis.verdict import Arm, Verdict, decide
from probes.linear import Prediction
from probes.sweep import SweepResult
from stimuli.types import Stimulus

CLASSES = ("a", "b", "c", "d")
N = 160
LABELS = np.array(CLASSES)[np.arange(N) % 4]
STIMULI = [Stimulus(f"s{i}", f"r{i // 4}", None, None) for i in range(N)]
READ = "vision.1"


def guesses(accuracy: float, seed: int) -> np.ndarray:
    """Answers of which a share is right and the rest are wrong."""
    rng = np.random.default_rng(seed)
    wrong = np.array(CLASSES)[(np.arange(N) + rng.integers(1, 4, N)) % 4]
    return np.where(rng.permutation(N) < accuracy * N, LABELS, wrong)


def survival(vision: float, read: float, projector: float, llm: float) -> SweepResult:
    table, predictions = [], {}
    scores = {"vision.0": vision, READ: read, "projector": projector, "llm.0": llm}
    for i, (site, accuracy) in enumerate(scores.items()):
        said = guesses(accuracy, i)
        predictions[site] = Prediction((said[:, None] == np.array(CLASSES)).astype(float), CLASSES, (1.0,))
        row = {"site": site, "component": site.split(".")[0], "score": float(np.mean(said == LABELS))}
        table.append({**row, "low": row["score"] - 0.05, "control_high": 0.3})
    ids, groups = tuple(s.id for s in STIMULI), np.array([s.reference for s in STIMULI])
    return SweepResult("distortion", table, predictions, LABELS, groups, ids, 0, 0, 300)


def said(accuracy: float, seed: int = 50) -> Answers:
    answers = guesses(accuracy, seed).tolist()
    return score_answers(STIMULI, LABELS.tolist(), answers, CLASSES, "forced-choice", answers, n_boot=300)


def arms(projector: float, llm: float, vision: float, constraint: float) -> list[Arm]:
    values = {"projector": projector, "llm": llm, "vision": vision, "vision+constraint": constraint}
    return [Arm(name, name.split("+")[0], said(value, 60 + i)) for i, (name, value) in enumerate(values.items())]


PAPER = survival(0.9, 0.5, 0.4, 0.4)
INTACT = survival(0.9, 0.9, 0.88, 0.88)
CASES: list[tuple[SweepResult, float, list[Arm], str, str]] = [
    (PAPER, 0.25, arms(0.35, 0.4, 0.6, 0.9), "vision", "strong"),
    (INTACT, 0.25, arms(0.3, 0.85, 0.3, 0.3), "llm", "strong"),
    (survival(0.9, 0.9, 0.4, 0.4), 0.25, arms(0.85, 0.4, 0.4, 0.45), "projector", "strong"),
    (INTACT, 0.25, arms(0.3, 0.35, 0.3, 0.85), "vision", "mixed"),
    (INTACT, 0.9, arms(0.9, 0.9, 0.9, 0.9), "none", "strong"),
    (PAPER, 0.25, arms(0.25, 0.25, 0.25, 0.25), "cannot tell", "weak"),
    (survival(0.9, 0.5, 0.4, 0.4), 0.38, arms(0.8, 0.2, 0.3, 0.8), "vision", "strong"),
    (PAPER, 0.25, [], "vision", "weak"),
    (INTACT, 0.25, [], "llm", "weak"),
    (survival(0.26, 0.26, 0.26, 0.26), 0.25, [], "cannot tell", "weak"),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case[3]}" for i, case in enumerate(CASES)])
def test_every_verdict_is_reached_by_its_evidence(case: tuple[SweepResult, float, list[Arm], str, str]) -> None:
    swept, base, tuned, component, confidence = case
    found = decide(swept, READ, said(base), tuned)
    assert (found.component, found.confidence) == (component, confidence), found.sentence
    assert found.sentence.endswith(".") and found.as_dict()["component"] == component
    assert found.evidence if tuned or component != "none" else True


def test_the_order_of_the_arms_changes_nothing() -> None:
    tuned = arms(0.35, 0.4, 0.6, 0.9)
    found: list[Verdict] = [decide(PAPER, READ, said(0.25), order) for order in itertools.permutations(tuned)]
    assert len({verdict.component for verdict in found}) == 1
    assert len({str(verdict.evidence) for verdict in found}) == 1


def test_evidence_says_what_it_supports() -> None:
    rows = decide(PAPER, READ, said(0.25), arms(0.35, 0.4, 0.6, 0.9)).evidence
    by_name = {row["what"]: row["supports"] for row in rows}
    assert by_name["probe, vision.0 → vision.1"] == "vision"
    assert by_name["answers after tuning vision+constraint"] == "vision"
    assert any(name.startswith("vision+constraint against") for name in by_name)


def test_missing_pieces_are_no_error() -> None:
    only = survival(0.9, 0.5, 0.4, 0.4)
    table = [row for row in only.table if row["component"] == "vision"]
    kept = {row["site"]: only.predictions[row["site"]] for row in table}
    part = SweepResult("distortion", table, kept, only.labels, only.groups, only.ids, 0, 0, 300)
    assert decide(part, READ, said(0.25), []).component == "vision"
