"""Figures: each ``draw_*`` takes axes and one part of the results, and computes nothing."""

from __future__ import annotations

from analysis.figures.all import draw_all

__all__ = ["draw_all"]
