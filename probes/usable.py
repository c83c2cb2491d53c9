"""Usable information (Xu et al. 2020) and pointwise V-information (Ethayarajh et al. 2022), in bits.

    I_V(X → Y) = H_V(Y | ∅) − H_V(Y | X)        PVI(x → y) = −log₂ g[∅](y) + log₂ g[x](y)

V is the family of linear probes; g[x] is the probe's probability on a held-out reference, g[∅] that of the best probe without features:
the class frequencies of the same training rows. I_V is the mean PVI. Read it with care:

* It may *rise* with depth. No data processing inequality holds for usable information (Xu et al. 2020), since a layer can bring out
  what was there in another form. Less of it at a later site means less that a linear probe can use, not less information.
* It may be negative. On held-out rows an overconfident probe is worse than the class frequencies. The penalty is chosen by inner
  log-loss alone, and probabilities are mixed with the uniform one as in ``probes.information``; what is negative still is told as it is.
* PVI is of a stimulus *under this probe and this split*: a small one says that the stimulus is hard to tell from others here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hooks.activations import Activations
from probes.controls import classes_of, shuffled_labels
from probes.information import FLOOR, surprisal
from probes.intervals import Difference, holm
from probes.linear import fit_predict
from probes.over_sites import over_sites
from probes.resampled import mean_draws, score_change
from probes.splits import Fold, grouped_folds
from probes.targets import Labels, Readable
from stimuli.results import Result
from stimuli.tables import Row, Table

PENALTIES = (1.0, 10.0, 100.0, 1000.0, 10000.0)
"""Candidates up to one that all but silences the probe, so that noise costs next to nothing."""


@dataclass(frozen=True)
class Usable:
    """Bits per stimulus, without and with the activations, on held-out rows."""

    null: np.ndarray = field(repr=False)
    """(n,) −log₂ of the true class's frequency in training."""
    given: np.ndarray = field(repr=False)
    """(n,) −log₂ of the probe's probability of the true class."""
    right: np.ndarray = field(repr=False)
    """bool (n,): the probe's most probable class is the true one."""

    @property
    def pvi(self) -> np.ndarray:
        """(n,) pointwise V-information, bits."""
        return np.asarray(self.null - self.given)


@dataclass(frozen=True, repr=False)
class UsableInformation(Result):
    """Usable information at every site, and for every stimulus."""

    target: str
    table: Table
    """One row per site, bits per stimulus: ``h_null``, ``h_given``, ``information`` with ``low``, ``high``, ``p`` and ``p_holm`` (over sites),
    and that of shuffled labels as ``control`` with ``control_low`` and ``control_high``."""
    sites: Mapping[str, Usable] = field(repr=False)
    labels: np.ndarray = field(repr=False)
    groups: np.ndarray = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    folds: int
    seed: int
    n_boot: int

    def row(self, site: str) -> Row:
        """The row of a site."""
        return next(row for row in self.table if row["site"] == site)

    def pvi(self, site: str) -> Table:
        """One row per stimulus: ``id``, ``site``, ``reference``, ``label``, ``pvi`` (bits) and whether the probe was ``right``."""
        found = self.sites[site]
        rows = zip(self.ids, self.groups.tolist(), self.labels.tolist(), found.pvi.tolist(), found.right.tolist(), strict=True)
        return [
            {"id": id, "site": site, "reference": group, "label": label, "pvi": pvi, "right": right}
            for id, group, label, pvi, right in rows
        ]

    def compare(self, a: str, b: str) -> Difference:
        """Change in usable information from site ``a`` to site ``b``, paired over the same stimuli."""
        return score_change(
            mean_draws(self.sites[b].pvi - self.sites[a].pvi, self.groups, self.n_boot, self.seed), self.folds, self.groups
        )


def usable(
    values: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    folds: Sequence[Fold],
    *,
    penalties: Sequence[float] = PENALTIES,
    floor: float = FLOOR,
    seed: int = 0,
) -> Usable:
    """Pointwise bits of the labels on held-out references, without and with the activations.

    Args:
        values: (n, d).
        labels: (n,) classes.
        groups: (n,) references.
        folds: outer folds by reference; every row is held out once.
        penalties: candidates, chosen between by inner log-loss.
        floor: weight of the uniform distribution in both models' probabilities; see ``probes.information.surprisal``.
        seed: of the inner folds.

    Raises:
        InputError: see ``probes.linear.fit_predict`` and ``surprisal``.
    """
    classes, targets = np.unique(labels, return_inverse=True)
    frequency = np.zeros((len(targets), len(classes)))
    for train, test in folds:
        frequency[test] = np.bincount(targets[train], minlength=len(classes)) / len(train)
    found = fit_predict(values, labels, groups, folds, penalties=penalties, seed=seed)
    null, given = (surprisal(p, targets, floor) for p in (frequency, found.probabilities))
    return Usable(null, given, found.probabilities.argmax(1) == targets)


def usable_information(
    store: Readable,
    target: str = "distortion",
    taxonomy: str | Path = "paper8",
    *,
    labels: Labels | None = None,
    folds: int = 5,
    sites: Sequence[str] | None = None,
    baselines: Mapping[str, Activations] | None = None,
    inputs: Mapping[str, Activations] | None = None,
    penalties: Sequence[float] = PENALTIES,
    floor: float = FLOOR,
    seed: int = 0,
    n_boot: int = 1000,
    progress: bool = True,
) -> UsableInformation:
    """Usable information at every site, beside that of labels shuffled within references.

    Args:
        store: activations with the stimuli's metadata.
        target: classes, as for the sweep.
        taxonomy: name or file.
        labels: the user's own, by stimulus id.
        folds: outer folds, by reference.
        sites: which; all by default.
        baselines: further features by name.
        inputs: features that stand in for the store's at the sites of that name.
        penalties: candidates for the probe's L2 penalty.
        floor: see ``probes.information.surprisal``.
        seed: of folds, shuffle and resamples.
        n_boot: resamples of references.
        progress: show a progress bar.

    Raises:
        InputError: a target of numbers, or too few references.
    """
    wanted = classes_of(store, target, taxonomy, labels)
    groups = wanted.held
    split = grouped_folds(wanted.values, groups, folds, seed)
    shuffled = shuffled_labels(wanted.values, groups, seed)
    found: dict[str, Usable] = {}

    def measure(site: str, values: np.ndarray) -> Row:
        own, control = (
            usable(values, task, groups, split, penalties=penalties, floor=floor, seed=seed)
            for task in (wanted.values, shuffled)
        )
        found[site] = own
        return _columns(own, control, groups, folds, n_boot, seed)

    table = over_sites(
        store, wanted, measure, sites=sites, baselines=baselines, inputs=inputs, progress=progress, desc="usable"
    )
    for row, p in zip(table, holm([row["p"] for row in table]), strict=True):
        row["p_holm"] = p
    return UsableInformation(target, table, found, wanted.values, groups, wanted.ids, folds, seed, n_boot)


def _columns(own: Usable, control: Usable, groups: np.ndarray, folds: int, n_boot: int, seed: int) -> Row:
    gained, lost = (score_change(mean_draws(each.pvi, groups, n_boot, seed), folds, groups) for each in (own, control))
    return {
        "n": len(groups),
        "references": len(np.unique(groups)),
        "h_null": float(own.null.mean()),
        "h_given": float(own.given.mean()),
        "information": gained.value,
        "low": gained.low,
        "high": gained.high,
        "p": gained.p,
        "control": lost.value,
        "control_low": lost.low,
        "control_high": lost.high,
    }
