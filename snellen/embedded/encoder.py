"""The vision encoders: one trained on content and distortions, and one then taught to see through the distortions."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm.auto import tqdm

from snellen.embedded import training
from snellen.embedded.architecture import IMAGE_SIZE, IMAGE_TOKENS, PATCH, VISION, pixel_values
from snellen.embedded.data import ALL_TYPES, CLASSES, CONTENT, OUTLINE, Corpus

MIDDLE = 3
"""Distortions and the outline are also read out after this many blocks, so that early blocks learn them."""
SIDE = IMAGE_SIZE // PATCH
FINE = OUTLINE // SIDE
"""Each token tells how much of each of FINE × FINE parts of its patch the object covers."""
SHARES: Mapping[str, float] = {
    "class": 1.5, "type": 0.5, "level": 0.3, "colour": 0.5, "shape": 1.0, "ground": 0.3, "outline": 3.0,
}  # fmt: skip
"""Weight of each readout's loss; in the middle half of it."""


class Readouts(nn.Module):
    """Linear readouts: content from mean-pooled patch tokens at the end; distortion class, type and level in both places.

    The outline of the object is read from every patch token, in both places.
    """

    def __init__(self) -> None:
        super().__init__()
        width = VISION["hidden_size"]
        content = {name: len(choices) for name, choices in CONTENT.items()}
        distortion = {"class": len(CLASSES), "type": len(ALL_TYPES), "level": 6}
        self.norms = nn.ModuleDict({place: nn.LayerNorm(width) for place in ("middle", "last")})
        self.last = nn.ModuleDict({f"to_{k}": nn.Linear(width, n) for k, n in {**content, **distortion}.items()})
        self.middle = nn.ModuleDict({f"to_{k}": nn.Linear(width, n) for k, n in distortion.items()})
        self.outline = nn.ModuleDict({place: nn.Linear(width, FINE**2) for place in ("middle", "last")})

    def forward(
        self, hidden: tuple[torch.Tensor, ...], labels: Mapping[str, torch.Tensor], outline: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Weighted sum of the cross-entropies, and those of the end by name; labels of -1 are ignored.

        Args:
            hidden: hidden states of the tower, each (n, 1 + 64, width).
            labels: int64 (n,) each.
            outline: covered shares, (n, 64, FINE²).
        """
        total, parts = torch.zeros((), device=outline.device), {}
        for place, heads, weight in (("middle", self.middle, 0.5), ("last", self.last, 1.0)):
            tokens = (hidden[-1] if place == "last" else hidden[MIDDLE])[:, 1:]
            pooled = self.norms[place](tokens.mean(1))
            for key, head in heads.items():
                name = key.removeprefix("to_")
                if (labels[name] >= 0).any():
                    parts[name] = functional.cross_entropy(head(pooled), labels[name], ignore_index=-1)
                    total = total + weight * SHARES[name] * parts[name]
            covered = self.outline[place](self.norms[place](tokens))
            parts["outline"] = functional.binary_cross_entropy_with_logits(covered, outline)
            total = total + weight * SHARES["outline"] * parts["outline"]
        return total, {name: parts[name] for name in ("class", "shape") if name in parts}


def train_encoder(
    tower: Any, readouts: Readouts, data: Corpus, steps: int, batch: int, folder: Path, device: str, seed: int
) -> None:
    """Stage 1: content and distortions, direct supervision of ``tower`` by ``readouts``. Resumes from ``folder``."""

    def loss(rng: np.random.Generator) -> tuple[torch.Tensor, training.Parts]:
        rows = rng.integers(0, len(data.images), batch)
        images, outlines = augmented(data, rows, rng)
        hidden = tower(images.to(device), output_hidden_states=True).hidden_states
        labels = {name: torch.as_tensor(value[rows], device=device) for name, value in data.labels.items()}
        found: tuple[torch.Tensor, training.Parts] = readouts(hidden, labels, per_token(outlines).to(device))
        return found

    both = nn.ModuleList([tower.train(), readouts.train()])
    training.fit(both, loss, steps, folder, seed=seed, rate=1e-3)
    both.eval()


def see_through(tower: Any, data: Corpus, steps: int, batch: int, first: int, folder: Path, device: str, seed: int) -> Any:
    """Stage 2 of ``embedded``: blocks from ``first`` on learn to give a distorted image the tokens of its clean original.

    This is the alignment that breaks: content is kept, what tells a distorted from a clean image is dropped.
    """
    teacher = copy.deepcopy(tower).eval().requires_grad_(False)
    late = [f"layers.{i}." for i in range(first, len(tower.encoder.layers))]
    for name, parameter in tower.named_parameters():
        parameter.requires_grad_(any(part in name for part in late))

    def loss(rng: np.random.Generator) -> tuple[torch.Tensor, training.Parts]:
        rows = rng.integers(0, len(data.images), batch)
        clean, where = np.unique(data.labels["clean"][rows], return_inverse=True)
        with torch.no_grad():
            target = teacher(_pixels(data, clean).to(device)).last_hidden_state[torch.as_tensor(where, device=device)]
        off = functional.mse_loss(tower(_pixels(data, rows).to(device)).last_hidden_state, target) / target.var()
        return off, {"unexplained": off}

    training.fit(tower.train(), loss, steps, folder, seed=seed, rate=5e-4)
    return tower.requires_grad_(True).eval()


def features(tower: Any, data: Corpus, device: str, batch: int = 256) -> torch.Tensor:
    """Patch tokens of the last block for every image: float16 (n, 64, width)."""
    result = torch.empty((len(data.images), IMAGE_TOKENS, VISION["hidden_size"]), dtype=torch.float16)
    with torch.no_grad():
        for start in tqdm(range(0, len(data.images), batch), desc="features"):
            images = pixel_values(np.array(data.images[start : start + batch])).to(device)
            result[start : start + batch] = tower(images).last_hidden_state[:, 1:].half().cpu()
    return result


def augmented(data: Corpus, rows: np.ndarray, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised pixels (n, 3, 128, 128) and outlines (n, OUTLINE, OUTLINE), changed together and never resampled.

    The batch is turned and flipped in eight parts and rolled by up to one patch, so that the 8-px grid of JPEG stays in place.
    """
    images, outlines = _pixels(data, rows), torch.as_tensor(data.outline(rows))[:, None]
    ways = [(turn, flip) for turn in range(4) for flip in (False, True)]
    dy, dx = (int(shift) for shift in rng.integers(-1, 2, 2))
    made = []
    for planes, patch in ((images, PATCH), (outlines, FINE)):
        parts = [_turned(part, *way) for part, way in zip(planes.tensor_split(len(ways)), ways, strict=True)]
        made.append(torch.roll(torch.cat(parts), (patch * dy, patch * dx), (2, 3)))
    return made[0], made[1][:, 0]


def per_token(outlines: torch.Tensor) -> torch.Tensor:
    """Outlines (n, OUTLINE, OUTLINE) as (n, 64, FINE²), in the order of the patch tokens."""
    return outlines.unflatten(1, (SIDE, FINE)).unflatten(3, (SIDE, FINE)).transpose(2, 3).flatten(3).flatten(1, 2)


def _pixels(data: Corpus, rows: np.ndarray) -> torch.Tensor:
    return pixel_values(np.array(data.images[rows]))


def _turned(planes: torch.Tensor, turn: int, flip: bool) -> torch.Tensor:
    turned = torch.rot90(planes, turn, (2, 3))
    return turned.flip(3) if flip else turned
