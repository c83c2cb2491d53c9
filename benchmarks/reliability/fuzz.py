"""Coverage-guided fuzzing of everything that parses: inputs that reach new code are kept and changed again (libFuzzer, by atheris).

python -m benchmarks.reliability.fuzz                  # a minute per parser; writes its section of docs/reliability.md
python -m benchmarks.reliability.fuzz --seconds 600 --only image taxonomy
python -m benchmarks.reliability.fuzz --quick

Needs ``pip install -e '.[fuzz]'``. A parser returns or refuses in words; another exception, a file written elsewhere, anything run, more than
20 s or more than 4 GB is a finding, and ends the fuzzing of that parser; the input is kept.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

MODULES = ("texts", "tables", "stores", "images")
"""Those of ``hostile_*.py`` that have ``parsers``."""
MEASURED = ("stimuli", "hooks", "analysis", "snellen", "yaml", "PIL")
"""Packages whose branches are counted."""
KEPT = Path(__file__).resolve().parent / "found"
"""Inputs that were findings."""


def parsers() -> dict[str, Any]:
    """Name → file, good contents, reader."""
    from importlib import import_module

    found: dict[str, Any] = {}
    for name in MODULES:
        found |= import_module(f"benchmarks.reliability.hostile_{name}").parsers()
    return found


# ---- the child, which one parser is fuzzed in ------------------------------------------------------------------------


def fuzz(name: str, seconds: int, place: Path) -> None:
    """Fuzz one parser; libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=list(MEASURED)):
        from benchmarks.reliability.watch import LONGEST, Acts
        from stimuli.errors import SnellenError

        file, good, read = parsers()[name]
        with suppress(SnellenError):  # what is imported at first use is imported now
            read(placed(place, file, good[0]), place / "out")
    acts, corpus = Acts(place.resolve()), place / "corpus"
    tempfile.tempdir = str(place)
    counts = np.memmap(place / "counts", np.int64, "w+", shape=2)
    sys.addaudithook(acts.hook)
    corpus.mkdir()
    for i, content in enumerate(good):
        (corpus / str(i)).write_bytes(content)

    def one(data: bytes) -> None:
        path = placed(place, file, data)
        acts.on, refused = True, ""
        try:
            read(path, place / "out")
        except SnellenError as error:
            refused = str(error)
        finally:
            acts.on = False
        counts[int(bool(refused))] += 1
        if acts.ran or acts.wrote or len(refused) > LONGEST:
            raise AssertionError(f"ran {acts.ran}, wrote {acts.wrote}, a message of {len(refused)} characters")

    options = ("-timeout=20", "-rss_limit_mb=4096", "-max_len=16384", "-seed=1", f"-artifact_prefix={KEPT}/{name}-")
    KEPT.mkdir(exist_ok=True)
    atheris.Setup(["fuzz", f"-max_total_time={seconds}", *options, str(corpus)], one)
    atheris.Fuzz()


def placed(place: Path, file: str, data: bytes) -> Path:
    """The input, beside what it may refer to, and an empty folder for what comes of it."""
    from benchmarks.reliability.hostile_images import seeds
    from benchmarks.reliability.hostile_stores import feature_rows

    given, out = place / "in", place / "out"
    if not given.exists():
        (given / "images").mkdir(parents=True)
        (given / "stimuli.csv").write_bytes(feature_rows())
        (given / "a.png").write_bytes(seeds()["rgb.png"])
        (given / "data.json").write_text(
            '[{"id": "q", "image": "a.png", "question": "How?", "choices": ["a", "b"], "answer": "A"}]'
        )
    if not out.exists() or any(out.iterdir()):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
    (given / file).write_bytes(data)
    return given / file


# ---- the parent ------------------------------------------------------------------------------------------------------


def fuzzed(name: str, seconds: int) -> dict[str, Any]:
    """One parser in a process of its own: how many inputs, how much code they reached, and what was found."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place:
        command = [sys.executable, "-m", "benchmarks.reliability.fuzz", "--child", name, str(seconds), place]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=KEPT.parents[2])
        said = re.sub(r"INFO: Instrumenting .*\n", "", done.stdout + done.stderr)
        counts = np.fromfile(Path(place) / "counts", np.int64) if (Path(place) / "counts").exists() else np.zeros(2, np.int64)
    covered = [int(number) for number in re.findall(r"\bcov: (\d+)", said)]
    slowest = re.findall(r"stat::slowest_unit_time_sec:\s*(\d+)", said)
    row = {"parser": name, "read": int(counts[0]), "refused": int(counts[1]), "slowest": int(slowest[-1]) if slowest else None,
           "first": covered[0] if covered else 0, "last": covered[-1] if covered else 0, "finding": "", "said": ""}  # fmt: skip
    if done.returncode or not covered:
        own = re.findall(r"^(\w*(?:Error|Exception|Warning)\b.*|==.*ERROR.*)$", said, re.MULTILINE)
        row |= {"finding": (own[-1] if own else f"exit code {done.returncode}")[:200], "said": said[-3000:]}
    return row


def section(rows: Sequence[Mapping[str, Any]], seconds: int) -> list[str]:
    """The lines of the page."""
    from benchmarks.reliability.page import table

    found = [f"`{row['parser']}`: {row['finding']}" for row in rows if row["finding"]]
    cells = [
        [row["parser"], f"{row['read'] + row['refused']:,}", f"{row['read']:,}", f"{row['refused']:,}", row["first"], row["last"],
         "1" if row["finding"] else "0"]
        for row in rows
    ]  # fmt: skip
    return [
        "## Fuzzing that follows the code",
        "",
        f"Command: `python -m benchmarks.reliability.fuzz --seconds {seconds}`. Each parser is given good files and what libFuzzer makes of "
        f"them, {seconds} s long; inputs that reach branches of {', '.join(f'`{name}`' for name in MEASURED)} not reached before are kept "
        "and changed again. `branches`: reached by the good files, and at the end. A finding is an exception that is no refusal in words, a "
        "file written elsewhere, anything run, 20 s or 4 GB; it ends that parser's run.",
        "",
        *table(("parser", "inputs", "read", "refused", "branches at first", "at the end", "findings"), cells),
        "",
        "; ".join(found) + "." if found else "Nothing was found.",
    ]


def main() -> None:
    """Command line; exit code 1 where something was found."""
    if sys.argv[1:2] == ["--child"]:  # before anything of what is measured is imported
        fuzz(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
        return
    from benchmarks.reliability.page import arguments, written

    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="of each parser")
    parser.add_argument("--only", nargs="+", help="names of parsers; all by default")
    options = parser.parse_args()
    if find_spec("atheris") is None:
        raise SystemExit("atheris is not installed. It makes the inputs. Install it with: pip install -e '.[fuzz]'")
    seconds = 5 if options.quick else options.seconds
    rows = []
    for name in options.only or parsers():
        rows.append(fuzzed(name, seconds))
        print({key: value for key, value in rows[-1].items() if key != "said"}, rows[-1]["said"], file=sys.stderr, flush=True)
    written("fuzz", rows, section(rows, seconds), options)
    raise SystemExit(1 if any(row["finding"] for row in rows) else 0)


if __name__ == "__main__":
    main()
