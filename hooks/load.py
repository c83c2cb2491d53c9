"""Load a multimodal LLM with everything an exam needs to know about it."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hooks import batch as batches
from hooks.processor import describe, load_processor
from hooks.quiet import quiet
from hooks.resolve import find_stages
from hooks.stages import COMPONENTS, Stages
from stimuli.errors import InputError


@dataclass(frozen=True)
class Mllm:
    """A model, its processor and the map of its stages."""

    model: Any = field(repr=False)
    processor: Any = field(repr=False)
    stages: Stages = field(repr=False)
    name: str
    provenance: dict[str, Any] = field(repr=False)

    @property
    def device(self) -> torch.device:
        """Where the inputs go."""
        return next(iter(self.model.parameters())).device

    def inputs(
        self,
        images: Sequence[np.ndarray] | None,
        prompts: Sequence[str],
        answers: Sequence[str] | None = None,
        *,
        eos: bool = True,
        pad_left: bool = False,
    ) -> batches.Batch:
        """Model inputs on the model's device; see ``hooks.batch.build``."""
        return batches.build(
            self.model,
            self.processor,
            self.stages,
            images,
            prompts,
            answers,
            eos=eos,
            pad_left=pad_left,
            device=self.device,
        )

    def with_model(self, model: Any) -> Mllm:
        """The same with another model of the same architecture (a tuned copy)."""
        return replace(self, model=model)


def load(
    path: str | Path,
    *,
    dtype: str | torch.dtype | None = None,
    device: str | None = None,
    device_map: Any = None,
    adapter: str | Path | None = None,
    stages: Stages | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Mllm:
    """Load an image-text-to-text model from a local folder or a hub id.

    Args:
        path: folder or hub id.
        dtype: default float32 on CPU, the checkpoint's own otherwise.
        device: default ``cuda`` where there is one, else ``cpu``; ignored with ``device_map``.
        device_map: passed to transformers for models that need several devices.
        adapter: folder of a PEFT adapter, merged into the weights.
        stages: a map made by hand, for models whose stages are not found.
        revision: of the hub repository.
        trust_remote_code: off unless asked for.

    Returns:
        The model in evaluation mode with its map and provenance.

    Raises:
        InputError: no such model, a folder without a config, a model of another kind, or a broken checkpoint.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    path = str(path)
    check_folder(path)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    options |= {"revision": revision} if revision else {}
    chosen = dtype or ("float32" if device == "cpu" and device_map is None else "auto")
    try:
        config = AutoConfig.from_pretrained(path, **options)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"'{path}' is not a model that can be loaded: {_first_line(error)} Expected 'embedded', 'embedded-template', a "
            "local folder with config.json, or the id of a hub repository that can be reached. Check the spelling."
        ) from error
    if type(config) not in AutoModelForImageTextToText._model_mapping and not trust_remote_code:
        raise InputError(
            f"'{path}' holds a {config.model_type} model, which does not take images and text to text. Expected an "
            "image-text-to-text model such as LLaVA or Qwen2-VL. Give another folder."
        )
    try:
        with quiet():
            model: Any = AutoModelForImageTextToText.from_pretrained(path, dtype=chosen, device_map=device_map, **options)
            processor = load_processor(path, **options)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise InputError(
            f"The checkpoint '{path}' could not be loaded: {_first_line(error)} Expected weights, tokenizer and processor "
            "files that fit its config.json. Save it again with save_pretrained, or check the revision."
        ) from error
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    model = (model if device_map is not None else model.to(device)).eval()
    found = stages or find_stages(model)
    provenance = _provenance(path, model, processor, found, revision, adapter)
    return Mllm(model, processor, found, Path(path).name, provenance)


def parameter_counts(model: Any, stages: Stages) -> dict[str, int]:
    """Parameters per component."""
    return {c: sum(p.numel() for p in stages.parameters(model, c).values()) for c in COMPONENTS}


def checksum(folder: str | Path) -> str | None:
    """SHA-256 over the weight files of a local folder, in name order; None for a hub id."""
    files = sorted(Path(folder).glob("*.safetensors")) if Path(folder).is_dir() else []
    if not files:
        return None
    digest = hashlib.sha256()
    for file in files:
        with open(file, "rb") as handle:
            while chunk := handle.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()


def _provenance(
    path: str, model: Any, processor: Any, stages: Stages, revision: str | None, adapter: str | Path | None
) -> dict[str, Any]:
    names = ("torch", "transformers", "safetensors", "numpy", "scikit-learn", "scikit-image", "pillow")
    return {
        "name": Path(path).name,
        "class": type(model).__name__,
        "revision": revision or getattr(model.config, "_commit_hash", None),
        "adapter": None if adapter is None else Path(adapter).name,
        "checksum": checksum(path),
        "parameters": parameter_counts(model, stages),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": str(next(iter(model.parameters())).device),
        **describe(processor),
        "versions": {"python": platform.python_version(), **{n: metadata.version(n) for n in names}},
    }


def check_folder(path: str) -> None:
    """Refuse a path that cannot be a model: a folder without a config, or neither a folder nor a hub id."""
    folder = Path(path)
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise InputError(
            f"The folder '{path}' has no config.json, so it is no checkpoint. Expected a folder written by "
            "save_pretrained (config.json, weights, tokenizer and processor files). Check the path."
        )
    if not folder.exists() and (path.startswith((".", "/", "~")) or path.count("/") != 1):
        raise InputError(
            f"Unknown model '{path}': there is no such folder, and it is no hub id (owner/name). Expected 'embedded', "
            "'embedded-template', a local folder or a hub id. Check the spelling."
        )


def _first_line(error: Exception) -> str:
    line = str(error).strip().split("\n")[0][:200].rstrip(".")
    return f"{type(error).__name__}: {line}."
