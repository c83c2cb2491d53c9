"""Styles and scripts of the page, and the policy that lets these run and nothing else, fetched or written in."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

TEMPLATES = Path(__file__).with_name("templates")
SCRIPTS = ("common", "curve", "plane", "tables", "slider", "gallery")
"""In the order in which they run."""


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


STYLE = (TEMPLATES / "style.css").read_text(encoding="utf-8")
SCRIPT = '"use strict";\n' + "\n".join((TEMPLATES / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
SCRIPT_SOURCE = _hash(SCRIPT)
"""What a Content-Security-Policy calls the script of this version."""
POLICY = f"default-src 'none'; img-src data:; style-src {_hash(STYLE)}; script-src {SCRIPT_SOURCE}; base-uri 'none'; form-action 'none'"
"""Of the page itself: pictures inside it, its own styles and script, and nothing more."""
