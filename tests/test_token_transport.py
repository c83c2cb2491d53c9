"""Transport between token sets: scipy's exact costs, bounds, debiasing, padding, words of one token."""

import numpy as np
import pytest

from analysis.token_transport import Tokens, cosine_cost, debiased, self_transport, sinkhorn, token_measures
from analysis.word_vectors import WordSet
from stimuli.errors import InputError


def exact(cost: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """The linear programme."""
    from scipy.optimize import linprog

    m, t = cost.shape
    marginals = np.vstack([np.kron(np.eye(m), np.ones(t)), np.kron(np.ones(m), np.eye(t))])
    return float(linprog(cost.ravel(), A_eq=marginals, b_eq=np.concatenate([a, b])).fun)


def test_equal_sets_of_tokens_approach_the_linear_assignment() -> None:
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(0)
    cost = cosine_cost(rng.normal(size=(6, 10, 5)), rng.normal(size=(6, 10, 5)))
    best = np.array([own[linear_sum_assignment(own)].mean() for own in cost])
    for epsilon in (0.1, 0.01, 0.002):
        found = sinkhorn(cost, epsilon=epsilon)
        assert (found.violation <= 1e-6).all()
        assert (found.cost >= best - 1e-6).all() and (found.cost <= best + epsilon * np.log(10) + 1e-6).all()


def test_uneven_sets_and_weights_approach_the_linear_programme() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.dirichlet(np.ones(7), 3), rng.dirichlet(np.ones(3), 3)
    cost = cosine_cost(rng.normal(size=(3, 7, 4)), rng.normal(size=(3, 3, 4)))
    best = np.array([exact(*own) for own in zip(cost, a, b, strict=True)])
    for found in (sinkhorn(cost, a, b, epsilon=0.002), sinkhorn(cost.transpose(0, 2, 1), b, a, epsilon=0.002)):
        assert (found.cost >= best - 1e-6).all() and (found.cost <= best + 0.002 * np.log(3) + 1e-6).all()


def test_the_averaged_iteration_gives_what_sinkhorn_gives() -> None:
    x = np.random.default_rng(2).normal(size=(4, 9, 5))
    cost = cosine_cost(x, x)
    assert np.allclose(self_transport(cost).cost, sinkhorn(cost).cost, atol=1e-6)


def test_debiased_it_is_zero_for_equal_sets_and_positive_otherwise() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(5, 8, 6))
    assert np.abs(debiased(x, x[:, rng.permutation(8)])).max() < 1e-6
    assert debiased(x, rng.normal(size=(5, 4, 6))).min() > 0.01
    assert debiased(x[:1], x[0] * 3)[0] == pytest.approx(0, abs=1e-6)  # cosine cost: length does not matter


def test_to_a_word_of_one_token_transport_is_the_mean_cost_whatever_epsilon() -> None:
    rng = np.random.default_rng(4)
    cost = cosine_cost(rng.normal(size=(3, 6, 5)), rng.normal(size=(1, 5)))
    for epsilon in (1.0, 0.05, 0.01):
        assert np.allclose(sinkhorn(cost, epsilon=epsilon).cost, cost.mean((1, 2)))


def test_a_token_of_weight_zero_is_not_there() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(1, 6, 5)), rng.normal(size=(3, 5))
    padded = np.concatenate([x, np.zeros((1, 4, 5))], 1)
    weights = np.r_[np.full(6, 1 / 6), np.zeros(4)][None]
    assert np.allclose(debiased(padded, y, weights), debiased(x, y), atol=1e-6)


def measured(synonyms: bool = False, how: Tokens | None = None) -> dict[str, np.ndarray]:
    """Stimuli of 4 to 7 tokens, most of which are near the tokens of their class's word."""
    rng = np.random.default_rng(6)
    rows = [rng.normal(size=(2, 16)) for _ in range(3)]
    sets = [WordSet(own, np.array([0.5, 0.5])) for own in rows]
    targets = np.arange(12) % 3
    tokens = [
        rows[c][rng.integers(0, 2, 4 + i % 4)] + 0.3 * rng.normal(size=(4 + i % 4, 16)) + 5 for i, c in enumerate(targets)
    ]
    return token_measures(tokens, np.stack([own.mean(0) for own in rows]), sets, targets, how)


