"""What every command does alike: ``--json``, ``--quiet``, and how it ends when it is interrupted."""

from __future__ import annotations

import csv
import functools
import inspect
import io
import json as json_format
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, TextIO, get_type_hints

import typer

from snellen.cli_complete import COMPLETIONS
from snellen.cli_options import Kept, first
from snellen.version import VERSION

DONE, FOUND, REFUSED, FAILED, INTERRUPTED = 0, 1, 2, 3, 130
EXIT_CODES: Mapping[int, str] = {
    DONE: "done",
    FOUND: "a check found something wrong (verify, doctor) or different (rerun)",
    REFUSED: "refused: the command line or the input cannot be used; nothing was overwritten",
    FAILED: "failed: no space, no permission, or a mistake of Snellen's (with a traceback)",
    INTERRUPTED: "interrupted (Ctrl-C); the message says how to go on",
}
Json = Annotated[bool, typer.Option("--json", help="one JSON document on stdout, all else on stderr")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="say nothing but errors")]
SUMMARIES = ("summary.json", "report.json")
"""Files of a run that are part of its document as they are (of ``ask`` and ``rate``, and of ``tune``)."""
LINE = 62
"""Characters of a help text that fit beside the name of a command on 80 columns."""
PLACES = (".", "tables", "figures")
"""Where the files are, below the folder of a run, that its document names."""


@dataclass(frozen=True)
class Then:
    """What a command returns that tells its result alone, and before it goes on if it does, such as a server."""

    result: Mapping[str, Any]
    go: Callable[[], None] = lambda: None


class Failing(typer.Exit):
    """What a command raises that has a result although its exit code is not 0."""

    def __init__(self, code: int, result: Mapping[str, Any]) -> None:
        super().__init__(code)
        self.result = result


@dataclass
class Said(io.TextIOBase):
    """What is printed, line by line, handed on to another stream."""

    to: TextIO
    text: list[str] = field(default_factory=list)

    def write(self, text: str) -> int:
        """Hand it on and keep it (what is no text is refused by the other stream)."""
        written = self.to.write(text)
        self.text.append(text)
        return written

    def flush(self) -> None:
        """Of the other stream."""
        self.to.flush()

    def isatty(self) -> bool:
        """No colours in what is kept."""
        return False

    @property
    def lines(self) -> list[str]:
        """All of it."""
        return "".join(self.text).splitlines()


