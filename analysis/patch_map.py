"""Where in the image the tokens say a distortion: the map of "says blur here", scored against where the blur is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from analysis.lens import labelled, says
from analysis.lens_words import Words, image_positions, prompted, readable, states, words
from analysis.translators import TunedLens
from hooks.head import Head, head
from hooks.load import Mllm
from hooks.places import cells
from probes.cells import CLEAN, DISTORTED
from probes.intervals import group_bootstrap, holm, paired_difference
from probes.map_scores import cell_auc, scores
from stimuli.errors import InputError
from stimuli.progress import tqdm
from stimuli.regions import cell_shares
from stimuli.results import Result
from stimuli.tables import Row, Table
from stimuli.taxonomy import CLEAN as CLEAN_CLASS
from stimuli.types import Stimulus, StimulusSet

STRANGERS = 16
"""Masks of other references that a map is scored against as its control, at most."""


@dataclass(frozen=True, repr=False)
class PatchMap(Result):
    """A map per stimulus and site of what the image's tokens say, and how well it finds the distorted part."""

    table: Table
    """A row per ``site`` and ``class`` (``all`` first): ``n``, ``references``; ``auc``, how often a distorted cell says the word louder than a
    clean cell of the same image (chance 0.5); ``paired``, the same of the map less that of the clean image of the same reference, so that
    content and place cancel; ``pointing``, how often the loudest cell is distorted, and its chance; ``control``, the AUC against masks of
    other references; ``beyond``, the AUC less that control, with ``p`` and, over the sites, ``p_holm``. All with intervals over references."""
    maps: Mapping[str, np.ndarray] = field(repr=False)
    """Site to float32 (n, grid, grid), in nats: log-probability of the word less that of what it is held against."""
    shares: np.ndarray = field(repr=False)
    """(n, grid, grid): how much of each cell is distorted."""
    labels: tuple[str, ...] = field(repr=False)
    """The class whose word each map is of."""
    ids: tuple[str, ...] = field(repr=False)
    groups: np.ndarray = field(repr=False)
    scores: Mapping[str, Mapping[str, np.ndarray]] = field(repr=False)
    """Site to ``auc``, ``paired``, ``pointing``, ``control`` to (n,)."""
    against: str
    """What the word is held against: the word of ``clean``, or the ``others``' mean."""
    notes: tuple[str, ...]

    def row(self, site: str, label: str = "all") -> Row:
        """The row of a site and a class."""
        return next(row for row in self.table if row["site"] == site and row["class"] == label)


