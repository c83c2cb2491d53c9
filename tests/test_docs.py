"""The documentation: its links and anchors lead somewhere, its commands and names exist, its first page runs, and the site builds."""

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import snellen

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)]
FENCE = re.compile(r"^(`{3,})(\S*)[^\n]*\n(.*?)^\1\s*$", re.M | re.S)
START = DOCS / "start.md"


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each fenced block."""
    return [(language, text) for _, language, text in FENCE.findall(page.read_text())]


@cache
def anchors(page: Path) -> frozenset[str]:
    """Of its headings, as GitHub and the site make them: lower case, blanks to hyphens, other signs dropped."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.M)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


def links(page: Path) -> Iterator[str]:
    """Every target that is no address on the network; of toctrees the pages."""
    text = page.read_text()
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))
    yield from (target for target in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in target)
    for language, body in blocks(page):
        if language == "{toctree}":
            yield from (f"{line}.md" for line in body.splitlines() if line and not line.startswith(":"))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_anchors_resolve(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if target.endswith(".md") and not found.exists():
            found = found.with_suffix(".rst")
        assert found.exists(), f"{name(page)}: {target}"
        if anchor:
            assert anchor in anchors(found), f"{name(page)}: {target}"


def test_every_page_is_in_the_table_of_contents() -> None:
    pages = [DOCS / "index.md", DOCS / "api" / "index.md"]
    listed = {
        str((page.parent / line).relative_to(DOCS))
        for page in pages
        for language, body in blocks(page)
        if language == "{toctree}"
        for line in body.splitlines()
        if line and not line.startswith(":")
    }
    files = [p for p in DOCS.rglob("*") if p.suffix in (".md", ".rst") and "_build" not in p.parts]
    assert {str(p.relative_to(DOCS).with_suffix("")) for p in files} - {"index"} == listed


@cache
def commands() -> dict[str, frozenset[str]]:
    """Each command's options."""
    from typer.main import get_command

    from snellen.cli import app

    group: Any = get_command(app)
    options = {
        command: frozenset(option for p in found.params for option in [*p.opts, *p.secondary_opts] if option.startswith("-"))
        for command, found in group.commands.items()
    }
    return {command: found | {"--help"} for command, found in options.items()}


def calls(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Every call of a command in fenced blocks and in code within the text: its name and its options."""
    text = page.read_text()
    fenced = [body for language, body in blocks(page) if not language or language in ("bash", "sh", "console")]
    lines = [line for body in fenced for line in body.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    for line in lines:
        found = re.search(r"(?<!import )(?:(?<=\s)|^|(?<=/))snellen ([a-z]+)\b(.*)", line)
        if found and not line.lstrip().startswith("#"):
            rest = re.split(r"\s#|[;&|>]", found[2])[0] if "'" not in found[2] else re.split(r"\s#", found[2])[0]
            try:
                parts = shlex.split(rest)
            except ValueError:
                parts = rest.split()
            yield found[1], [part.partition("=")[0] for part in parts if re.match(r"--?[a-z]", part)]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_options_exist(page: Path) -> None:
    for command, options in calls(page):
        assert command in commands(), f"{name(page)}: snellen {command}"
        unknown = set(options) - commands()[command]
        assert not unknown, f"{name(page)}: snellen {command} {' '.join(sorted(unknown))}"


def test_the_check_of_commands_sees_what_is_wrong(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```\nsnellen exam --nosuch 1 \\\n    --out a   # --comment\n```\nand `torchrun -m snellen flay`\n")
    assert list(calls(page)) == [("exam", ["--nosuch", "--out"]), ("flay", [])]
    assert "--nosuch" not in commands()["exam"] and "flay" not in commands() and "--out" in commands()["exam"]
    assert sum(len(list(calls(page))) for page in PAGES) > 60


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_compiles_and_its_public_names_exist(page: Path) -> None:
    for language, text in blocks(page):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(text, name(page))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sn":
                assert node.attr in snellen.__all__, f"{name(page)}: sn.{node.attr}"
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "sn.stimuli":
                assert hasattr(snellen.stimuli, node.attr), f"{name(page)}: sn.stimuli.{node.attr}"


def test_every_public_name_stands_in_the_reference() -> None:
    pages = "\n".join(page.read_text() for page in (DOCS / "api").glob("*.rst"))
    shown = set(re.findall(r"^\.\. auto(?:function|class|exception):: ([\w.]+)$", pages, re.M))
    for public in set(snellen.__all__) - {"__version__", "stimuli"}:
        home = snellen._PUBLIC[public]
        assert f"snellen.{public}" in shown or f"{home}.{public}" in shown, f"{public} of {home} is on no page of docs/api"
    for public in set(snellen.stimuli.__all__) - {"ENDINGS", "Design"}:
        assert any(entry.endswith(f".{public}") for entry in shown), f"sn.stimuli.{public} is on no page of docs/api"


@pytest.mark.slow
def test_the_first_page_runs_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {}
    for language, text in blocks(START):
        if language == "python":
            exec(compile(text, "start.md", "exec"), namespace)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("right: 0.") and said[1].split()[0] in namespace["result"].predictions
    assert said[2].startswith("torch.Size")


@pytest.mark.heavy
def test_the_site_builds_without_a_warning_and_asks_nothing_of_the_network(tmp_path: Path) -> None:
    for package in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(
            package, reason="the documentation's packages are an extra: pip install -e '.[docs]'; make docs builds it"
        )
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-n",
        "-d",
        str(tmp_path / "trees"),
        str(DOCS),
        str(tmp_path / "site"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 40
    loads = re.compile(
        r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"(?:https?:)?//|<link\b[^>]*\bhref=\"(?:https?:)?//|@import\s+[\"']?https?:"
    )
    for page in pages:
        assert not loads.search(page.read_text()), page
    for sheet in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import\s+[\"']?https?:", sheet.read_text()), sheet
