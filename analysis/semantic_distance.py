"""Distance between visual-token features and the words that name their distortion, at every site in the language model's space.

What is measured is defined in ``analysis.distance_measures`` (mean-pooled features) and ``analysis.token_transport`` (single tokens), what
stands for a word in ``analysis.word_vectors``, how the vision encoder's sites get into the words' space in ``analysis.word_map``, and
how two models are compared in ``analysis.distance_compared``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import overload

import numpy as np

from analysis import word_map
from analysis.distance_compared import compare as compare
from analysis.distance_measures import (
    MEASURES,
    WHITENED,
    Means,
    affordable,
    check_measures,
    factors_of,
    left_out,
    measure,
    measured_anew,
    word_permutation,
)
from analysis.distance_table import table_of
from analysis.distances import Distances as Distances
from analysis.distances import Labelled, labelled
from analysis.token_transport import Tokens, token_measures
from analysis.word_vectors import MEANINGS, word_sets, word_vectors
from hooks.activations import Activations
from hooks.extract import extract
from hooks.load import Mllm
from hooks.store import Store
from probes.intervals import group_counts
from probes.splits import Fold, grouped_folds
from stimuli.errors import InputError
from stimuli.taxonomy import taxonomy as load_taxonomy
from stimuli.types import Stimulus, StimulusSet

FOLDS = 5
"""Of the cross-fitting of maps."""


def semantic_distance(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    *,
    taxonomy: str | Path = "paper8",
    store: Store | None = None,
    word: str = "input",
    measures: Sequence[str] = MEASURES,
    tokens: Tokens | bool = False,
    vision: bool | str = False,
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
        word: ``input``, ``contextual`` or ``unembedding``; see ``analysis.word_vectors.MEANINGS``.
        measures: some of ``cosine``, ``centred``, ``whitened``, ``whitened_margin``, ``margin``, ``zero_shot``.
        tokens: also measure single tokens and transport; ``True`` for ``Tokens()``: of at most 256 stimuli, at the projector.
        vision: also measure the vision encoder's sites, mapped onto the projector's output (``True`` or ``"projector"``) or onto the
            words (``"words"``); see ``analysis.word_map``.
        n_boot: resamples of references.
        seed: of resamples, permutations, the choice of stimuli for tokens, and folds.
        progress: show a progress bar.

    Raises:
        InputError: no stimulus has a class, unknown measures, words or map, or no site of the language model's width.
    """
    check_measures(measures)
    target = _target(mllm, vision)
    direct = [s for s in mllm.stages.sites if s == "projector" or s.startswith("llm")]
    visual = [s for s in mllm.stages.sites if s.startswith("vision")] if target else []
    store = store or extract(mllm, stimuli, [*visual, *direct], progress=progress)
    shown = labelled(stimuli, store.ids, load_taxonomy(taxonomy))
    vectors = word_vectors(mllm, [shown.taxonomy.wordings[label] for label in shown.taxonomy.classes], direct, word)
    features = _features(store, shown, [site for site in direct if site in store.sites], vectors)
    values: dict[str, dict[str, np.ndarray]] = {}
    permuted: dict[str, dict[str, float]] = {}
    anew: dict[str, Means] = {}
    slow: list[str] = []
    blocks = left_out(shown.groups, seed)
    mapped_sites = [site for site in visual if site in store.sites]
    folds = grouped_folds(shown.labels, shown.groups, FOLDS, seed, strict=False) if mapped_sites else []
    mapping = _mapped(store, shown, mapped_sites, vectors, target, folds, seed)
    for site, rows, words in _each(mapping, features):
        found = measure(rows, words, shown.targets, measures, shown.groups)
        values[site], permuted[site] = found.values, word_permutation(found.margins, shown.targets, seed)
        if (
            target == "words" and site in mapped_sites
        ):  # the map was fitted to this very assignment, so that no other can compete with it
            permuted[site] = {}
        anew[site] = measured_anew(
            rows, words, shown.targets, shown.labels, shown.taxonomy.classes, measures, blocks, shown.groups
        )
        if set(WHITENED) & set(measures) and not affordable(len(rows), rows.shape[1], len(blocks)):
            slow.append(site)
    if not any(site in values for site in direct):
        raise InputError(
            f"No site of {mllm.name} has activations as wide as its words among {', '.join(store.sites)}. Expected the projector or a site of "
            "the language model. Extract one."
        )
    notes = [MEANINGS[word], *([word_map.NOTES[target]] if mapped_sites else [])]
    if slow:
        notes.append(
            f"At {', '.join(slow)}, whitening {len(shown.ids)} stimuli anew without each block of references would take too long, so that there "
            f"is no interval of {' and '.join(name for name in WHITENED if name in measures)}. Measure fewer stimuli for one."
        )
    factors = {site: factors_of(anew[site], own, shown.labels, shown.taxonomy.classes, blocks) for site, own in values.items()}
    how = tokens if isinstance(tokens, Tokens) else Tokens() if tokens else None
    if how is not None:
        own, told = _tokens(mllm, shown, how, vectors, word, seed, progress)
        values = {site: {**values[site], **own.get(site, {})} for site in values}
        notes.append(told)
    mapped = dict.fromkeys(mapped_sites, FOLDS)
    table = table_of(values, permuted, factors, shown.labels, shown.groups, shown.taxonomy.classes, mapped, n_boot, seed)
    about = (shown.taxonomy.classes, word, mapped, tuple(notes), anew, factors, seed, target, how)
    return Distances(table, values, shown.labels, shown.groups, shown.ids, *about)


