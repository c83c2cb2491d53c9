"""Execute every notebook source (``NN_name.py``, percent format) and write the ``.ipynb`` with its outputs.

python notebooks/build.py
"""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def execute(source: Path, timeout: int = 600) -> nbformat.NotebookNode:
    """The notebook of one source, run from its own folder."""
    notebook = jupytext.read(source)
    NotebookClient(notebook, timeout=timeout, resources={"metadata": {"path": str(source.parent)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day would differ at every build
    return notebook


def main() -> None:
    """Build all."""
    for source in sorted(FOLDER.glob("[0-9]*.py")):
        nbformat.write(execute(source), source.with_suffix(".ipynb"))
        print(source.with_suffix(".ipynb").name)


if __name__ == "__main__":
    main()
