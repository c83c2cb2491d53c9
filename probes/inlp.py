"""INLP: probe, project what the probe found away, and again, until probes find nothing (Ravfogel et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from probes.linear import fit
from probes.splits import grouped_folds
from stimuli.tables import Table

ROUNDS = 20
PENALTIES = (10.0,)
SMALL = 1e-6
"""Directions weaker than this share of a probe's strongest are rounding errors: k classes have k − 1 directions."""


def inlp(
    values: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    rounds: int = ROUNDS,
    folds: int = 5,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> tuple[np.ndarray, Table]:
    """The directions that linear probes find one after the other.

    The projection is onto the null space of all of them together, I − Q Qᵀ with Q an orthonormal basis that grows. A product of the
    rounds' own projections drifts away from a projection; this cannot. One part in ``folds`` of the references is held out
    throughout and tells when to stop: the directions come from the others alone.

    Args:
        values: (n, d), finite.
        labels: (n,) class names.
        groups: (n,) references.
        rounds: at most.
        folds: one of so many parts of the references is held out.
        penalties: of the probes; several are chosen between by inner folds.
        seed: of the split and of inner folds.

    Returns:
        Q, float64 (d, r), and a row per round: ``round``, ``rank`` (directions erased so far), held-out ``accuracy`` of a fresh
        probe, ``majority`` (held-out share of the commonest class) and ``training`` accuracy. The last row is of what is returned.

    Raises:
        InputError: too few references, or values that are not finite.
    """
    x = np.asarray(values, np.float64)
    train, held = grouped_folds(labels, groups, folds, seed)[0]
    majority = float(np.unique(labels[held], return_counts=True)[1].max() / len(held))
    basis = np.empty((x.shape[1], 0))
    table: Table = []
    while True:
        left = x - (x @ basis) @ basis.T
        probe = fit(left[train], labels[train], groups[train], penalties=penalties, seed=seed)
        accuracy, own = (float(np.mean(probe.predict(left[rows]) == labels[rows])) for rows in (held, train))
        row = {"round": len(table), "rank": basis.shape[1], "accuracy": accuracy, "majority": majority, "training": own}
        table.append(row)
        if accuracy <= majority or len(table) > rounds:
            return basis, table
        wider = _wider(basis, probe.coef)
        if wider.shape[1] == basis.shape[1]:
            return basis, table
        basis = wider


def _wider(basis: np.ndarray, coef: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the old directions and a probe's, (d, r + new)."""
    rest = coef
    for _ in range(2):  # once leaves rounding errors where little is left
        rest = rest - basis @ (basis.T @ rest)
    u, strength, _ = np.linalg.svd(rest, full_matrices=False)
    room = len(basis) - basis.shape[1]
    new = u[:, strength > max(SMALL * float(np.linalg.norm(coef, 2)), 1e-300)][:, :room]
    new = np.linalg.qr(new - basis @ (basis.T @ new))[0]
    return np.hstack([basis, new])
