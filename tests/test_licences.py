"""A licence that is unknown, copyleft or not to be passed on is found, unless it is allowed by name with a reason."""

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks.reliability import licences


@pytest.mark.parametrize(
    "said", ["MIT", "BSD-3-Clause", "Apache Software License", "MPL-2.0", "GPL-2.0-only OR MIT", "PSF-2.0"]
)
def test_permissive_licences_pass(said: str) -> None:
    assert licences.problem("x", said) is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("GPL-3.0-only", "copyleft"),
        ("GNU Lesser General Public License v3 (LGPLv3)", "copyleft"),
        ("BSD AND AGPL-3.0", "copyleft"),
        ("CC-BY-NC-4.0", "copyleft"),
        ("Other/Proprietary License", "forbids"),
        ("", "no licence named"),
        ("Beerware", "is not known"),
        ("Limited use permitted, see the disclaimer", "is not known"),
    ],
)
def test_others_are_told_unless_allowed_by_name(said: str, words: str) -> None:
    assert words in str(licences.problem("x", said))
    assert licences.problem("nvidia-cublas", said) is None and str(licences.reason("nvidia-cublas"))


def test_everything_that_is_installed_is_looked_at_and_passes() -> None:
    found = {one.metadata["Name"].lower(): licences.licence(one) for one in licences.needed()}
    assert {"torch", "numpy", "transformers", "jinja2", "markupsafe"} <= set(found) and "snellen" not in found
    assert [licences.problem(name, said) for name, said in found.items() if licences.problem(name, said)] == []


def test_an_audit_that_cannot_be_made_says_so_and_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def answering(said: str, errors: str = "") -> None:
        monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 1, said, errors))

    def answered(*packages: dict[str, object]) -> str:
        return json.dumps({"dependencies": packages})

    sound, unknown = {"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}
    answering("", "No module named pip_audit")
    assert (
        licences.audit() == 0 and "Not audited: pip-audit or its database is not at hand (No module" in capsys.readouterr().out
    )
    answering(answered(unknown, unknown))
    assert licences.audit() == 0 and "Not audited: the database knows none" in capsys.readouterr().out
    answering(answered({**sound, "vulns": [{"id": "CVE-1"}, {"id": "CVE-2"}]}, unknown))
    assert licences.audit() == 1 and capsys.readouterr().out == "a 1: CVE-1, CVE-2\n1 of 2 packages could be asked about.\n"
    answering(answered(sound, unknown))
    assert licences.audit() == 0 and "No known vulnerabilities.\n1 of 2" in capsys.readouterr().out

    def silent(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("pip_audit", 300)

    monkeypatch.setattr(subprocess, "run", silent)
    assert licences.audit() == 0 and "no answer in 5 minutes" in capsys.readouterr().out


def test_the_page_names_every_package(tmp_path: Path) -> None:
    text = licences.page([("a", "1", "MIT"), ("nvidia-x", "2", "")])
    assert "| a | 1 | MIT |" in text and "NVIDIA's own terms" in text
