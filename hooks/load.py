"""Load a multimodal LLM with everything an exam needs to know about it."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from hooks import batch as batches
from hooks.byhand import by_hand
from hooks.checkpoint import Source, quantization_of, usable, weights, with_adapter
from hooks.checksum import folder_checksum, weights_checksum
from hooks.folder import check_folder, refuse_outside, refuse_pickle
from hooks.processor import describe, load_processor
from hooks.resolve import find_stages
from hooks.selftest import proven
from hooks.stage_table import totals
from hooks.stages import Stages
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
        images: batches.Pictures | None,
        prompts: Sequence[str],
        answers: Sequence[str] | None = None,
        *,
        eos: bool = True,
        pad_left: bool = False,
        prefix: str = "",
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
            prefix=prefix,
        )

    def with_model(self, model: Any) -> Mllm:
        """The same with another model of the same architecture (a tuned copy)."""
        return replace(self, model=model)


def load(
    model: str | Path | Any,
    processor: Any = None,
    *,
    dtype: str | torch.dtype | None = None,
    device: str | None = None,
    device_map: Any = None,
    quantization: str | None = None,
    adapter: str | Path | None = None,
    stages: Stages | Mapping[str, str | Sequence[str]] | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    verify: bool = True,
) -> Mllm:
    """Load an image-text-to-text model from a local folder or a hub id, or take one that is already loaded.

    Args:
        model: folder, hub id, or the user's own model (put into evaluation mode, otherwise left as and where it is).
        processor: the user's own; with a folder or hub id, instead of the one stored there.
        dtype: default float32 on CPU, the checkpoint's own otherwise.
        device: default ``cuda`` where there is one, else ``cpu``; ignored with ``device_map``.
        device_map: passed to transformers for models that need several devices.
        quantization: ``4bit`` or ``8bit`` by bitsandbytes; a checkpoint that is stored quantised needs nothing.
        adapter: folder or hub id of a PEFT adapter; merged into the weights unless they are quantised.
        stages: a map made by hand, or patterns of module names for one (``hooks.byhand.by_hand``).
        revision: of the hub repository.
        trust_remote_code: run code that the repository brings along; off unless asked for.
        verify: prove the map by one small forward and backward pass (``Stages.verify``).

    Returns:
        The model in evaluation mode with its proven map and provenance.

    Raises:
        InputError: no such model, a folder without a config, a model of another kind, a broken or pickled checkpoint, a missing
            package, or stages that cannot be found or proven.
    """
    if isinstance(model, str | Path):
        path = str(model)
        source = Source(path, revision, trust_remote_code)
        check_folder(path)
        refuse_pickle(path)
        refuse_outside(path)
        device = usable(device)
        loaded = weights(source, dtype, device, device_map, quantization)
        processor = processor or load_processor(path, **source.options)
    else:
        path, loaded = getattr(model.config, "_name_or_path", "") or type(model).__name__, model
        if processor is None:
            raise InputError(
                f"Got a {type(model).__name__} without its processor. Expected both: sn.load(model, processor), or the folder or "
                "hub id of the checkpoint alone."
            )
    loaded = loaded if adapter is None else with_adapter(loaded, str(adapter))
    loaded = loaded.eval()
    found = stages if isinstance(stages, Stages) else by_hand(loaded, stages) if stages else find_stages(loaded)
    mllm = Mllm(loaded, processor, found, Path(path).name, {})
    mllm = replace(mllm, stages=proven(mllm) if verify else found)
    own = not isinstance(model, str | Path)
    return replace(mllm, provenance=_provenance(path, mllm, revision, adapter, own))


def _provenance(path: str, mllm: Mllm, revision: str | None, adapter: str | Path | None, own: bool) -> dict[str, Any]:
    names = ("torch", "transformers", "safetensors", "numpy", "scikit-learn", "scikit-image", "pillow")
    model, proof = mllm.model, mllm.stages.proof
    return {
        "name": mllm.name,
        "class": type(model).__name__,
        "revision": revision or getattr(model.config, "_commit_hash", None),
        "adapter": None if adapter is None else Path(adapter).name,
        "adapter_checksum": None if adapter is None else folder_checksum(adapter),
        "checksum": weights_checksum(model) if own else folder_checksum(path),
        "parameters": totals(model, mllm.stages),
        "dtype": str(model.dtype).removeprefix("torch."),
        "quantization": quantization_of(model),
        "device": str(mllm.device),
        **describe(mllm.processor),
        "self_test": None if proof is None else {"seconds": round(proof.seconds, 3), "dead_ends": list(proof.dead)},
        "versions": {"python": platform.python_version(), **{n: metadata.version(n) for n in names}},
    }
