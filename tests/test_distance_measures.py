"""Distances of features to words: known values, agreement with scikit-learn, the metric's meaning, permuted words."""

import itertools

import numpy as np
import pytest

from analysis import distance_measures, whitening
from analysis.distance_measures import factors_of, left_out, measure, measured_anew, word_permutation
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


def test_centres_are_of_classes_that_are_shown_however_often_each_is() -> None:
    rng = np.random.default_rng(9)
    words, noise = rng.normal(size=(4, 16)), 0.01 * rng.normal(size=(3, 16))
    targets = np.repeat([0, 1, 2], [2, 2, 30])  # the fourth is absent
    features = 5 + words[targets] + noise[targets]
    once = measure(5 + words[:3] + noise, words, np.arange(3)).values
    found = measure(features, words, targets).values
    assert np.allclose(found["centred"], once["centred"][targets]) and np.allclose(found["margin"], once["margin"][targets])
    other = np.vstack([words[:3], 50 * rng.normal(size=16)])  # nor does a word of none move the others
    assert np.allclose(measure(features, other, targets).values["centred"], found["centred"])
    assert found["centred"].max() < 0.01 and found["zero_shot"].all()
    one = measure(features[:2], words, targets[:2]).values  # a single class: the mean of all words
    assert np.isfinite(one["centred"]).all()


def test_the_whitened_margin_is_the_distance_to_the_nearest_wrong_word_less_that_to_the_right() -> None:
    rng = np.random.default_rng(10)
    x, words, targets = rng.normal(size=(40, 5)), rng.normal(size=(3, 5)), np.arange(40) % 3
    own = measure(x, words, targets, ("whitened", "whitened_margin")).values
    centre, named = np.stack([x[targets == c].mean(0) for c in range(3)]).mean(0), words - words.mean(0)
    far = whitening.to_words(x, named, targets, centre)
    wrong = [np.delete(row, c).min() for row, c in zip(far, targets, strict=True)]
    assert np.allclose(own["whitened_margin"], wrong - own["whitened"])
    assert set(distance_measures.WHITENED).isdisjoint(distance_measures.RATIOS)


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


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    x, words, targets = rng.normal(size=(23, 6)).astype(np.float16), rng.normal(size=(4, 6)), rng.integers(0, 4, 23)
    whole = measure(x, words, targets).values
    monkeypatch.setattr(whitening, "CHUNK", 5)
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
    by_reference = measure(x, words, targets, ("whitened",), groups).values["whitened"]
    assert not np.allclose(by_reference, values["whitened"])
    again = measured_anew(x, words, targets, labels, classes, ("whitened",), blocks[:1], groups)["all"]["whitened"][0]
    kept = blocks[0]
    assert again == pytest.approx(measure(x[kept], words, targets[kept], ("whitened",), groups[kept]).values["whitened"].mean())
    found = factors_of(measured_anew(x, words, targets, labels, classes, names, blocks), values, labels, classes, blocks)["all"]
    assert found["cosine"] == pytest.approx(1) and found["whitened"] > 3 and found["zero_shot_balanced"] >= 1


def test_what_could_not_be_measured_has_no_factor_and_no_p() -> None:
    half = np.array([np.nan] * 9 + [1.0])
    assert np.isnan(distance_measures.factor(half, np.arange(10.0)))
    assert distance_measures.factor(None, np.arange(3.0)) == distance_measures.factor(np.arange(3.0), np.zeros(3)) == 1
    assert distance_measures.factor(np.array([0, np.nan, 4.0, 2.0]), np.array([0.0, 5, 2, 1])) == pytest.approx(2)
    found = word_permutation(np.array([[0.1, np.nan], [0.2, -0.2]]), np.array([0, 0]))
    assert all(np.isnan(p) for p in found.values()), "not 0"


def test_whitening_that_would_take_too_long_has_no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distance_measures, "WHITENING", 10)
    rng = np.random.default_rng(8)
    targets = np.arange(24) % 2
    x, labels, groups = rng.normal(size=(24, 3)), np.array(["a", "b"])[targets], np.arange(24) // 4
    anew = measured_anew(x, rng.normal(size=(2, 3)), targets, labels, ["a", "b"], ("centred", "whitened"), left_out(groups, 0))
    assert np.isnan(anew["all"]["whitened"]).all() and np.isfinite(anew["a"]["centred"]).all()
    assert np.isnan(distance_measures.factor(anew["all"]["whitened"], np.arange(6.0)))


def test_with_fewer_stimuli_than_dimensions_whitening_anew_is_affordable() -> None:
    assert distance_measures.affordable(640, 4096, 10) and distance_measures.affordable(2000, 4096, 10)
    assert not distance_measures.affordable(10_000, 4096, 10)


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
