"""Activations of a whole set of stimuli, stored as they come; a killed run goes on, and several processes share the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from hooks import ranks
from hooks.ahead import Maker, ahead
from hooks.load import Mllm
from hooks.loop import Loop
from hooks.meter import sentence
from hooks.passes import INPUT_SITES, Passes
from hooks.pool import Pooling, pooling
from hooks.scratch import Scratch
from hooks.store import Store
from hooks.writer import Writer
from stimuli.errors import InputError
from stimuli.progress import tell, tqdm
from stimuli.questions import question
from stimuli.types import Stimulus, StimulusSet

IDENTITY = (
    *("name", "class", "revision", "checksum", "adapter", "adapter_checksum", "quantization", "dtype"),
    *("processor", "image_processor", "image_settings", "tuned"),
)
"""What of a model's provenance must be the same for a folder of activations to be gone on with."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def extract(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    sites: str | Sequence[str] = "all",
    pool: str | Pooling = "mean",
    out: str | Path | None = None,
    *,
    prompt: str | Mapping[str, str] | None = None,
    batch_size: int = 16,
    dtype: str | None = None,
    seed: int = 0,
    workers: int | None = None,
    rank: int = 0,
    world_size: int = 1,
    job: str | None = None,
    progress: bool = True,
    strict: bool = False,
) -> Store:
    """Activations of every stimulus at every wanted site.

    Only what is needed runs: the forward pass ends behind the last wanted site, and with several prompts the vision tower runs
    once per image. Each batch is on disk before the next but one is computed, so that a kill costs what is in flight; memory is
    flat in the number of stimuli. A batch that does not fit into memory is halved. Stimuli that cannot be read, that the
    processor rejects or that give NaN or infinity are left out and recorded with the reason (``store.skipped``). What the run
    measured of itself is in ``store.runs``.

    Args:
        mllm: the model.
        stimuli: what to show.
        sites: names, or ``"all"``: ``pixels``, ``processed`` and every site of the model; with ``pool="last"`` those of the
            language model, with ``"cls"`` the tower's, with rows as they are the model's own.
        pool: what is kept of a stimulus's rows: ``mean`` or ``max`` over the image's tokens, the ``last`` prompt position,
            ``cls``, ``grid:G`` (means over G × G cells of the image), ``none`` (all the image's tokens), ``random:K`` (so many
            of them) or ``stride:K`` (every K-th).
        out: folder; by default a temporary one, which goes with the store and what was read of it.
        prompt: the question asked with each image; the distortion question by default. Several, by name, give each site of the
            language model once per prompt, as ``llm.3@name``.
        batch_size: stimuli per forward pass.
        dtype: ``float32``, ``bfloat16`` or ``float16`` to store in; by default float32 for pooled rows, the model's own for
            rows as they are. Sums are always taken in float32.
        seed: of rows drawn at random.
        workers: how many read and distort images ahead of the model (``hooks.ahead.ahead``); 0 for none.
        rank: which of several processes this is, from 0.
        world_size: how many there are; they share the folder and need not know of each other.
        job: a name that is the same for all processes started together, so that what is left is shared evenly.
        progress: show a progress bar, and at the end what was measured.
        strict: raise on the first stimulus that would be left out.

    Returns:
        The store, opened.

    Raises:
        InputError: unknown site, pooling or type, no stimuli, another run's folder, a full disk, or (strict) a bad stimulus.
    """
    ids = ids_of(stimuli)
    how, prompts = pooling(pool), _prompts(prompt)
    wanted = _sites(mllm, sites, how)
    stored = _dtype(dtype)
    mine = ranks.checked(rank, world_size, job)
    scratch = Scratch() if out is None else None
    folder = scratch.path if scratch else Path(str(out))
    writer = Writer(folder, _config(mllm, wanted, how, prompts, dtype, seed), rank)
    blocks = ranks.blocks(folder, mine, ids, writer.done, batch_size)
    there = len(writer.done.intersection(ids))
    run = Loop(mllm, writer, stored, batch_size, strict)
    count = sum(map(len, blocks))
    bar = tqdm(
        total=count + (there if world_size == 1 else 0), initial=there if world_size == 1 else 0, desc="extract", unit="image",
        disable=not progress or rank > 0,
    )  # fmt: skip
    with bar, Passes(mllm, wanted, how, prompts, seed) as passes:
        maker, shown = Maker(passes.inputs), ([stimuli[i] for i in block] for block in blocks)
        run(ahead(shown, maker, workers, mllm.device.type == "cuda"), passes, maker, bar)
    if progress and count:
        _tell(run.summary, run.left_out)
    return Store(folder, keeper=scratch)


