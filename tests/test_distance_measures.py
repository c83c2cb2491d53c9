"""Distances of features to words: known values, agreement with scikit-learn, the metric's meaning, permuted words."""

import itertools

import numpy as np
import pytest

from analysis import distance_measures
from analysis.distance_measures import factors_of, left_out, measure, measured_anew, within_covariance, word_permutation
from stimuli.errors import InputError


def test_features_that_are_their_words_have_distance_zero() -> None:
    words = np.eye(4)
    found = measure(words.repeat(3, 0), words, np.arange(4).repeat(3)).values
    assert np.allclose(found["cosine"], 0) and np.allclose(found["centred"], 0)
    assert np.allclose(found["margin"], 4 / 3) and found["zero_shot"].all()


def test_centring_removes_a_gap_between_modalities_and_raw_does_not() -> None:
    rng = np.random.default_rng(0)
    words = rng.normal(size=(4, 16))
    features = words.repeat(5, 0) + 0.05 * rng.normal(size=(20, 16))
    shifted = measure(features + 30, words, np.arange(4).repeat(5)).values
    straight = measure(features, words, np.arange(4).repeat(5)).values
    assert np.allclose(shifted["centred"], straight["centred"]) and shifted["zero_shot"].all()
    assert np.allclose(shifted["whitened"], straight["whitened"])
    assert shifted["cosine"].mean() > straight["cosine"].mean() + 0.3


def test_ranges() -> None:
    rng = np.random.default_rng(1)
    found = measure(rng.normal(size=(50, 8)), rng.normal(size=(5, 8)), rng.integers(0, 5, 50)).values
    assert (0 <= found["cosine"]).all() and (found["cosine"] <= 2).all() and (np.abs(found["margin"]) <= 2).all()


def test_margins_are_those_of_a_loop_and_a_tie_is_no_hit() -> None:
    similarity = np.array([[0.5, 0.2, 0.1], [0.3, 0.3, 0.0], [-0.2, 0.4, 0.1]])
    found = distance_measures.margins_of(similarity)
    for i, c in itertools.product(range(3), range(3)):
        assert found[i, c] == pytest.approx(similarity[i, c] - max(np.delete(similarity[i], c)))
    assert not (found[1] > 0).any()


@pytest.mark.parametrize(("n", "d"), [(30, 50), (300, 8)])
def test_the_shrunk_covariance_is_that_of_scikit_learn(n: int, d: int) -> None:
    from sklearn.covariance import ledoit_wolf

    rng = np.random.default_rng(2)
    x, targets = rng.normal(size=(n, d)) * rng.uniform(0.2, 3, d) + 7, rng.integers(0, 3, n)
    residual = x - np.stack([x[targets == c].mean(0) for c in range(3)])[targets]
    covariance, share = within_covariance(x, targets)
    theirs, their_share = ledoit_wolf(residual, assume_centered=True)
    assert share == pytest.approx(their_share) and np.allclose(covariance, theirs)


def test_at_a_whitened_distance_of_one_the_word_is_as_far_as_an_image_is_from_its_class() -> None:
    rng = np.random.default_rng(3)
    scale = rng.uniform(0.1, 10, 12)
    targets = np.arange(4000) % 2
    words = 50 * rng.normal(size=(2, 12)) * scale
    centre = (words - words.mean(0))[targets]
    own = measure(centre + rng.normal(size=(4000, 12)) * scale, words, targets, ("whitened",)).values["whitened"]
    assert np.sqrt((own**2).mean()) == pytest.approx(1, abs=0.02)
    moved = centre + rng.normal(size=(4000, 12)) * scale + 3 * scale * np.sign(targets - 0.5)[:, None]
    far = measure(moved, words, targets, ("whitened",)).values["whitened"]
    assert np.sqrt((far**2).mean()) == pytest.approx(np.sqrt(1 + 9), abs=0.05)