def finish(app: typer.Typer) -> None:
    """Give every command the options of this module, its completions, its examples line by line in the help, and a line in the list of all."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.short_help = brief(command.callback.__doc__ or "")
            command.callback = alike(command.name or command.callback.__name__, command.callback)


def brief(text: str) -> str:
    """The first sentence of a help text; where it does not fit into a line of the list of commands, its first clause."""
    sentence = " ".join(re.split(r"[.?](?:\s|$)", text.strip(), maxsplit=1)[0].split())
    for end in (r"[:;] | \(", ", "):
        if len(sentence) > LINE:
            sentence = re.split(end, sentence, maxsplit=1)[0]
    return sentence


def alike(name: str, callback: Callable[..., Any]) -> Callable[..., None]:
    """A command with ``--json`` and ``--quiet``, whatever it does.

    It may return a mapping, which becomes ``result`` of the document. Of one that returns nothing, the document has the tables and the
    summary of the folder that it wrote; without ``--out`` it writes to one that is thrown away.
    """
    hints = get_type_hints(callback, include_extras=True)
    own = inspect.signature(callback).parameters
    scratch = "out" in own and hints.get("return") is type(None)

    @functools.wraps(callback)
    def command(context: typer.Context, json: bool, quiet: bool, **given: Any) -> None:
        above = context.find_root().params
        json, quiet = json or above.get("json", False), quiet or above.get("quiet", False)
        if "context" in own:
            given["context"] = context
        if quiet and "progress" in own:
            given["progress"] = False
        with _folder(given, json and scratch) as thrown_away:
            _run(name, functools.partial(callback, **given), given.get("out"), json, quiet, thrown_away)

    annotations = {"context": typer.Context, **{key: _completed(key, hints[key]) for key in own}, "json": Json, "quiet": Quiet}
    defaults = {"context": inspect.Parameter.empty, "json": False, "quiet": False, **{key: own[key].default for key in own}}
    parameters = [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=defaults[key], annotation=how)
        for key, how in annotations.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {**annotations, "return": None}
    command.__doc__ = (callback.__doc__ or "").replace("    Example", "    \b\n    Example", 1)
    return command


def _completed(key: str, annotation: Any) -> Any:
    """An annotation whose option or argument can be completed, where that is known by its name."""
    for info in getattr(annotation, "__metadata__", ()):
        if key in COMPLETIONS and getattr(info, "autocompletion", True) is None:
            info.autocompletion = COMPLETIONS[key]
    return annotation


@contextmanager
def _folder(given: dict[str, Any], wanted: bool) -> Iterator[bool]:
    """Where machines read tables but none are to be kept, a folder for them; whether it is thrown away."""
    several = given.get("world_size") is not None or "RANK" in os.environ  # these meet in one folder
    if not wanted or given["out"] is not None or several:
        yield False
        return
    with TemporaryDirectory(prefix="snellen-") as place:
        given["out"] = Path(place) / "run"
        yield True


def _run(name: str, callback: Callable[[], Any], out: Path | None, json: bool, quiet: bool, thrown_away: bool) -> None:
    """Run a command and say what it brought in the way that was asked for."""
    stdout, code, result = sys.stdout, DONE, None
    with open(os.devnull, "w") as nowhere:
        said = Said(nowhere if quiet else sys.stderr if json else stdout)

        def tell(more: Mapping[str, Any]) -> None:
            if json and first():
                about = {"snellen": VERSION, "command": name, "exit_code": code, **more}
                print(
                    json_format.dumps(about, indent=1, ensure_ascii=False, allow_nan=False, default=str),
                    file=stdout,
                    flush=True,
                )

        try:
            with redirect_stdout(said) if json or quiet else _nothing():
                result = callback()
                if isinstance(result, Then):
                    tell({"result": result.result})
                    return result.go()
        except typer.Exit as ended:
            code, result = ended.exit_code, getattr(ended, "result", None)
        except KeyboardInterrupt as stopped:
            code, message = INTERRUPTED, _how_to_go_on(isinstance(stopped, Kept) and out is not None and not thrown_away)
            print(f"\nsnellen: {message}", file=sys.stderr)
            tell({"error": {"kind": "Interrupted", "message": message}})
            raise typer.Exit(INTERRUPTED) from None
        tell({"result": dict(result or {}), **_brought(out, said.lines, thrown_away)} if json else {})
    if code:
        raise typer.Exit(code)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _how_to_go_on(kept: bool) -> str:
    again = shlex.join(["snellen", *sys.argv[1:]])
    return f"interrupted. {'What was finished is kept; go on' if kept else 'Nothing was kept; start again'} with: {again}"


def _brought(out: Path | None, said: Sequence[str], thrown_away: bool) -> dict[str, Any]:
    """Tables, summaries and paths of a run, and what it said."""
    if out is None:
        return {"out": None, "files": [], "summary": {}, "tables": {}, "said": list(said)}
    places = [path for place in PLACES for path in (out / place).glob("*")] if out.is_dir() else [out]
    found = sorted(path for path in places if path.is_file())
    told = [json_format.loads(path.read_text("utf-8")) for path in found if path.name in SUMMARIES]
    tables = {path.stem: read_table(path) for path in found if path.suffix == ".csv" and path.parent.name != "figures"}
    return {
        "out": None if thrown_away else str(out),
        "files": [] if thrown_away else [str(path) for path in found],
        "summary": {key: value for own in told for key, value in own.items()},
        "tables": {key: table for key, table in tables.items() if table is not None},
        "said": [line for line in said if not (thrown_away and str(out) in line)],
    }


def read_table(path: Path) -> list[dict[str, Any]] | None:
    """The rows of a table; None of one about single stimuli (a column ``id``), which is read from its file."""
    with open(path, encoding="utf-8", errors="replace", newline="") as handle:
        reader = csv.DictReader(handle, restval="")
        if "id" in (reader.fieldnames or ()):
            return None
        return [{key: _value(text) for key, text in row.items() if key is not None} for row in reader]


def _value(text: str) -> Any:
    if text in ("", "True", "False"):
        return {"": None, "True": True, "False": False}[text]
    if re.fullmatch(r"-?(0|[1-9]\d*)", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?", text) else text


def told_as_json(command: str | None, code: int, kind: str, message: str) -> None:
    """The document of a command that came to nothing."""
    if first():
        error = {"kind": kind, "message": message}
        print(json_format.dumps({"snellen": VERSION, "command": command, "exit_code": code, "error": error}, indent=1))
