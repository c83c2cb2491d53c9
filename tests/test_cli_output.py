"""Machine output, silence and interruption, on commands made for it; the real ones are in test_cli.py."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from snellen.cli_options import resumable
from snellen.cli_output import EXIT_CODES, LINE, Failing, Json, Quiet, Then, brief, finish, read_table

Run = Callable[..., tuple[int, Any, str]]
Progress = Annotated[bool, typer.Option(help="show progress")]


def write(folder: Path) -> None:
    """What a command of ours writes: a table, one of stimuli, a summary, a figure."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    (folder / "tables").mkdir(exist_ok=True)
    (folder / "probe.csv").write_text("site,score,low,best,note\nvision.0,0.5,,True,1e-3x\nllm.0,1,-2e-05,False,007\n")
    (folder / "tables" / "answers.csv").write_text("id,answer\ns1,blur\n")
    (folder / "summary.json").write_text('{"accuracy": 0.5}')
    (folder / "figures" / "a.png").write_bytes(b"png")
    (folder / "figures" / "a.csv").write_text("drawn\n1\n")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command; exit code, what stdout holds (read as JSON if it was asked for), and stderr."""
    app = typer.Typer(rich_markup_mode=None)

    @app.callback()
    def options(json: Json = False, quiet: Quiet = False) -> None:
        """Options of all."""

    @app.command()
    def told(progress: Progress = True) -> dict[str, Any]:
        """Say something and give a result."""
        typer.echo(f"progress {progress}")
        print("more ü")
        typer.echo("a warning", err=True)
        return {"verdict": "vision"}

    @app.command()
    def writes(
        context: typer.Context, out: Annotated[Path | None, typer.Option()] = None, world_size: int | None = None
    ) -> None:
        """Write where it is told."""
        if out is not None:
            write(out)
            typer.echo(f"written in {out}")
        typer.echo(f"done by {context.info_name}")

    @app.command("named")
    def other_name(out: Path = Path("table.csv")) -> None:
        """Write one table."""
        out.write_text("a\n1\n")

    @app.command()
    def fails(how: str, out: Path | None = None) -> None:
        """Fail in one way or another.

        Example:  snellen fails kept
        """
        typer.echo("begun")
        if how == "kept":
            with resumable():
                raise KeyboardInterrupt
        if how == "stopped":
            raise KeyboardInterrupt
        if how == "found":
            raise Failing(1, {"broken": ["lens"]})
        raise typer.Exit(1)

    @app.command()
    def serves() -> Then:
        """Go on after the result is out."""

        def go() -> None:
            typer.echo("going")
            typer.echo(f"out already: {bool(capsys.readouterr().out)}", err=True)

        typer.echo("where")
        return Then({"url": "here"}, go)

    finish(app)

    def call(*arguments: str | Path) -> tuple[int, Any, str]:
        argv = list(map(str, arguments))
        monkeypatch.setattr("sys.argv", ["snellen", *argv])
        code = app(argv, standalone_mode=False)
        said = capsys.readouterr()
        return code or 0, json.loads(said.out) if "--json" in argv and said.out else said.out, said.err

    return call


@pytest.mark.parametrize("where", [("--json", "told"), ("told", "--json")])
def test_the_document_is_alone_on_stdout_before_or_behind_the_name(run: Run, where: tuple[str, ...]) -> None:
    code, told, err = run(*where)
    assert code == 0 and told["command"] == "told" and told["exit_code"] == 0 and told["result"] == {"verdict": "vision"}
    assert told["said"] == ["progress True", "more ü"] and told["snellen"]
    assert err == "progress True\nmore ü\na warning\n"


@pytest.mark.parametrize("where", [("-q", "told"), ("told", "--quiet")])
def test_quiet_says_nothing_and_shows_no_progress(run: Run, where: tuple[str, ...]) -> None:
    assert run(*where) == (0, "", "a warning\n")
    _, told, err = run(*where, "--json")
    assert told["said"] == ["progress False", "more ü"] and err == "a warning\n"


def test_without_either_nothing_changes(run: Run) -> None:
    assert run("told") == (0, "progress True\nmore ü\n", "a warning\n")
    assert run("writes")[1] == "done by writes\n"


def test_tables_summary_and_paths_come_from_the_folder(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    _, told, _ = run("writes", "--json", "--out", out)
    rows = [{"site": "vision.0", "score": 0.5, "low": None, "best": True, "note": "1e-3x"},
            {"site": "llm.0", "score": 1, "low": -2e-05, "best": False, "note": "007"}]  # fmt: skip
    assert told["tables"] == {"probe": rows} and told["summary"] == {"accuracy": 0.5} and told["out"] == str(out)
    assert {Path(file).name for file in told["files"]} == {"probe.csv", "answers.csv", "summary.json", "a.png", "a.csv"}
    assert all(Path(file).is_file() for file in told["files"])


def test_without_a_folder_tables_come_from_one_that_is_thrown_away(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[Path] = []

    def noted(folder: Path, write: Callable[[Path], None] = write) -> None:
        places.append(folder)
        write(folder)

    monkeypatch.setitem(globals(), "write", noted)
    _, told, _ = run("writes", "--json")
    assert told["tables"]["probe"][0]["site"] == "vision.0" and told["out"] is None and told["files"] == []
    assert told["said"] == ["done by writes"] and len(places) == 1 and not places[0].parent.exists()
    assert run("writes", "--json", "--world-size", "2")[1]["tables"] == {}  # several processes would not meet there


def test_a_single_table_is_read_too(run: Run, tmp_path: Path) -> None:
    assert run("fails", "exit", "--json", "--out", tmp_path / "none.csv")[1]["files"] == []
    _, told, _ = run("named", "--json", "--out", tmp_path / "t.csv")
    assert told["command"] == "named" and told["tables"] == {"t": [{"a": 1}]} and told["files"] == [str(tmp_path / "t.csv")]


def test_tables_survive_the_way_through_csv(tmp_path: Path) -> None:
    from stimuli.tables import write_csv

    rows = [{"a": 1, "b": 0.1, "c": "x,y\n", "d": None, "e": True, "f": -3, "g": "1_000", "h": 1e-300},
            {"a": 10**18, "b": 2.0, "c": "ü", "d": 5, "e": False, "f": 0, "g": "+1", "h": 3e8}]  # fmt: skip
    assert read_table(write_csv(rows, tmp_path / "t.csv")) == rows
    (tmp_path / "uneven.csv").write_bytes(b"a,b\n1,2,3\n\xff\n")
    assert read_table(tmp_path / "uneven.csv") == [{"a": 1, "b": 2}, {"a": "\ufffd", "b": None}]


def test_a_check_that_finds_something_has_its_result_and_code(run: Run) -> None:
    code, told, _ = run("fails", "found", "--json")
    assert code == told["exit_code"] == 1 and told["result"] == {"broken": ["lens"]}
    code, told, _ = run("fails", "exit", "--json")
    assert code == told["exit_code"] == 1 and told["said"] == ["begun"]
    assert run("fails", "found") == (1, "begun\n", "")


def test_an_interruption_says_how_to_go_on_if_anything_was_kept(run: Run, tmp_path: Path) -> None:
    code, out, err = run("fails", "kept", "--out", tmp_path / "a b")
    assert code == 130 and out == "begun\n"
    assert err == f"\nsnellen: interrupted. What was finished is kept; go on with: snellen fails kept --out '{tmp_path}/a b'\n"
    for lost in (("kept",), ("stopped", "--out", tmp_path)):
        assert "interrupted. Nothing was kept; start again with: snellen fails" in run("fails", *lost)[2]
    assert "Nothing was kept" in run("fails", "kept", "--json")[1]["error"]["message"]  # --out is thrown away
    code, told, _ = run("fails", "kept", "--out", tmp_path, "--json")
    assert (
        code == told["exit_code"] == 130 and told["error"]["kind"] == "Interrupted" and "go on with" in told["error"]["message"]
    )


def test_what_goes_on_tells_its_result_first(run: Run) -> None:
    code, _, err = run("serves", "--json")
    assert code == 0 and "out already: True" in err
    assert run("serves", "-q")[1] == ""


def test_only_the_first_of_several_processes_tells(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert run("told", "--json")[1] == ""
    monkeypatch.setenv("RANK", "0")
    assert run("told", "--json")[1]["result"] == {"verdict": "vision"}


def test_help_keeps_examples_line_by_line_and_has_the_options(run: Run) -> None:
    from typer.testing import CliRunner

    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    def one(out: Path = Path("a")) -> None:
        """Do it.

        Examples:  snellen one --out a
                   snellen one --out b
        """

    finish(app)
    text = CliRunner().invoke(app, ["--help"]).stdout
    assert "snellen one --out a\n" in text and "--json" in text and "--quiet" in text and "context" not in text


def test_the_list_of_commands_has_a_whole_clause_of_each() -> None:
    from snellen.cli import app

    assert brief("Do it.\n\n    Examples: x") == "Do it" and brief("Show a, b and c: " + "x" * LINE) == "Show a, b and c"
    assert brief("See it, " + "x" * LINE + ". More.") == "See it"
    lines = {
        command.name or command.callback.__name__: command.short_help for command in app.registered_commands if command.callback
    }
    assert all(line and 10 <= len(line) < 80 and "..." not in line for line in lines.values()), lines


def test_exit_codes_are_told_apart() -> None:
    assert sorted(EXIT_CODES) == [0, 1, 2, 3, 130]
