"""Notebooks run from top to bottom, and the committed form is that of the source."""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
SOURCES = sorted(FOLDER.glob("[0-9]*.py"))
FIRST = "01_examine_a_model"
"""What everybody begins with; the others take minutes together and are heavy proofs."""
ELSEWHERE = ("06_your_own_model_and_data", "09_activations_of_a_whole_set")
"""Run from another folder than their own."""
RUNS = [pytest.param(path, id=path.stem, marks=() if path.stem == FIRST else pytest.mark.heavy) for path in SOURCES]


def builder() -> object:
    spec = importlib.util.spec_from_file_location("build", FOLDER / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("source", RUNS)
def test_a_notebook_runs_from_its_folder_or_another_and_shows_a_figure(source: Path, tmp_path: Path) -> None:
    folder = {"folder": tmp_path} if source.stem in ELSEWHERE else {}
    done = builder().execute(source, **folder)  # type: ignore[attr-defined]
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_asks_one_question_and_makes_no_file_beside_it(source: Path) -> None:
    text = source.read_text(encoding="utf-8")
    titles = re.findall(r"^# # (.*)$", text, re.M)
    assert len(titles) == 1 and titles[0].endswith("?") and titles[0].count("?") == 1
    assert not re.search(r"\bout=[\"']|savefig\([\"']|Path\([\"']", text)  # works from any folder


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_committed_notebook_is_that_of_the_source_and_has_outputs(source: Path) -> None:
    import jupytext

    fresh, kept = jupytext.read(source), nbformat.read(source.with_suffix(".ipynb"), 4)
    assert [cell.source for cell in fresh.cells] == [cell.source for cell in kept.cells]
    assert any(cell.get("outputs") for cell in kept.cells)
