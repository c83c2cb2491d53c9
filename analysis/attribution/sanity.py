"""Do maps depend on what the model has learnt? Weights are randomised from the top down (Adebayo et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from analysis.attribution.maps import Maps, local_pairs, maps
from analysis.choice import choice
from hooks.load import Mllm
from hooks.stages import COMPONENTS
from probes.intervals import group_bootstrap
from stimuli.errors import InputError
from stimuli.pairs import Pair
from stimuli.results import Result
from stimuli.tables import Row, Table
from stimuli.types import Stimulus, StimulusSet

CASCADE = tuple(reversed(COMPONENTS))
"""From the top: ``llm``, ``projector``, ``vision``."""


@dataclass(frozen=True, repr=False)
class Sanity(Result):
    """How alike maps are before and after the weights were randomised."""

    table: Table
    """A row per ``method`` and ``randomised`` (``llm``, ``llm+projector``, …): ``n``, ``references``, ``spearman`` over the cells of the
    signed maps, ``spearman_absolute`` of the maps without signs, and ``ssim`` of the latter from 0 to 1, each a mean over stimuli with
    interval over references. A method that explains the model falls to 0; one that stays is a filter of the image."""
    maps: dict[str, dict[str, np.ndarray]] = field(repr=False)
    """Method to randomised (``none`` too) to float32 (n, grid, grid)."""


def sanity(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus] | Sequence[Pair],
    *,
    methods: Sequence[str] | None = None,
    cascade: Sequence[str] = CASCADE,
    grid: int = 8,
    taxonomy: str | Path = "paper8",
    prompt: str | None = None,
    batch_size: int = 16,
    n_boot: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Sanity:
    """Make maps with the model as it is, and with one component after the other randomised.

    Args:
        mllm: the model; its weights are put back to the bit.
        stimuli: as in ``attribute``.
        methods: as in ``attribute``.
        cascade: components in the order in which they are randomised; what was stays so.
        grid: as in ``attribute``.
        taxonomy: as in ``attribute``.
        prompt: as in ``attribute``.
        batch_size: as in ``attribute``.
        n_boot: as in ``attribute``.
        seed: of the weights, random choices and resamples.
        progress: show progress bars.

    Raises:
        InputError: as ``attribute``; an unknown component, or weights that cannot be randomised.
    """
    found, labels = local_pairs(stimuli, taxonomy)
    asked, shown = choice(taxonomy, prompt), [pair.after for pair in found]

    def made(names: Sequence[str] | None, suffix: str = "") -> Maps:
        own = [f"{s.id}{suffix}" for s in shown]
        return maps(
            mllm, shown, labels, asked, names, grid=grid, batch_size=batch_size, seed=seed, progress=progress, names=own
        )

    before = made(methods)
    every = {name: {"none": heat} for name, heat in before.heat.items()}
    rows: Table = []
    groups = [s.reference for s in shown]
    for i in range(len(cascade)):
        label = "+".join(cascade[: i + 1])
        with randomised(mllm, cascade[: i + 1], seed):
            after = made(tuple(before.heat), f"+{label}")
        for name, heat in after.heat.items():
            every[name][label] = heat
            alike = _alike(before.heat[name], heat)
            row: Row = {"method": name, "randomised": label, "n": len(shown), "references": len(set(groups))}
            for key, values in alike.items():
                own = group_bootstrap(values, groups, n_boot, seed)
                row |= {key: own.value, f"{key}_low": own.low, f"{key}_high": own.high}
            rows.append(row)
    return Sanity(rows, every)


@contextmanager
def randomised(mllm: Mllm, components: Sequence[str], seed: int = 0) -> Iterator[None]:
    """Weights of components shuffled inside the block, each tensor within itself, and put back to the bit after it.

    Shuffling keeps mean, spread and norm of every tensor, so that no layer dies or explodes, and destroys what was learnt. The copy that
    is put back lies on the CPU. A matrix that two components share belongs to one of them (``Stages.parameters``).

    Args:
        mllm: the model.
        components: of ``hooks.stages.COMPONENTS``.
        seed: of the shuffling.

    Raises:
        InputError: an unknown component, one without parameters, or weights that are not at hand or no floats (quantised).
    """
    chosen = {name: value for own in components for name, value in mllm.stages.parameters(mllm.model, own).items()}
    bad = [name for name, value in chosen.items() if value.is_meta or not value.is_floating_point()]
    if bad or not chosen:
        why = f"{bad[0]} is quantised or offloaded" if bad else "there are none"
        raise InputError(
            f"The weights of {', '.join(components) or 'no component'} cannot be randomised: {why}. Expected floats in memory. Load the "
            "model unquantised, on one device, and name components that it has."
        )
    kept: dict[str, torch.Tensor] = {}
    try:
        with torch.no_grad():
            for i, (name, value) in enumerate(sorted(chosen.items())):
                kept[name] = value.detach().to("cpu", copy=True)
                turn = torch.from_numpy(np.random.default_rng([seed, i]).permutation(value.numel()))
                value.copy_(kept[name].reshape(-1)[turn].reshape(value.shape))
        yield
    finally:
        with torch.no_grad():
            for name, own in kept.items():
                chosen[name].copy_(own)


def _alike(before: np.ndarray, after: np.ndarray) -> dict[str, np.ndarray]:
    """Likeness of maps (n, grid, grid), each (n,): 0 for a map that is the same everywhere."""
    return {
        "spearman": np.array([spearman(a, b) for a, b in zip(before, after, strict=True)]),
        "spearman_absolute": np.array([spearman(np.abs(a), np.abs(b)) for a, b in zip(before, after, strict=True)]),
        "ssim": np.array([_ssim(a, b) for a, b in zip(before, after, strict=True)]),
    }


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Rank correlation of two maps (Spearman 1904); 0 where one is the same everywhere."""
    from scipy.stats import rankdata

    a, b = (rankdata(own) - (own.size + 1) / 2 for own in (one, other))
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else 0.0


def _ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004) of maps without signs, scaled to 0 to 1; in windows of up to 7 cells."""
    from skimage.metrics import structural_similarity

    window = min(7, *one.shape)
    window -= 1 - window % 2
    if window < 3:
        return float("nan")
    a, b = (_scaled(np.abs(own.astype(float))) for own in (one, other))
    return float(structural_similarity(a, b, data_range=1.0, win_size=window))


def _scaled(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    return (values - low) / (high - low) if high > low else np.zeros_like(values)
