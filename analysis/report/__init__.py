"""The report: one self-contained HTML page from the results of an exam, or of several side by side."""

from __future__ import annotations

from analysis.report.render import render
from analysis.report.seen import PICTURES

__all__ = ["PICTURES", "render"]
