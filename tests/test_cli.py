"""The command line in fresh processes: help, the smaller commands, and bad input by its words."""

import csv
import errno
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

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


HEAVY = ("torch", "transformers", "sklearn", "scipy", "matplotlib", "skimage", "umap", "peft", "captum", "pandas")
EVERY_HELP = """
import io, sys
from contextlib import redirect_stdout
from typer.main import get_command
from snellen.cli import app
group, helped = get_command(app), {}
for name in [None, *group.commands]:
    with redirect_stdout(io.StringIO()) as said:
        assert group.main([*([name] if name else []), "--help"], prog_name="snellen", standalone_mode=False) == 0
    helped[name or ""] = said.getvalue()
from stimuli.errors import InputError
typos = 0
for name in group.commands:
    if "or a hub id" in helped[name]:
        try:
            group.main([name, *(["--model"] if "--model" in helped[name] else []), "./nowhere"], prog_name="snellen", standalone_mode=False)
        except InputError as error:
            typos += str(error).startswith("Unknown model './nowhere'")
import json
print(json.dumps({"helped": helped, "typos": typos, "imported": sorted({name.split(".")[0] for name in sys.modules})}))
"""
DOCS = Path(__file__).parent.parent / "docs" / "commands.md"


@pytest.fixture(scope="module")
def every_help() -> dict[str, Any]:
    """The help of every command, all shown in one fresh process, and what that imported."""
    done = subprocess.run([sys.executable, "-c", EVERY_HELP], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_help_lists_the_commands_and_each_has_an_example(every_help: dict[str, Any]) -> None:
    helped = every_help["helped"]
    commands = set(helped) - {""}
    assert {
        "exam",
        "stages",
        "stimuli",
        "extract",
        "probe",
        "ask",
        "tune",
        "distance",
        "report",
        "verify",
        "view",
        "doctor",
    } <= commands
    for command in commands:
        assert f"  {command} " in helped[""]
        lines = [
            line.strip().removeprefix("Examples:").removeprefix("Example:").strip() for line in helped[command].splitlines()
        ]
        assert any(line.startswith(f"snellen {command} ") or line == f"snellen {command}" for line in lines), command
        assert "--json" in helped[command] and "--quiet" in helped[command]


def test_no_help_imports_anything_heavy(every_help: dict[str, Any]) -> None:
    assert len(every_help["helped"]) > 20 and not set(HEAVY) & set(every_help["imported"])


def test_a_misspelt_model_is_told_before_anything_heavy_is_imported(every_help: dict[str, Any]) -> None:
    told = [name for name, text in every_help["helped"].items() if "or a hub id" in text]
    assert len(told) == every_help["typos"] > 10 and not set(HEAVY) & set(every_help["imported"])


def test_exit_codes_and_commands_are_documented(every_help: dict[str, Any]) -> None:
    from snellen.cli_output import EXIT_CODES

    text = DOCS.read_text(encoding="utf-8")
    for code, meaning in EXIT_CODES.items():
        assert f"{code:3}  {meaning}" in every_help["helped"][""] and f"| {code} | {meaning} |" in text
    assert all(f"`snellen {command}" in text for command in every_help["helped"] if command)


def told(*arguments: str | Path, capsys: pytest.CaptureFixture[str]) -> tuple[Any, str, int]:
    """The document on stdout, stderr, and the exit code of the whole command line, in this process."""
    from snellen.cli import main

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["snellen", *map(str, arguments)])
        main()
    said = capsys.readouterr()
    return json.loads(said.out) if said.out else None, said.err, int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (("exma",), "UsageError", "No such command 'exma'. Did you mean 'exam'?"),
        (("exam", "--budgte", "demo"), "UsageError", "No such option … --budgte"),
        (("report",), "UsageError", "Missing argument"),
        (("ask", "--repeats", "many"), "UsageError", "Invalid value for '--repeats'"),
        (("exam", "--budget", "huge"), "InputError", "Unknown budget 'huge'. Expected one of demo, full"),
        (("report", "."), "InputError", "holds no finished exam (no results.json)"),
    ],
)  # fmt: skip
def test_refusals_are_documents_too(
    arguments: tuple[str, ...], kind: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    document, err, code = told(*arguments, "--json", capsys=capsys)
    assert code == document["exit_code"] == 2 and document["command"] == arguments[0]
    parts = words.split(" … ")  # releases of click put a colon or quotes between them
    assert document["error"]["kind"] == kind and all(part in document["error"]["message"] for part in parts)
    assert all(part in " ".join(err.split()) for part in parts) and "Traceback" not in err
    document, err, code = told(*arguments, capsys=capsys)
    assert code == 2 and document is None and all(part in " ".join(err.split()) for part in parts)


def test_what_the_system_refuses_and_mistakes_of_ours_have_a_code_of_their_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "runs/a")

    monkeypatch.setattr("snellen.steps.verify", full)
    document, err, code = told("verify", "runs/a", "--json", capsys=capsys)
    assert code == document["exit_code"] == 3 and document["error"]["kind"] == "OSError"
    assert err == "snellen: No space left on device: runs/a. What was finished is kept; the same command goes on.\n"

    def mistaken(*given: Any, **options: Any) -> None:
        raise KeyError("eye")

    monkeypatch.setattr("snellen.steps.verify", mistaken)
    document, err, code = told("verify", "runs/a", "--json", capsys=capsys)
    assert code == document["exit_code"] == 3 and document["error"] == {"kind": "KeyError", "message": "'eye'"}
    assert "Traceback" in err and "in mistaken" in err


