"""Figures of answers show the numbers they are given."""

from matplotlib.figure import Figure

from analysis.figures.answers import draw_confusion, draw_levels, draw_responses, draw_severity
from tests.test_figures_all import answers


def test_confusion_rows_are_percentages_of_the_truth() -> None:
    ax = Figure().subplots()
    draw_confusion(ax, answers(0.8), "title")
    assert sorted(text.get_text() for text in ax.texts) == ["20", "20", "80", "80"], "empty cells stay empty"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["blur", "clean", "unparsed"]


def test_responses_stand_beside_the_truth() -> None:
    ax = Figure().subplots()
    draw_responses(ax, {"as loaded": answers(0.5), "vision": answers(0.9)})
    truth, before, after = ([bar.get_width() for bar in bars] for bars in ax.containers)
    assert truth == before == after == [0.5, 0.5, 0.0]
    assert len({bars[0].get_hatch() or "" for bars in ax.containers[1:]}) == 2, "apart also in grey"


def test_levels_and_severity_are_drawn_where_they_are_known() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    draw_levels(left, {"as loaded": answers(0.5)})
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["clean", "3"]
    rows = [{"class": "blur", "level": level, "psnr": psnr} for level, psnr in ((5, 20.0), (3, 25.0), (4, None))]
    draw_severity(right, rows)
    assert list(right.lines[0].get_xdata()) == [3, 5] and list(right.lines[0].get_ydata()) == [25.0, 20.0]
