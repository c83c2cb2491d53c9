"""One look everywhere, and matplotlib as it was afterwards."""

import importlib
import inspect
import itertools
import pkgutil
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb

from analysis import figures
from analysis.figures.style import ARMS, CLASS_COLOURS, CLASS_MARKERS, COLOURS, HATCHES, LINES, MARKERS, colour, style


def test_settings_are_put_back() -> None:
    before = matplotlib.rcParams["axes.titleweight"]
    with style():
        assert matplotlib.rcParams["axes.titleweight"] == "bold" != before
    assert matplotlib.rcParams["axes.titleweight"] == before


def test_arms_and_classes_differ_in_colour_and_in_marker() -> None:
    assert len({COLOURS[arm] for arm in ARMS}) == len({MARKERS[arm] for arm in ARMS}) == len(ARMS)
    assert len(set(CLASS_COLOURS)) == len(set(CLASS_MARKERS)) == 9
    assert colour("a user's own arm") == COLOURS["base"]


def seen_without_green(colour: str) -> np.ndarray:
    """CIELAB of a colour to the eye without green cones (Machado et al. 2009, table 1, deuteranomaly of severity 1; CIE 1976, D65)."""
    cones = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]])
    given = np.array(to_rgb(colour))
    light = np.where(given <= 0.04045, given / 12.92, ((given + 0.055) / 1.055) ** 2.4)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ np.clip(
        cones @ light, 0, 1
    )
    f = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_components_are_told_apart_without_green_cones_and_in_grey() -> None:
    for one, other in itertools.combinations(("vision", "projector", "llm", "vision+constraint"), 2):
        assert np.linalg.norm(seen_without_green(COLOURS[one]) - seen_without_green(COLOURS[other])) > 20, (one, other)
        assert MARKERS[one] != MARKERS[other] and LINES[one] != LINES[other] and HATCHES[one] != HATCHES[other]


def test_the_colours_of_components_are_written_down_in_one_place() -> None:
    components = {COLOURS[name] for name in ("vision", "projector", "llm")}
    for file in Path(figures.__file__).parent.glob("*.py"):
        if file.name != "style.py":
            assert not [shade for shade in components if shade.lower() in file.read_text().lower()], file.name


def test_every_draw_function_takes_axes_and_writes_no_file() -> None:
    found = 0
    for module in pkgutil.iter_modules(figures.__path__):
        own = importlib.import_module(f"analysis.figures.{module.name}")
        for name, function in inspect.getmembers(own, inspect.isfunction):
            if name.startswith("draw_") and function.__module__ == own.__name__:
                given = list(inspect.signature(function).parameters)
                assert given[0] in ("ax", "axes") and not {"folder", "path", "formats"} & set(given), name
                found += 1
    assert found > 40


def test_letters_are_embedded_in_every_format() -> None:
    with style():
        settings = dict(matplotlib.rcParams)
    assert settings["pdf.fonttype"] == settings["ps.fonttype"] == 42 and settings["svg.fonttype"] == "none"
