"""The commands about causes write tables, JSON and figures, and refuse what they cannot do."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from analysis.attribution.stages import conductance
from snellen.cli import app
from snellen.cli_cause_shared import names, numbers, other, sites
from stimuli.errors import InputError

FEW = ["--references", "3", "--levels", "5", "--n-boot", "50", "--no-progress"]
COMMANDS: dict[str, tuple[list[str], dict[str, int], set[str]]] = {
    "patch": (
        ["--sites", "projector,llm.1", "--sets", "image,last", "--directions", "forward", "--no-controls"],
        {"patching": 3, "patching_pairs": 21},
        set(),
    ),
    "knockout": (
        ["--edges", "image->last", "--no-controls", "--shares", "--region", "box"],
        {"knockout": 5, "attention": 20},
        {"knockout.png", "attention_image.png", "attention_region.png"},
    ),
    "lens": (
        ["--region", "box", "--sites", "llm.0,llm.3", "--maps", "llm.0"],
        {"lens": 54, "lens_words": 8},
        {"lens.png", "lens.pdf"},
    ),
    "attribute": (
        ["--methods", "gradient,random", "--grid", "4", "--no-curves", "--stages"],
        {"attribution": 3},
        {"attribution.png", "overlays.png", "conductance.png"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [pytest.param(name, marks=pytest.mark.heavy) if name in ("attribute", "knockout") else name for name in COMMANDS]
)
def test_a_command_writes_tables_json_and_figures(
    command: str, llava_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(conductance.__kwdefaults__, "steps", 2)  # 16 take half a minute
    options, tables, figures = COMMANDS[command]
    done = CliRunner().invoke(app, [command, str(llava_folder), *FEW, *options, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    for name, rows in tables.items():
        own = list(csv.DictReader((tmp_path / f"{name}.csv").read_text().splitlines()))
        assert len(own) >= rows, (name, len(own))
    (found,) = (path for path in tmp_path.glob("*.json") if path.name != "overlays.json")
    made = json.loads(found.read_text())["provenance"]
    assert made["model"]["checksum"] and made["data"]["stimuli"]["checksum"] and "figures in" in done.output
    assert figures <= {path.name for path in (tmp_path / "figures").glob("*")}


@pytest.mark.heavy
def test_steering_is_fitted_on_other_references(llava_folder: Path, tmp_path: Path) -> None:
    options = [
        "projector",
        "--model",
        str(llava_folder),
        *FEW,
        "--fit-references",
        "4",
        "--doses",
        "0,1",
        "--out",
        str(tmp_path),
    ]
    done = CliRunner().invoke(app, ["steer", *options])
    assert done.exit_code == 0, done.output
    assert {row["dose"] for row in csv.DictReader((tmp_path / "steering.csv").read_text().splitlines())} == {"0.0", "1.0"}
    assert (tmp_path / "figures" / "dose_response_means.png").is_file() and "slope" in done.output


def test_what_is_given_is_read_or_refused(tmp_path: Path) -> None:
    assert names(" a, b,") == ["a", "b"] and sites("all") == "all" and sites("llm.0") == ["llm.0"]
    assert numbers("doses", "-1,0,2.5") == [-1.0, 0.0, 2.5]
    with pytest.raises(InputError, match=r"--doses 1,x; expected numbers"):
        numbers("doses", "1,x")
    refused: Any = str(tmp_path)
    with pytest.raises(InputError, match="all of which are shown.*there are always other references"):
        other(refused, 3, "5", 0)
