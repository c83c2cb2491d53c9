"""Formatting in the report, escaping of what users bring, and what is told of causes."""

import re
from typing import Any

from analysis.report.render import environment, interval, number, percent


def test_numbers_are_shown_with_their_intervals() -> None:
    assert percent(0.8443) == "84.4 %" and percent(None) == "–" and percent(-0.0001) == "0.0 %"
    assert interval({"accuracy": 0.5, "low": 0.4, "high": 0.61}) == "50.0 % [40.0, 61.0]"
    assert interval({"gain": None}, "gain") == "–"
    assert interval({"change": -0.2, "low": -0.41, "high": -1e-9}, "change") == "-20.0 % [-41.0, 0.0]"
    assert [number(x) for x in (None, True, 12345, 0.00123456, "x")] == ["–", "True", "12,345", "0.00123", "x"]


def exchange(site: str, set: str, recovery: float | None) -> dict[str, Any]:
    return {"direction": "forward", "site": site, "set": set, "low": 0.1, "high": 0.8, "recovery": recovery, "recovery_control": 0.04,
            "recovery_low": recovery and recovery - 0.1, "recovery_high": recovery and recovery + 0.1,
            "reason": None if recovery else "donor & receiver answer alike"}  # fmt: skip


def cause(**parts: Any) -> dict[str, Any]:
    """What an exam tells."""
    cut = {"edge": "image->last", "centre": None, "p_before": 0.8, "change": -0.6, "low": -0.7, "high": -0.5, "control_change": -0.01,
           "beyond_p_holm": 0.004}  # fmt: skip
    read = {"position": "last", "accuracy": 0.7, "accuracy_low": 0.6, "accuracy_high": 0.8, "accuracy_control": 0.125}
    rows = [
        exchange(*own)
        for own in (("vision.0", "image", 0.9), ("projector", "image", 0.95), ("llm.10", "last", 0.5), ("llm.2", "last", 0.3))
    ]
    found = {
        "model": "llm", "chance": 0.125, "balanced_accuracy": 0.5, "balanced_low": 0.4, "balanced_high": 0.6, "references": 16,
        "patching": {"table": rows, "notes": ["A <i>note</i>."]},
        "knockout": {"table": [{**cut, "centre": 0, "change": 0.0}, cut], "window": 3, "notes": []},
        "lens": {"table": [{**read, "site": "llm.0", "p_holm": 1.0}, {**read, "site": "llm.3", "p_holm": 0.01}], "notes": []},
    }  # fmt: skip
    return {**found, **parts}


def page(found: dict[str, Any]) -> str:
    """The section in one line."""
    template = environment().get_template("cause.html")
    base = {"balanced_accuracy": 0.13, "balanced_low": 0.12, "balanced_high": 0.14}
    made = template.render(
        cause=found,
        base=base,
        fig=lambda name, caption: f"[{name}]",
        table=lambda rows, columns, caption: f"[{len(rows)} rows]",
    )
    return re.sub(r"\s+", " ", made)


def test_causes_are_told_with_model_controls_and_intervals() -> None:
    made = page(cause())
    assert "Measured on the model with llm tuned, whose balanced accuracy is 50.0 % [40.0, 60.0], chance 12.5 %" in made
    assert "does not answer clearly better than chance (13.0 % [12.0, 14.0])" in made
    assert "p(right) is 10.0 % for the clean image and 80.0 % for the distorted one" in made
    told = re.findall(r"<li>(.*?)</li>", made)
    assert told == [
        "Forward at projector: image 95.0 % [85.0, 105.0] (control 4.0 %).",
        "Forward at llm.10: last 50.0 % [40.0, 60.0] (control 4.0 %).",
        "Forward at llm.2: last 30.0 % [20.0, 40.0] (control 4.0 %).",
        "-60.0 % [-70.0, -50.0] without image → last; as many pairs elsewhere: -1.0 %; p of the difference 0.004 (Holm).",
    ], "sites in the order of the table"
    assert "in windows of 3 layers at a time" in made and "for the first time at llm.3 (p 0.01 after Holm)" in made
    assert "A &lt;i&gt;note&lt;/i&gt;." in made and "<i>" not in made
    assert all(f"[cause_{name}]" in made for name in ("patching", "knockout", "lens"))
    assert "model as loaded, whose" in page(cause(model="as loaded"))
    assert "ranks nowhere better" in page(cause(lens={"table": [], "notes": []}))
    alike = page(cause(patching={"table": [exchange("projector", "image", None)], "notes": []}))
    assert "There is no way to recover: donor &amp; receiver answer alike." in alike and "Forward at" not in alike


def test_what_could_not_be_measured_says_why() -> None:
    made = page({"skipped": "No model <answers>."})
    assert "Not measured. No model &lt;answers&gt;." in made and "<h3>" not in made and "[cause" not in made
    made = page(cause(knockout={"skipped": "flash attention <is> refused"}))
    assert "Not measured. flash attention &lt;is&gt; refused" in made
    assert "[cause_knockout]" not in made and "[cause_patching]" in made and "[cause_lens]" in made
