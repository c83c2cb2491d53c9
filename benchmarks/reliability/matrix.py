"""The tests under the oldest versions of the libraries that pyproject.toml allows, and under the newest that can be had.

python -m benchmarks.reliability.matrix                     # both sets, the test files of FILES; writes the section of docs/reliability.md
python -m benchmarks.reliability.matrix --all               # every fast test
python -m benchmarks.reliability.matrix --sets oldest --quick

Environments are made by pip under .matrix/ and used again as long as what is asked for stays the same; 8 GB each where torch brings CUDA.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
import tomllib
import xml.etree.ElementTree as xml
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.reliability.page import arguments, table, written

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".matrix"
TOOLS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "jupytext", "nbclient", "ipykernel")
"""What the tests need beside the library; always the newest."""
SHOWN = ("python", "torch", "transformers", "scikit-learn", "numpy", "scipy", "peft", "accelerate")
FILES = (
    "load", "capture", "stages", "extract", "sweep", "solver", "linear", "adapters", "processor", "respond", "perception",
    "semantic_distance", "plane", "tables", "config", "tune",
)  # fmt: skip
"""Test files of everything that touches another library."""
QUIET = ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")
"""Warnings that are no errors under the oldest set: libraries of different years warn of each other."""


def bounds(project: Path = ROOT / "pyproject.toml") -> dict[str, str]:
    """The lowest version of every dependency that is allowed, by its name."""
    named = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    return dict(re.fullmatch(r"([\w-]+)>=([\d.]+)(?:,.*)?", own).groups() for own in named)  # type: ignore[union-attr,misc]


def requirements(which: str) -> list[str]:
    """What pip is asked for."""
    if which == "oldest":
        return [f"{name}=={version}" for name, version in bounds().items()]
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]


def environment(which: str) -> Path:
    """A Python that has a set of versions; made unless it is there.

    Raises:
        subprocess.CalledProcessError: pip found no such versions; what it said is printed.
    """
    home, wanted = WORK / which, requirements(which)
    python, stamp = home / "bin" / "python", home / "snellen-requirements.txt"
    if stamp.is_file() and stamp.read_text().split() == wanted:
        return python
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    subprocess.run(
        [str(python), "-m", "pip", "install", "-q", "--no-cache-dir", "--no-compile", "--upgrade", "pip"], check=True
    )
    subprocess.run([str(python), "-m", "pip", "install", "-q", "--no-cache-dir", "--no-compile", *wanted, *TOOLS], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "-q", "--no-deps", "-e", str(ROOT)], check=True)  # for its metadata
    stamp.write_text("\n".join(wanted))
    return python


def tested(which: str, python: Path, files: Sequence[str]) -> dict[str, Any]:
    """The outcome of the fast tests of these files (all where there are none) in an environment."""
    report = WORK / f"{which}.xml"
    quiet = [part for name in QUIET for part in ("-W", f"ignore::{name}")] if which == "oldest" else []
    command = [
        str(python),
        "-m",
        "pytest",
        "-q",
        "-m",
        "not slow",
        "-p",
        "no:cacheprovider",
        "--junitxml",
        str(report.relative_to(ROOT)),
        *quiet,
        *files,
    ]
    started = time.monotonic()
    report.unlink(missing_ok=True)
    subprocess.run(command, cwd=ROOT)
    return {"set": which, "versions": versions(python), "seconds": round(time.monotonic() - started), **counted(report)}


def counted(report: Path) -> dict[str, Any]:
    """Tests, those that passed, were skipped and failed, and the names of the last."""
    if not report.is_file():
        return {"tests": 0, "passed": 0, "skipped": 0, "failed": 0, "failures": ["pytest ended without a report"]}
    found: dict[str, list[str]] = {"passed": [], "skipped": [], "failed": []}
    for case in xml.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        how = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        found[how].append(f"{case.get('classname')}.{case.get('name')}")
    counts = {name: len(own) for name, own in found.items()}
    return {"tests": sum(counts.values()), **counts, "failures": found["failed"]}


def versions(python: Path) -> dict[str, str]:
    """What is installed, by name."""
    asked = "import json, platform; from importlib.metadata import distributions as d; print(json.dumps({'python': platform.python_version(), **{x.name: x.version for x in d()}}))"  # noqa: E501
    done = subprocess.run([str(python), "-c", asked], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    """Command line; exit code 1 where a test fails."""
    parser = arguments(__doc__)
    parser.add_argument("--sets", nargs="+", default=["oldest", "newest"], choices=["oldest", "newest"])
    parser.add_argument("--all", action="store_true", help="every fast test, not those of FILES alone")
    options = parser.parse_args()
    rows = [row(which, options) for which in options.sets]
    cells = [
        [
            one["set"],
            *(one["versions"].get(name, "–") for name in SHOWN),
            one["tests"],
            one["passed"],
            one["skipped"],
            one["failed"],
        ]
        for one in rows
    ]
    lines = [
        "## Versions",
        "",
        "Command: "
        + (
            "`python -m benchmarks.reliability.matrix --all`"
            if options.all
            else "`make matrix` (`python -m benchmarks.reliability.matrix`)"
        )
        + ". `oldest` has every dependency at the lower bound that "
        "pyproject.toml declares, `newest` what pip installs without one; both on one Python. The fast tests "
        + ("of everything." if options.all else f"of {len(FILES)} files, those of all that touches another library."),
        "",
        *table(["set", *SHOWN, "tests", "passed", "skipped", "failed"], cells),
    ]
    written("matrix", rows, lines, options)
    if any(one["failed"] or not one["passed"] for one in rows):
        raise SystemExit(1)


def row(which: str, options: argparse.Namespace) -> dict[str, Any]:
    """One set, from its environment to its outcome."""
    chosen = FILES[:2] if options.quick else FILES
    return tested(which, environment(which), [] if options.all else [f"tests/test_{name}.py" for name in chosen])


if __name__ == "__main__":
    main()
