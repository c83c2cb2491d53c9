"""The distance figures: labels of words stay readable."""

import itertools

import matplotlib.pyplot as plt

from analysis.figures.distance import draw_plane
from analysis.figures.style import style


def test_labels_of_crowded_words_do_not_overlap() -> None:
    names = ["contrast", "jitter", "clean", "colorfulness"]
    places = [(0.50, 0.50), (0.56, 0.49), (0.57, 0.55), (0.45, 0.55)]
    words = [{"label": name, "x": x, "y": y} for name, (x, y) in zip(names, places, strict=True)]
    points = [{"when": when, "label": "clean", "x": x, "y": x} for when in ("before", "after") for x in (0.0, 1.0)]
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(8.2, 3.6))
        draw_plane(axes, {"points": points, "words": words, "method": "PCA", "trustworthiness": 0.9}, names)
        boxes = [text.get_window_extent() for text in axes[0].texts]
    plt.close(figure)
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_labels_of_words_in_one_heap_keep_apart_and_lead_to_their_stars() -> None:
    names = ["blur", "noise", "brightness", "compression", "contrast", "colorfulness", "jitter", "clean"]
    words = [{"label": name, "x": 0.5 + 0.004 * i, "y": 0.5 - 0.003 * (i % 3)} for i, name in enumerate(names)]
    points = [{"when": when, "label": "clean", "x": x, "y": x} for when in ("before", "after") for x in (0.0, 1.0)]
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(8.2, 3.6))
        draw_plane(axes, {"points": points, "words": words, "method": "PCA", "trustworthiness": 0.9}, names)
        figure.canvas.draw()
        boxes = [text.get_bbox_patch().get_window_extent() for text in axes[0].texts]
        led = [text.arrow_patch is not None for text in axes[0].texts]
    plt.close(figure)
    assert len(boxes) == 8 and any(led) and not all(led)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_arrows_stand_in_the_last_panel_and_labels_keep_off_them_and_inside() -> None:
    names = ["noise", "blur"]
    words = [{"label": "noise", "x": 1.0, "y": 0.5}, {"label": "blur", "x": 0.2, "y": 0.5}]
    points = [{"when": when, "label": "blur", "x": x, "y": x} for when in ("before", "after") for x in (0.0, 1.0)]
    arrows = [{"label": "blur", "x0": 0.23, "y0": 0.53, "x1": 0.5, "y1": 0.6}]
    found = {
        "points": points,
        "words": words,
        "arrows": arrows,
        "method": "PCA",
        "trustworthiness": 0.9,
        "seed": 7,
        "explained": (0.5, 0.25),
    }
    with style():
        figure, axes = plt.subplots(1, 3, figsize=(11, 3.6))
        draw_plane(axes, found, names)
        bare, moved = ({text.get_text(): text for text in ax.texts if text.get_text()} for ax in (axes[1], axes[2]))
        assert len(axes[2].texts) == len(axes[1].texts) + 2, "an arrow and its white edge"
        assert moved["blur"].get_position() != bare["blur"].get_position(), "its usual corner is taken by the arrow"
        assert moved["noise"].get_window_extent().x1 < axes[2].get_window_extent().x1
    assert "trustworthiness 0.90, seed 7" in axes[0].get_title(loc="left") and "50 % of the variance" in axes[0].get_xlabel()
    assert axes[0].get_xlim() == axes[1].get_xlim() == axes[2].get_xlim() == (-0.1, 1.1)
    plt.close(figure)
