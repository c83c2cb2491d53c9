"""What weights are, as one number: of files on disk, or of a model in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path

import torch
from torch import nn


def folder_checksum(folder: str | Path) -> str | None:
    """SHA-256 over the weight files of a local folder, in name order; None for a hub id."""
    files = sorted(Path(folder).glob("*.safetensors")) if Path(folder).is_dir() else []
    if not files:
        return None
    return files_checksum(files)


def files_checksum(files: Iterable[Path]) -> str:
    """SHA-256 over the bytes of some files, in the order given."""
    digest = hashlib.sha256()
    for file in files:
        with open(file, "rb") as handle:
            while chunk := handle.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()


def weights_checksum(model: nn.Module, exclude: Collection[str] = ()) -> str:
    """SHA-256 over names and bytes of every parameter and buffer that is not excluded, in name order.

    Of weights that are offloaded, and so not at hand, only the names count.
    """
    left_out = set(exclude)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    digest = hashlib.sha256()
    for name in sorted(set(tensors) - left_out):
        digest.update(name.encode())
        value = tensors[name].detach()
        if not value.is_meta:
            digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
