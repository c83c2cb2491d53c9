"""``snellen probe``: finding a store, what it prints, what it writes, and bad input by its words."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hooks.store import Store
from hooks.writer import Writer
from snellen.cli_probe import baselines_of, lines, open_store, plain_table
from stimuli.errors import InputError
from tests.test_cli import here, refused
from tests.test_probing import probing, store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Activations of eight references at two sites, as ``snellen extract`` keeps them."""
    made, out = store(8), tmp_path_factory.mktemp("a") / "activations" / "base"
    into = Writer(out, {"sites": ["vision.0", "projector"], "pool": "mean"})
    for number, row in enumerate(made.rows.values()):
        row.update(ssim=1 - (row["level"] or 0) / 10 - number / 1000)
    into.batch(list(made.rows.values()), {site: torch.from_numpy(made.values[site]) for site in ("vision.0", "projector")})
    into.close({})
    return out


def test_a_store_is_found_in_its_folder_and_in_that_of_an_exam(folder: Path) -> None:
    assert open_store(folder).sites == open_store(folder.parent.parent).sites == ("vision.0", "projector")


def test_where_there_is_no_store_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no activations itself, but base below it do.*Give one of these"):
        open_store(folder.parent)
    with pytest.raises(InputError, match="nowhere does not exist.*Run `snellen extract MODEL --out"):
        open_store(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has no activations in it"):
        open_store(tmp_path)


def test_baselines_are_sites_of_other_folders(folder: Path) -> None:
    found = baselines_of([f"blank={folder}:vision.0"])
    assert np.array_equal(found["blank"].values, Store(folder).read("vision.0").values)
    for text in ("blank", "blank=folder", "=folder:vision.0", "blank=:vision.0"):
        with pytest.raises(InputError, match="expected NAME=FOLDER:SITE, such as --baseline random-weights="):
            baselines_of([text])


def test_tables_are_aligned_and_tell_what_is_not_known() -> None:
    assert plain_table([{"site": "vision.0", "score": 0.12345, "limited": True}, {"site": "llm.0"}], ("site", "score", "limited")) == [
        "site      score  limited", "vision.0  0.123  yes", "llm.0     -      -",
    ]  # fmt: skip


def test_every_table_has_its_heading_and_transfer_is_told_at_the_best_site() -> None:
    row: dict[str, Any] = {"site": "vision.0", "component": "vision", "n": 9, "references": 3, "score": 0.5, "held_out": "jpeg"}
    rows = [row, {**row, "held_out": "blur"}, {**row, "site": "llm.0", "score": 0.1}]
    types = [{**row, "type": "jpeg", "auc": 0.6}, {**row, "type": "jpeg", "auc": 0.9, "site": "llm.0"}]
    told = lines({"probe": [row]}, {"dropped": 2}, probing())
    assert "9 stimuli of 3 references" in told[0] and "2 stimuli have no such label" in told[0]
    told = lines({"transfer_type": rows, "types": types, "pvi": rows}, {"left_out": {"fog": 2}}, probing())
    assert "Transfer, held out: type" in told and "(at the best site; the other sites stand in the table transfer_type)" in told
    best = [line for line in told if line.startswith("jpeg  9  llm.0")]
    assert len(best) == 1 and "fog is shown on 2 references, too few to probe" in told


def test_bad_input_is_refused_by_its_words(folder: Path, tmp_path: Path) -> None:
    assert "Unknown target 'sharpness'" in refused("probe", folder, "--target", "sharpness")
    assert "severity" in refused("probe", folder, "--target", "sharpness"), "the known ones are listed"
    assert "no site vision.9 in these activations; expected some of vision.0, projector" in refused(
        "probe", folder, "--sites", "vision.9"
    )
    assert "Got --kind colours; expected classes or numbers" in refused("probe", folder, "--kind", "colours")
    assert "20 folds by reference need at least 20 references, got 8" in refused(
        "probe", folder, "--folds", "20", "--no-progress"
    )
    (tmp_path / "mine.csv").write_text("id,score\na,1\n")
    said = refused("probe", folder, "--target", "mood", "--labels", tmp_path / "mine.csv")
    assert "has the columns id, score; expected 'id' and 'mood'" in said


@pytest.mark.slow
def test_tables_figures_and_settings_are_written_and_gone_on_with(folder: Path, tmp_path: Path) -> None:
    shown = here("probe", folder.parent.parent, "--out", tmp_path / "p", "--folds", "3", "--differences", "--no-progress")
    assert "balanced accuracy" in shown.lower() and "projector" in shown and "Against the best site" in shown
    figures = {path.name for path in (tmp_path / "p" / "figures").iterdir()}
    assert figures == {f"{name}.{ending}" for name in ("survival", "differences") for ending in ("png", "pdf", "svg", "csv")}
    with open(tmp_path / "p" / "probe.csv") as handle:
        assert [row["site"] for row in csv.DictReader(handle)] == ["vision.0", "projector"]
    before = json.loads((tmp_path / "p" / "probe.json").read_text())["steps"]["probe"]
    here("probe", folder, "--out", tmp_path / "p", "--folds", "3", "--sample-size", "--no-progress")
    after = json.loads((tmp_path / "p" / "probe.json").read_text())
    assert after["steps"]["probe"] == before and set(after["steps"]) == {"probe", "differences", "sample_size"}
    assert (tmp_path / "p" / "figures" / "sample_size.png").exists()
    assert "holds a probing with other settings (seed: 0 there, 1 now)" in refused(
        "probe", folder, "--out", tmp_path / "p", "--folds", "3", "--seed", "1", "--no-progress"
    )
    here("probe", folder, "--target", "severity", "--out", tmp_path / "s.json", "--folds", "3", "--no-progress")
    assert {"score", "within_type", "plcc"} <= set(json.loads((tmp_path / "s.json").read_text())[0])
