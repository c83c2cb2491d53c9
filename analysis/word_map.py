"""A linear map from a site of the vision encoder into the language model's space, in which its features can be compared with words.

The vision encoder shares no space with words, so a map has to be chosen. By default it is fitted to the projector's output of the same
images: no label is used, and the mapped features say how near a site comes to the words on the way that the model itself takes. A
map fitted to the embedding of each image's own word uses the labels: it is a linear probe in another dress, and what it shows is no more
than what is linearly decodable at the site.

Every stimulus is mapped by a ridge regression fitted on other references (cross-fitting by reference); the penalty, one for all output
dimensions, is chosen by leaving one training reference out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from probes.ridge import PENALTIES, left_out_errors
from probes.splits import Fold
from stimuli.errors import InputError

TARGETS = ("projector", "words")
NOTES: Mapping[str, str] = {
    "projector": "Features of vision sites were mapped into the language model's space by a ridge regression onto the projector's output, "
    "cross-fitted by reference, without labels: the map shows what of a site comes near the words by a linear way to where the model "
    "itself goes.",
    "words": "Features of vision sites were mapped into the language model's space by a ridge regression onto the vectors of their words, "
    "cross-fitted by reference: a map fitted with labels can only show what is linearly decodable, not that the site speaks the language "
    "model's language.",
}
"""What a map to each target can show."""
DIRECTIONS = 64
"""Random directions of the target's space on which the penalty is chosen: squared lengths are kept on average (Johnson and
Lindenstrauss 1984)."""


def mapped(
    features: np.ndarray,
    target: np.ndarray,
    groups: np.ndarray,
    folds: Sequence[Fold],
    *,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> np.ndarray:
    """Out-of-fold features in the target's space.

    Args:
        features: (n, d).
        target: (n, e).
        groups: (n,) references.
        folds: by reference; together they test every row.
        penalties: candidates, above zero.
        seed: of the directions on which the penalty is chosen.

    Returns:
        float64 (n, e).

    Raises:
        InputError: rows that do not fit, a row that no fold tests, or see ``probes.ridge.left_out_errors``.
    """
    tested = np.sort(np.concatenate([test for _, test in folds]))
    if len(features) != len(target) or not np.array_equal(tested, np.arange(len(features))):
        raise InputError(
            f"Got {len(features)} features, {len(target)} targets and folds that test {len(tested)} rows. Expected one target per row, and "
            "every row tested once. Make the folds on these stimuli."
        )
    found = np.empty(target.shape)
    for train, test in folds:
        x, y = np.asarray(features[train], float), np.asarray(target[train], float)
        penalty = chosen_penalty(x, y, groups[train], penalties, seed)
        found[test] = predicted(x, y, penalty, np.asarray(features[test], float))
    return found


def chosen_penalty(x: np.ndarray, y: np.ndarray, groups: np.ndarray, penalties: Sequence[float], seed: int) -> float:
    """The penalty of least error on references left out one by one, over all output dimensions."""
    if len(penalties) == 1 or len(np.unique(groups)) < 2:
        return float(penalties[len(penalties) // 2])
    if y.shape[1] > DIRECTIONS:
        y = y @ np.random.default_rng([seed, 62]).normal(size=(y.shape[1], DIRECTIONS))
    return float(penalties[int(left_out_errors(x, y, groups, penalties).sum(1).argmin())])


def predicted(x: np.ndarray, y: np.ndarray, penalty: float, new: np.ndarray) -> np.ndarray:
    """Predictions for new rows of the regression that ``probes.ridge`` defines, one penalty for all outputs; the dual where it is smaller.

    Args:
        x: (n, d).
        y: (n, e).
        penalty: on the squared weights, above zero; the intercept is free.
        new: (m, d).

    Returns:
        (m, e).
    """
    from scipy.linalg import solve

    middle, spread, centre = x.mean(0), x.std(0), y.mean(0)
    spread = np.where(spread > 1e-9 * (1 + np.abs(middle)), spread, 1.0)
    z, held, right = (x - middle) / spread, (new - middle) / spread, y - centre
    if z.shape[0] < z.shape[1]:
        products, held = z @ z.T, held @ z.T
    else:
        products, right = z.T @ z, z.T @ right
    products.flat[:: len(products) + 1] += penalty
    return np.asarray(held @ solve(products, right, assume_a="pos") + centre)
