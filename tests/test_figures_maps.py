"""The figure of maps: every image has its mask outlined, every map stands in its place and on one scale."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis.figures.maps import COLOURS, draw_maps, maps_figure
from analysis.figures.style import style
from stimuli.errors import InputError
from stimuli.types import Stimulus

MASK = np.zeros((24, 32), bool)
MASK[6:18, 8:] = True  # to the right edge


def stimuli() -> list[Stimulus]:
    image = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    return [
        Stimulus("a", "r", "white_noise_color_component", 5, pixels=image, area=lambda: MASK),
        Stimulus("b", "r", None, None, pixels=image),
    ]


def maps(sites: int = 2) -> dict[str, list[np.ndarray]]:
    return {f"vision.{s}": [np.full((4, 4), 0.1 * (s + 1)), np.eye(4)] for s in range(sites)}


def test_images_and_maps_lie_over_each_other_on_one_scale() -> None:
    axes = Figure().subplots(2, 3, squeeze=False)
    draw_maps(axes, stimuli(), maps())
    assert all(ax.images[0].get_extent() == [0, 32, 24, 0] for ax in axes.ravel())
    np.testing.assert_array_equal(axes[1, 0].images[0].get_array(), stimuli()[1].image)
    for column, site in enumerate(maps(), 1):
        for row in range(2):
            image = axes[row, column].images[0]
            np.testing.assert_array_equal(image.get_array(), maps()[site][row])
            assert image.get_clim() == (0, 1)


def test_the_outline_encloses_the_mask_and_clean_images_have_none() -> None:
    axes = Figure().subplots(2, 2, squeeze=False)
    draw_maps(axes, stimuli(), maps(1))
    for ax in axes[0]:
        assert len(ax.collections) == 2  # light on dark
        points = ax.collections[1].get_paths()[0].vertices
        assert points.min(0) == pytest.approx([8, 6], abs=0.51) and points.max(0) == pytest.approx([32, 18], abs=0.51)
    assert not axes[1, 0].collections and not axes[1, 1].collections


def test_scores_and_names_are_told() -> None:
    axes = Figure().subplots(2, 2, squeeze=False)
    draw_maps(axes, stimuli(), maps(1), {"vision.0": [0.876, float("nan")]})
    assert axes[0, 1].get_title() == "vision.0\nAUC 0.88"
    assert axes[1, 1].get_title() == ""
    assert axes[0, 0].get_ylabel() == "white noise color\ncomponent, level 5" and axes[1, 0].get_ylabel() == "clean"


def test_the_colours_rise_in_lightness() -> None:
    import matplotlib

    colours = matplotlib.colormaps[COLOURS](np.linspace(0, 1, 64))[:, :3]
    assert (np.diff(colours @ [0.2126, 0.7152, 0.0722]) > 0).all()


def test_texts_do_not_overlap_and_there_is_one_bar() -> None:
    with style():
        figure = maps_figure(stimuli(), maps(3), {f"vision.{s}": [0.5, 0.5] for s in range(3)})
        FigureCanvasAgg(figure)
        figure.canvas.draw()
        axes = figure.axes
        assert len(axes) == 2 * 4 + 1 and axes[-1].get_ylabel() == "probability of distortion"
        texts = [t for ax in axes for t in (ax.title, ax._left_title, ax.yaxis.label) if t.get_text()]
        boxes = [text.get_window_extent() for text in texts]
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
        pictures = [ax.get_window_extent() for ax in axes[:-1]]
        assert not any(text.overlaps(picture) for text in boxes for picture in pictures)


def test_maps_that_do_not_fit_are_refused() -> None:
    axes = Figure().subplots(2, 2, squeeze=False)
    with pytest.raises(InputError, match=r"axes of shape \(2, 2\).*for 2 stimuli\. Expected a row of axes per stimulus"):
        draw_maps(axes, stimuli(), maps(2))
    with pytest.raises(InputError, match="a map per stimulus"):
        draw_maps(axes, stimuli(), {"vision.0": [np.eye(4)]})
