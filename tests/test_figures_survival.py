"""The survival curve shows the scores it is given, in the order of the way, and the answer at the end."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.figures.survival import draw_survival, draw_survival_arms
from tests.test_figures_all import answers, probe


def survival() -> dict[str, Any]:
    """Four sites, one baseline, one arm."""
    rows = [probe("pixels", "input", 0.5), probe("vision.0", "vision", 0.9), probe("projector", "projector", 0.6),
            probe("llm.0", "llm", 0.55)]  # fmt: skip
    arm = [probe(row["site"], row["component"], 0.8) for row in rows]
    base = [probe("baseline:pixel-statistics", "baseline", 0.7)]
    return {"base": rows, "baselines": base, "arms": {"vision": arm}, "chance": 0.5, "majority": 0.5}


def lines(ax: Any) -> dict[str, np.ndarray]:
    return {line.get_label(): np.asarray(line.get_ydata(), float) for line in ax.lines}


def test_scores_baselines_and_the_answer_are_all_there() -> None:
    ax = Figure().subplots()
    draw_survival(ax, survival(), answers(0.5))
    drawn = lines(ax)
    assert np.array_equal(drawn["probe (95 % interval over references)"], [0.5, 0.9, 0.6, 0.55])
    assert drawn["pixel statistics 70 %"][0] == 0.7 and drawn["chance 50.0 %"][0] == 0.5
    content = drawn["content: which reference is it?"]
    assert np.isnan(content[0]) and content[1] == 0.9, "what is not known leaves a gap"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["pixels", "vision.0", "projector", "llm.0", "answer"]
    assert any(text.get_text() == "50.0 %" for text in ax.texts)


def test_last_position_probes_stand_at_their_sites() -> None:
    ax = Figure().subplots()
    draw_survival(ax, {**survival(), "last_position": [probe("llm.0", "llm", 0.7)]}, answers(0.5))
    (line,) = [line for line in ax.lines if line.get_label() == "probe at the last prompt position"]
    assert list(line.get_xdata()) == [3] and list(line.get_ydata()) == [0.7]


def test_every_arm_has_its_curve_and_its_answer() -> None:
    ax = Figure().subplots()
    draw_survival_arms(ax, survival(), {"base": answers(0.5), "arms": {"vision": answers(0.9)}})
    curves = [line.get_ydata() for line in ax.lines if len(line.get_xdata()) == 4]
    assert [list(curve) for curve in curves] == [[0.5, 0.9, 0.6, 0.55], [0.8] * 4]
    assert {text.get_text() for text in ax.get_legend().get_texts()} >= {"base", "vision"}