def test_tokens_that_are_near_their_words_are_found_although_all_are_shifted() -> None:
    found = measured()
    assert found["transport_zero_shot"].all() and (found["transport_margin"] > 0.1).all()
    assert found["token_zero_shot"].mean() > 0.9 and (found["token_margin"] > 0).all()
    assert found["token_cosine"].mean() > found["token_centred"].mean()
    raw = measured(how=Tokens(centred=False))
    assert raw["transport"].mean() > found["transport"].mean() + 0.1


def test_the_cost_to_the_right_class_is_the_debiased_one_of_centred_tokens() -> None:
    """However many images a class has; classes without any centre nothing."""
    rng = np.random.default_rng(7)
    tokens, targets = [rng.normal(size=(5, 8)) + 2 for _ in range(4)], np.array([0, 1, 1, 1])
    sets = [WordSet(rng.normal(size=(t, 8)), np.full(t, 1 / t)) for t in (2, 3, 1)]
    words = np.stack([own.rows.mean(0) for own in sets])
    found = token_measures(tokens, words, sets, targets)
    middle = (sets[0].rows.mean(0) + sets[1].rows.mean(0)) / 2
    mean = (tokens[0].mean(0) + np.mean(tokens[1:], (0, 1))) / 2
    for own, target, cost, centred in zip(tokens, targets, found["transport"], found["token_centred"], strict=True):
        wanted = debiased((own - mean)[None], sets[target].rows - middle)
        assert cost == pytest.approx(wanted[0], abs=1e-5)
        assert centred == pytest.approx(cosine_cost(own - mean, (words[target] - middle)[None]).mean())


def test_chunks_change_nothing() -> None:
    whole, parts = measured(), measured(how=Tokens(memory=1))
    assert all(np.allclose(own, parts[name], atol=1e-5) for name, own in whole.items())


def test_a_pair_that_did_not_converge_has_no_cost_and_the_others_keep_theirs() -> None:
    rng = np.random.default_rng(8)
    hard = cosine_cost(rng.normal(size=(1, 12, 3)), rng.normal(size=(1, 12, 3)))
    cost = np.concatenate([np.full((1, 12, 12), 0.5), hard])
    for found in (sinkhorn(cost, epsilon=1e-4, iterations=40), self_transport(cost, epsilon=1e-4, iterations=18)):
        assert found.cost[0] == pytest.approx(0.5) and found.violation[0] <= 1e-6
        assert np.isnan(found.cost[1]) and found.violation[1] > 1e-6
    assert np.isnan(sinkhorn(cost, epsilon=1e-4, iterations=3).cost).all(), "the last epsilon was not reached"
    assert np.isfinite(sinkhorn(cost, epsilon=1e-4, iterations=20_000).cost).all()


def test_a_stimulus_whose_transport_did_not_converge_has_none_of_its_measures() -> None:
    rng = np.random.default_rng(9)
    sets = [WordSet(rng.normal(size=(t, 8)), np.full(t, 1 / t)) for t in (1, 6)]  # to a single token there is nothing to find
    same = np.repeat(rng.normal(size=(1, 8)), 9, 0)  # equal tokens: every coupling is the best one
    tokens, targets = [rng.normal(size=(9, 8)), same, rng.normal(size=(9, 8))], np.array([0, 1, 1])
    found = token_measures(
        tokens, np.stack([own.rows.mean(0) for own in sets]), sets, targets, Tokens(epsilon=0.01, iterations=12)
    )
    assert all(np.isfinite(found[name]).all() for name in found if name.startswith("token"))
    for name in ("transport", "transport_margin", "transport_zero_shot"):
        assert np.isfinite(found[name]).tolist() == [False, True, False], name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"cost": np.zeros((2, 3))}, "Expected finite costs"),
        ({"cost": np.full((1, 2, 2), np.nan)}, "0 of its 4 numbers finite"),
        ({"cost": np.zeros((1, 2, 2)), "epsilon": 0}, "an epsilon above 0"),
        ({"cost": np.zeros((1, 2, 2)), "a": np.ones(2)}, "each set's summing to 1"),
    ],
)
def test_refusals(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        sinkhorn(**arguments)  # type: ignore[arg-type]
