"""Formatting in the report, and escaping of what users bring."""

from analysis.report.render import interval, number, percent


def test_numbers_are_shown_with_their_intervals() -> None:
    assert percent(0.8443) == "84.4 %" and percent(None) == "–"
    assert interval({"accuracy": 0.5, "low": 0.4, "high": 0.61}) == "50.0 % [40.0, 61.0]"
    assert interval({"gain": None}, "gain") == "–"
    assert [number(x) for x in (None, True, 12345, 0.00123456, "x")] == ["–", "True", "12,345", "0.00123", "x"]
