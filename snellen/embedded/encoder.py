"""The vision encoders: one trained on content and distortions, and one then taught to see through the distortions."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from tqdm.auto import tqdm

from snellen.embedded.architecture import VISION, pixel_values
from snellen.embedded.data import ALL_TYPES, CLASSES, CONTENT, Corpus

MIDDLE = 3
"""Distortions are also read out after this many blocks, so that early blocks learn them."""
CHECKPOINT_EVERY = 250
SHARES: Mapping[str, float] = {"class": 1.5, "type": 0.5, "level": 0.3, "colour": 0.5, "shape": 0.5, "ground": 0.5}
"""Weight of each readout's loss."""
SHAPE_SHARES: Mapping[str, float] = {**SHARES, "shape": 2.0}
"""The same while shapes, the slowest to learn, are caught up on."""


class Readouts(nn.Module):
    """Linear readouts from mean-pooled patch tokens: content at the end; distortion class, type and level in both places."""

    def __init__(self) -> None:
        super().__init__()
        self.shares: Mapping[str, float] = SHARES
        sizes = {name: len(choices) for name, choices in CONTENT.items()}
        distortion = {"class": len(CLASSES), "type": len(ALL_TYPES), "level": 6}
        width = VISION["hidden_size"]
        self.norms = nn.ModuleDict({"middle": nn.LayerNorm(width), "last": nn.LayerNorm(width)})
        self.last = nn.ModuleDict({f"to_{k}": nn.Linear(width, n) for k, n in {**sizes, **distortion}.items()})
        self.middle = nn.ModuleDict({f"to_{k}": nn.Linear(width, n) for k, n in distortion.items()})

    def forward(self, hidden: tuple[torch.Tensor, ...], labels: dict[str, torch.Tensor]) -> torch.Tensor:
        """Summed cross-entropies; labels of -1 are ignored."""
        total = torch.zeros((), device=hidden[0].device)
        for place, heads, weight in (("last", self.last, 1.0), ("middle", self.middle, 0.5)):
            tokens = hidden[-1] if place == "last" else hidden[MIDDLE]
            pooled = self.norms[place](tokens[:, 1:].mean(1))
            for name, head in heads.items():
                target = labels[name.removeprefix("to_")]
                if (target >= 0).any():
                    share = self.shares[name.removeprefix("to_")]
                    total = total + weight * share * functional.cross_entropy(head(pooled), target, ignore_index=-1)
        return total


def train_encoder(
    tower: Any,
    readouts: Readouts,
    data: Corpus,
    steps: int,
    batch: int,
    folder: Path,
    device: str,
    seed: int,
    rate: float = 1e-3,
) -> None:
    """Stage 1: content and distortions, direct supervision of ``tower`` by ``readouts``. Resumes from ``folder``."""

    def loss(rows: np.ndarray, images: torch.Tensor) -> torch.Tensor:
        hidden = tower(images, output_hidden_states=True).hidden_states
        return readouts(hidden, {k: torch.as_tensor(v[rows], device=device) for k, v in data.labels.items()})

    _train(nn.ModuleList([tower, readouts]), loss, data, steps, batch, rate, folder, device, seed)


def see_through(tower: Any, data: Corpus, steps: int, batch: int, first: int, folder: Path, device: str, seed: int) -> Any:
    """Stage 2 of ``embedded``: blocks from ``first`` on learn to give a distorted image the tokens of its clean original.

    This is the alignment that breaks: content is kept, what tells a distorted from a clean image is dropped.
    """
    teacher = copy.deepcopy(tower).eval().requires_grad_(False)
    student = nn.ModuleList(tower.requires_grad_(False).encoder.layers[first:]).requires_grad_(True)

    def loss(rows: np.ndarray, images: torch.Tensor) -> torch.Tensor:
        clean = _augmented(data.images[np.sort(np.unique(data.labels["clean"][rows]))], None, device)
        order = np.unique(data.labels["clean"][rows], return_inverse=True)[1]
        with torch.no_grad():
            target = teacher(clean).last_hidden_state[torch.as_tensor(order, device=device)]
            scale = target.std()
        straight = _augmented(data.images[rows], None, device)
        return functional.mse_loss(tower(straight).last_hidden_state / scale, target / scale)

    _train(student, loss, data, steps, batch, 5e-4, folder, device, seed, tower)
    return tower.requires_grad_(True)


