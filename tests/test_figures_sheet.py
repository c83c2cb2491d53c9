"""The contact sheet."""

import csv
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.figures import sheet
from analysis.figures.sheet import SHOWN, contact_sheet, draw_sheet
from stimuli.distortions.kadid import KADID10K
from stimuli.errors import InputError
from stimuli.making import Making, Work
from stimuli.references import Reference
from stimuli.scenes import scene
from stimuli.sets import exam_set
from stimuli.types import Stimulus


@pytest.mark.heavy
def test_all_125_are_on_the_sheet_each_with_its_level_parameter_and_psnr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[object, list]] = []
    real = sheet.draw_sheet
    monkeypatch.setattr(sheet, "draw_sheet", lambda axes, cells: (drawn.append((axes, list(cells))), real(axes, cells)))
    shown = [(), *(((kind.name, level),) for kind in KADID10K for level in range(1, 6))]
    stimuli = Work(Making()).stimuli(Reference("a", "scene", scene((1, 0, 1), 32).image), shown)
    written = contact_sheet(stimuli, tmp_path / "all")
    axes, cells = drawn[0]
    assert len(cells) == 14 and len(cells[0]) == 10 and np.shape(axes) == (14, 10)
    titles = [cell["title"] for row in cells for cell in row if cell]
    assert len(titles) == 126 and "4: 7 (" in " ".join(titles) and titles.count("1: 1 unchanged") == 2
    assert {cell["name"].replace("\n", " ") for row in cells for cell in row if cell and cell["name"]} == {
        "clean", *(kind.name.replace("_", " ").replace("denoise", "denoise (non-local means)") for kind in KADID10K)
    }  # fmt: skip
    with open(written["csv"]) as handle:
        assert len(list(csv.DictReader(handle))) == 126
    assert written["png"].stat().st_size > 50_000 and written["pdf"].exists()


def test_holes_stay_empty_and_large_images_are_cut_not_scaled(tmp_path: Path) -> None:
    stimuli = [
        Stimulus(f"{type}{level}", "r", type, level, pixels=np.full((300, 400, 3), 9, np.uint8))
        for type, level in (("jpeg", 2), ("jpeg", 5), ("white_noise", 5))
    ]
    cells, blocks = sheet._grid(stimuli)
    assert blocks == 1 and [[bool(cell and cell["title"]) for cell in row] for row in cells] == [[True, True], [False, True]]
    assert cells[0][1] is not None and cells[0][1]["image"].shape == (SHOWN, SHOWN, 3)
    assert contact_sheet(stimuli, tmp_path / "x", formats=("png",))["png"].exists()


def test_any_set_has_a_sheet_of_the_reference_with_most_stimuli(tmp_path: Path) -> None:
    shown = exam_set(2, levels=(5,), size=32)
    assert contact_sheet(shown, tmp_path / "s", formats=("svg",))["svg"].exists()
    assert contact_sheet(shown[:1], tmp_path / "one", formats=("png",))["png"].exists()
    with pytest.raises(InputError, match="No stimulus is of the reference 'x'"):
        contact_sheet(shown, tmp_path / "s", reference="x")


def test_a_cell_shows_the_very_pixels() -> None:
    image = scene((1, 0, 1), 16).image
    axes = Figure().subplots(1, 2)
    draw_sheet(axes, [[{"image": image, "title": "t", "name": "n"}, None]])
    assert np.array_equal(axes[0].images[0].get_array(), image) and not axes[1].images
    assert axes[0].images[0].get_interpolation() == "nearest"
