"""Attention knock-out: how much less a model finds the right answer likely if some positions cannot look at some others.

Edges are cut in windows of layers, which tells where information passes, and in all layers at once, which tells whether it
passes at all (Geva et al. 2023, "Dissecting recall of factual associations in auto-regressive language models").
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analysis.attention_shares import GRID, ratios, region_rows
from analysis.choice import Choice, choice
from analysis.perception import with_labels
from hooks.attention import attentions
from hooks.knockout import Edge, TokenParts, edge_of, knock_out, token_parts
from hooks.load import Mllm
from hooks.reuse import images_once
from probes.intervals import enough, group_bootstrap, holm, interval, paired_difference, resamples
from stimuli.errors import InputError
from stimuli.progress import tqdm
from stimuli.results import Result
from stimuli.tables import Row, Table
from stimuli.types import Stimulus, StimulusSet

EDGES = ("image->last", "image->question", "question->last")


@dataclass(frozen=True, repr=False)
class Knockout(Result):
    """What the answers lose with each edge, in each window of layers."""

    table: Table
    """A row per ``edge`` and window: ``centre`` (a layer; None for all layers), ``first`` and ``last`` layer, ``n``,
    ``references``, ``entries`` (pairs of prompt positions that are cut, mean over stimuli); ``p_before`` and ``p_after``, mean
    probability of the right class among the classes; ``change`` (after less before), with interval, ``p`` and Holm's ``p_holm``
    over the windows of an edge, or over the edges where all layers are cut; ``relative`` (%), the mean change over the mean
    ``p_before``, with interval (Geva et al. take the mean of the ratios, which a few small probabilities rule);
    ``accuracy_before`` and ``accuracy_after``, and ``accuracy_change`` with interval. With the control: ``control_entries``,
    ``control_change`` with interval, and ``beyond``, change less control change, with interval, ``beyond_p`` and
    ``beyond_p_holm``."""
    window: int
    """Layers per window; those at the ends are cut short."""
    p: np.ndarray = field(repr=False)
    """float64 (rows, n): probability of each stimulus's right class after, in the order of table and stimuli."""
    ids: tuple[str, ...] = field(repr=False)
    """Of the stimuli."""

    def row(self, edge: str, centre: int | None = None) -> Row:
        """The row of an edge and a window; that of all layers by default."""
        return next(row for row in self.table if (row["edge"], row["centre"]) == (edge, centre))


@dataclass(frozen=True)
class _Cut:
    edge: str
    centre: int | None
    layers: tuple[int, ...]
    control: bool = False


