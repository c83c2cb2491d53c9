"""LEACE erases what linear probes find, exactly and with the least change; so does no other map more cheaply."""

import numpy as np
import pytest

from probes.eraser import Eraser
from probes.leace import Leace, shrunk
from probes.linear import fit
from stimuli.errors import InputError

GROUPS = np.repeat(np.arange(20), 8)
LABELS = np.tile(list("aaabbccd"), 20)
SHARES = np.array([3, 2, 2, 1]) / 8
CODED = (LABELS[:, None] == np.array(list("abcd"))).astype(float)


def features(d: int = 24, seed: int = 0, strength: float = 4.0) -> np.ndarray:
    """Correlated features about 5, with a direction per class; one feature is constant."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(160, d)) @ rng.normal(size=(d, d)) + 5
    x += strength * CODED @ rng.normal(size=(4, d)) * np.sqrt(d)
    x[:, 3] = 7
    return x


def fitted(x: np.ndarray, shrinkage: str | float | None = None) -> Eraser:
    moments = Leace(x.shape[1], list("abcd"))
    moments.add(x, LABELS)
    return moments.eraser(shrinkage)


def covariance(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    return (x - x.mean(0)).T @ (z - z.mean(0)) / len(x)


@pytest.mark.parametrize("d", [24, 300])
@pytest.mark.parametrize("shrinkage", [None, "oas", 0.5])
def test_nothing_linear_is_left_and_erasing_again_changes_nothing(d: int, shrinkage: str | float | None) -> None:
    x = features(d)
    eraser = fitted(x, shrinkage)
    clean = eraser.apply(x)
    assert np.abs(covariance(x, CODED)).max() > 1
    assert np.abs(covariance(clean, CODED)).max() < 1e-8
    assert np.abs(eraser.apply(clean) - clean).max() < 1e-8
    assert eraser.rank == 3 == np.linalg.matrix_rank(x - clean)
    np.testing.assert_allclose(clean.mean(0), x.mean(0), atol=1e-9)


@pytest.mark.parametrize("d", [24, 300])
def test_a_probe_learns_before_and_says_the_same_of_every_row_after(d: int) -> None:
    x = features(d)
    before = fit(x, LABELS, GROUPS, penalties=[0.1])
    assert np.mean(before.predict(x) == LABELS) > 0.95
    clean = fitted(x).apply(x)
    after = fit(clean, LABELS, GROUPS, penalties=[0.1])
    assert np.mean(after.predict(clean) == LABELS) == SHARES.max()
    np.testing.assert_allclose(after.probabilities(clean), np.tile(SHARES, (160, 1)), atol=2e-3)


def test_no_other_affine_map_that_erases_changes_less() -> None:
    x = features(strength=0.5)
    eraser, centred = fitted(x), x - x.mean(0)

    def cost(change: np.ndarray) -> float:
        return float(((centred @ change.T) ** 2).sum())

    own, cross = eraser.left @ eraser.right, covariance(x, CODED)
    u, s, _ = np.linalg.svd(cross, full_matrices=False)
    u = u[:, s > 1e-9]
    assert cost(own) < 0.9 * cost(u @ u.T)  # the orthogonal projection erases as well
    rng = np.random.default_rng(1)
    for size in (1e-3, 1e-1, 1.0):
        other = own + size * rng.normal(size=own.shape) @ (np.eye(24) - u @ u.T)
        assert np.abs(cross - other @ cross).max() < 1e-8  # it erases
        assert cost(other) > cost(own)
    assert eraser.variance_removed == pytest.approx(cost(own) / (centred**2).sum())
    kept = (fitted(x).apply(x) - x.mean(0)) ** 2
    assert eraser.variance_removed == pytest.approx(1 - kept.sum() / (centred**2).sum())


def test_batches_of_any_size_give_the_same_also_far_from_zero() -> None:
    x = features()
    whole = fitted(x)
    for offset, tolerance in ((0.0, 1e-10), (1e6, 1e-4)):
        moments = Leace(24, list("abcd"))
        for rows in np.split(np.random.default_rng(0).permutation(160), [1, 2, 50, 50, 151]):
            moments.add(x[rows] + offset, LABELS[rows])
        assert moments.n == 160
        np.testing.assert_allclose(moments.eraser().apply(x + offset) - offset, whole.apply(x), atol=tolerance)


def test_a_number_is_erased_by_one_direction() -> None:
    x, z = features(), np.random.default_rng(2).normal(size=160)
    x += 3 * z[:, None]
    moments = Leace(24)
    moments.add(x, z)
    eraser = moments.eraser()
    assert eraser.rank == 1
    assert np.abs(covariance(x, z[:, None])).max() > 1
    assert np.abs(covariance(eraser.apply(x), z[:, None])).max() < 1e-8


def test_where_nothing_correlates_nothing_is_changed() -> None:
    x = np.repeat(np.random.default_rng(0).normal(size=(40, 6)), 4, axis=0)
    moments = Leace(6, list("abcd"))
    moments.add(x, np.tile(list("abcd"), 40))
    assert moments.eraser().rank == 0
    assert np.array_equal(moments.eraser().apply(x), x)


def test_shrinkage_is_scikit_learns() -> None:
    from sklearn.covariance import OAS

    for x in (features(), features(300)):
        own = np.cov(x.T, bias=True)
        np.testing.assert_allclose(shrunk(own, 160, "oas"), OAS().fit(x).covariance_, atol=1e-8 * own.max())
    assert np.array_equal(shrunk(own, 160, 0.0), own)
    np.testing.assert_allclose(shrunk(own, 160, 1), np.eye(300) * np.trace(own) / 300)


def test_shrinkage_holds_down_what_is_blown_up_in_features_of_another_spread() -> None:
    """As tokens are, next to the means of them that an eraser was fitted to."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(160, 300)) * np.geomspace(1, 1e-3, 300) + 0.3 * CODED[:, :1]
    other = rng.normal(size=(160, 300))
    sizes = [np.linalg.norm(fitted(x, shrinkage).apply(other) - other) for shrinkage in (None, 0.3)]
    assert sizes[0] > np.linalg.norm(other)  # a projection onto 3 of 300 directions takes a tenth
    assert sizes[1] < 0.5 * sizes[0]