def _target(mllm: Mllm, vision: bool | str) -> str:
    """What vision sites are mapped onto; empty for not at all."""
    if not vision:
        return ""
    target = "projector" if vision is True else str(vision)
    if target not in word_map.TARGETS or (target == "projector" and "projector" not in mllm.stages.sites):
        known = [name for name in word_map.TARGETS if name == "words" or "projector" in mllm.stages.sites]
        raise InputError(f"Got vision='{target}'; for this model expected one of {', '.join(known)}. Use one of these.")
    return target


Site = tuple[str, np.ndarray, np.ndarray]
"""A site, its features (n, d) and its words (k, d)."""


def _features(store: Store, shown: Labelled, sites: Sequence[str], vectors: Mapping[str, np.ndarray]) -> Iterator[Site]:
    """Site by site, those of the words' width."""
    for site in sites:
        features = shown.of(store.read(site))
        if features.shape[1] == vectors[site].shape[1]:
            yield site, features, vectors[site]


def _mapped(
    store: Store,
    shown: Labelled,
    sites: Sequence[str],
    vectors: Mapping[str, np.ndarray],
    target: str,
    folds: Sequence[Fold],
    seed: int,
) -> Iterator[Site]:
    """Vision sites, site by site, in the space of what enters the language model."""
    if not sites:
        return
    if target == "projector" and "projector" not in store.sites:
        raise InputError(
            "The activations hold no projector to map vision sites onto. Expected it. Extract it, or map onto 'words'."
        )
    words = next(iter(vectors.values()))
    onto = shown.of(store.read("projector")) if target == "projector" else words[shown.targets]
    for site in sites:
        yield site, word_map.mapped(shown.of(store.read(site)), onto, shown.groups, folds, seed=seed), words


def _each(*parts: Iterator[Site]) -> Iterator[Site]:
    for part in parts:
        yield from part


class _Read(Sequence[np.ndarray]):
    """The tokens of stimuli, (tokens, d) each, read from disk when looked at."""

    def __init__(self, activations: Activations, ids: Sequence[str], width: int) -> None:
        self._activations, self._ids, self._width = activations, ids, width

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return np.asarray(self._activations.of(self._ids[index])).reshape(-1, self._width)


def _tokens(
    mllm: Mllm, shown: Labelled, how: Tokens, vectors: Mapping[str, np.ndarray], word: str, seed: int, progress: bool
) -> tuple[dict[str, dict[str, np.ndarray]], str]:
    """Token measures by site, NaN for stimuli beyond the cap; and what to say of them."""
    bad = [site for site in how.sites if site not in vectors]
    if bad or how.pool.partition(":")[0] not in ("none", "grid"):
        raise InputError(
            f"Got token measures at {', '.join(how.sites)} with pool='{how.pool}'. Expected sites among {', '.join(vectors)}, and the pool "
            "'none' or 'grid:4'. Use these."
        )
    chosen = _few(shown, how.cap, seed)
    sets = word_sets(mllm, shown.taxonomy, how.sites, word, synonyms=how.synonyms)
    found = {}
    with tempfile.TemporaryDirectory(prefix="snellen-tokens-") as folder:
        store = extract(mllm, [shown.stimuli[i] for i in chosen], how.sites, how.pool, folder, progress=progress)
        place = {id: row for row, id in enumerate(shown.ids)}
        rows = np.array([place[id] for id in store.ids])
        for site in how.sites:
            read = _Read(store.read(site), store.ids, vectors[site].shape[1])
            own = token_measures(read, vectors[site], sets[site], shown.targets[rows], how)
            found[site] = {name: _spread(value, rows, len(shown.ids)) for name, value in own.items()}
    each, sizes = np.unique(shown.targets[rows], return_counts=True)[1], [len(own.rows) for own in sets[how.sites[0]]]
    told = (
        f"Token measures are of {len(rows)} stimuli of {len(np.unique(shown.groups[rows]))} references, drawn evenly from the classes as "
        f"far as they go ({_range(each)} each), so that over all they weigh otherwise than all stimuli do. Tokens per class's words: "
        f"{_range(sizes)}; to a single token, transport is the mean cost over the image's tokens less half the image's own term."
    )
    lost = {site: int(np.isnan(own["transport"][rows]).sum()) for site, own in found.items()}
    for site, count in lost.items():
        if count:
            told += f" At {site}, transport did not converge for {count} stimuli (iterations: {how.iterations}), and is left out there."
    return found, told


def _range(counts: Sequence[int] | np.ndarray) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _spread(values: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    found = np.full(n, np.nan)
    found[rows] = values
    return found


def _few(shown: Labelled, cap: int, seed: int) -> np.ndarray:
    """Rows of at most ``cap`` stimuli, evenly from the classes and from many references, whatever the order of the stimuli.

    The classes take turns. Each gives a stimulus of the reference that it has shown least, of such that which all have shown least.
    """
    luck = np.empty(len(shown.ids))
    luck[np.argsort(shown.ids)] = np.random.default_rng([seed, 63]).permutation(len(luck))
    reference, count = group_counts(shown.groups)
    shows, left = np.zeros((len(shown.taxonomy.classes), count), int), np.ones(len(luck), bool)
    for turn in cycle(np.unique(shown.targets)):
        if not left.any() or (~left).sum() >= cap:
            break
        rows = np.flatnonzero(left & (shown.targets == turn))
        if len(rows):
            own = reference[rows]
            row = rows[np.lexsort((luck[rows], shows.sum(0)[own], shows[turn, own]))[0]]
            left[row] = False
            shows[turn, reference[row]] += 1
    return np.flatnonzero(~left)