def test_features_without_variance_have_no_whitened_distance() -> None:
    found = measure(np.ones((6, 4)), np.eye(4)[:2], np.arange(6) % 2)
    assert np.isnan(found.values["whitened"]).all()


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    x, words, targets = rng.normal(size=(23, 6)).astype(np.float16), rng.normal(size=(4, 6)), rng.integers(0, 4, 23)
    whole = measure(x, words, targets).values
    monkeypatch.setattr(distance_measures, "CHUNK", 5)
    assert all(np.allclose(own, whole[name]) for name, own in measure(x, words, targets).values.items())


@pytest.mark.parametrize("missing", [0, 1])
def test_permuted_words_have_the_exact_p_of_an_enumeration(missing: int) -> None:
    rng = np.random.default_rng(5)
    margins, targets = rng.normal(size=(40, 4)), rng.integers(0, 4 - missing, 40)
    margins[np.arange(40), targets] += 0.3
    rows = np.arange(40)
    scores = [margins[rows, np.array(order)[targets]].mean() for order in itertools.permutations(range(4))]
    assert word_permutation(margins, targets)["margin_p"] == pytest.approx(np.mean(np.array(scores) >= scores[0] - 1e-12))


def test_permuted_words_find_the_right_one_and_nothing_where_any_word_would_do() -> None:
    rng = np.random.default_rng(6)
    targets = np.arange(90) % 9  # more than 8! orders: drawn
    nearest = np.full((90, 9), -0.1)
    right = nearest.copy()
    right[np.arange(90), targets] = 0.2
    found = word_permutation(right, targets)
    assert found["zero_shot_p"] == found["margin_p"] == 1 / 2001
    nearest[:, 3] = 0.1  # one word is near to everything
    assert word_permutation(nearest, targets)["zero_shot_p"] == 1
    pvalues = [word_permutation(rng.normal(size=(40, 5)), rng.integers(0, 5, 40))["margin_p"] for _ in range(200)]
    assert 0.0 < np.mean(np.array(pvalues) <= 0.1) <= 0.16  # α = 0.1: at most 0.1 and 3 standard errors


def test_measuring_anew_widens_what_rests_on_estimates_and_leaves_the_raw_cosine() -> None:
    rng = np.random.default_rng(7)
    groups = np.repeat([f"r{i}" for i in range(20)], 4)
    classes, targets = ["a", "b", "c", "d"], np.tile(np.arange(4), 20)
    labels = np.array(classes)[targets]
    x = rng.normal(size=(80, 30)) + np.repeat(rng.normal(size=(20, 30)), 4, 0)
    words = 20 * rng.normal(
        size=(4, 30)
    )  # long words: nearly all of the whitened distance is theirs, and the same for all images
    values = measure(x, words, targets).values
    blocks = left_out(groups, 0)
    assert len(blocks) == 10 and all(len(set(groups[keep]) & set(groups[~keep])) == 0 for keep in blocks)
    names = tuple(values)
    found = factors_of(measured_anew(x, words, targets, labels, classes, names, blocks), values, labels, classes, blocks)["all"]
    assert found["cosine"] == pytest.approx(1) and found["whitened"] > 3 and found["zero_shot_balanced"] >= 1


def test_whitening_that_would_take_too_long_has_no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distance_measures, "WHITENING", 10)
    rng = np.random.default_rng(8)
    targets = np.arange(24) % 2
    x, labels, groups = rng.normal(size=(24, 3)), np.array(["a", "b"])[targets], np.arange(24) // 4
    anew = measured_anew(x, rng.normal(size=(2, 3)), targets, labels, ["a", "b"], ("centred", "whitened"), left_out(groups, 0))
    assert np.isnan(anew["all"]["whitened"]).all() and np.isfinite(anew["a"]["centred"]).all()
    assert np.isnan(distance_measures.factor(anew["all"]["whitened"], np.arange(6.0)))


@pytest.mark.parametrize(
    ("words", "wanted", "said"),
    [
        (np.eye(3)[:1], ("cosine",), "at least two words"),
        (np.eye(4), ("cosine",), "Expected the same dimensions"),
        (np.eye(3), ("cosin",), "expected some of cosine, centred"),
        (np.eye(3), (), "expected some of cosine, centred"),
    ],
)
def test_refusals(words: np.ndarray, wanted: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        measure(np.ones((2, 3)), words, np.zeros(2, int), wanted)
