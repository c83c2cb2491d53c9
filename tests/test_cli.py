"""The command line in fresh processes: help, the smaller commands, and bad input by its words."""

import csv
import io
import json
import subprocess
import sys
from contextlib import redirect_stderr
from pathlib import Path

import pytest
from PIL import Image


def run(*arguments: str | Path, ok: bool = True) -> str:
    done = subprocess.run([sys.executable, "-m", "snellen", *map(str, arguments)], capture_output=True, text=True, timeout=300)
    if ok:
        assert done.returncode == 0, done.stderr
        return done.stdout
    assert done.returncode != 0
    assert "Traceback" not in done.stderr, done.stderr
    return " ".join(done.stderr.split())


def refused(*arguments: str | Path) -> str:
    """What the command line says on stderr when it refuses; run in this process, because importing torch takes seconds."""
    from snellen.cli import main

    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(said), pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["snellen", *map(str, arguments)])
        main()
    assert ended.value.code == 2
    return " ".join(said.getvalue().split())


def here(*arguments: str | Path, code: int = 0) -> str:
    """The same as ``run`` in this process, for commands that would spend their time importing torch."""
    from typer.testing import CliRunner

    from snellen.cli import app

    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == code, done.output
    return done.output


COMMANDS = (
    "exam",
    "stages",
    "stimuli",
    "extract",
    "probe",
    "ask",
    "rate",
    "compare",
    "tune",
    "distance",
    "report",
    "verify",
    "compact",
    "merge",
    "processed",
)


def test_help_lists_the_commands_and_each_has_an_example() -> None:
    text = run("--help")
    assert all(command in text for command in COMMANDS)
    from typer.testing import CliRunner

    from snellen.cli import app

    for command in COMMANDS:
        assert f"snellen {command}" in CliRunner().invoke(app, [command, "--help"]).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("exam", "nonsense"), "Unknown model 'nonsense': there is no such folder, and it is no hub id"),
        (("exam", "--budget", "huge"), "Unknown budget 'huge'. Expected one of demo, full"),
        (("exam", "--set", "taxonomy=paper9"), "Unknown taxonomy 'paper9'. Known taxonomies: depictqa12"),
        (("exam", "--set", "arms=[retina]"), "Unknown component 'retina'. Expected one of vision, projector, llm"),
        (("exam", "--set", "constraint=tight"), "Unknown constraint 'tight'. Expected one of align"),
        (("tune", "retina"), "Unknown component 'retina'. Expected one of vision, projector, llm"),
        (("tune", "llm", "--constraint", "align"), "constraint='align' shapes visual tokens"),
        (("tune", "vision", "--method", "magic"), "Unknown method 'magic'. Expected one of full, lora, dora"),
        (("tune", "vision", "--test", "7"), "Got --test 7.0; expected the share"),
        (("tune", "vision", "llm", "--rates", "fast"), "Got --rates fast; expected numbers above 0"),
        (("tune", "vision", "llm", "--budgets", "money", "--references", "2"), "Expected some of steps, parameters, seconds"),
        (("extract", "--sites", "vision.99"), "Unknown site 'vision.99'. The nearest sites of this model are vision."),
        (("extract", "--load", "colour=red"), "Unknown --load colour. Expected one of dtype, device, device_map"),
        (("ask", "--levels", "high"), "Got --levels high; expected whole numbers from 1 to 5"),
        (("ask", "--images", "no-such-folder"), "There is no folder no-such-folder"),
        (("report", "."), "holds no finished exam (no results.json)"),
        (("verify", "tests"), "There are no activations at or below tests"),
    ],
)  # fmt: skip
def test_bad_input_is_one_paragraph_and_a_non_zero_exit(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "out")) if arguments[0] in ("exam", "tune", "extract") else ()
    assert words in refused(*arguments, *out)
    assert not (tmp_path / "out" / "results.json").exists()


@pytest.mark.slow
def test_a_fresh_process_says_no_more_than_the_paragraph() -> None:
    text = run("exam", "nonsense", ok=False)
    assert text.startswith("snellen: Unknown model 'nonsense'") and text.endswith("Check the spelling.")


