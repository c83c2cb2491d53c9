"""A tuned copy of a model: what it is, and how it is kept on disk and found again."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from hooks.load import Mllm
from hooks.store import difference
from stimuli.errors import InputError
from stimuli.tables import Table, write_json
from tuning.audit import Audit


@dataclass(frozen=True)
class Tuned:
    """A tuned copy of a model, and the proof of what was done to it."""

    mllm: Mllm
    audit: Audit
    history: Table = field(repr=False)
    """One row per step: ``step``, ``loss``, its parts ``answer``, ``replay``, ``align``, ``keep``, and the learning ``rate``."""
    config: dict[str, Any]


def renamed(mllm: Mllm, model: Any, config: dict[str, Any]) -> Mllm:
    """The tuned model, its provenance saying so (activations of base and tuned must never share a folder)."""
    return Mllm(model, mllm.processor, mllm.stages, mllm.name, {**mllm.provenance, "tuned": dict(config)})


def save(tuned: Tuned, own: dict[str, nn.Parameter], folder: Path) -> None:
    """The component's weights, then the record: a folder with a record is a finished run."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in own.items()}
    save_file(weights, folder / "component.safetensors")
    audit = {**vars(tuned.audit), "trained": list(tuned.audit.trained), "moved": dict(tuned.audit.moved)}
    write_json({"config": tuned.config, "audit": audit, "history": tuned.history}, folder / "tuning.json")


def finished(mllm: Mllm, component: str, config: dict[str, Any], out: str | Path | None) -> Tuned | None:
    """A finished run in ``out`` with the same settings, if any."""
    record = Path(out) / "tuning.json" if out is not None else None
    if record is None or not record.is_file():
        return None
    saved = json.loads(record.read_text())
    changed = difference(saved["config"], json.loads(json.dumps(config)))
    if changed:
        raise InputError(
            f"The folder {out} holds another tuning run ({changed}). Give another folder, or the same settings to reuse it."
        )
    model = copy.deepcopy(mllm.model).eval().requires_grad_(False)
    own = mllm.stages.parameters(model, component)
    with torch.no_grad():
        for name, value in load_file(record.parent / "component.safetensors").items():
            own[name].copy_(value)
    audit = Audit(**{**saved["audit"], "trained": tuple(saved["audit"]["trained"])})
    return Tuned(renamed(mllm, model, config), audit, saved["history"], config)
