"""Figures on disk: every format, the rows behind each as CSV, nothing where there is no data, the same bytes every time."""

import csv
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image

from analysis.figures.files import FORMATS, Made, bound, canvas, written


def plotted(results: Any) -> Made:
    """A line of the results, or nothing of none."""
    if not results:
        return None
    made, ax = canvas(2.0, 1.5)
    ax.plot(results)
    ax.set_title("A title")
    return made, [{"x": i, "y": value} for i, value in enumerate(results)]


def test_a_canvas_has_the_size_and_the_axes_that_were_asked_for() -> None:
    made, ax = canvas(3.0, 2.0)
    assert tuple(made.get_size_inches()) == (3.0, 2.0) and made.axes == [ax]
    made, axes = canvas(3.0, 2.0, 2, 3, sharex=True, squeeze=False)
    assert axes.shape == (2, 3) and len(made.axes) == 6 and axes[0, 0].get_shared_x_axes().joined(axes[0, 0], axes[1, 2])
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums(), "no figure is left in pyplot's state"


def test_every_format_and_the_rows_are_written(tmp_path: Path) -> None:
    found = written(bound({"line": plotted, "none": lambda results: plotted(None)}, [1.0, 3.0]), tmp_path / "new" / "figures")
    assert set(found) == {"line"} and set(found["line"]) == set(FORMATS) == {"png", "pdf", "svg"}
    assert all(path == tmp_path / "new" / "figures" / f"line.{ending}" for ending, path in found["line"].items())
    starts = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}
    assert all(path.read_bytes().startswith(starts[ending]) for ending, path in found["line"].items())
    with open(tmp_path / "new" / "figures" / "line.csv") as handle:
        assert list(csv.DictReader(handle)) == [{"x": "0", "y": "1.0"}, {"x": "1", "y": "3.0"}]
    assert sorted(path.name for path in (tmp_path / "new" / "figures").iterdir()) == [
        "line.csv", "line.pdf", "line.png", "line.svg"
    ]  # fmt: skip


def test_without_data_not_even_the_folder_is_made(tmp_path: Path) -> None:
    assert written(bound({"line": plotted}, []), tmp_path / "figures") == {} and not (tmp_path / "figures").exists()


def test_only_the_formats_that_were_asked_for_are_written(tmp_path: Path) -> None:
    assert set(written(bound({"line": plotted}, [1.0]), tmp_path, ("svg",))["line"]) == {"svg"}
    assert {path.suffix for path in tmp_path.iterdir()} == {".svg", ".csv"}


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (written(bound({"line": plotted}, [1.0, 2.0]), tmp_path / name)["line"] for name in ("a", "b"))
    assert all(first[ending].read_bytes() == second[ending].read_bytes() for ending in FORMATS)
    assert b"<dc:date>" not in first["svg"].read_bytes() and b"CreationDate" not in first["pdf"].read_bytes()


def test_figures_have_our_style_and_settings_stay_as_they_were(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    seen: dict[str, Any] = {}

    def noting(results: Any) -> Made:
        seen.update(matplotlib.rcParams)
        return plotted(results)

    written(bound({"line": noting}, [1.0]), tmp_path, ("svg",))
    assert seen["font.size"] == 8.5 and seen["svg.hashsalt"] == "snellen" and dict(matplotlib.rcParams) == before


@pytest.mark.slow
@pytest.mark.heavy
def test_several_processes_write_the_same_files_in_the_plans_order(tmp_path: Path) -> None:
    plan = bound({f"line{i}": plotted for i in range(8)} | {"none": lambda results: plotted(None)}, [1.0, 2.0])
    one, two = (written(plan, tmp_path / str(workers), workers=workers) for workers in (1, 2))
    assert [*one] == [*two] == [f"line{i}" for i in range(8)]
    for name, files in one.items():
        assert all(path.read_bytes() == two[name][ending].read_bytes() for ending, path in files.items())


def test_a_figure_drawn_alone_is_laid_out_as_with_other_formats(tmp_path: Path) -> None:
    alone, among = (written(bound({"line": plotted}, [1.0, 2.0]), tmp_path / str(len(f)), f) for f in (("svg",), FORMATS))
    assert alone["line"]["svg"].read_bytes() == among["line"]["svg"].read_bytes()


def test_a_long_label_is_whole(tmp_path: Path) -> None:
    def labelled(_: Any) -> Made:
        made, ax = canvas(4.0, 3.0)
        ax.barh(range(12), range(12))
        ax.set_yticks(range(12), ["white noise color component (10)"] * 12)
        return made, []

    (files,) = written(bound({"bars": labelled}, None), tmp_path, ("png",)).values()
    with Image.open(files["png"]) as image:
        assert np.asarray(image.convert("L"))[:, :3].min() > 200, "a letter reaches the edge"
