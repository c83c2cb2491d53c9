"""Distortions: KADID-10k's 25 types and DepictQA-Wild's 35 at published parameters, deterministic per (seed, reference, type, level).

Level is not severity: signed types are mildest in the middle, and some levels are identities; ``severity`` measures what a
level did to an image. Differences from other implementations, per type: ``docs/distortions.md``.
"""

from __future__ import annotations

from stimuli.distortions.apply import LEVELS, PUBLISHED, TYPES, Options, distort, is_identity, mix, parameter, within
from stimuli.distortions.kinds import Denoiser, Distortion, Setting
from stimuli.distortions.severity import QUALITY_BOUNDS_DB, Measure, quality, severity

__all__ = [
    "LEVELS",
    "PUBLISHED",
    "QUALITY_BOUNDS_DB",
    "TYPES",
    "Denoiser",
    "Distortion",
    "Measure",
    "Options",
    "Setting",
    "distort",
    "is_identity",
    "mix",
    "parameter",
    "quality",
    "severity",
    "within",
]
