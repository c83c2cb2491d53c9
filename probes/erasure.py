"""Concept erasure at a site: fit an eraser with its controls, keep it in a file, hand it to ``hooks.edit.edit``."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hooks.activations import Activations
from probes.eraser import Eraser, controls, projection
from probes.inlp import ROUNDS, inlp
from probes.leace import Leace
from probes.targets import Labels, Readable, Target, target_of
from stimuli.errors import InputError
from stimuli.tables import Table

METHODS = ("leace", "inlp")
CONTROL_SEEDS = 3
CHUNK = 4096
"""Rows at a time, in float64."""
FORMAT = 1
Chunk = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Erasure:
    """An eraser of a concept, what it was fitted to, and erasers of the same rank that know nothing of the concept."""

    eraser: Eraser
    controls: Mapping[str, Eraser]
    """``random-SEED``, ``matched-SEED`` and ``principal`` (``probes.eraser.controls``)."""
    rounds: Table = field(repr=False)
    """Of INLP, see ``probes.inlp.inlp``; empty for LEACE."""
    classes: tuple[str, ...] | None
    """None for a concept that is a number."""
    n: int
    """Rows that it was fitted to: stimuli, or tokens."""
    site: str | None = None
    target: str | None = None
    references: tuple[str, ...] = field(default=(), repr=False)
    """Those that it was fitted to; what it does is measured on others."""

    @property
    def method(self) -> str:
        """``leace`` or ``inlp``."""
        return self.eraser.method

    @property
    def rank(self) -> int:
        """How many directions are erased."""
        return self.eraser.rank

    @property
    def variance_removed(self) -> float:
        """Share of the variance, from 0 to 1."""
        return self.eraser.variance_removed

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file, whole or not at all; what is no array stands as JSON in its metadata."""
        from safetensors.numpy import save

        everyone = {"": self.eraser, **self.controls}
        tensors = {
            f"{name}/{part}": np.ascontiguousarray(getattr(one, part))
            for name, one in everyone.items()
            for part in ("mean", "left", "right")
        }
        about = {
            "format": FORMAT, "rounds": self.rounds, "classes": self.classes, "n": self.n, "site": self.site,
            "target": self.target, "references": self.references,
            "erasers": {name: {"method": one.method, "variance_removed": one.variance_removed} for name, one in everyone.items()},
        }  # fmt: skip
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_bytes(save(tensors, {"snellen-erasure": json.dumps(about)}))
        os.replace(temporary, path)
        return path


