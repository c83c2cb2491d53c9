"""The sweep against scikit-learn, layer by layer, on the same folds, penalties and one core.

Run ``python benchmarks/probes.py [--quick]`` from the repository root. Per site both sides do the same nested search:
5 outer folds by reference, 3 inner folds by reference for each of the penalties (scored by log-loss over all held-out
rows), refit, predict. scikit-learn does it as ``GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()))``
per outer fold. The two take turns; the ratio is of the medians. ``whole sweep``: probe, both controls and intervals.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
# This file is named like its room and would hide it.
sys.path[:] = [str(HERE.parent), *(p for p in sys.path if Path(p).resolve() != HERE)]

import numpy as np  # noqa: E402

if TYPE_CHECKING:
    from probes.splits import Fold


class Made:
    """A store in memory: classes written into the features of references, more faintly from site to site."""

    def __init__(self, references: int, versions: int, dims: int, sites: int) -> None:
        from stimuli.distortions import TYPES

        rng = np.random.default_rng(0)
        kinds = [None, *list(TYPES)[: versions - 1]]
        self.rows: dict[str, dict[str, Any]] = {}
        for reference in range(references):
            for kind in kinds:
                row = {"reference": f"r{reference}", "type": kind, "level": 3 if kind else None, "is_identity": False}
                self.rows[f"r{reference}-{kind}"] = row
        content = np.repeat(rng.normal(size=(references, dims)), versions, axis=0)
        self.values = {}
        for site in range(sites):
            direction = np.tile(rng.normal(size=(versions, dims)), (references, 1))
            noise = rng.normal(size=content.shape)
            mixed = content + noise + direction * 0.8 / (1 + site)
            self.values[f"vision.{site}"] = mixed * rng.uniform(0.1, 10, dims) + rng.normal(size=dims)

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites, in order."""
        return tuple(self.values)

    @property
    def ids(self) -> tuple[str, ...]:
        """The stimuli."""
        return tuple(self.rows)

    def read(self, site: str) -> Any:
        """The rows of one site."""
        from hooks.store import Activations

        return Activations(self.ids, self.values[site])

    def metadata(self, id: str) -> dict[str, Any]:
        """What is known of a stimulus."""
        return self.rows[id]


def sklearn_predict(
    values: np.ndarray, labels: np.ndarray, groups: np.ndarray, folds: list[Fold], penalties: tuple[float, ...]
) -> tuple[np.ndarray, list[float]]:
    """Out-of-fold classes and the penalty of each fold, by scikit-learn."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from probes.linear import INNER
    from probes.splits import grouped_folds

    def score(model: Any, values: np.ndarray, labels: np.ndarray) -> float:
        return -float(log_loss(labels, model.predict_proba(values), normalize=False, labels=model.classes_))

    found, chosen = np.empty(len(labels), labels.dtype), []
    grid = {"logisticregression__C": [1 / penalty for penalty in penalties]}
    for train, test in folds:
        inner = grouped_folds(labels[train], groups[train], INNER, 0, strict=False)
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
        search = GridSearchCV(model, grid, scoring=score, cv=inner).fit(values[train], labels[train])
        found[test] = search.predict(values[test])
        chosen.append(1 / search.best_params_["logisticregression__C"])
    return found, chosen


def main() -> None:
    """Time both and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 small sites, once (seconds)")
    parser.add_argument("--references", type=int, default=40)
    parser.add_argument("--versions", type=int, default=16, help="stimuli per reference")
    parser.add_argument("--dims", type=int, default=192)
    parser.add_argument("--sites", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    if given.quick:
        given.references, given.versions, given.dims, given.sites, given.repeats = 20, 16, 64, 2, 1
    measure(given)


def measure(given: argparse.Namespace) -> None:
    """Run both sides in turn."""
    import torch

    from probes.linear import PENALTIES, fit_predict
    from probes.splits import grouped_folds
    from probes.sweep import sweep

    torch.set_num_threads(1)
    store = Made(given.references, given.versions, given.dims, given.sites)
    first = sweep(store, sites=store.sites[:1], n_boot=50, progress=False)  # labels, groups; warms up imports
    keep = [list(store.ids).index(id) for id in first.ids]
    labels, groups = first.labels, first.groups
    folds = grouped_folds(labels, groups, 5, 0)
    times: dict[str, list[float]] = {"snellen": [], "scikit-learn": [], "whole sweep": []}
    same, penalties = [], []
    for _ in range(given.repeats):
        ours, theirs = 0.0, 0.0
        for site in store.sites:
            values = store.values[site][keep]
            start = time.perf_counter()
            own = fit_predict(values, labels, groups, folds, seed=0)
            middle = time.perf_counter()
            other, chosen = sklearn_predict(values, labels, groups, folds, PENALTIES)
            ours, theirs = ours + middle - start, theirs + time.perf_counter() - middle
            same.append(np.mean(own.predicted == other))
            penalties.append(np.mean(np.isclose(own.penalties, chosen)))
        start = time.perf_counter()
        sweep(store, progress=False)
        for name, value in zip(times, (ours, theirs, time.perf_counter() - start), strict=True):
            times[name].append(value)
    middle_of = {name: float(np.median(value)) for name, value in times.items()}
    print(
        f"{len(labels)} stimuli of {given.references} references, {given.dims} dims, {len(set(labels))} classes, "
        f"{given.sites} sites, 5 x 3 folds, {len(PENALTIES)} penalties, one core, median of {given.repeats}"
    )
    for name, value in middle_of.items():
        print(f"{name:13} {value:8.2f} s   {value / middle_of['scikit-learn']:6.3f} x scikit-learn")
    print(f"same predictions {np.mean(same):.4f} (least {np.min(same):.4f}), same penalties {np.mean(penalties):.2f}")


if __name__ == "__main__":
    main()