def test_a_folder_without_config_no_images_and_an_occupied_output_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "has no config.json, so it is no checkpoint" in refused("stages", empty)
    out = tmp_path / "out"
    assert "holds zero images" in refused("exam", "--images", empty, "--out", out)
    occupied = tmp_path / "occupied"
    occupied.mkdir()
    (occupied / "thesis.txt").write_text("precious")
    assert "is not empty and holds no exam" in refused("exam", "--out", occupied)
    assert (occupied / "thesis.txt").read_text() == "precious"


@pytest.mark.slow
def test_stages_shows_the_map_without_weights() -> None:
    text = run("stages", "embedded")
    assert "the projector reads vision.5" in text and "model.multi_modal_projector" in text


def test_stages_are_written_as_tables(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from snellen.cli import app

    for name in ("map.csv", "map.json"):
        done = CliRunner().invoke(app, ["stages", "embedded", "--all", "--prove", "--out", str(tmp_path / name)])
        assert done.exit_code == 0 and "self-test passed" in done.stdout
    with open(tmp_path / "map.csv") as handle:
        table = list(csv.DictReader(handle))
    assert [row["site"] for row in json.loads((tmp_path / "map.json").read_text())] == [row["site"] for row in table]
    assert "Expected a name that ends in .csv or .json" in refused("stages", "embedded", "--out", tmp_path / "map.txt")


@pytest.mark.slow
def test_stimuli_extract_probe_ask_and_verify_work_together(tmp_path: Path) -> None:
    assert "64 stimuli" in run("stimuli", tmp_path / "s", "--references", "8", "--levels", "3,5")
    with open(tmp_path / "s" / "stimuli.csv") as handle:
        rows = list(csv.DictReader(handle))
    with Image.open(tmp_path / "s" / rows[0]["image"]) as first:
        assert len(rows) == 64 and first.size == (128, 128)
    listing = tmp_path / "s" / "stimuli.csv"
    text = run("extract", "--images", listing, "--out", tmp_path / "a", "--sites", "vision.2,projector", "--no-progress",
               "--load", "dtype=float32")  # fmt: skip
    assert "64 stimuli, 2 sites" in text
    assert "projector" in here("probe", tmp_path / "a", "--out", tmp_path / "p.csv", "--no-progress")
    assert (tmp_path / "p.csv").read_text().startswith("order,site")
    assert "accuracy" in here("ask", "--images", listing, "--out", tmp_path / "answers.csv", "--no-progress")
    assert "1 folders of activations checked, 0 problems" in here("verify", tmp_path)
    shard = next((tmp_path / "a").rglob("*.safetensors"))
    damaged = bytearray(shard.read_bytes())
    damaged[-5] ^= 1
    shard.write_bytes(damaged)
    assert "does not match its checksum" in here("verify", tmp_path, code=1)
    assert "64 stimuli taken out" in here("verify", tmp_path, "--drop")


@pytest.mark.slow
def test_two_processes_prompts_compact_and_merge(tmp_path: Path) -> None:
    shown = ("--references", "2", "--levels", "3,5", "--sites", "projector,llm.1", "--no-progress", "--dtype", "bfloat16")
    asked = ("--prompt", "what=What is it?", "--prompt", "how=How good is it?")
    for rank in ("0", "1"):
        here("extract", "--out", tmp_path / "a", *shown, *asked, "--batch-size", "3", "--rank", rank, "--world-size", "2")
    assert "16 stimuli" in here("compact", tmp_path / "a", "--no-progress")
    assert "16 stimuli" in here("merge", tmp_path / "a", "--out", tmp_path / "b")
    text = here("extract", "--out", tmp_path / "b", *shown, *asked)  # nothing is left to do
    assert "16 stimuli, 3 sites" in text and "0 problems" in here("verify", tmp_path / "b")
    assert "expected both or neither" in refused("extract", "--rank", "1")
    assert "expected NAME=QUESTION each" in refused("extract", "--prompt", "What?", "--prompt", "How?")
    assert "expected a folder of its own" in refused("merge", tmp_path / "a", "--out", tmp_path / "a").lower()
