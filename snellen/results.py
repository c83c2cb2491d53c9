"""Small pieces of ``results.json``."""

from __future__ import annotations

from typing import Any

from analysis.perception import Answers, compare_answers
from probes.sweep import SweepResult
from tuning.tuned import Tuned

CONSTRAINED = "+constraint"
"""How the name of an arm with a constraint ends."""


def component_of(arm: str) -> str:
    """What an arm tunes."""
    return arm.removesuffix(CONSTRAINED)


def tuning_entry(name: str, answers: Answers, base: Answers | None) -> dict[str, Any]:
    """Accuracy of one arm and its gain over the base model (None for the base itself)."""
    keys = ("accuracy", "low", "high", "balanced_accuracy", "balanced_low", "balanced_high")
    gain = None if base is None else compare_answers(base, answers)
    return {
        "arm": name,
        "component": component_of(name) if base else None,
        **{key: getattr(answers, key) for key in keys},
        "gain": gain and gain.value,
        "gain_low": gain and gain.low,
        "gain_high": gain and gain.high,
        "p": gain and gain.p,
        "p_holm": None,
    }


def audit_dict(tuned: Tuned) -> dict[str, Any]:
    """What was trained, for how long, and the proof that nothing else changed."""
    kept = ("constraint", "method", "steps", "lr", "batch_size")
    return {**{k: tuned.config[k] for k in kept}, "audit": tuned.audit.as_dict(), "history": tuned.history}


def site_probe(survival: SweepResult, site: str) -> dict[str, Any]:
    """Score and interval of the probe at a site."""
    row = survival.row(site)
    return {key: row[key] for key in ("site", "score", "low", "high")}


def best_probe(survival: SweepResult) -> dict[str, Any]:
    """The probe of the highest score."""
    site = survival.best()
    assert site is not None
    return site_probe(survival, site)
