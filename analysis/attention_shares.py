"""How much of the attention goes to the image and to its distorted region, per layer and head, beside the clean image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from analysis.choice import choice
from hooks.attention import SOURCES, attention
from hooks.knockout import token_parts
from hooks.load import Mllm
from hooks.places import cells
from probes.intervals import difference, group_counts, holm, interval, resamples
from stimuli.progress import tqdm
from stimuli.regions import cell_shares
from stimuli.results import Result
from stimuli.tables import Row, Table
from stimuli.types import Stimulus, StimulusSet

GRID = 8
"""Cells per side by which it is measured which image tokens look at a region."""
LEAST = 1e-9
"""A denominator below this has no ratio."""


@dataclass(frozen=True, repr=False)
class AttentionShares(Result):
    """Where one kind of position looks, per layer and head."""

    table: Table
    """A row per ``layer`` and ``head`` (None for the mean over heads): ``target``, ``n``, ``references``; mean shares
    ``image``, ``question``, ``itself`` and ``rest``, which sum to one, with ``…_low`` and ``…_high``. With local distortions in
    two references or more, of ``region_n`` stimuli: the share ``region``, and ``enrichment``, the attention on the region over
    what it would have if the image's attention were spread evenly over the image's tokens (1 is even), both with intervals;
    ``clean_enrichment``, the same of the same place in the clean images of the same references, and ``beyond``, enrichment less
    clean enrichment on the references that have both, with interval, p and Holm's correction over the rows of single heads, and
    over the means apart. None where there is none."""
    target: str
    values: dict[str, np.ndarray] = field(repr=False)
    """Source to float32 (n, layers, heads), in the order of the stimuli."""


def attention_shares(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    *,
    target: str = "last",
    prompt: str | None = None,
    taxonomy: str | Path = "paper8",
    layers: Sequence[int] | None = None,
    grid: int = GRID,
    batch_size: int = 16,
    n_boot: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> AttentionShares:
    """Where the model looks when it is asked which distortion an image has.

    Args:
        mllm: the model; left as it was.
        stimuli: of two references or more. Those with a local distortion (``exam_set(region=…)``) tell of the region; with
            clean images of the same references beside them there is a control.
        target: who looks: ``last``, the position that says the answer, or ``question``, the mean of its positions.
        prompt: another question.
        taxonomy: whose classes the question offers.
        layers: numbers of language model layers; all by default.
        grid: cells per side by which the region's tokens are told; a token counts with the share of its place in the region.
        batch_size: images per forward pass.
        n_boot: resamples of references. A p is at least 2 / (n_boot + 1): for one head among k to pass Holm's correction at
            0.05, 40 k resamples or more are needed.
        seed: of the resamples.
        progress: show a progress bar.

    Raises:
        InputError: fewer than two references, or a model without weights per pair of positions (``hooks.attention.attention``).
    """
    shown, asked = list(stimuli), choice(taxonomy, prompt).question.prompt
    resamples(len({s.reference for s in shown}), 1, seed)  # refuses too few references before anything is run
    masks = _masks(shown)
    told = region_rows(mllm, [masks.get(s.reference) for s in shown], asked, grid)
    numbers: tuple[int, ...] = ()
    each: dict[str, list[torch.Tensor]] = {name: [] for name in SOURCES}
    for start in tqdm(range(0, len(shown), batch_size), desc="attention", disable=not progress):
        part = shown[start : start + batch_size]
        batch = mllm.inputs([s.image for s in part], [asked] * len(part))
        parts = token_parts(mllm, batch, told[start : start + len(part)])
        found = attention(mllm, batch, parts, target, layers=layers, check=not start)
        numbers = found.layers
        for name in SOURCES:
            each[name].append(found.values[name])
    values = {name: torch.cat(rows).numpy() for name, rows in each.items()}
    even = np.array([np.nan if own is None else float(own.mean()) for own in told])
    return AttentionShares(_table(shown, numbers, target, values, even, n_boot, seed), target, values)


def _masks(shown: Sequence[Stimulus]) -> dict[str, np.ndarray]:
    """The region of each reference that has one; it is the same for all its stimuli."""
    found: dict[str, np.ndarray] = {}
    for stimulus in shown:
        if stimulus.reference not in found and (mask := stimulus.mask) is not None:
            found[stimulus.reference] = mask
    return found


def region_rows(mllm: Mllm, masks: Sequence[np.ndarray | None], prompt: str, grid: int = GRID) -> list[torch.Tensor | None]:
    """How much of each image token of the language model lies in a region of the image.

    Args:
        mllm: the model.
        masks: of each stimulus, bool (H, W) as its image, or None.
        prompt: the question asked with the images.
        grid: cells per side, by which places are measured (``hooks.places.cells``), once per size of image.

    Returns:
        Per stimulus float32 (tokens,) in [0, 1], or None. The region weighs by its share of each cell.

    Raises:
        InputError: a model whose image tokens have no places.
    """
    looks: dict[tuple[int, int], torch.Tensor] = {}
    found: list[torch.Tensor | None] = []
    for mask in masks:
        if mask is None:
            found.append(None)
            continue
        size = (int(mask.shape[0]), int(mask.shape[1]))
        if size not in looks:
            looks[size] = cells(mllm, size, ["llm.embed"], grid, prompt)["llm.embed"]
        inside = torch.from_numpy(cell_shares(mask, grid, grid).ravel()).float()
        found.append((looks[size] @ inside).clamp(0, 1))
    return found


# ---- statistics --------------------------------------------------------------------------------------------------------


def ratios(
    above: np.ndarray, below: np.ndarray, groups: Sequence[str], n_boot: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """A ratio of sums over stimuli, and its resampled values over groups: one call for any number of cells.

    Args:
        above: (n, …), numerators; rows with a NaN in them count nowhere.
        below: of the same shape, denominators; ones for a mean.
        groups: (n,).
        n_boot: resamples of groups.
        seed: of the resamples; the draws are those of ``probes.intervals.resamples`` over all groups.

    Returns:
        (…) and (n_boot, …); NaN where the denominator is 0.
    """
    number, count = group_counts(groups)
    there = np.isfinite(above) & np.isfinite(below)
    sums = np.zeros((2, count, *above.shape[1:]))
    for i, side in enumerate((above, below)):
        np.add.at(sums[i], number, np.where(there, side, 0.0))
    weights = np.vstack([np.ones((1, count)), resamples(count, n_boot, seed)])
    top, bottom = (np.tensordot(weights, side, 1) for side in sums)
    found = np.divide(top, bottom, out=np.full_like(top, np.nan), where=np.abs(bottom) > LEAST)
    return found[0], found[1:]


def _table(
    shown: Sequence[Stimulus],
    layers: Sequence[int],
    target: str,
    values: dict[str, np.ndarray],
    even: np.ndarray,
    n_boot: int,
    seed: int,
) -> Table:
    groups = [s.reference for s in shown]
    full = {name: np.concatenate([own, own.mean(2, keepdims=True)], 2).astype(float) for name, own in values.items()}
    heads: list[int | None] = [*range(values["image"].shape[2]), None]
    numbers = {name: ratios(own, np.ones_like(own), groups, n_boot, seed) for name, own in full.items() if name != "region"}
    several = len({s.reference for s in shown if s.area is not None}) > 1
    region = _regions(shown, full, even, n_boot, seed) if several else None
    rows = []
    for i, layer in enumerate(layers):
        for j, head in enumerate(heads):
            row: Row = {"layer": layer, "head": head, "target": target, "n": len(shown)}
            row["references"] = len(set(groups))
            for name, (value, draws) in numbers.items():
                row |= _told(name, value[i, j], draws[:, i, j])
            rows.append(row | _region_row(region, i, j))
    for single in (True, False):
        tested = [row for row in rows if (row["head"] is not None) is single and row["p"] is not None]
        for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
            row["p_holm"] = p
    return rows


@dataclass(frozen=True)
class _Region:
    """What is known of the region in every cell: a value (layers, heads) and its draws (n_boot, layers, heads)."""

    share: tuple[np.ndarray, np.ndarray]
    enrichment: tuple[np.ndarray, np.ndarray]
    clean: tuple[np.ndarray, np.ndarray] | None
    beyond: tuple[np.ndarray, np.ndarray] | None
    n: int
    references: int


def _regions(shown: Sequence[Stimulus], full: dict[str, np.ndarray], even: np.ndarray, n_boot: int, seed: int) -> _Region:
    local = np.array([s.area is not None for s in shown])
    clean = np.array([s.type is None for s in shown]) & np.isfinite(even)
    groups = np.array([s.reference for s in shown])
    expected = full["image"] * even[:, None, None]

    def over(rows: np.ndarray, below: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return ratios(full["region"][rows], below[rows], list(groups[rows]), n_boot, seed)

    share, enrichment = over(local, np.ones_like(expected)), over(local, expected)
    both = np.isin(groups, list(set(groups[local]) & set(groups[clean])))
    pair = None
    if len(set(groups[both])) > 1:  # the same references in both, so the same draws
        pair = over(local & both, expected), over(clean & both, expected)
    beyond = None if pair is None else (pair[0][0] - pair[1][0], pair[0][1] - pair[1][1])
    return _Region(share, enrichment, None if pair is None else pair[1], beyond, int(local.sum()), len(set(groups[local])))


def _region_row(region: _Region | None, i: int, j: int) -> Row:
    names = ("region", "enrichment", "clean_enrichment", "beyond")
    empty = {name + end: None for name in names for end in ("", "_low", "_high")} | {"p": None, "p_holm": None}
    if region is None:
        return {"region_n": 0, "region_references": 0, **empty}
    row: Row = {"region_n": region.n, "region_references": region.references, **empty}
    for name, own in zip(names, (region.share, region.enrichment, region.clean, region.beyond), strict=True):
        if own is not None:
            row |= _told(name, own[0][i, j], own[1][:, i, j])
    if region.beyond is not None:
        row["p"] = difference(region.beyond[0][i, j], region.beyond[1][:, i, j], region.references).p
    return row


def _told(name: str, value: float, draws: np.ndarray) -> dict[str, float]:
    found = interval(value, draws)
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
