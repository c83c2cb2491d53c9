"""Models by name: the packaged patients, or whatever transformers can load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from hooks.load import Mllm
from hooks.load import load as load_checkpoint
from snellen import embedded


def load(name: str | Path = "embedded", **options: Any) -> Mllm:
    """Load ``embedded``, ``embedded-template``, a local folder or a hub id; options as in ``hooks.load.load``.

    Raises:
        InputError: no such model, or one that takes no images.
    """
    if str(name) in embedded.PATIENTS:
        loaded = load_checkpoint(embedded.folder(str(name)), **options)
        return replace(loaded, name=str(name))
    return load_checkpoint(name, **options)


def describe_stages(name: str | Path) -> list[str]:
    """The map of a model's stages as lines of text, from its configuration alone: nothing is loaded.

    Raises:
        InputError: no such model, or stages that cannot be found.
    """
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    from hooks.load import check_folder, parameter_counts
    from hooks.resolve import find_stages
    from stimuli.errors import InputError

    path = str(embedded.folder(str(name)) if str(name) in embedded.PATIENTS else name)
    check_folder(path)
    try:
        with torch.device("meta"):
            model: Any = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(path))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"'{name}' cannot be mapped ({str(error).splitlines()[0][:200]}). Expected 'embedded', a checkpoint folder or a "
            "hub id of an image-text-to-text model. Check the spelling."
        ) from error
    found = find_stages(model)
    counts = ", ".join(f"{component} {count:,}" for component, count in parameter_counts(model, found).items())
    lines = [f"{type(model).__name__}; parameters: {counts}; the projector reads {found.read_layer}"]
    width = max(len(site) for site in found.sites)
    dead = False
    for site, module in found.sites.items():
        note = "  (dead end: the projector does not read it)" if dead and site.startswith("vision") else ""
        lines.append(f"{site:<{width}}  {found.layouts[site]:<8}  {module}{note}")
        dead = dead or site == found.read_layer
    return lines