def features(tower: Any, data: Corpus, device: str, batch: int = 256) -> torch.Tensor:
    """Patch tokens of the last block for every image: float16 (n, 64, width)."""
    result = torch.empty((len(data.images), 64, VISION["hidden_size"]), dtype=torch.float16)
    with torch.no_grad():
        for start in tqdm(range(0, len(data.images), batch), desc="features"):
            images = pixel_values(np.array(data.images[start : start + batch])).to(device)
            result[start : start + batch] = tower(images).last_hidden_state[:, 1:].half().cpu()
    return result


def _augmented(images: np.ndarray, rng: np.random.Generator | None, device: str) -> torch.Tensor:
    """Normalised pixels, flipped and turned by multiples of 90° where ``rng`` is given (no resampling)."""
    values = pixel_values(np.array(images)).to(device)
    if rng is not None:
        turn, flip = int(rng.integers(4)), bool(rng.integers(2))
        values = torch.rot90(values, turn, (2, 3))
        values = values.flip(3) if flip else values
    return values


def schedule(step: int, steps: int, warmup: int = 100) -> float:
    """Linear warm-up, then a cosine to 2 % of the peak."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.49 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _batches(n: int, batch: int, steps: int, start: int, seed: int) -> Iterator[tuple[int, np.ndarray, np.random.Generator]]:
    """Step, rows and generator of each step; a function of (seed, step) alone, so that a resumed run sees the same."""
    for step in range(start, steps):
        rng = np.random.default_rng([seed, step])
        yield step, rng.integers(0, n, batch), rng


def _train(
    trained: nn.Module,
    loss_of: Callable[[np.ndarray, torch.Tensor], torch.Tensor],
    data: Corpus,
    steps: int,
    batch: int,
    rate: float,
    folder: Path,
    device: str,
    seed: int,
    holder: nn.Module | None = None,
) -> None:
    """AdamW with warm-up and cosine; weights are checkpointed every few hundred steps and resumed from."""
    (holder or trained).train()
    folder.mkdir(parents=True, exist_ok=True)
    parameters = list(trained.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.05, betas=(0.9, 0.98))
    start = _resume(trained, optimizer, folder)
    bar = tqdm(_batches(len(data.images), batch, steps, start, seed), total=steps, initial=start, desc=folder.name)
    average = None
    for step, rows, rng in bar:
        rows = np.sort(rows)
        for group in optimizer.param_groups:
            group["lr"] = rate * schedule(step, steps)
        loss = loss_of(rows, _augmented(data.images[rows], rng, device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
        bar.set_postfix(loss=f"{average:.3f}")
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == steps:
            _checkpoint(trained, optimizer, step + 1, folder)
    (holder or trained).eval()


def _checkpoint(trained: nn.Module, optimizer: torch.optim.Optimizer, step: int, folder: Path) -> None:
    """Weights and AdamW moments in one safetensors file, written whole or not at all."""
    tensors = {f"w.{k}": v for k, v in trained.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"o.{index}.{k}": v for k, v in state.items()}
    temporary = folder / "checkpoint.tmp"
    save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, metadata={"step": str(step)})
    temporary.replace(folder / "checkpoint.safetensors")


def _resume(trained: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> int:
    """Load the checkpoint of ``folder``, if any; the step to go on from."""
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return 0
    tensors = load_file(path)
    trained.load_state_dict({k[2:]: v for k, v in tensors.items() if k.startswith("w.")})
    state = optimizer.state_dict()
    for key, value in tensors.items():
        if key.startswith("o."):
            _, index, name = key.split(".")
            state["state"].setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(state)
    return steps_done(folder)


def steps_done(folder: Path) -> int:
    """How many steps the checkpoint of a stage has behind it; 0 without one."""
    from safetensors import safe_open

    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, "pt") as handle:
        return int(handle.metadata()["step"])