def ids_of(stimuli: Sequence[Stimulus]) -> list[str]:
    """The ids of stimuli.

    Raises:
        InputError: there are none, or two share an id.
    """
    ids = [stimulus.id for stimulus in stimuli]
    if not ids:
        raise InputError("Got zero stimuli; expected at least one. Check the folder or the filters.")
    if len(set(ids)) < len(ids):
        twice = next(id for i, id in enumerate(ids) if id in ids[:i])
        raise InputError(f"The stimulus id '{twice}' occurs twice; ids must be unique. Rename one.")
    return ids


def _prompts(prompt: str | Mapping[str, str] | None) -> dict[str, str]:
    """Prompts by name; a single one has none."""
    if prompt is None or isinstance(prompt, str):
        return {"": prompt or question("distortion").prompt}
    bad = [name for name in prompt if not name or "@" in name or "#" in name]
    if bad or not prompt:
        raise InputError(
            f"Got prompts named {list(prompt)}; expected at least one, with names without '@' and '#'. Rename them."
        )
    return dict(prompt)


def _dtype(name: str | None) -> torch.dtype | None:
    if name is not None and name not in DTYPES:
        raise InputError(f"Unknown type '{name}' to store in. Expected one of {', '.join(DTYPES)}. Use one of these.")
    return None if name is None else DTYPES[name]


def _sites(mllm: Mllm, sites: str | Sequence[str], how: Pooling) -> tuple[str, ...]:
    if sites == "all":
        chosen = mllm.stages.check("all")
        if how.how == "last":
            return tuple(s for s in chosen if s.startswith("llm"))
        if how.how == "cls":
            return tuple(s for s in chosen if s.startswith("vision"))
        return chosen if how.ragged else (*INPUT_SITES, *chosen)
    wanted = [sites] if isinstance(sites, str) else list(sites)
    inputs = tuple(site for site in INPUT_SITES if site in wanted)
    if inputs and how.ragged:
        raise InputError(f"The site '{inputs[0]}' has no tokens to keep with pool='{how}'. Leave it out, or use pool='mean'.")
    return (*inputs, *mllm.stages.check([site for site in wanted if site not in INPUT_SITES]))


def _config(
    mllm: Mllm, sites: tuple[str, ...], how: Pooling, prompts: Mapping[str, str], dtype: str | None, seed: int
) -> dict[str, Any]:
    model = {name: mllm.provenance.get(name) for name in IDENTITY}
    dead = mllm.stages.proof.dead if mllm.stages.proof else ()
    plain = list(prompts) == [""]
    named = [site if plain or not site.startswith("llm") else f"{site}@{name}" for name in prompts for site in sites]
    return {
        "model": model,
        "sites": list(dict.fromkeys(named)),
        "modules": {site: mllm.stages.sites[site] for site in sites if site not in INPUT_SITES},
        "dead_ends": [site for site in sites if site in dead],
        "pool": str(how),
        "prompt": prompts[""] if plain else dict(prompts),
        **({} if dtype is None else {"dtype": dtype}),
        **({"seed": seed} if how.how == "random" else {}),
    }


def _tell(run: dict[str, Any], left_out: Sequence[tuple[str, str]]) -> None:
    lines = [sentence(run), *(f"  left out: {id}: {reason}" for id, reason in left_out[:10])]
    if len(left_out) > 10:
        lines.append(f"  … and {len(left_out) - 10} more, in store.skipped")
    tell("\n".join(lines))
