"""Notebooks run from top to bottom, and the committed form is that of the source."""

import importlib.util
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
SOURCES = sorted(FOLDER.glob("[0-9]*.py"))
LONG = ("05_cause_and_attribution",)
"""More than a minute each."""
RUNS = [pytest.param(path, id=path.stem, marks=pytest.mark.heavy if path.stem in LONG else ()) for path in SOURCES]


def builder() -> object:
    spec = importlib.util.spec_from_file_location("build", FOLDER / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("source", RUNS)
def test_a_notebook_runs_and_shows_a_figure(source: Path) -> None:
    done = builder().execute(source)  # type: ignore[attr-defined]
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_committed_notebook_is_that_of_the_source_and_has_outputs(source: Path) -> None:
    import jupytext

    fresh, kept = jupytext.read(source), nbformat.read(source.with_suffix(".ipynb"), 4)
    assert [cell.source for cell in fresh.cells] == [cell.source for cell in kept.cells]
    assert any(cell.get("outputs") for cell in kept.cells)
