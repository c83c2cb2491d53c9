"""The sweep: a probe at every site, with intervals over references, controls and baselines, on shared folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm.auto import tqdm

from hooks.store import Activations
from probes.controls import content_accuracy, shuffled_labels
from probes.intervals import Difference, balanced_difference, balanced_interval, holm
from probes.linear import PENALTIES, Prediction, fit_predict
from probes.splits import Fold, grouped_folds
from stimuli.errors import InputError
from stimuli.tables import Table
from stimuli.taxonomy import taxonomy as load_taxonomy

TARGETS = ("distortion", "type", "level")
COMPONENTS = ("vision", "projector", "llm")


class Readable(Protocol):
    """What a sweep needs of a store."""

    @property
    def sites(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def ids(self) -> tuple[str, ...]: ...  # noqa: D102
    def read(self, site: str) -> Activations: ...  # noqa: D102
    def metadata(self, id: str) -> dict[str, Any]: ...  # noqa: D102


@dataclass(frozen=True)
class SweepResult:
    """What a linear probe finds at each site."""

    target: str
    table: Table
    """One row per site (and baseline): balanced accuracy ``score`` with ``low`` and ``high``, shuffled-label ``control``,
    ``content``, ``chance``, ``majority``, ``selectivity`` = score − control, sizes, and ``dead_end``: the model's answer does not
    depend on this site."""
    predictions: Mapping[str, Prediction] = field(repr=False)
    labels: np.ndarray = field(repr=False)
    groups: np.ndarray = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    dropped: int
    """Stimuli that the target has no label for."""
    seed: int
    n_boot: int

    def row(self, site: str) -> dict[str, Any]:
        """The row of a site."""
        return next(row for row in self.table if row["site"] == site)

    def hits(self, site: str) -> np.ndarray:
        """Bool (n,): where the out-of-fold prediction is right."""
        return np.asarray(self.predictions[site].predicted == self.labels)

    def best(self, component: str | None = None) -> str | None:
        """The site of the highest score, of one component or of all; dead ends do not count."""
        asked = COMPONENTS if component is None else (component,)
        rows = [r for r in self.table if r["component"] in asked and not r.get("dead_end")]
        return max(rows, key=lambda row: row["score"])["site"] if rows else None

    def compare(self, a: str, b: str) -> Difference:
        """Change in score from site ``a`` to site ``b``, paired over the same stimuli."""
        return balanced_difference(self.hits(a), self.hits(b), self.labels, self.groups, self.n_boot, self.seed)


def sweep(
    store: Readable,
    target: str = "distortion",
    taxonomy: str | Path = "paper8",
    seed: int = 0,
    *,
    folds: int = 5,
    sites: Sequence[str] | None = None,
    baselines: Mapping[str, Activations] | None = None,
    inputs: Mapping[str, Activations] | None = None,
    penalties: Sequence[float] = PENALTIES,
    n_boot: int = 1000,
    progress: bool = True,
) -> SweepResult:
    """Probe every site for one target.

    Args:
        store: activations with the stimuli's metadata; labels are joined by stimulus id.
        target: ``distortion`` (the taxonomy's classes), ``type`` or ``level`` (as classes).
        taxonomy: name or file.
        seed: of folds, shuffles and resamples.
        folds: outer folds, by reference.
        sites: which; all by default.
        baselines: further features to probe on the same folds, by name (``pixel-statistics``, ``random-weights``).
        inputs: features that stand in for the store's at the sites of that name, such as pixel statistics at ``pixels`` and
            ``processed`` (``sn.input_statistics``); without ``sites``, also at sites that the store lacks.
        penalties: candidates for the probe's L2 penalty.
        n_boot: resamples of references for the intervals.
        progress: show a progress bar.

    Returns:
        The result; every interval is over references.

    Raises:
        InputError: unknown target, too few references, or activations that are not finite (the site is named).
    """
    labels, keep = _labels(store, target, taxonomy)
    ids = tuple(id for id, k in zip(store.ids, keep, strict=True) if k)
    groups = np.array([store.metadata(id)["reference"] for id in ids])
    split = grouped_folds(labels, groups, folds, seed)
    table: Table = []
    predictions: dict[str, Prediction] = {}
    given_inputs = dict(inputs or {})
    features: dict[str, Any] = dict.fromkeys(sites or (*(s for s in given_inputs if s not in store.sites), *store.sites))
    features |= {site: value for site, value in given_inputs.items() if site in features}
    features |= {f"baseline:{name}": value for name, value in (baselines or {}).items()}
    for order, (site, given) in enumerate(tqdm(features.items(), desc="probe", disable=not progress)):
        rows = _rows(given or store.read(site), ids, site)
        predictions[site], row = _probe(site, rows, labels, groups, split, penalties, seed, n_boot)
        table.append({"order": order, **row, "dead_end": site in getattr(store, "dead_ends", ())})
    return SweepResult(target, table, predictions, labels, groups, ids, int((~keep).sum()), seed, n_boot)


def _probe(
    site: str,
    values: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    split: Sequence[Fold],
    penalties: Sequence[float],
    seed: int,
    n_boot: int,
) -> tuple[Prediction, dict[str, Any]]:
    try:
        found = fit_predict(values, labels, groups, split, penalties=penalties, seed=seed)
    except InputError as error:
        raise InputError(f"At site '{site}': {error}") from error
    middle = [float(np.median(found.penalties))]
    shuffled = shuffled_labels(labels, groups, seed)
    lost = fit_predict(values, shuffled, groups, split, penalties=middle, seed=seed)
    score = balanced_interval(found.predicted == labels, labels, groups, n_boot, seed)
    control = balanced_interval(lost.predicted == shuffled, shuffled, groups, n_boot, seed)
    content, content_chance = content_accuracy(values, groups, seed)
    counts = np.unique(labels, return_counts=True)[1]
    row = {
        "site": site,
        "component": _component(site),
        "dim": values.shape[1],
        "n": len(labels),
        "references": len(np.unique(groups)),
        "score": score.value,
        "low": score.low,
        "high": score.high,
        "accuracy": float(np.mean(found.predicted == labels)),
        "control": control.value,
        "control_low": control.low,
        "control_high": control.high,
        "selectivity": score.value - control.value,
        "content": content,
        "content_chance": content_chance,
        "chance": 1 / len(counts),
        "majority": float(counts.max() / counts.sum()),
        "penalty": middle[0],
    }
    return found, row


def lost(result: SweepResult, read_layer: str) -> Table:
    """Where the score changes along the way, as consecutive paired comparisons with Holm's correction.

    Three steps: best vision site → the one the projector reads; that one → the projector; the projector → the best site of
    the language model. Without a projector the last two are one.

    Args:
        result: a sweep.
        read_layer: the vision site that the projector reads.

    Returns:
        Rows with ``from``, ``to``, ``component``, ``change``, ``low``, ``high``, ``p``, ``p_holm``.
    """
    carried = "projector" if "projector" in result.predictions else read_layer
    steps = [
        (result.best("vision"), read_layer, "vision"),
        *([(read_layer, carried, "projector")] if carried != read_layer else []),
        (carried, result.best("llm"), "llm"),
    ]
    rows: Table = []
    for start, end, component in steps:
        if start in result.predictions and end in result.predictions and start is not None and end is not None:
            change = result.compare(start, end)
            row = {"from": start, "to": end, "component": component, "change": change.value}
            rows.append({**row, "low": change.low, "high": change.high, "p": 1.0 if start == end else change.p})
    for row, p in zip(rows, holm([row["p"] for row in rows]) if rows else [], strict=True):
        row["p_holm"] = p
    return rows


def compare_runs(before: SweepResult, after: SweepResult) -> Table:
    """Change in score per site between two runs on the same stimuli, paired over references, Holm over sites.

    Raises:
        InputError: the runs are not over the same stimuli and labels.
    """
    if before.ids != after.ids:
        raise InputError("The two runs are over different stimuli, so they cannot be paired. Extract both from the same set.")
    if before.target != after.target or not np.array_equal(before.labels, after.labels):
        raise InputError(
            f"The two runs have other labels (target '{before.target}' and target '{after.target}'), so they cannot be "
            "paired. Sweep both for the same target and taxonomy."
        )
    rows: Table = []
    for site in before.predictions:
        if site in after.predictions:
            change = balanced_difference(
                before.hits(site), after.hits(site), before.labels, before.groups, before.n_boot, before.seed
            )
            scores = {"before": before.row(site)["score"], "after": after.row(site)["score"]}
            rows.append({"site": site, **scores, "change": change.value, "low": change.low, "high": change.high, "p": change.p})
    for row, p in zip(rows, holm([row["p"] for row in rows]) if rows else [], strict=True):
        row["p_holm"] = p
    return rows


def _labels(store: Readable, target: str, taxonomy: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the labelled stimuli, and which stimuli those are."""
    if target not in TARGETS:
        raise InputError(f"Unknown target '{target}'. Expected one of {', '.join(TARGETS)}. Use one of these.")
    chosen = load_taxonomy(taxonomy)
    found: list[str | None] = []
    for id in store.ids:
        known = store.metadata(id)
        told: dict[str, Any] = {
            "parts": known.get("parts") or (),
            "source": known.get("source"),
            "parameter": known.get("signed_param"),
        }
        label = chosen.label_of(known["type"], bool(known.get("is_identity")), known.get("level"), **told)
        if target == "type" and label is not None:
            label = known["type"] or "clean"
        if target == "level" and label is not None and known["type"] is not None:
            label = f"level {known['level']}" if known["level"] is not None else None
        found.append(label)
    keep = np.array([label is not None for label in found], bool)
    labels = np.array([label for label in found if label is not None])
    if len(np.unique(labels)) < 2:
        raise InputError(
            f"The target '{target}' needs at least two classes among the stimuli, "
            f"got {sorted(set(labels.tolist())) or 'none'}. Show distorted versions (sn.stimuli.distorted_set) or give their types in a CSV."
        )
    return labels, keep


def _rows(activations: Activations, ids: tuple[str, ...], site: str) -> np.ndarray:
    """The rows of the labelled stimuli, in their order."""
    if activations.offsets is not None:
        raise InputError(
            f"At site '{site}' every stimulus has several rows (tokens); a probe needs one. Extract with pool='mean', 'max', "
            "'last', 'cls' or 'grid:G'."
        )
    at = {id: row for row, id in enumerate(activations.ids)}
    missing = [id for id in ids if id not in at]
    if missing:
        raise InputError(
            f"'{site}' lacks {len(missing)} of {len(ids)} stimuli (first: {missing[0]}). Extract it on the same set."
        )
    same = activations.ids == ids
    values = np.asarray(activations.values if same else activations.values[[at[id] for id in ids]], float)
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(wrong):
        raise InputError(
            f"At site '{site}': {len(wrong)} of {len(ids)} activation rows hold NaN or infinity (stimuli "
            f"{', '.join(ids[row] for row in wrong[:3])}). Extract in float32, or look at these stimuli."
        )
    return values


def _component(site: str) -> str:
    if site.startswith("baseline:"):
        return "baseline"
    name = site.split(".")[0]
    return name if name in COMPONENTS else "input"
