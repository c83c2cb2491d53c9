"""Figures: each ``draw_*`` takes axes and one part of the results, and computes nothing."""

from __future__ import annotations

from analysis.figures.all import exam_figures
from analysis.figures.files import written
from analysis.figures.style import style
from analysis.figures.survival import draw_survival

__all__ = ["draw_survival", "exam_figures", "style", "written"]
