"""A run in the middle: everything it needs to go on as if it had not stopped, in one file without pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from hooks.recipe import difference
from stimuli.errors import InputError
from stimuli.tables import Table
from tuning.processes import Processes, put, whole

FILE = "checkpoint.safetensors"
COUPLED = {"order", "decorrelate"}
"""Constraints that look at the other lessons of a pass."""


@dataclass
class State:
    """Where a run is."""

    step: int = 0
    """Steps done."""
    elapsed: float = 0.0
    """Seconds spent in steps, checkpoints and evaluations left out."""
    history: Table = field(default_factory=list)
    validation: Table = field(default_factory=list)
    """Rows: step, loss of the answers on the held-out references."""
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    """The weights of the best evaluation, on the CPU; empty without early stopping."""


def save(
    folder: Path,
    state: State,
    parameters: Mapping[str, torch.Tensor],
    optimizer: Any,
    config: Mapping[str, Any],
    crew: Processes,
) -> None:
    """Write the checkpoint, whole or not at all: weights, optimizer, random numbers, history; the batches need nothing.

    Args:
        folder: of the run.
        state: where it is.
        parameters: name to what is trained.
        optimizer: over them.
        config: settings of the run.
        crew: all of it must call this; its first process writes.
    """
    if crew.first or crew.sharded:
        tensors = {f"w.{name}": whole(value) for name, value in parameters.items()}
        for name, value in parameters.items():
            tensors |= {f"o.{key}.{name}": whole(part) for key, part in optimizer.state.get(value, {}).items()}
        tensors |= {f"b.{name}": value for name, value in state.best.items()}
        tensors |= {f"r.{name}": value for name, value in _random().items()}
    if crew.first:
        told = {"step": state.step, "elapsed": state.elapsed, "history": state.history, "validation": state.validation}
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{FILE}.tmp"
        metadata = {"state": json.dumps(told), "config": json.dumps(config)}
        with room(folder):
            save_file({name: value.contiguous() for name, value in tensors.items()}, temporary, metadata)
            with open(temporary, "rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(folder / FILE)
    crew.wait()


@contextmanager
def room(folder: Path) -> Iterator[None]:
    """Say what to do where weights cannot be written.

    Raises:
        InputError: instead of what the system and safetensors say.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"Weights cannot be written to {folder} ({error}). What was written before is whole. Make room, or check the folder, and run the "
            "same again: it goes on."
        ) from error


def resume(folder: Path | None, parameters: Mapping[str, torch.Tensor], optimizer: Any, config: Mapping[str, Any]) -> State:
    """Where a run was when it stopped, its weights, optimizer and random numbers put back; the start if there is no checkpoint.

    Raises:
        InputError: the checkpoint is another run's.
    """
    found = _opened(folder)
    if folder is None or found is None:
        return State()
    told, saved = json.loads(found["state"]), json.loads(found["config"])
    free = () if COUPLED & set(config["constraint"] or ()) else ("micro_batch",)  # how a step is cut changes rounding alone
    changed = difference(*({k: v for k, v in own.items() if k not in free} for own in (saved, json.loads(json.dumps(config)))))
    if changed:
        raise InputError(
            f"The folder {folder} holds another tuning run, half done ({changed}). Give another folder, or the same settings to go on."
        )
    tensors = load_file(folder / FILE)
    for name, value in parameters.items():
        put(value, tensors[f"w.{name}"])
        own = {
            key.split(".")[1]: part for key, part in tensors.items() if key.startswith("o.") and key.split(".", 2)[2] == name
        }
        if own:
            optimizer.state[value] = {key: _like(value, part) for key, part in own.items()}
    _restore({key[2:]: value for key, value in tensors.items() if key.startswith("r.")})
    return State(**told, best={key[2:]: value for key, value in tensors.items() if key.startswith("b.")})


def _opened(folder: Path | None) -> Mapping[str, str] | None:
    """The checkpoint's metadata; None without a readable checkpoint, from which nothing can be gone on with."""
    if folder is None or not (folder / FILE).is_file():
        return None
    try:
        with safe_open(folder / FILE, "pt") as handle:
            metadata: Mapping[str, str] | None = handle.metadata()
    except SafetensorError:
        return None
    return metadata


def _like(parameter: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """A part of the optimizer's state where the parameter is; counters stay on the CPU."""
    if part.shape != parameter.shape:
        return part
    kept = torch.zeros_like(parameter, dtype=part.dtype)
    put(kept, part)
    return kept.detach()


def _random() -> dict[str, torch.Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _restore(states: Mapping[str, torch.Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(states["cuda"])