def test_settings_are_checked_and_printed_and_give_the_same_exam(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from snellen.config import build

    own = ("exam", "embedded-template", "--budget", "full", "--set", "prior.blur=0.3", "--set", "levels=[3, 5]", "--seed", "4")
    text = here(*own, "--print-config", "--out", tmp_path / "never")
    (tmp_path / "exam.yaml").write_text(text)
    settings = build(tmp_path / "exam.yaml")
    assert (settings.model, settings.budget, settings.levels, settings.seed, settings.prior) == (
        "embedded-template", "full", (3, 5), 4, {"blur": 0.3})  # fmt: skip
    assert here("exam", "--config", tmp_path / "exam.yaml", "--print-config") == text and not (tmp_path / "never").exists()
    document, _, _ = told("exam", "embedded", "--config", tmp_path / "exam.yaml", "--print-config", "--json", capsys=capsys)
    assert document["result"]["settings"] == {
        **settings.model_dump(mode="json"),
        "model": "embedded",
    }  # said, though the default
    (tmp_path / "exam.yaml").write_text("sede: 3\n")
    assert "The exam setting 'sede' cannot be used" in refused("exam", "--config", tmp_path / "exam.yaml", "--print-config")
    assert "expected an entry of a setting that is a mapping" in refused("exam", "--set", "seed.a=1", "--print-config")


def test_a_finished_exam_gives_machines_its_verdict_and_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from snellen.runs import Exam

    def finished(model: str | None, out: Path, **options: Any) -> Exam:
        print("[   1.0 s] load")
        (out / "tables").mkdir(parents=True)
        (out / "tables" / "survival.csv").write_text("site,score\nvision.0,0.5\n")
        (out / "tables" / "answers_base.csv").write_text("id,answer\ns,blur\n")
        assert options["progress"] is not quiet
        return Exam(out, {"verdict": {"component": "projector", "sentence": "Lost there.", "evidence": []}})

    monkeypatch.setattr("snellen.runs.exam", finished)
    quiet = False
    document, err, code = told("exam", "--out", tmp_path / "a", "--json", capsys=capsys)
    assert code == 0 and document["result"]["verdict"]["component"] == "projector" and "[   1.0 s] load" in err
    assert document["result"]["report"] == str(tmp_path / "a" / "report.html")
    assert document["tables"] == {"survival": [{"site": "vision.0", "score": 0.5}]} and len(document["files"]) == 2
    quiet = True
    assert told("exam", "--out", tmp_path / "b", "--quiet", capsys=capsys) == (None, "", 0)


SLOWLY = """
import sys, time
import stimuli.disk as disk
write = disk._write
disk._write = lambda *given: (time.sleep(0.1), write(*given))[1]
sys.argv = ["snellen", *sys.argv[1:]]
from snellen.cli import main
main()
"""


@pytest.mark.slow
def test_ctrl_c_in_a_real_process_keeps_what_is_done_and_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "set"
    arguments = ("stimuli", str(out), "--references", "3", "--levels", "3,5", "--size", "32")
    started = subprocess.Popen([sys.executable, "-c", SLOWLY, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)  # fmt: skip
    end = time.monotonic() + 100
    while len(list(out.glob("images/*.png"))) < 3:
        assert time.monotonic() < end and started.poll() is None
        time.sleep(0.02)
    os.killpg(started.pid, signal.SIGINT)
    said, err = started.communicate(timeout=100)
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("images/*.png")}
    assert started.returncode == 130 and said == "" and "Traceback" not in err and 3 <= len(kept) < 24
    resume = err.strip().splitlines()[-1].split("go on with: ")
    assert resume == ["snellen: interrupted. What was finished is kept; ", shlex.join(["snellen", *arguments])]
    assert re.search(r"stimuli: +\d+%.*\d+/3 \[\d\d:\d\d<[\d:?]+, .*(it/s|s/it)", err)  # progress, rate and time left
    assert "24 stimuli of 3 references" in here(*shlex.split(resume[1])[1:], "--no-progress")
    later = {path.name: path.stat().st_mtime_ns for path in out.glob("images/*.png")}
    assert len(later) == 24 and kept.items() <= later.items()


@pytest.mark.heavy
def test_ctrl_c_keeps_the_activations_that_are_done(tmp_path: Path) -> None:
    """With torch and its threads: nothing but the one line, and the store goes on."""
    arguments = ("extract", "--references", "12", "--sites", "projector", "--batch-size", "1", "--out", str(tmp_path / "a"))
    started = subprocess.Popen([sys.executable, "-m", "snellen", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)  # fmt: skip
    assert started.stderr is not None
    before = ""
    while not re.search(r"\b[5-9]/\d+ \[", before):
        part = started.stderr.read(1)
        assert part, before
        before += part
    os.killpg(started.pid, signal.SIGINT)
    err = before + started.communicate(timeout=200)[1]
    assert started.returncode == 130 and "Traceback" not in err
    assert (
        err.strip().splitlines()[-1].endswith(f"What was finished is kept; go on with: {shlex.join(['snellen', *arguments])}")
    )
    assert "96 stimuli, 1 sites" in here(*arguments, "--no-progress") and "0 problems" in here("verify", tmp_path / "a")


@pytest.mark.heavy
def test_ctrl_c_ends_an_exam_with_a_line_that_goes_on(tmp_path: Path) -> None:
    """A real one, with torch at work; that it goes on and gives the same is proven in test_runs.py."""
    few = ("references=6", "train_references=6", "n_boot=20", "folds=3", "interview=off", "cause=0", "arms=[llm]", "steps=1")
    arguments = ("exam", "--out", str(tmp_path / "exam"), *(part for setting in few for part in ("--set", setting)))
    started = subprocess.Popen([sys.executable, "-m", "snellen", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)  # fmt: skip
    assert started.stdout is not None
    first = [started.stdout.readline() for _ in range(2)]
    assert re.fullmatch(r"\[ *[\d.]+ s\] 1/\d+ model \([\d.]+ s\)\n\[ *[\d.]+ s\] 2/\d+ stimuli .*\n", "".join(first)), first
    os.killpg(started.pid, signal.SIGINT)
    err = started.communicate(timeout=400)[1]
    assert started.returncode == 130 and "Traceback" not in err and "\r" not in err  # nobody watches: no bars
    assert err.strip() == f"snellen: interrupted. What was finished is kept; go on with: {shlex.join(['snellen', *arguments])}"
    assert (tmp_path / "exam" / "exam.json").is_file() and not (tmp_path / "exam" / "results.json").exists()


def test_ctrl_c_before_anything_is_kept_is_one_line_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*given: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("snellen.steps.verify", stopped)
    assert told("verify", "runs/a", capsys=capsys) == (
        None, "\nsnellen: interrupted. Nothing was kept; start again with: snellen verify runs/a\n", 130)  # fmt: skip
    assert told("verify", "runs/a", "--json", capsys=capsys)[0]["error"]["kind"] == "Interrupted"


def test_ctrl_c_while_the_command_line_is_loaded_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    from snellen.__main__ import main

    def stopped(*given: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr("builtins.__import__", stopped)
        main()
    assert ended.value.code == 130


def test_the_version_is_told() -> None:
    from snellen.version import VERSION

    assert here("--version") == f"{VERSION}\n"


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
        (("verify", "docs"), "There are no activations at or below docs"),
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
def test_stimuli_extract_probe_ask_and_verify_work_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    found, _, code = told("verify", tmp_path, "--json", capsys=capsys)
    assert code == 1 and found["result"]["checked"] == 1 and "checksum" in found["result"]["problems"][0]
    text = here("repair", tmp_path, "--no-progress")
    assert "1 problems mended, 64 stimuli taken out, 64 computed anew" in text and "does not match its checksum" in text
    assert "0 problems" in here("verify", tmp_path)


@pytest.mark.slow
def test_two_processes_prompts_compact_and_merge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = ("--references", "2", "--levels", "3,5", "--sites", "projector,llm.1", "--no-progress", "--dtype", "bfloat16")
    asked = ("--prompt", "what=What is it?", "--prompt", "how=How good is it?")
    for rank in ("0", "1"):
        here("extract", "--out", tmp_path / "a", *shown, *asked, "--batch-size", "3", "--rank", rank, "--world-size", "2")
    assert "16 stimuli" in here("compact", tmp_path / "a", "--no-progress")
    assert "16 stimuli" in here("merge", tmp_path / "a", "--out", tmp_path / "b")
    text = here("extract", "--out", tmp_path / "b", *shown, *asked)  # nothing is left to do
    assert "16 stimuli, 3 sites" in text and "0 problems" in here("verify", tmp_path / "b")
    held = {"stimuli": 16, "sites": ["projector", "llm.1@what", "llm.1@how"]}
    numbers = 16 * 3 * 2 * 160  # in bytes; headers come on top
    for command in (
        ("compact", tmp_path / "a"),
        ("merge", tmp_path / "a", "--out", tmp_path / "c"),
        ("extract", "--out", tmp_path / "b", *shown, *asked),
    ):
        result = told(*command, "--json", "--quiet", capsys=capsys)[0]["result"]
        assert {key: result[key] for key in held} == held and numbers < result["bytes"] < 1.5 * numbers, command[0]
    assert result["left_out"] == [] and result["run"]["images"] > 0
    assert "expected both or neither" in refused("extract", "--rank", "1")
    assert "expected NAME=QUESTION each" in refused("extract", "--prompt", "What?", "--prompt", "How?")
    assert "expected a folder of its own" in refused("merge", tmp_path / "a", "--out", tmp_path / "a").lower()
