"""One training loop for every stage: Muon and AdamW, warm-up and cosine, checkpoints that a killed run goes on from.

Muon (Jordan et al. 2024) orthogonalises the momentum of the transformer blocks' weight matrices; everything else is AdamW's.
On these small encoders it needs about a third of AdamW's steps for the same loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm.auto import tqdm

Parts = Mapping[str, torch.Tensor]
Loss = Callable[[np.random.Generator], tuple[torch.Tensor, Parts]]
"""The loss of one step, drawn with the step's own generator, and its parts by name."""
MUON_RATE = 0.02
CHECKPOINT_EVERY = 250


def fit(
    trained: nn.Module, loss_of: Loss, steps: int, folder: Path, *, seed: int, rate: float, muon_rate: float = MUON_RATE
) -> None:
    """Train the parameters of ``trained`` that ask for gradients; a run that was killed goes on from ``folder``.

    Args:
        trained: holds everything that is trained.
        loss_of: gives the loss of a step; a step is a function of (seed, step) alone, so a resumed run sees the same.
        steps: in all.
        folder: of the checkpoint; its name stands in the progress bar.
        seed: of the steps' generators.
        rate: AdamW's peak learning rate.
        muon_rate: Muon's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimizers = _optimizers(trained, rate, muon_rate)
    peaks = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    start = _resume(trained, optimizers, folder)
    parameters = [p for p in trained.parameters() if p.requires_grad]
    average: dict[str, float] = {}
    bar = tqdm(range(start, steps), total=steps, initial=start, desc=folder.name)
    for step in bar:
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * schedule(step, steps)
            optimizer.zero_grad(set_to_none=True)
        loss, parts = loss_of(np.random.default_rng([seed, step]))
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        for name, part in parts.items():
            average[name] = 0.98 * average.get(name, part.item()) + 0.02 * part.item()
        bar.set_postfix({name: f"{value:.2f}" for name, value in sorted(average.items())})
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == steps:
            _checkpoint(trained, optimizers, step + 1, folder)


def schedule(step: int, steps: int) -> float:
    """Linear warm-up over 100 steps (a tenth of short runs), then a cosine to 2 % of the peak."""
    warmup = max(1, min(100, steps // 10))
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.49 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def steps_done(folder: Path) -> int:
    """How many steps the checkpoint of a stage has behind it; 0 without one."""
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, "pt") as handle:
        return int(handle.metadata()["step"])


def _optimizers(trained: nn.Module, rate: float, muon_rate: float) -> tuple[torch.optim.Optimizer, ...]:
    named = {name: p for name, p in trained.named_parameters() if p.requires_grad}
    matrices = [p for name, p in named.items() if "layers." in name and p.ndim == 2]
    kept = {id(p) for p in matrices}
    rest = [p for p in named.values() if id(p) not in kept]
    return (
        torch.optim.Muon(matrices, lr=muon_rate, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(rest, lr=rate, weight_decay=0.05, betas=(0.9, 0.98)),
    )


def _checkpoint(trained: nn.Module, optimizers: tuple[torch.optim.Optimizer, ...], step: int, folder: Path) -> None:
    """Weights and optimizer states in one safetensors file, written whole or not at all."""
    tensors = {f"w.{k}": v for k, v in trained.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"o.{number}.{index}.{k}": v for k, v in state.items()}
    temporary = folder / "checkpoint.tmp"
    save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, metadata={"step": str(step)})
    temporary.replace(folder / "checkpoint.safetensors")


def _resume(trained: nn.Module, optimizers: tuple[torch.optim.Optimizer, ...], folder: Path) -> int:
    """Load the checkpoint of ``folder``, if any; the step to go on from."""
    done = steps_done(folder)
    if not done:
        return 0
    tensors = load_file(folder / "checkpoint.safetensors")
    trained.load_state_dict({k[2:]: v for k, v in tensors.items() if k.startswith("w.")})
    for number, optimizer in enumerate(optimizers):
        state = optimizer.state_dict()
        for key, value in tensors.items():
            if key.startswith(f"o.{number}."):
                _, _, index, name = key.split(".")
                state["state"].setdefault(int(index), {})[name] = value
        optimizer.load_state_dict(state)
    return done