def test_it_is_the_eraser_of_the_authors() -> None:
    torch, published = pytest.importorskip("torch"), pytest.importorskip("concept_erasure")
    x = features()
    theirs = published.LeaceFitter.fit(torch.tensor(x), torch.tensor(CODED), shrinkage=False, svd_tol=1e-8)
    np.testing.assert_allclose(fitted(x).apply(x), theirs.eraser(torch.tensor(x)).numpy(), atol=1e-8)


def test_what_cannot_be_erased_is_refused() -> None:
    x, moments = features(), Leace(24, list("abcd"))
    with pytest.raises(InputError, match=r"Nothing to erase: got 0 rows"):
        moments.eraser()
    with pytest.raises(InputError, match=r"Got features of shape \(160, 23\) and 160 labels; expected \(160, 24\)"):
        moments.add(x[:, 1:], LABELS)
    with pytest.raises(InputError, match="The label 'e' is none of a, b, c, d"):
        moments.add(x[:1], ["e"])
    with pytest.raises(InputError, match="hold NaN or infinity"):
        moments.add(x * np.inf, LABELS)
    moments.add(x[:3], LABELS[:3])
    with pytest.raises(InputError, match="got 3 rows, and a concept of a single value. Expected at least two classes"):
        moments.eraser()
    moments.add(x, LABELS)
    for wrong in ("ledoit", 1.5, -0.1):
        with pytest.raises(InputError, match=r"Got shrinkage=.*; expected None, 'oas' or a share from 0 to 1"):
            moments.eraser(wrong)
