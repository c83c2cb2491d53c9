"""Distance between visual-token features and the embeddings of the words that name their distortion.

The closed form of the measure in arXiv 2512.09573 is not public, so the definitions here are ours. With v the mean
image-token feature of a stimulus at a site of the language model's width, and e_c the mean input embedding of class c's
wording:

* ``cosine``   1 − cos(v, e_y), the raw distance to the right word, 0 to 2;
* ``centred``  the same after subtracting each modality's mean (the modality gap of Liang et al. 2022 is removed);
* ``margin``   cos_c(v, e_y) − max over c ≠ y of cos_c(v, e_c), centred; positive means the right word is the nearest;
* ``zero_shot`` whether the nearest centred word is the right one.

Input embeddings are used at every site: deep in the language model, features need not live in the input's space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hooks.extract import extract
from hooks.load import Mllm
from hooks.store import Store
from hooks.words import word_embeddings
from probes.intervals import group_bootstrap, holm, paired_difference
from stimuli.errors import InputError
from stimuli.questions import question
from stimuli.tables import Table
from stimuli.taxonomy import taxonomy as load_taxonomy
from stimuli.types import Stimulus, StimulusSet

MEASURES = ("cosine", "centred", "margin", "zero_shot")


@dataclass(frozen=True)
class Distances:
    """Distances per site and class, and per stimulus for pairing."""

    table: Table
    """Rows: site, class (or ``all``), n, and every measure with ``_low`` and ``_high`` over references."""
    per_stimulus: Mapping[str, Mapping[str, np.ndarray]] = field(repr=False)
    """Site → measure → (n,)."""
    labels: np.ndarray = field(repr=False)
    groups: np.ndarray = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)

    def row(self, site: str, label: str = "all") -> dict[str, Any]:
        """The row of a site and class."""
        return next(row for row in self.table if row["site"] == site and row["class"] == label)


def semantic_distance(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    *,
    taxonomy: str | Path = "paper8",
    store: Store | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Distances:
    """Distances at the projector and at every site of the language model.

    Args:
        mllm: the model.
        stimuli: labelled stimuli.
        taxonomy: name or file.
        store: mean-pooled activations of these stimuli, if at hand; extracted otherwise.
        n_boot: resamples of references.
        seed: of the resamples.
        progress: show a progress bar.

    Raises:
        InputError: no stimulus has a class.
    """
    sites = [s for s in mllm.stages.sites if s == "projector" or s.startswith("llm")]
    store = store or extract(mllm, stimuli, sites, progress=progress)
    chosen, asked = load_taxonomy(taxonomy), question("distortion", taxonomy)
    by_id = {s.id: s for s in stimuli}
    kept = [(row, id) for row, id in enumerate(store.ids) if chosen.label(by_id[id]) is not None]
    if not kept:
        raise InputError(f"None of the {len(stimuli)} stimuli has a class in '{chosen.name}'. Give labelled stimuli.")
    labels = np.array([chosen.label(by_id[id]) for _, id in kept])
    groups = np.array([by_id[id].reference for _, id in kept])
    words = word_embeddings(mllm, list(asked.options.values())).double().cpu().numpy()
    targets = np.array([chosen.classes.index(label) for label in labels])
    rows = [row for row, _ in kept]
    found = {
        site: measures(np.asarray(store.read(site).values, float)[rows], words, targets)
        for site in sites
        if site in store.sites and store.read(site).values.shape[1] == words.shape[1]
    }
    table = [
        _row(site, label, values, labels == label if label != "all" else np.ones(len(labels), bool), groups, n_boot, seed)
        for site, values in found.items()
        for label in ("all", *chosen.classes)
        if label == "all" or (labels == label).any()
    ]
    return Distances(table, found, labels, groups, tuple(id for _, id in kept))


def measures(features: np.ndarray, words: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    """The four measures per stimulus.

    Args:
        features: (n, d).
        words: (k, d).
        targets: (n,) class numbers.

    Returns:
        Measure → (n,).
    """
    rows = np.arange(len(features))
    raw = _unit(features) @ _unit(words).T
    centred = _unit(features - features.mean(0)) @ _unit(words - words.mean(0)).T
    own = centred[rows, targets]
    others = centred.copy()
    others[rows, targets] = -np.inf
    rival = others.max(1)
    return {
        "cosine": 1 - raw[rows, targets],
        "centred": 1 - own,
        "margin": own - rival,
        "zero_shot": (own > rival).astype(float),
    }


def compare(before: Distances, after: Distances, n_boot: int = 1000, seed: int = 0) -> Table:
    """Change per site, class and measure, paired over the stimuli that both have; Holm over the site × class rows of a measure.

    ``relative_change`` is change / |before|, None where ``before`` is nearly 0.

    Raises:
        InputError: they have no stimulus in common.
    """
    there = {id: row for row, id in enumerate(after.ids)}
    first = np.array([row for row, id in enumerate(before.ids) if id in there], int)
    if not len(first):
        raise InputError("The two distances are over different stimuli, so they cannot be paired. Measure both on one set.")
    second = np.array([there[before.ids[row]] for row in first])
    labels, groups = before.labels[first], before.groups[first]
    rows: Table = []
    for site in before.per_stimulus:
        for label in ("all", *dict.fromkeys(labels.tolist())):
            keep = np.ones(len(labels), bool) if label == "all" else labels == label
            if len(np.unique(groups[keep])) < 2:
                continue
            for measure in MEASURES:
                a, b = before.per_stimulus[site][measure][first[keep]], after.per_stimulus[site][measure][second[keep]]
                change = paired_difference(a, b, groups[keep], n_boot, seed)
                start = float(a.mean())
                rows.append({
                    "site": site, "class": label, "measure": measure, "before": start, "after": float(b.mean()),
                    "change": change.value, "low": change.low, "high": change.high, "p": change.p,
                    "relative_change": change.value / abs(start) if abs(start) > 1e-6 else None,
                })  # fmt: skip
    for measure in MEASURES:
        own = [row for row in rows if row["measure"] == measure]
        for row, p in zip(own, holm([row["p"] for row in own]) if own else [], strict=True):
            row["p_holm"] = p
    return rows


def _unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))


def _row(
    site: str, label: str, values: Mapping[str, np.ndarray], keep: np.ndarray, groups: np.ndarray, n_boot: int, seed: int
) -> dict[str, Any]:
    row: dict[str, Any] = {"site": site, "class": label, "n": int(keep.sum())}
    for measure, x in values.items():
        row[measure] = float(x[keep].mean())
        if len(np.unique(groups[keep])) > 1:
            found = group_bootstrap(x[keep], groups[keep], n_boot, seed)
            row |= {f"{measure}_low": found.low, f"{measure}_high": found.high}
    return row
