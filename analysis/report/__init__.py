"""The report: one self-contained HTML page from the results of an exam."""

from __future__ import annotations

from analysis.report.render import render

__all__ = ["render"]
