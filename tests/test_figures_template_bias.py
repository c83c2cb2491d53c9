"""Figures of template bias show the numbers they are given, and leave out what is not there."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.answer_information import information, information_with_labels
from analysis.descriptions import template_counts
from analysis.figures.style import PLAIN
from analysis.figures.template_bias import (
    draw_information,
    draw_residuals,
    draw_spread,
    draw_template_bias,
    draw_templates,
    panels,
)
from analysis.template_bias import divergence
from stimuli.tables import Table

GROUPS = list("ppqqrrss")
RESIDUALS: Table = [
    {"type": "gaussian_blur", "residual": 0.4, "low": 0.2, "high": 0.6, "p_holm": 0.01},
    {"type": "jpeg", "residual": -0.1, "low": -0.3, "high": 0.1, "p_holm": 0.8},
    {"type": "jitter", "residual": None, "low": None, "high": None, "p_holm": 1.0},
]


def test_spread_stands_beside_truth_prior_and_uniform() -> None:
    ax = Figure().subplots()
    entry = divergence(list("aaaaaabb"), ["a", "b"], GROUPS, {"b": 1}, 20, truth=list("abababab")).as_dict()
    draw_spread(ax, entry)
    truth, answers = ([bar.get_width() for bar in bars] for bars in ax.containers)
    assert truth == [0.5, 0.5, 0] and answers == [0.75, 0.25, 0]
    lines = {line.get_label().split(" (")[0]: line for line in ax.lines}
    assert list(lines["prior"].get_xdata()) == [0, 1, 0] and list(lines["uniform"].get_xdata()) == [0.5, 0.5]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b", "unparsed"]
    row = entry["distribution"][0]
    assert any(list(line.get_xdata()) == [row["low"], row["high"]] for line in ax.lines)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert f"truth (JS {entry['against'][2]['jensen_shannon']:.2f} bits)" in labels


def test_spread_without_prior_and_truth_draws_neither() -> None:
    ax = Figure().subplots()
    draw_spread(ax, divergence(["a"] * 8, ["a"], GROUPS, n_boot=20).as_dict())
    assert len(ax.containers) == 1 and {text.get_text()[:7] for text in ax.get_legend().get_texts()} == {"answers", "uniform"}


def test_information_has_three_bars_each_apart_in_grey_and_says_what_is_unknown() -> None:
    ax = Figure().subplots()
    rng = np.random.default_rng(0)
    answers = rng.choice(["a", "b"], (8, 3))
    about = information(answers, GROUPS, 20, permutations=5).as_dict()
    classes = information_with_labels(answers, list("xyxyxyxy"), GROUPS, 20, permutations=5).as_dict()
    draw_information(ax, about, json.loads(json.dumps(classes)))
    rows = [*about["table"], *classes["table"]]
    for bars, key in zip(ax.containers, ("plug_in", "permuted", "corrected"), strict=True):
        expected = [0 if row[key] != row[key] else row[key] for row in rows]
        assert [bar.get_height() for bar in bars] == pytest.approx(expected)
    assert len({(bars[0].get_facecolor(), bars[0].get_hatch()) for bars in ax.containers}) == 3
    assert [text.get_text().strip() for text in ax.texts] == ["unknown"], "of image given prompt, asked once"
    assert [tick.get_text() for tick in ax.get_xticklabels()][2] == "image\ngiven\nprompt"
    drawn = [tuple(line.get_ydata()) for line in ax.lines]
    assert (rows[0]["corrected_low"], rows[0]["corrected_high"]) in drawn


def test_residuals_are_in_order_and_filled_where_they_are_no_chance() -> None:
    ax = Figure().subplots()
    draw_residuals(ax, RESIDUALS)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["jpeg", "gaussian blur", "jitter"]
    sure, chance = (line for line in ax.lines if line.get_marker() == "o")
    assert (list(sure.get_xdata()), list(sure.get_ydata()), sure.get_markerfacecolor()) == ([0.4], [1], PLAIN)
    assert (list(chance.get_xdata()), list(chance.get_ydata()), chance.get_markerfacecolor()) == ([-0.1], [0], "white")
    assert [list(line.get_xdata()) for line in ax.lines if line.get_marker() == "None"][1:] == [[0.2, 0.6], [-0.3, 0.1]]
    assert [text.get_text() for text in ax.texts] == ["no type as severe"]


def test_panels_without_data_are_left_out() -> None:
    entry = {
        "divergence": divergence(["a"] * 8, ["a"], GROUPS, n_boot=20).as_dict(),
        "residuals": RESIDUALS,
        "information": None,
    }
    assert panels(entry) == ["divergence", "residuals"] and panels({}) == []
    axes = Figure().subplots(1, 2)
    draw_template_bias(axes, entry)
    assert [ax.get_title(loc="left") or ax.get_title() for ax in axes] == ["How answers are spread", "How types are scored"]


def test_templates_stand_above_their_bars_long_ones_cut() -> None:
    ax = Figure().subplots()
    long = " ".join(f"word{i}" for i in range(60))
    entry = template_counts([long, "same", "same", ""], {}, list("pqrs"), 20).as_dict()
    draw_templates(ax, entry)
    assert [bar.get_width() for bar in ax.containers[0]] == [0.5, 0.25, 0.25]
    texts = [text.get_text() for text in ax.texts]
    assert texts[:2] == ["same", "2 (50.0 %)"] and "(nothing is said)" in texts
    cut = next(text for text in texts if text.startswith("word0"))
    assert cut.endswith("…") and len(cut.split("\n")) == 2
    draw_templates(ax := Figure().subplots(), entry, most=1)
    assert len(ax.containers[0]) == 1
