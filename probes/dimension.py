"""Sites at equal dimension: a site of 4096 features gives a linear probe more to work with than one of 192.

Scores at the sites' own dimension stand beside scores after two reductions to a common ``d``: the first principal components, which keep
what varies most and lose a distortion that lies in directions of small variance, and a Gaussian random projection (Johnson and
Lindenstrauss 1984), which favours no direction and so loses a share of all. A difference between sites that both of them show is
not one of dimension alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hooks.activations import Activations
from probes.controls import classes_of
from probes.intervals import Difference, Interval, holm
from probes.linear import fit_predict
from probes.over_sites import over_sites
from probes.resampled import accuracy_draws, score_change, score_interval
from probes.scale import floor
from probes.splits import Fold, grouped_folds
from probes.targets import Labels, Readable
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Row, Table

PENALTIES = (10.0, 100.0)
MOST = 64
"""The common dimension is no larger unless asked for."""
NOTHING = 1e-12
"""A direction whose share of the largest variance is below this holds rounding alone."""
Method = Literal["pca", "random"]


@dataclass(frozen=True)
class EqualDimension:
    """One site's score at its own and at the common dimension, on the same rows, folds and resamples."""

    raw: Interval
    pca: Interval
    random: Interval
    """Mean over projections."""
    spread: float
    """Standard deviation of the score over random projections."""
    pca_change: Difference
    """``pca`` − ``raw``, paired."""
    random_change: Difference
    rank: int
    effective: float


@dataclass(frozen=True, repr=False)
class EqualDimensionResult(Result):
    """Every site at a common dimension."""

    target: str
    d: int
    table: Table
    """One row per site: ``dim``, ``rank``, ``effective_dim``; ``score``, ``pca``, ``random``, ``pca_change`` and ``random_change``
    with ``…_low`` and ``…_high``, the changes with ``…_p`` and ``…_p_holm`` (over sites), ``random_spread``, ``projections``."""

    def row(self, site: str) -> Row:
        """The row of a site."""
        return next(row for row in self.table if row["site"] == site)


def effective_dimension(values: np.ndarray) -> tuple[int, float]:
    """Rank, and the participation ratio (Σλ)² / Σλ² of the correlation matrix's eigenvalues λ (Gao et al. 2017).

    Features are standardised first, as a probe sees them; a few features of huge scale would otherwise count alone.

    Args:
        values: (n, d).

    Returns:
        Rank of the standardised features, at most min(n − 1, d), and the ratio, from 1 (all on a line) to the rank (all
        directions alike); (0, NaN) where nothing varies.
    """
    z = _standardised(values, np.arange(len(values)))
    squares = np.linalg.eigvalsh(z @ z.T if len(z) < z.shape[1] else z.T @ z).clip(min=0)
    rank = int(np.sum(squares > NOTHING * squares.max())) if squares.max() > 0 else 0
    return (rank, float(squares.sum() ** 2 / (squares**2).sum())) if rank else (0, float("nan"))


def reduced(values: np.ndarray, train: np.ndarray, d: int, method: Method, seed: int = 0) -> np.ndarray:
    """All rows in ``d`` dimensions, by what the training rows alone say.

    Features are standardised by the training rows. ``pca``: coordinates along their first ``d`` principal directions, turned by a random
    rotation; the probe standardises again, which along the components themselves would blow up the small ones. ``random``: product
    with a (features, d) matrix of independent N(0, 1/d), which keeps squared lengths in expectation.

    Args:
        values: (n, features).
        train: row numbers; no other row has a say.
        d: dimensions, from 1 to the number of features; for ``pca`` also less than the training rows.
        method: ``pca`` or ``random``.
        seed: of the random matrix or rotation.

    Returns:
        float64 (n, d).

    Raises:
        InputError: more dimensions than there are to have.
    """
    most = values.shape[1] if method == "random" else min(values.shape[1], len(train) - 1)
    if not 1 <= d <= most:
        raise InputError(
            f"Cannot reduce {values.shape[1]} features on {len(train)} training rows to {d} by '{method}'. Expected d from 1 to {most}. "
            "Set d lower, or leave the small sites out."
        )
    z, rng = _standardised(values, train), np.random.default_rng([seed, 77])
    if method == "random":
        return z @ (rng.normal(size=(values.shape[1], d)) / np.sqrt(d))
    return z @ _directions(z[train], d) @ np.linalg.qr(rng.normal(size=(d, d)))[0]


