"""What is needed to trust a number: versions, commit, command, times."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "transformers", "scikit-learn", "scikit-image", "scipy", "numpy", "pillow", "umap-learn", "peft")


def provenance(
    model: Mapping[str, Any] | None = None, data: Mapping[str, Mapping[str, Any]] | None = None, **more: Any
) -> dict[str, Any]:
    """What a file of results says of how it was made, as JSON-able values; no path of this machine but those that were typed.

    Args:
        model: ``Mllm.provenance``: checksum of the weights, processor and its backend, dtype, ….
        data: what each set of stimuli is, by its part in the run: ``stimuli.fingerprint.fingerprint``, or other checksums.
        **more: further keys, such as ``seed``.

    Returns:
        ``snellen``, ``command`` (as a shell takes it; ``snellen rerun`` does), ``versions``, ``platform``, ``threads`` (sums of other
        numbers of threads may differ in their last bits; None where torch is not in use), ``commit``, and what was given.
    """
    import snellen

    torch = sys.modules.get("torch")
    return {
        "snellen": snellen.__version__,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in LIBRARIES}},
        "platform": platform.platform(),
        "threads": None if torch is None else torch.get_num_threads(),
        "commit": commit(),
        **({} if model is None else {"model": dict(model)}),
        **({} if data is None else {"data": {name: dict(own) for name, own in data.items()}}),
        **more,
    }


def commit() -> str | None:
    """The commit of a checkout, with ``+`` where files differ from it; None outside one."""
    home = Path(__file__).resolve().parent.parent
    if not (home / ".git").exists():
        return None
    try:
        head = _git(home, "rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git(home, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _git(home: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(home), *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
