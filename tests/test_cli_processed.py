"""The command that compares what resizes leave, on generic processors and on a shipped model's own."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hooks.processed import Preprocessing
from snellen.cli_processed import image_processor, lines
from stimuli.errors import InputError
from tests.test_cli import here, refused


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("clip:24", {(24, 24)}), ("tiles:32", {(32, 32)}), ("anyres:32", {(32, 32)}), ("native:14", {(56, 84)})],
)
def test_generic_processors_show_the_sizes_that_they_are_named_for(name: str, sizes: set[tuple[int, int]]) -> None:
    tiles = Preprocessing(image_processor(name))(np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8))
    assert sizes <= {tile.shape[:2] for tile in tiles}


@pytest.mark.parametrize("name", ["clip:", "clip:0", "tiles:big", "native:5000"])
def test_a_size_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"Got {name}; expected a number of pixels from 8 to 4096 behind the colon, such as"):
        image_processor(name)


@pytest.mark.slow
def test_table_figure_and_settings_are_written(tmp_path: Path) -> None:
    text = here("processed", "clip:32", "embedded", "--references", "5", "--levels", "5", "--size", "64", "--folds", "2",
                "--out", tmp_path, "--no-progress")  # fmt: skip
    assert "40 stimuli, 0 left out, 0 without a clean image" in text and text.splitlines()[0].startswith("processor  type")
    with open(tmp_path / "processed.csv") as handle:
        rows = list(csv.DictReader(handle))
    (small, own) = (next(r for r in rows if r["processor"] == name and r["type"] == "all") for name in ("clip:32", "embedded"))
    assert small["size_out"] == "32x32" and own["size_out"] == "128x128" and small["size_in"] == "64x64"
    assert json.loads((tmp_path / "processed.json").read_text())["models"] == ["clip:32", "embedded"]
    assert (tmp_path / "figures" / "processed.png").stat().st_size > 1000


def test_what_is_not_known_is_a_dash() -> None:
    row: dict[str, Any] = {"processor": "clip:32", "type": "jpeg", "level": "all", "n": 3, "psnr_in": 30.04, "energy_kept": 0.5}
    (_, shown, *rest) = lines([row, {**row, "level": 1}])
    assert shown.split() == ["clip:32", "jpeg", "3", "-", "-", "30.0", "-", "0.500", "-", "-", "-"] and not rest


def test_bad_input_is_refused_in_words(tmp_path: Path) -> None:
    assert "Unknown model 'nonsense'" in refused("processed", "nonsense", "--out", tmp_path)
    assert "expected a number of pixels" in refused("processed", "clip:x", "--out", tmp_path)
