"""What reaches the model at all: a reader of its inputs that is not linear, as a lower bound of what the encoder was given.

A linear probe on pixel statistics says little of what an encoder, which is not linear, could have made usable. Extremely
randomised trees (Geurts, Ernst and Wehenkel 2006) on the same statistics, on the same folds, say more; still less than all.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hooks.activations import Activations
from probes.linear import Prediction
from probes.splits import grouped_folds
from probes.sweep import SweepResult

TREES = 200


def read_inputs(survival: SweepResult, statistics: Mapping[str, Activations], folds: int = 5) -> dict[str, Prediction]:
    """Out-of-fold predictions of the trees from pixel statistics, for the stimuli of a sweep.

    Args:
        survival: whose stimuli, labels and seed are used.
        statistics: ``pixels`` and, where they can be had, ``processed`` (``sn.input_statistics``).
        folds: by reference.

    Returns:
        By the statistics' names; those that lack a stimulus of the sweep are left out.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    labels, groups = survival.labels, survival.groups
    split = grouped_folds(labels, groups, folds, survival.seed)
    classes = np.unique(labels)
    found = {}
    for name, rows in statistics.items():
        if not set(survival.ids) <= set(rows.ids):
            continue
        values = np.stack([rows.of(id) for id in survival.ids]).astype(float)
        probabilities = np.zeros((len(labels), len(classes)))
        for train, test in split:
            trees = ExtraTreesClassifier(TREES, random_state=survival.seed, n_jobs=1).fit(values[train], labels[train])
            probabilities[np.ix_(test, np.searchsorted(classes, trees.classes_))] = trees.predict_proba(values[test])
        found[name] = Prediction(probabilities, tuple(str(c) for c in classes), ())
    return found
