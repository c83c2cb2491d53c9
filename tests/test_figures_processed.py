"""The figure of what the resize leaves shows the rows it is given, every processor with a marker of its own."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.figures.all import processed_figures
from analysis.figures.files import written
from analysis.figures.processed import draw_processed


def row(processor: str, kind: str, kept: float | None, after: float | None, level: int | str = "all") -> dict[str, Any]:
    """A row of ``processed_survival``."""
    found: dict[str, Any] = {"processor": processor, "type": kind, "level": level, "size_out": "224x224", "energy_kept": kept,
                             "kept_low": kept, "kept_high": kept, "chance": 0.125, "note": ""}  # fmt: skip
    scores = {"before": 0.91, "before_low": 0.85, "before_high": 0.95, "after": after, "after_low": after, "after_high": after}
    return {**found, **(scores if after is not None else {})}


ROWS = [
    row("clip:224", "all", 0.6, 0.5),
    row("clip:224", "white_noise", 0.2, 0.7),
    row("clip:224", "white_noise", 0.1, 0.6, 1),
    row("clip:224", "jitter", float("nan"), None),
    row("clip:448", "all", 0.9, 0.6),
    row("clip:448", "white_noise", 0.8, 0.9),
    row("clip:448", "jitter", 1.3, None),
]


def drawn() -> tuple[Any, Any]:
    axes = Figure().subplots(1, 2, sharey=True)
    draw_processed(axes, ROWS)
    return axes[0], axes[1]


def test_every_processor_has_its_points_in_the_rows_of_the_types() -> None:
    left, right = drawn()
    points = {line.get_label(): line for line in left.lines if "(" in line.get_label()}
    small, large = points["clip:224 (224x224)"], points["clip:448 (224x224)"]
    assert list(small.get_xdata()) == [0.6, 0.2], "what is not known is left out, single levels are not drawn"
    assert list(large.get_xdata()) == [0.9, 0.8, 1.3] and list(np.round(large.get_ydata())) == [0, 1, 2]
    assert small.get_marker() != large.get_marker() and left.get_xlim()[1] > 1.3
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["all types: which class?", "white noise", "jitter"]
    assert {text.get_text() for text in right.get_legend().get_texts()} == {*points, "on the file's own pixels", "chance"}


def test_the_score_on_the_file_is_a_bar_and_its_absence_is_said() -> None:
    _, right = drawn()
    assert sum(list(line.get_xdata()) == [0.91, 0.91] for line in right.lines) == 2
    assert [text.get_text().strip() for text in right.texts] == ["too few references"]


def test_figure_and_data_are_written_together(tmp_path: Path) -> None:
    assert set(written(processed_figures(ROWS), tmp_path)["processed"]) == {"png", "pdf", "svg"}
    with open(tmp_path / "processed.csv") as handle:
        assert [(r["processor"], r["type"]) for r in csv.DictReader(handle)][:2] == [
            ("clip:224", "all"),
            ("clip:224", "white_noise"),
        ]
    assert written(processed_figures([]), tmp_path / "none") == {} and not (tmp_path / "none").exists()
