"""The licences of everything that Snellen installs, from the packages' own metadata, as docs/licences.md; fails on one that is not allowed.

python -m benchmarks.reliability.licences            # checks, and writes the page
python -m benchmarks.reliability.licences --check    # checks alone (CI)
python -m benchmarks.reliability.licences --audit    # and asks for known vulnerabilities, where pip-audit and its database are at hand
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

PAGE = Path(__file__).resolve().parents[2] / "docs" / "licences.md"
PERMISSIVE = re.compile(
    r"\b(?:MIT|BSD|Apache|ISC|PSF|Python Software Foundation|Python-2\.0|0BSD|Zlib|HPND|Historical Permission|Unlicense|CC0|CNRI|BSL-1\.0"
    r"|MPL-2\.0|Mozilla Public License 2)",
    re.I,
)
"""What may be used and passed on as it is. The Mozilla licence binds changes of its own files alone."""
COPYLEFT = re.compile(r"\b(?:A|L)?GPL|General Public|Affero|EUPL|SSPL|CC-BY-(?:NC|SA)|Proprietary|Commercial", re.I)
ALLOWED: Mapping[str, str] = {
    "docutils": "public domain, BSD and PSF; the GPL binds one Emacs mode, which is not used. Documentation only",
    "nvidia": "NVIDIA's own terms for its CUDA libraries, which PyTorch depends on; not part of Snellen",
    "cuda": "NVIDIA's own terms for its CUDA libraries, which PyTorch depends on; not part of Snellen",
}
"""Packages whose licence the expressions above do not settle, each with its reason; a name stands for those that begin with it, too."""


def needed(extras: tuple[str, ...] = ("", "dev", "docs")) -> list[metadata.Distribution]:
    """Snellen's dependencies that are installed, theirs, and so on."""
    seen: dict[str, metadata.Distribution] = {}
    queue: list[tuple[str, tuple[str, ...]]] = [("snellen", extras)]
    asked: set[tuple[str, tuple[str, ...]]] = set()
    while queue:
        name, wanted = queue.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if (key, wanted) in asked:
            continue
        asked.add((key, wanted))
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # not for this machine, or an extra that is not installed
        if key != "snellen":
            seen[key] = found
        queue += _requirements(found, wanted or ("",))
    return [seen[name] for name in sorted(seen)]


def _requirements(found: metadata.Distribution, extras: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for text in found.requires or ():
        one = Requirement(text)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras):
            yield one.name, tuple(sorted(one.extras))


def licence(found: metadata.Distribution) -> str:
    """What a package says of its licence, in a line; empty where it says nothing."""
    about = found.metadata
    classified = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or () if line.startswith("License ::")]
    said = (
        about.get("License-Expression")
        or "; ".join(one for one in classified if one != "OSI Approved")
        or about.get("License")
        or ""
    )
    return " ".join(said.split("\n")[0].split())[:80]


def problem(name: str, said: str) -> str | None:
    """Why a package may not be installed with Snellen; None if it may."""
    if reason(name) is not None:
        return None
    if COPYLEFT.search(said) and not re.search(r"\bOR\b", said):
        return f"{name}: '{said}' is copyleft, or forbids passing it on"
    return None if PERMISSIVE.search(said) else f"{name}: '{said or 'no licence named'}' is not known"


def reason(name: str) -> str | None:
    """Why a package is allowed whatever its metadata say."""
    return next((told for start, told in ALLOWED.items() if name == start or name.startswith(f"{start}-")), None)


def page(rows: list[tuple[str, str, str]]) -> str:
    """The page."""
    lines = [
        f"| {name} | {version} | {said or '–'}{f' ({reason(name)})' if reason(name) else ''} |" for name, version, said in rows
    ]
    return "\n".join(
        [
            "# Licences",
            "",
            f"Command: `python -m benchmarks.reliability.licences`. The {len(rows)} packages that Snellen installs with its extras `dev` and "
            "`docs`, by their own metadata. CI fails where one is unknown, copyleft or not to be passed on, unless it is allowed by name, "
            "with a reason, in that script. Snellen itself is under the Apache License 2.0.",
            "",
            "| package | version | licence |",
            "| --- | --- | --- |",
            *lines,
            "",
        ]
    )


def audit() -> int:
    """Known vulnerabilities of what is installed; what cannot be asked about is told, and fails nothing."""
    command = [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "--skip-editable", "--format", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        asked = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        why = (
            done.stderr.strip().splitlines()[-1:]
            if not isinstance(error, subprocess.TimeoutExpired)
            else ["no answer in 5 minutes"]
        )
        print(f"Not audited: pip-audit or its database is not at hand ({''.join(why) or 'no reason given'}).")
        return 0
    found = [
        f"{one['name']} {one['version']}: {', '.join(bad['id'] for bad in one['vulns'])}" for one in asked if one.get("vulns")
    ]
    answered = sum("vulns" in one for one in asked)
    print(
        "\n".join(found or ["No known vulnerabilities."])
        if answered
        else "Not audited: the database knows none of the packages."
    )
    print(f"{answered} of {len(asked)} packages could be asked about.")
    return int(bool(found))


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--audit", action="store_true", help="ask for known vulnerabilities, too")
    options = parser.parse_args()
    rows = [(re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower(), one.version, licence(one)) for one in needed()]
    wrong = [told for name, _, said in rows if (told := problem(name, said)) is not None]
    print("\n".join([f"{len(rows)} packages", *wrong]))
    if not options.check:
        PAGE.write_text(page(rows), encoding="utf-8")
    return int(bool(wrong)) or (audit() if options.audit else 0)


if __name__ == "__main__":
    raise SystemExit(main())