def load_erasure(path: str | Path) -> Erasure:
    """What ``Erasure.save`` wrote.

    Raises:
        InputError: no such file, or something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "numpy") as file:
            about: dict[str, Any] = json.loads((file.metadata() or {})["snellen-erasure"])
            parts = {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(
            f"{path} holds no erasure ({type(error).__name__}: {error}). Expected a file that Erasure.save wrote. Check the path."
        ) from error
    if about["format"] != FORMAT:
        raise InputError(f"{path} has format {about['format']}; expected {FORMAT}. Fit the eraser anew.")
    erasers = {
        name: Eraser(mean=parts[f"{name}/mean"], left=parts[f"{name}/left"], right=parts[f"{name}/right"], **own)
        for name, own in about["erasers"].items()
    }
    classes = None if about["classes"] is None else tuple(about["classes"])
    plain = {name: about[name] for name in ("rounds", "n", "site", "target")}
    return Erasure(erasers.pop(""), erasers, classes=classes, references=tuple(about["references"]), **plain)


def erase(
    values: np.ndarray,
    labels: Sequence | np.ndarray,
    method: str = "leace",
    *,
    groups: Sequence[str] | np.ndarray | None = None,
    shrinkage: str | float | None = None,
    rounds: int = ROUNDS,
    control_seeds: int = CONTROL_SEEDS,
    seed: int = 0,
) -> Erasure:
    """An eraser of what ``labels`` say from rows of features.

    Args:
        values: (n, d), finite.
        labels: (n,) class names; with ``leace`` also floats.
        method: ``leace`` (least change, rank classes − 1) or ``inlp`` (as many directions as probes find).
        groups: (n,) references; ``inlp`` holds some out to know when to stop.
        shrinkage: of ``leace``, see ``probes.leace.Leace.eraser``.
        rounds: of ``inlp``, at most.
        control_seeds: draws of each random control.
        seed: of ``inlp``'s split and of the controls.

    Raises:
        InputError: unknown method, no groups or numbers with ``inlp``, fewer than two classes, or rows that are not finite.
    """
    _refuse_unknown(method)
    own = np.asarray(labels)
    names = None if own.dtype.kind == "f" else own.astype(str)
    classes = None if names is None else tuple(np.unique(names).tolist())
    moments = Leace(np.shape(values)[1], classes)
    moments.add(values, own)
    if method == "leace":
        return _finished(moments, moments.eraser(shrinkage), [], control_seeds, seed)
    if names is None or groups is None:
        raise InputError(
            "INLP got numbers to erase, or no groups; expected class names, and the reference of each row as groups=. Use "
            "method='leace' for numbers."
        )
    return _by_inlp(moments, (np.asarray(values), names, np.asarray(groups)), rounds, control_seeds, seed)


def fit_eraser(
    store: Readable,
    site: str,
    target: str = "distortion",
    *,
    method: str = "leace",
    taxonomy: str | Path = "paper8",
    labels: Labels | None = None,
    references: Collection[str] | None = None,
    shrinkage: str | float | None = "oas",
    rounds: int = ROUNDS,
    control_seeds: int = CONTROL_SEEDS,
    seed: int = 0,
) -> Erasure:
    """An eraser fitted to the activations of one site.

    Pooled rows give the eraser of the pooled vector; as the map is affine and the mean of erased tokens is the erased mean, it
    holds for mean-pooled features also when it is applied to every token. But tokens vary where their means hardly do: without
    shrinkage the least change of the means can be a large one of the tokens. Where the store keeps several rows of a stimulus
    (``pool="none"``, ``random:K``), or the cells of a grid, each is a row with its stimulus's label: the eraser of tokens.
    LEACE reads them stimulus by stimulus, INLP all at once.

    Args:
        store: activations with the stimuli's metadata.
        site: where.
        target: what to erase; see ``probes.targets.target_of``.
        method: ``leace`` or ``inlp``.
        taxonomy: name or file.
        labels: the user's own, by stimulus id.
        references: fit to these alone, so that the others can tell what it does; all by default.
        shrinkage: of ``leace``, see ``probes.leace.Leace.eraser``; erasure is exact with any.
        rounds: see ``erase``.
        control_seeds: see ``erase``.
        seed: see ``erase``.

    Raises:
        InputError: see ``erase`` and ``target_of``; references that the store has not.
    """
    _refuse_unknown(method)
    wanted, acts = target_of(store, target, taxonomy, labels), store.read(site)
    kept = _kept(wanted, references)
    pool = str(getattr(store, "config", {}).get("pool", ""))
    cells = int(pool.removeprefix("grid:")) ** 2 if pool.startswith("grid:") else 1
    about: dict[str, Any] = {
        "site": site.split("@")[0],
        "target": target,
        "references": tuple(sorted(set(wanted.groups[kept].tolist()))),
    }
    if method == "inlp":
        if wanted.kind == "numbers":
            raise InputError(f"INLP erases classes, and '{target}' is a number. Use method='leace'.")
        x, places = zip(*_chunks(wanted, acts, site, kept, cells), strict=True)
        values, rows = np.concatenate(x), np.concatenate(places)
        own = (values, wanted.values[rows], wanted.groups[rows])
        return _by_inlp(_moments(wanted, [(values, rows)]), own, rounds, control_seeds, seed, **about)
    moments = _moments(wanted, _chunks(wanted, acts, site, kept, cells))
    return _finished(moments, moments.eraser(shrinkage), [], control_seeds, seed, **about)


def _kept(target: Target, references: Collection[str] | None) -> np.ndarray:
    """Row numbers of the labelled stimuli of some references."""
    if references is None:
        return np.arange(len(target.ids))
    there, wanted = set(target.groups.tolist()), {references} if isinstance(references, str) else set(references)
    if not wanted or not wanted <= there:
        missing = sorted(wanted - there)
        raise InputError(
            f"The eraser is to be fitted to {len(wanted)} references, {len(missing)} of which have no labelled stimulus in the store "
            f"(first: {missing[0] if missing else 'none were given'}). Give names that its stimuli's 'reference' has."
        )
    return np.flatnonzero(np.isin(target.groups, list(wanted)))


def _chunks(target: Target, acts: Activations, site: str, kept: np.ndarray, cells: int) -> Iterator[Chunk]:
    """Rows (m, d) and the number of the labelled stimulus of each, (m,), a part at a time."""
    if acts.offsets is None:
        rows = target.rows(acts, site)
        for start in range(0, len(kept), CHUNK):
            own = kept[start : start + CHUNK]
            yield rows[own].reshape(len(own) * cells, -1), np.repeat(own, cells)
        return
    for number in kept:
        rows = acts.of(target.ids[number])
        yield rows, np.full(len(rows), number)


def _moments(target: Target, chunks: Iterator[Chunk] | Sequence[Chunk]) -> Leace:
    moments: Leace | None = None
    for values, rows in chunks:
        if moments is None:
            classes = None if target.kind == "numbers" else [str(name) for name in np.unique(target.values)]
            moments = Leace(values.shape[1], classes)
        moments.add(values, target.values[rows])
    assert moments is not None  # a target has stimuli
    return moments


def _by_inlp(
    moments: Leace, rows: tuple[np.ndarray, np.ndarray, np.ndarray], rounds: int, control_seeds: int, seed: int, **about: Any
) -> Erasure:
    """From rows as ``inlp`` takes them: values, labels, groups."""
    basis, table = inlp(*rows, rounds=rounds, seed=seed)
    return _finished(moments, projection("inlp", moments.mean, basis, moments.covariance), table, control_seeds, seed, **about)


def _finished(moments: Leace, eraser: Eraser, rounds: Table, control_seeds: int, seed: int, **about: Any) -> Erasure:
    seeds = range(seed, seed + control_seeds)
    others = controls(eraser.mean, moments.covariance, eraser.rank, eraser.variance_removed, seeds)
    return Erasure(eraser, others, rounds, moments.classes, moments.n, **about)


def _refuse_unknown(method: str) -> None:
    if method not in METHODS:
        raise InputError(f"Unknown method '{method}'. Expected one of {', '.join(METHODS)}. Use one of these.")
