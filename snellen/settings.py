"""Settings of an exam from the command line: single ones inside a mapping (``prior.blur=0.3``), and all of them as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from snellen.config import ExamConfig, build, parse_overrides
from stimuli.errors import InputError


def chosen(pairs: Sequence[str], file: Path | None = None) -> dict[str, Any]:
    """``KEY=VALUE`` pairs as overrides for ``snellen.config.build``; of ``a.b=c``, the entry ``b`` of the mapping ``a``.

    Entries that are not named stay as the file has them. All after the first dot is the name of the entry, because names of sites have
    dots of their own.

    Args:
        pairs: as given to ``--set``; values are read as YAML.
        file: the settings that they change.

    Raises:
        InputError: a pair without ``=``, an unreadable file, or an entry of a setting that is no mapping.
    """
    found: dict[str, Any] = {}
    for key, value in parse_overrides(pairs, example="seed=1 or prior.blur=0.3").items():
        name, dot, entry = key.partition(".")
        found[name] = {**_mapping(name, key, found, file), entry: value} if dot else value
    return found


def _mapping(name: str, key: str, found: Mapping[str, Any], file: Path | None) -> Mapping[str, Any]:
    """What a setting holds so far, to change an entry of."""
    before = found[name] if name in found else getattr(build(file), name, None)
    known = [field for field, info in ExamConfig.model_fields.items() if "dict" in str(info.annotation)]
    if name not in known or not (before is None or isinstance(before, Mapping)):
        raise InputError(
            f"Got --set {key}=…; expected an entry of a setting that is a mapping ({' or '.join(known)}), such as --set prior.blur=0.3. "
            f"Write --set {name}=… for the whole setting."
        )
    return before or {}


def as_yaml(settings: ExamConfig) -> str:
    """Every setting as YAML that ``--config`` reads."""
    return yaml.safe_dump(json.loads(settings.model_dump_json()), sort_keys=False, allow_unicode=True, default_flow_style=None)