def equal_score(
    values: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    folds: Sequence[Fold],
    d: int,
    *,
    projections: int = 3,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
    n_boot: int = 1000,
) -> EqualDimension:
    """Balanced accuracy at the site's own dimension and in ``d`` dimensions.

    A reduction is fitted to the training rows of each outer fold; the inner folds that choose the penalty share it, which shows them
    no label.

    Args:
        values: (n, features).
        labels: (n,) classes.
        groups: (n,) references.
        folds: outer folds by reference.
        d: the common dimension.
        projections: random projections, with seeds of their own.
        penalties: candidates.
        seed: of projections, inner folds and resamples.
        n_boot: resamples of references, shared by all scores.

    Raises:
        InputError: more dimensions than there are to have.
    """

    def score(method: Method, own: int = 0) -> np.ndarray:
        hits = np.zeros(len(labels), bool)
        for train, test in folds:
            x = reduced(values, train, d, method, own)
            found = fit_predict(x, labels, groups, [(train, test)], penalties=penalties, seed=seed)
            hits[test] = (found.predicted == labels)[test]
        return accuracy_draws(hits, labels, groups, n_boot, seed)

    whole = fit_predict(values, labels, groups, folds, penalties=penalties, seed=seed)
    raw, pca = accuracy_draws(whole.predicted == labels, labels, groups, n_boot, seed), score("pca", seed)
    drawn = np.stack([score("random", seed + 1000 * number) for number in range(projections)])
    random = drawn.mean(0)
    rank, effective = effective_dimension(values)
    return EqualDimension(
        raw=score_interval(raw, len(folds)),
        pca=score_interval(pca, len(folds)),
        random=score_interval(random, len(folds)),
        spread=float(drawn[:, 0].std(ddof=1)) if projections > 1 else float("nan"),
        pca_change=score_change(pca - raw, len(folds), groups),
        random_change=score_change(random - raw, len(folds), groups),
        rank=rank,
        effective=effective,
    )


def equal_dimension(
    store: Readable,
    target: str = "distortion",
    taxonomy: str | Path = "paper8",
    *,
    labels: Labels | None = None,
    d: int | None = None,
    projections: int = 3,
    folds: int = 5,
    sites: Sequence[str] | None = None,
    baselines: Mapping[str, Activations] | None = None,
    inputs: Mapping[str, Activations] | None = None,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
    n_boot: int = 1000,
    progress: bool = True,
) -> EqualDimensionResult:
    """Every site's score at its own dimension beside its score at a common one.

    Args:
        store: activations with the stimuli's metadata.
        target: classes, as for the sweep.
        taxonomy: name or file.
        labels: the user's own, by stimulus id.
        d: the common dimension; by default that of the smallest site or baseline, at most ``MOST`` and less than the training rows.
        projections: random projections.
        folds: outer folds, by reference.
        sites: which; all by default.
        baselines: further features by name.
        inputs: features that stand in for the store's at the sites of that name.
        penalties: candidates for the probe's L2 penalty.
        seed: of folds, projections and resamples.
        n_boot: resamples of references.
        progress: show a progress bar.

    Raises:
        InputError: a target of numbers, or a ``d`` that some site cannot have.
    """
    wanted = classes_of(store, target, taxonomy, labels)
    split = grouped_folds(wanted.values, wanted.held, folds, seed)
    if d is None:
        replaced = dict(inputs or {})
        own = [site for site in sites or (*replaced, *store.sites) if site not in replaced]
        given = [*(baselines or {}).values(), *replaced.values(), *(store.read(site) for site in own)]
        d = min(MOST, *(each.values.shape[1] for each in given), *(len(train) - 1 for train, _ in split))

    def measure(site: str, values: np.ndarray) -> Row:
        return _columns(equal_score(values, wanted.values, wanted.held, split, d, projections=projections, penalties=penalties,
                                    seed=seed, n_boot=n_boot), projections)  # fmt: skip

    table = over_sites(
        store, wanted, measure, sites=sites, baselines=baselines, inputs=inputs, progress=progress, desc="dimension"
    )
    for name in ("pca_change", "random_change"):
        for row, p in zip(table, holm([row[f"{name}_p"] for row in table]), strict=True):
            row[f"{name}_p_holm"] = p
    return EqualDimensionResult(target, d, table)


def _columns(found: EqualDimension, projections: int) -> Row:
    row: Row = {"rank": found.rank, "effective_dim": found.effective}
    for name, value in (("score", found.raw), ("pca", found.pca), ("random", found.random)):
        row |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
    row |= {"random_spread": found.spread, "projections": projections}
    for name, change in (("pca_change", found.pca_change), ("random_change", found.random_change)):
        row |= {name: change.value, f"{name}_low": change.low, f"{name}_high": change.high, f"{name}_p": change.p}
    return row


def _directions(z: np.ndarray, d: int) -> np.ndarray:
    """The first ``d`` principal directions of centred rows, (features, d), from the smaller of the two Gram matrices."""
    wide = len(z) < z.shape[1]
    squares, vectors = np.linalg.eigh(z @ z.T if wide else z.T @ z)
    squares, vectors = squares[::-1][:d], vectors[:, ::-1][:, :d]
    if not wide:
        return np.asarray(vectors)
    real = squares > NOTHING * squares[0]
    return np.asarray(np.where(real, z.T @ vectors / np.sqrt(np.where(real, squares, 1)), 0))


def _standardised(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1 over the training rows, float64; features that do not vary there are 0 throughout."""
    x = np.asarray(values, float)
    mean, spread = x[train].mean(0), x[train].std(0)
    varies = spread > floor(x) + 1e-9 * np.abs(mean)
    return np.where(varies, (x - mean) / np.where(varies, spread, 1), 0)
