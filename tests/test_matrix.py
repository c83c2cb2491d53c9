"""The matrix of versions asks for the declared bounds, and counts what pytest reports."""

from pathlib import Path

from benchmarks.reliability.matrix import FILES, bounds, counted, requirements

ROOT = Path(__file__).parent.parent


def test_the_oldest_set_is_the_declared_bounds(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text('[project]\ndependencies = ["numpy>=1.26", "transformers>=5.5,<6", "scikit-learn>=1.5"]\n')
    assert bounds(project) == {"numpy": "1.26", "transformers": "5.5", "scikit-learn": "1.5"}
    assert f"torch=={bounds()['torch']}" in requirements("oldest")
    assert len(requirements("oldest")) == len(requirements("newest")) > 20
    assert all((ROOT / "tests" / f"test_{name}.py").is_file() for name in FILES)


def test_a_report_is_counted_and_failures_are_named(tmp_path: Path) -> None:
    report = tmp_path / "r.xml"
    case = '<testcase classname="t" name="{}">{}</testcase>'
    cases = [case.format("a", ""), case.format("b", "<failure/>"), case.format("c", "<skipped/>"), case.format("d", "<error/>")]
    report.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    assert counted(report) == {"tests": 4, "passed": 1, "skipped": 1, "failed": 2, "failures": ["t.b", "t.d"]}
    assert counted(tmp_path / "none.xml")["failures"] == ["pytest ended without a report"]
