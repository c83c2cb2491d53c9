"""Activations of a whole set of stimuli, pooled per stimulus and stored as they come; a killed run goes on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from hooks.batch import Batch, run
from hooks.capture import Seen, Stop, capture
from hooks.load import Mllm
from hooks.pool import POOLS, grid_of_pixels, pool, processed_rows
from hooks.store import Store, Writer
from stimuli.errors import InputError
from stimuli.questions import question
from stimuli.types import Stimulus, StimulusSet

INPUT_SITES = ("pixels", "processed")
IDENTITY = (
    *("name", "class", "revision", "checksum", "adapter", "adapter_checksum", "quantization", "dtype"),
    *("processor", "image_processor", "image_settings", "tuned"),
)
"""What of a model's provenance must be the same for a folder of activations to be gone on with."""
SHARD = 512
"""Stimuli per shard: what a kill can cost."""


def extract(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    sites: str | Sequence[str] = "all",
    pool: str = "mean",
    out: str | Path | None = None,
    *,
    prompt: str | None = None,
    batch_size: int = 16,
    progress: bool = True,
    strict: bool = False,
) -> Store:
    """Pooled activations of every stimulus at every wanted site.

    Memory is flat in the number of stimuli. Where no site of the language model is wanted, it does not run. An image that
    cannot be read is recorded in ``skipped.jsonl`` and left out.

    Args:
        mllm: the model.
        stimuli: what to show.
        sites: names, or ``"all"``: ``pixels``, ``processed`` and every site of the model. With ``pool="last"`` those of the
            language model.
        pool: ``mean`` or ``max`` over the image's tokens, ``last`` prompt position, or ``cls``.
        out: folder; a temporary one by default.
        prompt: the question asked with each image; the distortion question by default.
        batch_size: stimuli per forward pass.
        progress: show a progress bar.
        strict: raise on the first image that cannot be read.

    Returns:
        The store, opened.

    Raises:
        InputError: unknown site or pooling, no stimuli, another run's folder, or (strict) an unreadable image.
    """
    if len(stimuli) == 0:
        raise InputError("Got zero stimuli; expected at least one. Check the folder or the filters.")
    prompt = prompt or question("distortion").prompt
    wanted = _sites(mllm, sites, pool)
    folder = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="snellen-"))
    writer = Writer(folder, _config(mllm, wanted, pool, prompt))
    done = writer.done
    todo = (s for s in stimuli if s.id not in done)
    bar = tqdm(total=len(stimuli), initial=len(done & {s.id for s in stimuli}), desc="extract", disable=not progress)
    rows: list[dict[str, Any]] = []
    values: dict[str, list[np.ndarray]] = {site: [] for site in wanted}

    def flush() -> None:
        if rows:
            writer.shard(rows, {site: np.concatenate(parts) for site, parts in values.items()})
            rows.clear()
            for parts in values.values():
                parts.clear()

    stages_sites = [site for site in wanted if site not in INPUT_SITES]
    with bar, capture(mllm.model, stages_sites, mllm.stages, stop=True) as seen:
        for shown, images in _readable(todo, batch_size, writer, strict, bar):
            for site, value in _forward(mllm, seen, wanted, pool, prompt, images).items():
                values[site].append(value)
            rows += [stimulus.metadata() for stimulus in shown]
            bar.update(len(shown))
            if len(rows) >= SHARD:
                flush()
    flush()
    return Store(folder)


def _sites(mllm: Mllm, sites: str | Sequence[str], how: str) -> tuple[str, ...]:
    if how not in POOLS:
        raise InputError(f"Unknown pooling '{how}'. Expected one of {', '.join(POOLS)}. Use one of these.")
    if sites == "all":
        chosen = mllm.stages.check("all")
        if how == "last":
            return tuple(s for s in chosen if s.startswith("llm"))
        return (*INPUT_SITES, *chosen) if how != "cls" else tuple(s for s in chosen if s.startswith("vision"))
    wanted = [sites] if isinstance(sites, str) else list(sites)
    inputs = tuple(site for site in INPUT_SITES if site in wanted)
    return (*inputs, *mllm.stages.check([site for site in wanted if site not in INPUT_SITES]))


def _config(mllm: Mllm, sites: tuple[str, ...], how: str, prompt: str) -> dict[str, Any]:
    model = {name: mllm.provenance.get(name) for name in IDENTITY}
    dead = mllm.stages.proof.dead if mllm.stages.proof else ()
    return {
        "model": model,
        "sites": list(sites),
        "modules": {site: mllm.stages.sites[site] for site in sites if site not in INPUT_SITES},
        "dead_ends": [site for site in sites if site in dead],
        "pool": how,
        "prompt": prompt,
    }


def _readable(
    stimuli: Iterable[Stimulus], size: int, writer: Writer, strict: bool, bar: Any
) -> Iterator[tuple[list[Stimulus], list[np.ndarray]]]:
    """Batches of stimuli with their images, those that cannot be read left out and recorded."""
    shown: list[Stimulus] = []
    images: list[np.ndarray] = []
    for stimulus in stimuli:
        try:
            images.append(stimulus.image)
            shown.append(stimulus)
        except InputError as error:
            if strict:
                raise
            writer.skip(stimulus.id, str(error))
            bar.update(1)
        if len(shown) == size:
            yield shown, images
            shown, images = [], []
    if shown:
        yield shown, images


def _forward(
    mllm: Mllm, seen: Seen, sites: Sequence[str], how: str, prompt: str, images: list[np.ndarray]
) -> dict[str, np.ndarray]:
    """One forward pass, up to the last wanted site: site → float32 (n, d)."""
    batch = mllm.inputs(images, [prompt] * len(images))
    seen.clear()
    result = {site: _input_site(site, batch, images) for site in sites if site in INPUT_SITES}
    if len(seen):
        with torch.inference_mode():
            try:
                run(mllm.model, batch.tensors, keep=1)
            except Stop:
                pass  # the last wanted site has fired; nothing behind it needs to run
            result |= {site: pool(batch.layout, site, seen.all(site), how).cpu().numpy() for site in seen}
    seen.clear()
    return result


def _input_site(site: str, batch: Batch, images: list[np.ndarray]) -> np.ndarray:
    if site == "processed":
        return processed_rows(batch.tensors, batch.layout.patches).numpy()
    grids = [grid_of_pixels(torch.tensor(image).permute(2, 0, 1) / 255) for image in images]
    return torch.stack(grids).numpy()