def patch_map(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    sites: str | Sequence[str],
    taxonomy: str | Path = "paper8",
    *,
    label: str | None = None,
    grid: int = 8,
    tuned: TunedLens | None = None,
    batch_size: int = 16,
    n_boot: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> PatchMap:
    """Read every image token with the model's own output head and lay what it says onto the image.

    A token's value is the log-probability of the word of the class less that of the word for a clean image; of a taxonomy without clean
    images, and where two share a token, less the mean of the other classes' words. Tokens are placed by ``hooks.places.cells``.

    Args:
        mllm: the model; left as it is.
        stimuli: local distortions with their masks (``exam_set(region=...)``), of two references or more; clean images of the same
            references serve as counterparts.
        sites: the projector or sites of the language model's stream.
        taxonomy: name or file.
        label: a class whose word is read in all images; each image's own by default.
        grid: cells per side.
        tuned: translators, as in ``analysis.lens.lens``.
        batch_size: images per forward pass.
        n_boot: resamples of references.
        seed: of the resamples and of the control's masks.
        progress: show a progress bar.

    Raises:
        InputError: no masks of two references, an unknown class or site, or a site whose tokens have no place in the image.
    """
    shown, columns, twins, notes = labelled(stimuli, taxonomy)
    own, said = head(mllm), words(mllm, taxonomy)
    asked = None if label is None else said.asked.place(label)
    wanted = readable(mllm, own, [sites] if isinstance(sites, str) and sites != "all" else sites)
    if tuned is not None:
        tuned.check(mllm, [stimulus.reference for stimulus in shown])
    chosen, shares = _masked(shown, grid)
    if not image_positions(mllm, said, wanted, shown[0].image.shape[:2]):
        raise InputError(
            f"{type(mllm.model).__name__} reads the image by cross-attention: no token of its sequence stands for a place in it. "
            "Expected a model with image tokens. Read the last position with lens(positions=['last'])."
        )
    spoken = _token_maps(mllm, shown, own, said, wanted, grid, tuned, batch_size, progress)
    right = columns[chosen] if asked is None else np.full(len(chosen), asked)
    clean = said.classes.index(CLEAN_CLASS) if CLEAN_CLASS in said.classes else None
    contrast = _Contrast(said, clean)
    groups = np.array([stimulus.reference for stimulus in shown])[chosen]
    strangers = _strangers(groups, seed)
    table, maps, found = [], {}, {}
    for site in wanted:
        values = contrast(spoken[site][chosen], right)
        paired = contrast(spoken[site][np.maximum(twins[chosen], 0)], right)
        found[site] = _scored(values, paired, twins[chosen] >= 0, shares, strangers)
        maps[site] = values.reshape(-1, grid, grid).astype(np.float32)
        table += [{"site": site, **row} for row in _rows(found[site], columns[chosen], said.classes, groups, n_boot, seed)]
    for name in dict.fromkeys(row["class"] for row in table):
        same = [row for row in table if row["class"] == name]
        for row, p in zip(same, holm([row["p"] for row in same]), strict=True):
            row["p_holm"] = p
    return PatchMap(
        table, maps, shares.reshape(-1, grid, grid), tuple(said.classes[c] for c in right),
        tuple(shown[i].id for i in chosen), groups, found, contrast.against, (*said.notes, *notes),
    )  # fmt: skip


def _masked(shown: Sequence[Stimulus], grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Which stimuli have clearly distorted and clearly clean cells, int (n,), and their shares, (n, grid²)."""
    masks = [(i, stimulus.mask) for i, stimulus in enumerate(shown) if stimulus.type is not None and not stimulus.is_identity]
    shares = [(i, cell_shares(mask, grid, grid).reshape(-1)) for i, mask in masks if mask is not None]
    clear = [(i, own) for i, own in shares if own.max() > DISTORTED and own.min() < CLEAN]
    if len({shown[i].reference for i, _ in clear}) < 2:
        raise InputError(
            f"A map is scored against masks; of {len(shown)} stimuli {len(clear)} have distorted and clean cells on a grid of {grid} x {grid}. "
            "Expected two or more references. Show local distortions: sn.stimuli.exam_set(region='any')."
        )
    return np.array([i for i, _ in clear]), np.stack([own for _, own in clear])


@dataclass(frozen=True)
class _Contrast:
    """From what cells say of every class to one number: the word of a class against another."""

    said: Words
    clean: int | None

    @property
    def against(self) -> str:
        return "others" if self.clean is None else "clean"

    def __call__(self, values: np.ndarray, right: np.ndarray) -> np.ndarray:
        """(n, cells, k) and int (n,) to (n, cells)."""
        return np.stack([self._one(own, int(column)) for own, column in zip(values, right, strict=True)])

    def _one(self, own: np.ndarray, column: int) -> np.ndarray:
        tokens = np.array(self.said.tokens)
        if self.clean is not None and tokens[self.clean] != tokens[column]:
            return np.asarray(own[:, column] - own[:, self.clean])
        return np.asarray(own[:, column] - own[:, tokens != tokens[column]].mean(1))


def _token_maps(
    mllm: Mllm, shown: Sequence[Stimulus], own: Head, said: Words, sites: Sequence[str], grid: int, tuned: TunedLens | None,
    batch_size: int, progress: bool,
) -> dict[str, np.ndarray]:  # fmt: skip
    """What the cells of every image say: site to log-probabilities of the classes' tokens, float64 (n, grid², k)."""
    found = {site: np.zeros((len(shown), grid**2, len(said.classes))) for site in sites}
    sizes: dict[tuple[int, int], list[int]] = {}
    for i, stimulus in enumerate(shown):
        height, width = stimulus.image.shape[:2]
        sizes.setdefault((height, width), []).append(i)
    with tqdm(total=len(shown), desc="reading image tokens", disable=not progress) as bar:
        for size, members in sizes.items():
            places = {site: value.numpy() for site, value in cells(mllm, size, sites, grid, said.asked.question.prompt).items()}
            for start in range(0, len(members), batch_size):
                which = members[start : start + batch_size]
                batch = prompted(mllm, said, [shown[i].image for i in which])
                for site, seen in states(mllm, batch, said, sites):
                    spoken = says(own, site, tuned)
                    for i, rows in zip(which, seen.image or [], strict=True):
                        logp = spoken(rows)[:, list(said.tokens)].double().cpu().numpy()
                        found[site][i] = (places[site] / places[site].sum(0)).T @ logp
                bar.update(len(which))
    return found


def _strangers(groups: np.ndarray, seed: int) -> list[np.ndarray]:
    """For each stimulus stimuli of other references, one per reference and ``STRANGERS`` at most, whose masks are its control."""
    names, first = np.unique(groups, return_index=True)
    rng = np.random.default_rng([seed, 64])
    return [rng.permutation(first[names != own])[:STRANGERS] for own in groups]


def _scored(
    values: np.ndarray, paired: np.ndarray, has_twin: np.ndarray, shares: np.ndarray, strangers: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """Scores of maps (n, cells) by name, (n,) each; ``paired`` (n, cells) are the same words' maps of the clean twins."""
    n = len(values)
    twin = np.where(has_twin, np.arange(n, 2 * n), -1)
    both = scores(
        np.vstack([values, paired]),
        np.vstack([shares, np.zeros_like(shares)]),
        np.full(2 * n, np.inf),
        np.arange(2 * n) < n,
        np.concatenate([twin, np.full(n, -1)]),
    )
    found = {name: both[name][:n] for name in ("auc", "paired", "pointing", "pointing_chance")}
    control = [np.mean([_auc(own, shares[j]) for j in others]) for own, others in zip(values, strangers, strict=True)]
    return found | {"control": np.array(control)}


def _auc(own: np.ndarray, share: np.ndarray) -> float:
    clear = (share > DISTORTED) | (share < CLEAN)
    return cell_auc(own[clear], share[clear] > DISTORTED)


def _rows(
    found: Mapping[str, np.ndarray], columns: np.ndarray, classes: Sequence[str], groups: np.ndarray, n_boot: int, seed: int
) -> Table:
    """Rows over all stimuli and by true class, of two references or more."""
    named = [("all", np.ones(len(groups), bool)), *((label, columns == i) for i, label in enumerate(classes))]
    return [{"class": name, **_row(found, own, groups, n_boot, seed)} for name, own in named if len(np.unique(groups[own])) > 1]


def _row(found: Mapping[str, np.ndarray], own: np.ndarray, groups: np.ndarray, n_boot: int, seed: int) -> Row:
    row: Row = {"n": int(own.sum()), "references": len(np.unique(groups[own]))}
    for name in ("auc", "paired", "pointing", "control"):
        value = group_bootstrap(found[name][own], groups[own], n_boot, seed)
        row |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
    row |= {"chance": 0.5, "pointing_chance": float(found["pointing_chance"][own].mean())}
    beyond = paired_difference(found["control"][own], found["auc"][own], groups[own], n_boot, seed)
    return row | {"beyond": beyond.value, "beyond_low": beyond.low, "beyond_high": beyond.high, "p": beyond.p}
