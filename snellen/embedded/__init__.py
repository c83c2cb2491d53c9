"""The two patients that ship with Snellen, and the recipe that made them (``python -m snellen.embedded.train``)."""

from __future__ import annotations

from pathlib import Path

PATIENTS = ("embedded", "embedded-template")


def folder(name: str) -> Path:
    """The folder of a packaged patient, loadable by ``AutoModelForImageTextToText.from_pretrained``."""
    return Path(__file__).parent / name