def knockout(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    *,
    edges: Sequence[str] = EDGES,
    window: int | None = None,
    control: bool = True,
    taxonomy: str | Path = "paper8",
    prompt: str | None = None,
    grid: int = GRID,
    batch_size: int = 16,
    n_boot: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Knockout:
    """Ask which distortion an image has, with edges of attention cut in windows of layers and in all of them.

    The control cuts as many pairs in as many rows elsewhere (``elsewhere``), in the same layers: what it costs is the price of
    cutting attention at all.

    Args:
        mllm: the model; left as it was.
        stimuli: of two references or more; those without a class in the taxonomy are left out.
        edges: ``source->target``, of ``hooks.knockout.PARTS``. ``region`` takes stimuli with a local distortion.
        window: layers per window, centred on each layer; by default about a fifth of the layers, odd and at least 1.
        control: whether to run it; it doubles the time.
        taxonomy: name or file.
        prompt: another question.
        grid: as in ``attention_shares``, for ``region``.
        batch_size: images per forward pass.
        n_boot: resamples of references; more if there are too many layers for Holm's correction (``probes.intervals.enough``).
        seed: of control and resamples.
        progress: show a progress bar.

    Raises:
        InputError: no edge or an unknown one, an edge with nothing to cut, an even or too wide window, fewer than two
            references, or a model without a mask per pair of positions (``hooks.knockout.knock_out``).
    """
    if not edges:
        raise InputError(f"Got no edge. Expected one or more, such as {', '.join(EDGES)}. Name them.")
    pairs = dict.fromkeys("->".join(edge_of(edge)) for edge in edges)
    layers = tuple(attentions(mllm))
    width = _width(len(layers), window)
    cuts = [_Cut(edge, centre, span) for edge in pairs for centre, span in [*_windows(layers, width), (None, layers)]]
    cuts = [one for cut in cuts for one in ([cut, replace(cut, control=True)] if control else [cut])]
    shown, labels = with_labels(stimuli, taxonomy)
    resamples(len({s.reference for s in shown}), 1, seed)  # refuses too few references before anything is run
    asked = choice(taxonomy, prompt)
    told = None
    if any("region" in edge for edge in pairs):
        told = region_rows(mllm, [s.mask for s in shown], asked.question.prompt, grid)
    asking = _Asking(mllm, asked, cuts, seed)
    with tqdm(total=len(shown) * (len(cuts) + 1), desc="knock-out", disable=not progress) as bar:
        for start in range(0, len(shown), batch_size):
            span = slice(start, start + batch_size)
            asking.about(shown[span], labels[span], None if told is None else told[span], bar)
    return _result(asking, shown, width, enough(n_boot, len(layers)), seed)


def _width(layers: int, window: int | None) -> int:
    """Layers per window: by default a fifth of them, made odd."""
    width = max(1, layers // 5 // 2 * 2 + 1) if window is None else window
    if width < 1 or width % 2 == 0 or width > layers:
        raise InputError(
            f"Got a window of {width} layers. Expected an odd number from 1 to {layers}, the layers that there are."
        )
    return width


def _windows(layers: Sequence[int], width: int) -> list[tuple[int, tuple[int, ...]]]:
    """Centre and layers of each window."""
    half = width // 2
    return [(layer, tuple(layers[max(0, i - half) : i + half + 1])) for i, layer in enumerate(layers)]


def elsewhere(parts: TokenParts, edge: str, seeds: Sequence[int]) -> torch.Tensor:
    """A control for an edge: as many positions that are not its targets each lose as many earlier ones, drawn at random.

    A few positions lose much, as under the edge, so that the control damages attention as badly, but on no path that is in
    question: neither the edge's targets nor the last position of the prompt are among them. Positions with enough to lose are
    drawn first; where there are too few, the others lose all. What follows the prompt loses nothing.

    Args:
        parts: whose the positions are.
        edge: ``source->target``.
        seeds: one per prompt.

    Returns:
        bool (n, positions, positions), target first, for ``knock_out``.
    """
    own, seen = cut_pairs(parts, edge), _earlier(parts)
    found = torch.zeros_like(own)
    for i, seed in enumerate(seeds):
        rng, room = np.random.default_rng(seed), seen[i].sum(1).numpy()
        wanted = sorted((int(count) for count in own[i].sum(1) if count), reverse=True)
        free = seen[i].any(1) & ~own[i].any(1) & ~parts.masks["last"][i]
        rows = rng.permutation(free.nonzero()[:, 0].numpy()).tolist()
        for count in wanted:
            if not rows:
                break
            have = room[rows]
            row = rows.pop(int(np.argmax(have >= count) if (have >= count).any() else np.argmax(have)))
            able = seen[i, row].nonzero()[:, 0].numpy()
            found[i, row, torch.from_numpy(rng.choice(able, min(count, len(able)), replace=False))] = True
    return found


def cut_pairs(parts: TokenParts, edge: str) -> torch.Tensor:
    """What an edge cuts of what causal attention sees in the prompts: bool (n, positions, positions), target first."""
    source, target = (parts.masks[name] for name in edge_of(edge))
    return target[:, :, None] & source[:, None] & _earlier(parts)


def _earlier(parts: TokenParts) -> torch.Tensor:
    """Which positions of a prompt stand before which, padding left out: bool (n, positions, positions)."""
    there = parts.masks["image"] | parts.masks["text"]
    return (there[:, :, None] & there[:, None]).tril(-1)


class _Asking:
    """Gathers, over batches, the probability of the right class and whether it is the likeliest, as is and under each cut."""

    def __init__(self, mllm: Mllm, asked: Choice, cuts: Sequence[_Cut], seed: int) -> None:
        self.mllm, self.asked, self.cuts, self.seed = mllm, asked, cuts, seed
        self.p: list[np.ndarray] = []  # (1 + cuts, stimuli of a batch)
        self.right: list[np.ndarray] = []
        self.entries: list[np.ndarray] = []  # (cuts, stimuli of a batch)

    def about(
        self, shown: Sequence[Stimulus], labels: Sequence[str], region: Sequence[torch.Tensor | None] | None, bar: Any
    ) -> None:
        prepared = self.asked.prepared(self.mllm, [s.image for s in shown])
        parts = token_parts(self.mllm, prepared.batches[0], region)
        places = np.array([self.asked.place(label) for label in labels])
        blocked, entries = self._blocked(shown, parts)
        with images_once(self.mllm.model):
            found = [self.asked.probabilities(self.mllm, prepared)]
            bar.update(len(shown))
            for cut in self.cuts:
                with knock_out(self.mllm, parts, [blocked[cut.edge, cut.control]], cut.layers):
                    found.append(self.asked.probabilities(self.mllm, prepared))
                bar.update(len(shown))
        rows = np.arange(len(shown))
        self.p.append(np.stack([own[rows, places] for own in found]))
        self.right.append(np.stack([own.argmax(1) == places for own in found]))
        self.entries.append(np.stack([entries[cut.edge, cut.control] for cut in self.cuts]))

    def _blocked(
        self, shown: Sequence[Stimulus], parts: TokenParts
    ) -> tuple[dict[tuple[str, bool], Edge], dict[tuple[str, bool], np.ndarray]]:
        """What each edge and its control block, and how many pairs per stimulus.

        Raises:
            InputError: an edge blocks nothing.
        """
        blocked: dict[tuple[str, bool], Edge] = {}
        entries: dict[tuple[str, bool], np.ndarray] = {}
        for edge, control in dict.fromkeys((cut.edge, cut.control) for cut in self.cuts):
            seeds = [zlib.crc32(f"{self.seed}/{edge}/{s.id}".encode()) for s in shown]
            pairs = elsewhere(parts, edge, seeds) if control else cut_pairs(parts, edge)
            entries[edge, control] = pairs.sum((1, 2)).numpy().astype(float)
            blocked[edge, control] = pairs if control else edge
            for stimulus, count in zip(shown, entries[edge, control], strict=True):
                if not control and not count:
                    raise InputError(
                        f"The edge '{edge}' cuts nothing for the stimulus '{stimulus.id}': no position of the one part stands "
                        "in front of one of the other. Expected such positions. Choose another edge; 'region' takes stimuli "
                        "with a local distortion."
                    )
        return blocked, entries


def _result(asking: _Asking, shown: Sequence[Stimulus], width: int, n_boot: int, seed: int) -> Knockout:
    p, right = np.concatenate(asking.p, 1), np.concatenate(asking.right, 1).astype(float)
    entries, groups = np.concatenate(asking.entries, 1).mean(1), [s.reference for s in shown]
    order = {cut: i for i, cut in enumerate(asking.cuts)}
    edges = [cut for cut in asking.cuts if not cut.control]
    rows: Table = []
    for cut in edges:
        i = order[cut]
        row: Row = {"edge": cut.edge, "centre": cut.centre, "first": cut.layers[0], "last": cut.layers[-1], "n": len(shown)}
        row |= {
            "references": len(set(groups)),
            "entries": float(entries[i]),
            **_changes(p[[0, i + 1]], right[[0, i + 1]], groups, n_boot, seed),
        }
        other = order.get(replace(cut, control=True))
        rows.append(
            row | ({} if other is None else _controlled(p[[0, i + 1, other + 1]], groups, n_boot, seed, entries[other]))
        )
    for name in ("p", "beyond_p") if len(order) > len(edges) else ("p",):
        _adjusted(rows, name)
    return Knockout(rows, width, p[[order[cut] + 1 for cut in edges]], tuple(s.id for s in shown))


def _changes(p: np.ndarray, right: np.ndarray, groups: Sequence[str], n_boot: int, seed: int) -> Row:
    """What changed, from (before and after, n)."""
    change = paired_difference(p[0], p[1], groups, n_boot, seed)
    ratio, draws = ratios(p[1] - p[0], p[0], groups, n_boot, seed)
    relative = interval(float(100 * ratio), 100 * draws)
    hits = paired_difference(right[0], right[1], groups, n_boot, seed)
    return {
        "p_before": float(p[0].mean()), "p_after": float(p[1].mean()),
        "change": change.value, "low": change.low, "high": change.high, "p": change.p, "p_holm": None,
        "relative": relative.value, "relative_low": relative.low, "relative_high": relative.high,
        "accuracy_before": float(right[0].mean()), "accuracy_after": float(right[1].mean()),
        "accuracy_change": hits.value, "accuracy_low": hits.low, "accuracy_high": hits.high,
    }  # fmt: skip


def _controlled(p: np.ndarray, groups: Sequence[str], n_boot: int, seed: int, entries: float) -> Row:
    """The control beside it, from (before, after, after the control; n)."""
    own, beyond = group_bootstrap(p[2] - p[0], groups, n_boot, seed), paired_difference(p[2], p[1], groups, n_boot, seed)
    return {
        "control_entries": float(entries), "control_change": own.value, "control_low": own.low, "control_high": own.high,
        "beyond": beyond.value, "beyond_low": beyond.low, "beyond_high": beyond.high, "beyond_p": beyond.p,
        "beyond_p_holm": None,
    }  # fmt: skip


def _adjusted(rows: Table, name: str) -> None:
    """Holm's correction in place: over the windows of each edge, and over the edges where all layers are cut."""
    families: dict[str | None, list[Row]] = {}
    for row in rows:
        families.setdefault(None if row["centre"] is None else row["edge"], []).append(row)
    for own in families.values():
        for row, p in zip(own, holm([row[name] for row in own]), strict=True):
            row[f"{name}_holm"] = p
