"""INLP takes direction after direction until probes find nothing on references that they have not seen."""

import numpy as np
import pytest

from probes.inlp import inlp
from probes.linear import fit_predict
from probes.splits import grouped_folds
from stimuli.errors import InputError

GROUPS = np.repeat(np.arange(30), 4)
LABELS = np.tile(list("abcd"), 30)


def planted(copies: int, d: int = 20, seed: int = 0) -> np.ndarray:
    """Noise, and the class written into ``copies`` directions, each fainter than the one before."""
    rng = np.random.default_rng(seed)
    code = np.unique(LABELS, return_inverse=True)[1] - 1.5
    axes = np.linalg.qr(rng.normal(size=(d, d)))[0][:copies]
    return 0.3 * rng.normal(size=(120, d)) + 3 + sum(code[:, None] * axis * 2.0**-i for i, axis in enumerate(axes))


def test_it_goes_on_until_held_out_references_are_named_no_better_than_by_the_commonest_class() -> None:
    x = planted(2)
    basis, rounds = inlp(x, LABELS, GROUPS)
    first, last = rounds[0], rounds[-1]
    assert first["accuracy"] > 0.7 and first["rank"] == 0
    assert last["accuracy"] <= last["majority"] == 0.25
    assert all(row["accuracy"] > row["majority"] for row in rounds[:-1])
    assert [row["round"] for row in rounds] == list(range(len(rounds)))
    assert all(b["rank"] - a["rank"] in (1, 2, 3) for a, b in zip(rounds, rounds[1:], strict=False))
    assert basis.shape == (20, last["rank"])
    np.testing.assert_allclose(basis.T @ basis, np.eye(last["rank"]), atol=1e-12)
    clean = x - (x @ basis) @ basis.T
    found = fit_predict(clean, LABELS, GROUPS, grouped_folds(LABELS, GROUPS), penalties=[10.0])
    assert np.mean(found.predicted == LABELS) < 0.4


def test_directions_come_from_the_training_references_alone() -> None:
    x = planted(1)
    held = grouped_folds(LABELS, GROUPS, 5, 0)[0][1]
    spoilt = x.copy()
    spoilt[held[::2]] = np.random.default_rng(3).normal(size=(len(held[::2]), 20))
    a, b = (inlp(values, LABELS, GROUPS, rounds=1) for values in (x, spoilt))
    assert a[0].shape == (20, 3)
    np.testing.assert_allclose(a[0] @ a[0].T, b[0] @ b[0].T, atol=1e-6)
    assert b[1][0]["training"] == a[1][0]["training"]
    assert b[1][0]["accuracy"] < a[1][0]["accuracy"]


def test_rounds_are_bounded_and_directions_never_more_than_features() -> None:
    _, rounds = inlp(planted(6), LABELS, GROUPS, rounds=2)
    assert [row["rank"] for row in rounds] == [0, 3, 6]
    basis, _ = inlp(planted(4, d=5), LABELS, GROUPS, rounds=50)
    assert basis.shape[1] <= 5


def test_a_majority_class_is_no_success() -> None:
    labels = np.where(np.arange(120) % 4 == 0, "a", "b")
    noise = np.random.default_rng(1).normal(size=(120, 3))
    _, rounds = inlp(noise, labels, GROUPS)
    assert rounds[0]["majority"] == 0.75
    assert len(rounds) == 1 and rounds[0]["rank"] == 0


def test_too_few_references_are_refused() -> None:
    with pytest.raises(InputError, match="5 folds by reference need at least 5 references, got 3"):
        inlp(planted(1)[:12], LABELS[:12], GROUPS[:12])
