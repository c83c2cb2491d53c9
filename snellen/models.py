"""Models by name: the packaged patients, or whatever transformers can load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hooks.load import Mllm
from hooks.load import load as load_checkpoint
from hooks.stages import Stages
from snellen import embedded
from snellen.config import parse_overrides
from stimuli.errors import InputError


def load(model: str | Path | Any = "embedded", processor: Any = None, **options: Any) -> Mllm:
    """Load ``embedded``, ``embedded-template``, a local folder or a hub id, or take a model that is already loaded.

    Args:
        model: name, folder, hub id, or the user's own model.
        processor: with the user's own model.
        **options: ``dtype``, ``device``, ``device_map``, ``quantization``, ``adapter``, ``stages``, ``revision``,
            ``trust_remote_code``, ``verify``, as in ``hooks.load.load``.

    Raises:
        InputError: no such model, one that takes no images, or one whose stages cannot be found or proven.
    """
    if isinstance(model, str | Path) and str(model) in embedded.PATIENTS:
        loaded = load_checkpoint(embedded.folder(str(model)), processor, **options)
        return replace(loaded, name=str(model))
    return load_checkpoint(model, processor, **options)


OPTIONS = ("dtype", "device", "device_map", "quantization", "adapter", "stages", "revision", "trust_remote_code", "verify")
"""How a model can be loaded, by the names of ``hooks.load.load``."""


def loaded(name: str | Path, pairs: Sequence[str] = ()) -> Mllm:
    """A model by name, loaded as ``KEY=VALUE`` pairs of the command line say; values are read as YAML.

    Raises:
        InputError: an unknown key, a pair without ``=``, or see ``load``.
    """
    chosen = parse_overrides(pairs, "--load", "dtype=bfloat16")
    unknown = sorted(set(chosen) - set(OPTIONS))
    if unknown:
        raise InputError(f"Unknown --load {unknown[0]}. Expected one of {', '.join(OPTIONS)}. Use one of these.")
    return load(name, **chosen)


def mapped(
    name: str | Path, *, prove: bool = False, revision: str | None = None, trust_remote_code: bool = False
) -> tuple[Any, Stages]:
    """A model and the map of its stages, from its configuration alone: no weights are loaded, a 70B model takes a second.

    Args:
        name: ``embedded``, ``embedded-template``, a folder or a hub id.
        prove: load the weights and run the self-test.
        revision: of the hub repository.
        trust_remote_code: off unless asked for.

    Raises:
        InputError: no such model, or stages that cannot be found.
    """
    if prove:
        mllm = load(name, revision=revision, trust_remote_code=trust_remote_code)
        return mllm.model, mllm.stages
    import torch

    from hooks.checkpoint import Source, class_of, config_of
    from hooks.folder import check_folder, first_line
    from hooks.resolve import find_stages

    path = str(embedded.folder(str(name)) if str(name) in embedded.PATIENTS else name)
    check_folder(path)
    source = Source(path, revision, trust_remote_code)
    config = config_of(source)
    kind = class_of(source, config)
    try:
        with torch.device("meta"):
            model: Any = kind.from_config(config, trust_remote_code=trust_remote_code)
    except Exception as error:  # of whatever kind the library raises it for broken files
        raise InputError(
            f"'{name}' cannot be built from its configuration: {first_line(error)} Expected an image-text-to-text model whose "
            "packages are installed. Check its config.json."
        ) from error
    return model, find_stages(model)


def describe_stages(name: str | Path, *, every: bool = False, **options: Any) -> tuple[list[str], list[dict[str, Any]]]:
    """The map of a model's stages as lines of text and as a table; options as in ``mapped``.

    Raises:
        InputError: see ``mapped``.
    """
    from hooks.stage_table import lines, rows, short, totals

    model, stages = mapped(name, **options)
    counts = ", ".join(f"{component} {short(count)}" for component, count in totals(model, stages).items())
    reads = "the projector" if "projector" in stages.sites else "the language model (there is no projector)"
    table = rows(model, stages)
    head = [f"{type(model).__name__}: parameters {counts}", f"{reads} reads {stages.read_layer}"]
    if stages.proof is not None:
        proof = stages.proof
        dead = ", ".join(proof.dead) or "none"
        reached = str(list(proof.reached)) if any(proof.reached) else "none (it is read by cross-attention)"
        head.append(
            f"self-test passed in {proof.seconds:.2f} s: {len(stages.sites)} sites fired; dead ends: {dead}; placeholders per image "
            f"{list(proof.placeholders)}, of which the projector reaches {reached}"
        )
    return [*head, "", *lines(table, every=every)], table
