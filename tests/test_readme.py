"""What the README says works."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("snippet", re.findall(r"```python\n(.*?)```", TEXT, re.S))
def test_python_snippets_run(snippet: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(snippet, "README.md", "exec"), {})
    assert capsys.readouterr().out.split()[0] in ("vision", "projector", "llm", "none", "cannot")


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name)
def test_linked_files_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_numbers_of_families_are_those_that_were_measured() -> None:
    import json

    rows = json.loads((ROOT / "docs" / "families.json").read_text())
    total, resolved, runs, whole = len(rows), *(sum(row[name] for row in rows) for name in ("resolved", "runs", "whole"))
    assert f"of {total} families {resolved}\nare mapped, {runs} run" in TEXT and f"{whole} were taken the whole way" in TEXT
    page = (ROOT / "docs" / "which-models.md").read_text()
    assert f"{resolved} of {total} families mapped" in page and f"({runs} exact)" in page


def test_commands_exist_in_the_makefile_and_the_first_screen_has_the_two() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in re.findall(r"^make ([a-z-]+)", TEXT, re.M):
        assert re.search(rf"^{command}:", makefile, re.M), command
    first = "\n".join(TEXT.splitlines()[:25])
    assert "make demo" in first and "make test" in first and "docs/images/survival.png" in first
