"""Figures of attribution show the values of their tables, and overlays are floats that keep the sign."""

from typing import Any

import numpy as np
import pytest

from analysis.figures.attribution import draw_conductance, draw_leaders, draw_overlay, draw_sanity, overlay
from analysis.figures.files import canvas


def leaders() -> list[dict[str, Any]]:
    rows = []
    for name, value in (("occlusion", 0.8), ("edges", 0.6), ("random", 0.5), ("mask", 0.97)):
        rows.append({"method": name, "auc": value, "auc_low": value - 0.1, "auc_high": value + 0.1, "auc_chance": 0.5, "auc_control": 0.5,
                     "deletion": 1 - value, "deletion_low": 0.0, "deletion_high": 1.0})  # fmt: skip
    return rows


def test_an_overlay_is_grey_without_heat_and_coloured_by_sign() -> None:
    image = np.full((8, 8, 3), 100, np.uint8)
    heat = np.array([[2.0, 0.0], [0.0, -2.0]])
    shown = overlay(image, heat)
    assert shown.dtype == np.float64 and shown.min() >= 0 and shown.max() <= 1
    assert np.allclose(shown[0, 7], 100 / 255) and np.allclose(overlay(image, np.zeros((2, 2))), 100 / 255)
    light = shown @ np.array([0.299, 0.587, 0.114])
    assert light[0, 0] > light[0, 7] > light[7, 7]
    assert not np.allclose(overlay(image, heat, limit=8.0)[0, 0], shown[0, 0])
    faint = overlay(image, np.array([[1.0, 1e-4], [0.0, 0.0]]))  # less than one of 255 steps, and still there
    assert 0 < np.abs(faint[0, 7] - 100 / 255).max() < 1 / 255


def test_methods_stand_by_their_score() -> None:
    made, ax = canvas(6, 3)
    draw_leaders(ax, leaders())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["random", "edges", "occlusion"]
    assert ax.get_xlabel() == "area under the ROC curve"
    lines = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) and line.get_linestyle() in ("--", ":")]
    assert lines == pytest.approx([0.97, 0.5])
    made, ax = canvas(6, 3)
    draw_leaders(ax, leaders(), "deletion")
    assert [label.get_text() for label in ax.get_yticklabels()][-1] == "occlusion"


def test_sanity_and_conductance_show_every_row() -> None:
    made, ax = canvas(6, 3)
    rows = [
        {"method": m, "randomised": r, "spearman": v, "spearman_low": v - 0.1, "spearman_high": v + 0.1}
        for m, v in (("edges", 1.0), ("occlusion", 0.2))
        for r in ("llm", "llm+projector")
    ]
    draw_sanity(ax, rows)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["llm", "llm\n+ projector"]
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {"edges", "occlusion"}
    made, ax = canvas(6, 3)
    carried = [
        {"site": site, "set": name, "share": share, "low": share - 0.1, "high": share + 0.1}
        for site in ("projector", "llm.0")
        for name, share in (("all", 1.0), ("inside", 0.7), ("other", 0.0))
    ]
    draw_conductance(ax, carried)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["all tokens", "image, in the region"]
    made, ax = canvas(2, 2)
    draw_overlay(ax, np.zeros((8, 8, 3), np.uint8), np.eye(2), np.eye(8, dtype=bool), title="a")
    assert ax.get_title() == "a" and len(ax.collections) == 2
