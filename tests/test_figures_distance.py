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
