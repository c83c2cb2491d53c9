"""The tuning matrix: one point per arm and measure, none where a measure is unknown."""

from typing import Any

from matplotlib.figure import Figure

from analysis.figures.tuning import COLUMNS, draw_training, draw_tuning
from tests.test_figures_all import answers


def entry(accuracy: float, **captions: float) -> dict[str, Any]:
    """One row of the ``tuning`` results."""
    known = {key: captions.get(key) for *keys, _ in COLUMNS[1:] for key in keys}
    return {**answers(accuracy), "captions": known}


def test_one_point_per_arm_and_known_measure() -> None:
    axes = Figure().subplots(1, len(COLUMNS), sharey=True)
    colour = {"colour": 0.9, "colour_low": 0.85, "colour_high": 0.95}
    draw_tuning(axes, {"base": entry(0.5, **colour), "arms": {"vision": entry(0.9, **colour)}}, 0.5)
    assert [len(ax.containers) for ax in axes] == [2, 2, 0, 0, 0]
    assert [text.get_text() for text in axes[0].texts] == ["90", "50"], "the tuned arm is the lowest row"
    assert [tick.get_text() for tick in axes[0].get_yticklabels()] == ["vision tuned", "as loaded"]


def test_training_curves_are_running_means() -> None:
    ax = Figure().subplots()
    draw_training(ax, {"arms": {"llm": {"history": [{"step": i, "answer": float(i)} for i in range(20)]}}})
    assert list(ax.lines[0].get_ydata())[:3] == [0.0, 0.5, 1.5]
