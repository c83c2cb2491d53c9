"""Execute every notebook source (``NN_name.py``, percent format) and write the ``.ipynb`` with its outputs.

python notebooks/build.py            # all
python notebooks/build.py 01 06      # these
"""

from __future__ import annotations

import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def execute(source: Path, folder: Path = FOLDER, timeout: int = 600) -> nbformat.NotebookNode:
    """The notebook of one source, run from a folder; its own, as Jupyter does, by default."""
    notebook = jupytext.read(source)
    NotebookClient(notebook, timeout=timeout, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day would differ at every build
    return notebook


def main() -> None:
    """Build all, or those of these numbers."""
    wanted = sys.argv[1:]
    for source in sorted(FOLDER.glob("[0-9]*.py")):
        if wanted and source.name[:2] not in wanted:
            continue
        nbformat.write(execute(source), source.with_suffix(".ipynb"))
        print(source.with_suffix(".ipynb").name)


if __name__ == "__main__":
    main()
